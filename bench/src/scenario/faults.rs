//! A timetable of faults: what is cut, killed or stopped when, while a scenario goes on.

use std::{fmt, ops::RangeInclusive, time::Duration};

use serde::{Deserialize, Serialize};

use super::place::Place;
use crate::{
    as_duration,
    server::process::Signal,
    wan::{
        emulation::{Emulation, SOCKET},
        plan::Network,
    },
};

/// One fault, or the end of one.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "FaultText", into = "FaultText")]
pub struct Fault {
    /// When, since the start of the load.
    pub at: Duration,
    /// What happens.
    pub action: Action,
}

/// What happens.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Nothing passes between two regions, either way.
    Cut([String; 2]),
    /// Nothing passes from the first region to the second.
    CutOneWay([String; 2]),
    /// Both ways between two regions pass again.
    Heal([String; 2]),
    /// The region's server is killed.
    Kill(String),
    /// It is started again, as it was the first time.
    Start(String),
    /// It is stopped with SIGSTOP: its connections stay, and it says nothing.
    Stop(String),
    /// It goes on.
    Continue(String),
    /// Its clock jumps, forward or back.
    ClockStep(ClockStep),
}

/// A jump of a region's clock.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ClockStep {
    /// Where.
    pub region: String,
    /// How far; below zero, back.
    pub seconds: f64,
}

/// A fault as files have it: a time, and exactly one action.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct FaultText {
    #[serde(with = "as_duration")]
    at: Duration,
    #[serde(skip_serializing_if = "Option::is_none")]
    cut: Option<[String; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cut_one_way: Option<[String; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    heal: Option<[String; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kill: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#continue: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    clock_step: Option<ClockStep>,
}

impl TryFrom<FaultText> for Fault {
    type Error = &'static str;

    fn try_from(text: FaultText) -> Result<Self, Self::Error> {
        let actions = [
            text.cut.map(Action::Cut),
            text.cut_one_way.map(Action::CutOneWay),
            text.heal.map(Action::Heal),
            text.kill.map(Action::Kill),
            text.start.map(Action::Start),
            text.stop.map(Action::Stop),
            text.r#continue.map(Action::Continue),
            text.clock_step.map(Action::ClockStep),
        ];
        let mut actions = actions.into_iter().flatten();
        match (actions.next(), actions.next()) {
            (Some(action), None) => Ok(Self {
                at: text.at,
                action,
            }),
            _ => Err(
                "a fault is a time and one of cut, cut-one-way, heal, kill, start, stop, continue and clock-step",
            ),
        }
    }
}

impl From<Fault> for FaultText {
    fn from(Fault { at, action }: Fault) -> Self {
        let mut text = Self {
            at,
            ..Self::default()
        };
        match action {
            Action::Cut(pair) => text.cut = Some(pair),
            Action::CutOneWay(pair) => text.cut_one_way = Some(pair),
            Action::Heal(pair) => text.heal = Some(pair),
            Action::Kill(region) => text.kill = Some(region),
            Action::Start(region) => text.start = Some(region),
            Action::Stop(region) => text.stop = Some(region),
            Action::Continue(region) => text.r#continue = Some(region),
            Action::ClockStep(step) => text.clock_step = Some(step),
        }
        text
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut([a, b]) => write!(f, "cut {a} – {b}"),
            Self::CutOneWay([from, to]) => write!(f, "cut {from} → {to}"),
            Self::Heal([a, b]) => write!(f, "heal {a} – {b}"),
            Self::Kill(region) => write!(f, "kill {region}"),
            Self::Start(region) => write!(f, "start {region}"),
            Self::Stop(region) => write!(f, "stop {region}"),
            Self::Continue(region) => write!(f, "continue {region}"),
            Self::ClockStep(ClockStep { region, seconds }) => {
                write!(f, "clock {region} {seconds:+} s")
            }
        }
    }
}

impl Action {
    /// Whether it sets a region's clock wrong.
    pub(super) fn sets_clock(&self, name: &str) -> bool {
        matches!(self, Self::ClockStep(step) if step.region == name)
    }

    /// The regions that it names.
    fn regions(&self) -> &[String] {
        match self {
            Self::Cut(pair) | Self::CutOneWay(pair) | Self::Heal(pair) => pair,
            Self::Kill(region)
            | Self::Start(region)
            | Self::Stop(region)
            | Self::Continue(region)
            | Self::ClockStep(ClockStep { region, .. }) => std::slice::from_ref(region),
        }
    }
}

/// A fault that happened, for plots.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Mark {
    /// When, since the start of the load, in milliseconds.
    pub at_ms: f64,
    /// What happened.
    pub label: String,
}

/// Forward or back, in seconds.
const CLOCK_STEP_S: RangeInclusive<f64> = -TEN_YEARS_S..=TEN_YEARS_S;
const TEN_YEARS_S: f64 = 10.0 * 365.25 * 86_400.0;

