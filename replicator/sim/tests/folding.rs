//! Counters that regions count on in many lives: what lives that are over have counted is folded while others go on and
//! begin, and every counter is what the oracle says.

#[path = "common/many_lives.rs"]
mod many_lives;

use greenwich_sim::{Direct, Summary, Trace, run_with};
use many_lives::many_lives;

const SEEDS: u64 = 40;

#[test]
fn counters_of_many_lives_end_equal_to_the_oracle() {
    let run = |seed| {
        run_with(many_lives(seed), Direct, &mut Trace::off())
            .unwrap_or_else(|failure| panic!("{failure}"))
    };
    let summaries: Vec<Summary> = (0..SEEDS).map(run).collect();
    let folding = summaries.iter().filter(|run| run.folded > 0).count();
    let folded: u64 = summaries.iter().map(|run| run.folded).sum();
    println!("{folded} counters folded, in {folding} of {SEEDS} runs");
    assert!(folding > 20, "{folding} runs fold");
}
