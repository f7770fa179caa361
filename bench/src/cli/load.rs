//! `greenwich-bench load`: one load on one server.

use std::{
    io::{self, Write},
    net::SocketAddr,
    sync::atomic::Ordering,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};

use super::say::say;
use crate::{
    interrupt::{self, Interrupted},
    load::{Load, LoadError, args::LoadArgs, fill::fill, generator::Progress, record::Record},
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
    // Until here a signal ends the program by itself.
    interrupt::watch().context("cannot listen for signals")?;
    let measured = measure(&args.to_load(address))?;
    say(|out| show(args, &measured, out))?;
    if let Some(interrupted) = measured.interrupted {
        return Err(interrupted.into());
    }
    if let Some(error) = measured.given_up {
        return Err(error.context("the load was given up"));
    }
    ensure!(
        measured.record.answered == 0 || measured.record.errors() < measured.record.answered,
        "every request was answered with an error"
    );
    Ok(())
}

struct Measured {
    record: Record,
    /// Requests that were answered, those of the warm-up too.
    answered: u64,
    took: Duration,
    interrupted: Option<Interrupted>,
    /// Why it ended early by itself.
    given_up: Option<anyhow::Error>,
}

/// Runs it to its end, or until somebody interrupts.
fn measure(load: &Load) -> anyhow::Result<Measured> {
    let progress = Progress::default();
    let bar = bar(load.length);
    let begun = Instant::now();
    let record = thread::scope(|scope| {
        let running = scope.spawn(|| load.run(&progress));
        while !running.is_finished() {
            if interrupt::seen().is_some() {
                progress.stop.store(true, Ordering::Relaxed);
            }
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
    let (record, given_up) = match record {
        Ok(record) => (record, None),
        Err(LoadError::Connection {
            address,
            error,
            measured,
        }) if measured.answered > 0 => {
            let reason = anyhow::Error::new(error).context(address);
            (*measured, Some(reason))
        }
        // Who ended the server in the same way ended this.
        Err(error) => match interrupt::seen() {
            Some(interrupted) => return Err(anyhow::Error::new(interrupted).context(error)),
            None => return Err(error).context("the load was given up"),
        },
    };
    Ok(Measured {
        record,
        answered: progress.answered.load(Ordering::Relaxed),
        took: begun.elapsed(),
        interrupted: interrupt::seen(),
        given_up,
    })
}

fn show(args: &LoadArgs, measured: &Measured, out: &mut impl Write) -> io::Result<()> {
    let Measured {
        record,
        took,
        interrupted,
        given_up,
        ..
    } = measured;
    let loop_kind = match args.rate {
        Some(rate) => format!("open loop, {rate} requests/s; latency counts from the intended start"),
        None => "closed loop: the greatest throughput; its latency leaves out what waits while the server stalls".to_owned(),
    };
    writeln!(
        out,
        "{loop_kind}; the first {:?} not recorded",
        args.warm_up()
    )?;
    let length = humantime::format_duration(args.length);
    let when = format!("after {:.1} s of {length}", took.as_secs_f64());
    if let Some(interrupted) = interrupted {
        writeln!(out, "{interrupted} {when}: the rest was not measured")?;
    }
    if let Some(error) = given_up {
        writeln!(out, "PARTIAL, given up {when}: {error:#}")?;
    }
    let is_whole = interrupted.is_none() && given_up.is_none();
    let end = if is_whole { args.length } else { *took };
    let recorded = record.last_at.max(end).saturating_sub(args.warm_up());
    if recorded.is_zero() {
        return writeln!(out, "nothing was recorded: it was warming up");
    }
    if let Some(sentence) = measured.left_out() {
        writeln!(out, "{sentence}")?;
    }
    writeln!(out, "{}", load_table(record, recorded))?;
    writeln!(
        out,
        "sent late by the generator itself: p50 {}, p99 {}, max {}",
        time(record.lateness.value_at_quantile(0.5)),
        time(record.lateness.value_at_quantile(0.99)),
        time(record.lateness.max()),
    )?;
    writeln!(
        out,
        "missed slots {}, unanswered {}",
        record.missed, record.unanswered
    )?;
    match &record.an_error {
        Some(error) => writeln!(out, "errors {}, such as: {error}", record.errors()),
        None => Ok(()),
    }
}

impl Measured {
    /// Which requests the table leaves out, if any. Those of a server that stalls are the slow ones.
    fn left_out(&self) -> Option<String> {
        let Record {
            missed,
            unanswered,
            answered: recorded,
            ..
        } = self.record;
        let is_whole = self.interrupted.is_none() && self.given_up.is_none();
        let when = if is_whole { "never" } else { "not yet" };
        let all = missed + unanswered + self.answered;
        let counts = match (missed, unanswered) {
            (0, 0) => return None,
            (0, _) => format!("{unanswered} of {all} requests were {when} answered"),
            (_, 0) => format!("{missed} of {all} requests were {when} sent"),
            (..) => {
                format!("{missed} of {all} requests were {when} sent, {unanswered} {when} answered")
            }
        };
        let which = match recorded == self.answered {
            true => format!("the other {recorded}"),
            false => format!("the {recorded} that were answered after the warm-up"),
        };
        Some(format!("{counts}: the latencies below are of {which}"))
    }
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
    let (keys, took) = (data.keys, start.elapsed().as_secs_f64());
    say(|out| writeln!(out, "set each of {keys} keys once in {took:.1} s"))
}

fn bar(length: Duration) -> ProgressBar {
    let style = ProgressStyle::with_template("{elapsed_precise} {wide_bar} {msg}")
        .expect("the template is valid");
    ProgressBar::new(u64::try_from(length.as_millis()).unwrap_or(u64::MAX)).with_style(style)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_table_leaves_out_is_counted_beside_what_it_shows() {
        let said = |missed, unanswered, recorded, answered| {
            let record = Record {
                missed,
                unanswered,
                answered: recorded,
                ..Record::default()
            };
            let measured = Measured {
                record,
                answered,
                took: Duration::ZERO,
                interrupted: None,
                given_up: None,
            };
            measured.left_out()
        };
        assert_eq!(said(0, 0, 8, 10), None);
        assert_eq!(
            said(74_330, 1_024, 14_646, 14_646).unwrap(),
            "74330 of 90000 requests were never sent, 1024 never answered: \
             the latencies below are of the other 14646"
        );
        assert_eq!(
            said(0, 7, 8, 10).unwrap(),
            "7 of 17 requests were never answered: \
             the latencies below are of the 8 that were answered after the warm-up"
        );
        let missed = said(7, 0, 0, 0).unwrap();
        assert!(missed.starts_with("7 of 7 requests were never sent: "));
    }
}
