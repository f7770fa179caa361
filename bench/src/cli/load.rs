//! `greenwich-bench load`: one load on one server.

use std::{
    net::SocketAddr,
    sync::atomic::Ordering,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    load::{args::LoadArgs, fill::fill, generator::Progress},
    report::terminal::{load_table, time},
};

/// How often the progress bar moves.
const BAR_INTERVAL: Duration = Duration::from_millis(100);

pub(super) fn run(args: &LoadArgs) -> anyhow::Result<()> {
    if let Some(problem) = args.problem() {
        bail!(problem);
    }
    let address = args.resolve()?;
    if args.fill {
        set_every_key(args, address)?;
    }
    let load = args.to_load(address);
    let progress = Progress::default();
    let bar = bar(args.length);
    let record = thread::scope(|scope| {
        let running = scope.spawn(|| load.run(&progress));
        while !running.is_finished() {
            bar.set_position(u64::try_from(bar.elapsed().as_millis()).unwrap_or(u64::MAX));
            bar.set_message(format!(
                "{} answered",
                progress.answered.load(Ordering::Relaxed)
            ));
            thread::sleep(BAR_INTERVAL);
        }
        running.join().expect("a load does not panic")
    });
    bar.finish_and_clear();
    let record = record.context("the load was given up")?;
    let loop_kind = match args.rate {
        Some(rate) => format!("open loop, {rate} requests/s; latency counts from the intended start"),
        None => "closed loop: the greatest throughput; its latency leaves out what waits while the server stalls".to_owned(),
    };
    println!("{loop_kind}; the first {:?} not recorded", args.warm_up);
    let measured = record.last_at.max(args.length) - args.warm_up;
    println!("{}", load_table(&record, measured));
    println!(
        "sent late by the generator itself: p50 {}, p99 {}, max {}",
        time(record.lateness.value_at_quantile(0.5)),
        time(record.lateness.value_at_quantile(0.99)),
        time(record.lateness.max()),
    );
    println!(
        "missed slots {}, unanswered {}",
        record.missed, record.unanswered
    );
    Ok(())
}

fn set_every_key(args: &LoadArgs, address: SocketAddr) -> anyhow::Result<()> {
    ensure!(
        args.mix.takes_any_value(),
        "--fill sets values that {} cannot count on",
        args.mix
    );
    let data = &args.data;
    let bar = ProgressBar::new_spinner().with_message(format!("setting {} keys", data.keys));
    bar.enable_steady_tick(BAR_INTERVAL);
    let start = Instant::now();
    fill(address, data, args.seed).context("the keys could not be set")?;
    bar.finish_and_clear();
    println!(
        "set each of {} keys once in {:.1} s",
        data.keys,
        start.elapsed().as_secs_f64()
    );
    Ok(())
}

fn bar(length: Duration) -> ProgressBar {
    let style = ProgressStyle::with_template("{elapsed_precise} {wide_bar} {msg}")
        .expect("the template is valid");
    ProgressBar::new(u64::try_from(length.as_millis()).unwrap_or(u64::MAX)).with_style(style)
}
