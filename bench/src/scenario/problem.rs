//! Where a scenario's file is wrong.

use std::{collections::BTreeSet, fmt, time::Duration};

use toml::de::{DeTable, DeValue};

/// Why settings make no sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    /// Which of the cases is wrong, from zero; `None` when it is none of them alone.
    case: Option<usize>,
    reason: String,
}

impl From<String> for Problem {
    fn from(reason: String) -> Self {
        Self { case: None, reason }
    }
}

impl Problem {
    /// That of the first case that has one.
    pub(super) fn of_cases<T>(cases: &[T], problem: impl Fn(&T) -> Option<String>) -> Option<Self> {
        cases.iter().enumerate().find_map(|(index, case)| {
            let reason = problem(case)?;
            Some(Self {
                case: Some(index),
                reason,
            })
        })
    }

    /// A sentence with the place in `text`, which has these settings in `table`.
    pub(super) fn sentence(&self, table: &str, text: &str) -> String {
        let reason = &self.reason;
        let Some(index) = self.case else {
            let line = line(text, &[table]);
            return format!("line {line}, {table}: {reason}");
        };
        let line = line(text, &[table, "cases", &index.to_string()]);
        format!("line {line}, {table}, case {}: {reason}", index + 1)
    }
}

/// That of the first of these settings that is zero.
pub(super) fn zero(settings: &[(&str, Duration)]) -> Option<String> {
    let zero = settings.iter().find(|(_, time)| time.is_zero());
    zero.map(|(name, _)| format!("{name} must be above 0"))
}

/// That of the first of these names that is not new.
pub(super) fn twice<T: Ord + fmt::Display>(setting: &str, names: &[T]) -> Option<String> {
    let mut seen = BTreeSet::new();
    let twice = names.iter().find(|name| !seen.insert(*name));
    twice.map(|name| format!("{setting}: {name} is named twice"))
}

/// The line, from 1, of what is at `path`: keys, and numbers of elements from zero. What is left out is where the rest
/// of the path ends.
pub(super) fn line(text: &str, path: &[&str]) -> usize {
    let Ok(root) = DeTable::parse(text) else {
        return 1;
    };
    let mut offset = 0;
    let mut here = &DeValue::Table(root.into_inner());
    for step in path {
        let found = match step.parse::<usize>() {
            Ok(index) => here.get(index),
            Err(_) => here.get(*step),
        };
        let Some(found) = found else { break };
        offset = found.span().start;
        here = found.get_ref();
    }
    let before = text.get(..offset).unwrap_or(text);
    before.bytes().filter(|byte| *byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_have_lines_however_they_are_written() {
        let inline = "servers = []\n\n[lag]\nlength = \"1s\"\ncases = [\n  { rate = 1 },\n  { rate = 2 },\n]\n";
        let problem = Problem::of_cases(&[1, 2], |&rate| (rate == 2).then(|| "no".to_owned()));
        let problem = problem.unwrap();
        assert_eq!(problem.sentence("lag", inline), "line 7, lag, case 2: no");
        let tables = "servers = []\n[lag]\n[[lag.cases]]\nrate = 1\n\n[[lag.cases]]\nrate = 2\n";
        assert_eq!(problem.sentence("lag", tables), "line 6, lag, case 2: no");
        let whole = Problem::from("no".to_owned());
        assert_eq!(whole.sentence("lag", inline), "line 3, lag: no");
    }
}
