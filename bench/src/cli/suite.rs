//! `greenwich-bench quick`, `full` and `run`: scenarios, one after the other, and a report.

use std::{
    collections::BTreeMap,
    io::Write,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};

use super::{
    directory::Directory,
    say::say,
    servers::{ServerArgs, check_greenwich, names},
};
use crate::{
    interrupt,
    notice::notice,
    report::{
        Report, ScenarioReport,
        provenance::{Provenance, now},
    },
    scenario::{Outcome, Stage, file::ScenarioFile},
    server::{Adapter, greenwich, process},
    wan::{emulation::Emulation, tcp},
};

/// Where to measure what, and what with.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct SuiteArgs {
    /// Directory of the report; it is made. The default is bench-results and the time.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    servers: ServerArgs,
    /// With --baseline: how many turns both take in a scenario without rounds of its own.
    #[arg(long, default_value_t = 5, value_name = "COUNT", requires = "baseline", value_parser = clap::value_parser!(u16).range(1..=100))]
    turns: u16,
    /// How links between regions are emulated: in network namespaces for every server, which needs root, or by the nodes'
    /// own sockets, for greenwich alone and without cuts. The default is namespaces for root, and socket otherwise.
    #[arg(long, value_name = "HOW")]
    emulation: Option<Emulation>,
    /// Congestion control of servers that replicate over TCP between namespaces, whatever this machine's own is: it decides
    /// how they fare when packets are lost. The default is cubic.
    #[arg(long, value_name = "NAME")]
    tcp: Option<String>,
    /// The same seed asks for the same things in the same order.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// How often the line of progress moves.
const TICK: Duration = Duration::from_millis(100);

impl SuiteArgs {
    fn tcp(&self) -> &str {
        self.tcp.as_deref().unwrap_or(tcp::CUBIC)
    }
}

pub(super) fn run(args: &SuiteArgs, files: &[ScenarioFile]) -> anyhow::Result<()> {
    let (files, servers) = args.servers.choose(files)?;
    let is_chosen = |server: &str| files.iter().any(|file| names(&file.servers, server));
    let versions: BTreeMap<String, Option<String>> = servers
        .iter()
        .filter(|server| is_chosen(server.name()))
        .map(|server| (server.name().to_owned(), server.version()))
        .collect();
    let is_there = |server: &str| versions.get(server).is_some_and(Option::is_some);
    check_greenwich(&versions)?;
    let emulation = args.emulation.unwrap_or_else(Emulation::possible);
    ensure!(
        args.tcp.is_none() || emulation == Emulation::Namespaces,
        "--tcp is for servers in network namespaces, which need root: leave it out, or --emulation socket"
    );
    let began = Instant::now();
    let out = Directory::take(&args.out.clone().unwrap_or_else(default_directory))?;
    if let Some(began) = out.replaces() {
        notice(format_args!(
            "replaces the report in {} that began {began}",
            out.path().display()
        ));
    }
    interrupt::watch().context("cannot listen for signals")?;
    let mut report = Report::new(Provenance {
        tcp: (emulation == Emulation::Namespaces).then(|| args.tcp().to_owned()),
        ..Provenance::look(args.seed, emulation, versions.clone())
    });
    let bar = bar(files.len());
    for (index, file) in files.iter().enumerate() {
        report.unfinished = files[index..]
            .iter()
            .map(|file| file.name.clone())
            .collect();
        report.write(out.path())?;
        let of_file = servers.iter().map(|server| &**server as &dyn Adapter);
        let of_file =
            of_file.filter(|server| is_there(server.name()) && names(&file.servers, server.name()));
        bar.set_prefix(file.name.clone());
        let (possible, of_file, left_out) = possible(file, emulation, of_file.collect());
        let (outcome, partial) = match &possible {
            Some(possible) => measure(args, possible, emulation, of_file, &out, &bar),
            None => (file.scenario.nothing(), None),
        };
        bar.inc(1);
        report.scenarios.push(ScenarioReport {
            name: file.name.clone(),
            regions: file.regions.clone(),
            settings: file.scenario.clone(),
            outcome,
            left_out,
            partial,
        });
        report.unfinished.remove(0);
        report.provenance.ended = Some(now());
        report.write(out.path())?;
        if interrupt::seen().is_some() {
            break;
        }
    }
    bar.finish_and_clear();
    conclude(&report, began.elapsed(), out.path())
}