/// Why a timetable cannot be kept, if so.
pub(super) fn problem(faults: &[Fault], regions: &[String], length: Duration) -> Option<String> {
    for (index, Fault { at, action }) in faults.iter().enumerate() {
        let number = index + 1;
        let unknown = action.regions().iter().find(|name| !regions.contains(name));
        if let Some(name) = unknown {
            return Some(format!("fault {number}: there is no region {name:?}"));
        }
        if let Action::Cut([a, b]) | Action::CutOneWay([a, b]) | Action::Heal([a, b]) = action
            && a == b
        {
            return Some(format!(
                "fault {number}: a link is between two regions, and not {a:?} and itself"
            ));
        }
        if let Action::ClockStep(ClockStep { seconds, .. }) = action
            && !CLOCK_STEP_S.contains(seconds)
        {
            return Some(format!(
                "fault {number}: a clock steps by at most ten years, and not by {seconds} s"
            ));
        }
        if *at >= length {
            let at = humantime::format_duration(*at);
            return Some(format!("fault {number}: {at} is not before the end"));
        }
    }
    None
}

/// All that an emulation of links cannot do of a network and a timetable, if anything.
pub(super) fn beyond_links(
    network: &Network,
    faults: &[Fault],
    emulation: Emulation,
    regions: &[String],
) -> Option<String> {
    let problems = [
        emulation.problem(network, regions),
        uncut(faults, emulation),
    ];
    let problems: Vec<String> = problems.into_iter().flatten().collect();
    (!problems.is_empty()).then(|| problems.join("; "))
}

/// Why an emulation of links cannot keep a timetable, if so.
fn uncut(faults: &[Fault], emulation: Emulation) -> Option<String> {
    let is_of_links = |fault: &&Fault| {
        matches!(
            fault.action,
            Action::Cut(_) | Action::CutOneWay(_) | Action::Heal(_)
        )
    };
    let first = match emulation {
        Emulation::Namespaces => None,
        Emulation::Socket => faults.iter().find(is_of_links),
    };
    first.map(|fault| format!("{SOCKET} cannot cut links ({})", fault.action))
}

/// Does it.
pub(super) fn happen(action: &Action, place: &mut Place) -> anyhow::Result<()> {
    let at = |name: &String| {
        let mut regions = place.regions.iter();
        regions.position(|region| region.site.region == *name)
    };
    let named: Option<Vec<usize>> = action.regions().iter().map(at).collect();
    // A server without replicas is in the first region alone.
    let Some(named) = named else {
        return Ok(());
    };
    let process = &mut place.regions[named[0]].process;
    match action {
        Action::Cut(_) | Action::Heal(_) => {
            let cut = matches!(action, Action::Cut(_));
            place.set_cut(named[0], named[1], cut)?;
            place.set_cut(named[1], named[0], cut)?;
        }
        Action::CutOneWay(_) => place.set_cut(named[0], named[1], true)?,
        Action::Kill(_) => process.kill(),
        Action::Start(_) => process.restart()?,
        Action::Stop(_) => process.signal(Signal::STOP)?,
        Action::Continue(_) => process.signal(Signal::CONT)?,
        Action::ClockStep(step) => {
            if let Some(clock) = &place.regions[named[0]].site.clock {
                clock.step(step.seconds)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize, Serialize)]
    struct Text {
        faults: Vec<Fault>,
    }

    const FAULTS: &str = r#"faults = [
        { at = "1s", cut = ["a", "b"] },
        { at = "2s", cut-one-way = ["b", "a"] },
        { at = "3s", heal = ["a", "b"] },
        { at = "4s", kill = "a" },
        { at = "5s", start = "a" },
        { at = "6s", stop = "b" },
        { at = "7s", continue = "b" },
        { at = "7s", clock-step = { region = "a", seconds = -2.5 } },
    ]"#;

    #[test]
    fn a_timetable_is_read_as_it_is_written() {
        let Text { faults } = toml::from_str(FAULTS).unwrap();
        let labels: Vec<_> = faults
            .iter()
            .map(|fault| fault.action.to_string())
            .collect();
        assert_eq!(labels[..3], ["cut a – b", "cut b → a", "heal a – b"]);
        assert_eq!(labels[3..7], ["kill a", "start a", "stop b", "continue b"]);
        assert_eq!(labels[7..], ["clock a -2.5 s"]);
        let again: Text = toml::from_str(
            &toml::to_string(&Text {
                faults: faults.clone(),
            })
            .unwrap(),
        )
        .unwrap();
        assert_eq!(again.faults, faults);
        let regions = ["a".to_owned(), "b".to_owned()];
        assert_eq!(problem(&faults, &regions, Duration::from_secs(8)), None);
        let late = problem(&faults, &regions, Duration::from_secs(7)).unwrap();
        assert!(late.contains("7s is not before the end"), "{late}");
        let unknown = problem(&faults, &regions[..1], Duration::from_secs(8)).unwrap();
        assert!(unknown.contains("no region \"b\""), "{unknown}");
    }

    #[test]
    fn a_fault_is_exactly_one_action() {
        for text in [
            "faults = [{ at = \"1s\" }]",
            "faults = [{ at = \"1s\", kill = \"a\", stop = \"a\" }]",
            "faults = [{ at = \"1s\", explode = \"a\" }]",
        ] {
            let refusal = toml::from_str::<Text>(text)
                .map(|_| ())
                .unwrap_err()
                .to_string();
            assert!(
                refusal.contains("one of") && refusal.contains("line 1"),
                "{refusal}"
            );
        }
    }
}
