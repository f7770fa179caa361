//! Seeds 0 to 199, every one equal to the oracle in the end. Between them they must have met what they are drawn for.

use greenwich_sim::{Summary, Trace, run};

const SEEDS: u64 = 200;
/// As many as run at once on a small machine.
const WORKERS: u64 = 2;

#[test]
fn two_hundred_seeds_end_equal_to_the_oracle() {
    let summaries: Vec<Summary> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| {
                scope.spawn(move || {
                    let seeds = (worker..SEEDS).step_by(usize::try_from(WORKERS).unwrap());
                    let run = |seed| {
                        run(seed, &mut Trace::off()).unwrap_or_else(|failure| panic!("{failure}"))
                    };
                    seeds.map(run).collect::<Vec<_>>()
                })
            })
            .collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap())
            .collect()
    });
    let sum = |count: fn(&Summary) -> u64| summaries.iter().map(count).sum::<u64>();
    assert!(sum(|run| run.operations) > 50_000);
    assert!(
        sum(|run| run.meanwhile) > 1_000,
        "clients come while batches are built"
    );
    assert!(sum(|run| run.restarts) > 10, "nodes restart");
    assert!(sum(|run| run.folded) > 0, "lives that are over are folded");
    assert!(sum(|run| run.refusals) > 10, "clocks are refused");
    assert!(sum(|run| run.removed) > 50, "regions are removed");
    let (added, again) = (sum(|run| run.added), sum(|run| run.added_again));
    assert!(
        added > again + 20 && again > 20,
        "regions are added: {added}, of them {again} again"
    );
    assert!(
        summaries.iter().filter(|run| run.sweeps > 20).count() > 5,
        "logs overflow"
    );
    // Where regions were given up, what they tore apart is excused.
    let strict = summaries.iter().filter(|run| !run.is_excused);
    assert!(
        strict.clone().count() > 100 && strict.filter(|run| run.sweeps > 20).count() > 5,
        "units are looked at while logs overflow"
    );
}