/// Shows the report, and returns why there is less in it than was asked for, if so.
fn conclude(report: &Report, took: Duration, path: &Path) -> anyhow::Result<()> {
    say(|stdout| {
        report.print(stdout)?;
        let mut outcomes = report.scenarios.iter().map(|scenario| &scenario.outcome);
        if outcomes.all(Outcome::is_empty) {
            writeln!(stdout, "\nnothing was measured")?;
        }
        let took = humantime::format_duration(Duration::from_secs(took.as_secs()));
        writeln!(stdout, "\nreport: {}, after {took}", path.display())
    })?;
    if let Some(interrupted) = interrupt::seen() {
        return Err(interrupted.into());
    }
    let is_partial = |scenario: &&ScenarioReport| scenario.partial.is_some();
    match report.scenarios.iter().filter(is_partial).count() {
        0 => Ok(()),
        partial => bail!(
            "{partial} of {} scenarios ended early; the report marks them as partial",
            report.scenarios.len()
        ),
    }
}

/// What can be measured of a scenario when links are emulated so, on which servers, and sentences about the rest.
fn possible<'a>(
    file: &ScenarioFile,
    emulation: Emulation,
    servers: Vec<&'a dyn Adapter>,
) -> (Option<ScenarioFile>, Vec<&'a dyn Adapter>, Vec<String>) {
    let (scenario, mut left_out) = file.scenario.possible(emulation, &file.regions);
    let Some(scenario) = scenario else {
        return (None, servers, left_out);
    };
    let is_able = |server: &&dyn Adapter| {
        emulation == Emulation::Namespaces || !scenario.has_links() || server.emulates_links()
    };
    let (able, unable): (Vec<_>, Vec<_>) = servers.into_iter().partition(is_able);
    let named = unable.iter().map(|server| {
        let name = server.name();
        format!("{name}: not run, it cannot emulate links itself: namespaces need root")
    });
    left_out.extend(named);
    let has_any = !able.is_empty() || unable.is_empty();
    let possible = ScenarioFile {
        scenario,
        ..file.clone()
    };
    (has_any.then_some(possible), able, left_out)
}

/// Measures one scenario. The second result says why it ended early, if it did.
fn measure(
    args: &SuiteArgs,
    file: &ScenarioFile,
    emulation: Emulation,
    servers: Vec<&dyn Adapter>,
    out: &Directory,
    bar: &ProgressBar,
) -> (Outcome, Option<String>) {
    let is_compared = |server: &&&dyn Adapter| {
        [greenwich::NAME, greenwich::BASELINE_NAME].contains(&server.name())
    };
    let compared: Vec<&dyn Adapter> = servers.iter().filter(is_compared).copied().collect();
    let has_turns =
        args.servers.has_baseline() && !file.scenario.has_rounds() && !compared.is_empty();
    let turns = if has_turns { args.turns } else { 1 };
    let is_empty = servers.is_empty();
    let mut all = None;
    let mut servers = Some(servers);
    for turn in 1..=turns {
        let prefix = match turns {
            1 => String::new(),
            _ => format!("turn {turn} of {turns}: "),
        };
        let tell = |step: String| bar.set_message(format!("{prefix}{step}"));
        let directory = out.of_servers(&file.name);
        let stage = Stage {
            servers: servers.take().unwrap_or_else(|| compared.clone()),
            regions: file.regions.iter().map(String::as_str).collect(),
            emulation,
            tcp: args.tcp(),
            directory: &directory.join(format!("turn-{turn}")),
            seed: args.seed.wrapping_add(u64::from(turn - 1)),
            tell: &tell,
        };
        let (outcome, result) = file.scenario.run(&stage);
        match &mut all {
            None => all = Some(outcome),
            Some(all) => all.add(outcome),
        }
        let end = reason(result);
        if end.is_some() || turn == turns {
            let nothing = || {
                format!(
                    "none of its servers is installed: {}",
                    file.servers.join(", ")
                )
            };
            let outcome = all.expect("a turn has been taken");
            return (outcome, end.or_else(|| is_empty.then(nothing)));
        }
    }
    unreachable!("there is at least one turn")
}

/// Why a scenario ended early: servers that died are the cause of what else went wrong.
fn reason(result: anyhow::Result<()>) -> Option<String> {
    let deaths = process::take_deaths();
    if let Some(interrupted) = interrupt::seen() {
        return Some(interrupted.to_string());
    }
    let error = result.err()?;
    let error = format!("{error:#}");
    let mut sentences: Vec<String> = deaths.iter().map(ToString::to_string).collect();
    sentences.retain(|death| !error.contains(death.as_str()));
    sentences.push(error);
    Some(sentences.join("; "))
}

fn default_directory() -> PathBuf {
    Path::new("bench-results").join(now().replace(':', "-"))
}

/// Moves on with each scenario, and says which one it is and what it does.
fn bar(scenarios: usize) -> ProgressBar {
    let template = "{spinner} [{bar:20}] {pos}/{len} {elapsed_precise} {prefix}: {wide_msg}";
    let style = ProgressStyle::with_template(template).expect("the template is valid");
    let bar = ProgressBar::new(scenarios as u64).with_style(style);
    bar.enable_steady_tick(TICK);
    bar
}
