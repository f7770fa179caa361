//! The one list of commands: dispatch, COMMAND and the README read it.

use std::{collections::HashMap, sync::LazyLock};

use foldhash::fast::FixedState;

use super::Command;

/// Every family, in the order of the README's list: a new one is a line here and a `mod` in the module above.
const FAMILIES: &[&[Command]] = &[
    super::string::ROWS,
    super::range::ROWS,
    super::counter::ROWS,
    super::lcs::ROWS,
    super::generic::ROWS,
    super::expiry::ROWS,
    super::scan::ROWS,
    super::object::ROWS,
    super::connection::ROWS,
    super::client::ROWS,
    super::docs::ROWS,
    super::info::ROWS,
    super::config::ROWS,
    super::introspection::ROWS,
    super::transaction::ROWS,
    super::pubsub::ROWS,
    super::replication::ROWS,
];

/// The longest name of a command or subcommand.
const NAME_BYTES_MAX: usize = 16;

static TABLE: LazyLock<Table> = LazyLock::new(Table::build);

/// A command or subcommand with its place in the table.
#[derive(Debug)]
pub struct Row {
    /// What it is and does.
    pub command: &'static Command,
    /// `get`, `config|get`.
    pub full_name: String,
    /// Its place in [`rows`].
    pub index: u16,
    subcommands: Names,
}

type Names = HashMap<u128, u16, FixedState>;

#[derive(Debug, Default)]
struct Table {
    rows: Vec<Row>,
    names: Names,
}

impl Table {
    fn build() -> Self {
        let mut table = Self::default();
        for command in FAMILIES.iter().copied().flatten() {
            let index = table.add(command, command.name.to_owned());
            for subcommand in command.subcommands {
                let full_name = format!("{}|{}", command.name, subcommand.name);
                let under = table.add(subcommand, full_name);
                table.rows[usize::from(index)]
                    .subcommands
                    .insert(known(subcommand.name), under);
            }
            let before = table.names.insert(known(command.name), index);
            assert!(before.is_none(), "{} is in the table once", command.name);
        }
        table
    }

    fn add(&mut self, command: &'static Command, full_name: String) -> u16 {
        let index = u16::try_from(self.rows.len()).expect("a few hundred rows");
        self.rows.push(Row {
            command,
            full_name,
            index,
            subcommands: Names::default(),
        });
        index
    }
}

fn known(name: &str) -> u128 {
    fold(name.as_bytes()).expect("names are short")
}

/// A name as a number, without regard to case: under OR with 0x20, a letter comes from its two cases alone.
#[inline]
fn fold(name: &[u8]) -> Option<u128> {
    let mut bytes = [0; NAME_BYTES_MAX];
    bytes.get_mut(..name.len())?.copy_from_slice(name);
    Some(u128::from_ne_bytes(bytes) | FOLDED[name.len()])
}

/// For each length, 0x20 in as many bytes.
static FOLDED: [u128; NAME_BYTES_MAX + 1] = {
    let mut masks = [0; NAME_BYTES_MAX + 1];
    let mut len = 0;
    while len <= NAME_BYTES_MAX {
        let mut bytes = [0; NAME_BYTES_MAX];
        let mut at = 0;
        while at < len {
            bytes[at] = 0x20;
            at += 1;
        }
        masks[len] = u128::from_ne_bytes(bytes);
        len += 1;
    }
    masks
};

/// The command of this name, in any case.
#[inline]
#[must_use]
pub fn find(name: &[u8]) -> Option<&'static Row> {
    let table = &*TABLE;
    table
        .names
        .get(&fold(name)?)
        .map(|index| &table.rows[usize::from(*index)])
}

impl Row {
    /// The rows of its subcommands, in their order.
    pub fn subcommands(&self) -> impl Iterator<Item = &'static Self> {
        let first = usize::from(self.index) + 1;
        TABLE.rows[first..first + self.command.subcommands.len()].iter()
    }

    /// The subcommand of this name, in any case.
    #[must_use]
    pub fn find(&self, name: &[u8]) -> Option<&'static Self> {
        // Subcommands have dashes, and a carriage return folds into one.
        if name.contains(&b'\r') {
            return None;
        }
        self.subcommands
            .get(&fold(name)?)
            .map(|index| &TABLE.rows[usize::from(*index)])
    }
}

/// Every row, subcommands behind their commands.
#[must_use]
pub fn rows() -> &'static [Row] {
    &TABLE.rows
}

/// Every command without the subcommands, in the order of the families.
pub fn commands() -> impl Iterator<Item = &'static Row> {
    rows().iter().filter(|row| !row.full_name.contains('|'))
}

/// The list of commands that the README shows: a line a group, in Markdown.
#[must_use]
pub fn markdown() -> String {
    let mut groups: Vec<(&str, Vec<String>)> = Vec::new();
    for row in commands() {
        let group = row.command.group.name();
        if groups.iter().all(|(name, _)| *name != group) {
            groups.push((group, Vec::new()));
        }
        let (_, names) = groups
            .iter_mut()
            .find(|(name, _)| *name == group)
            .expect("it was just added");
        let subcommands: Vec<String> = row
            .subcommands()
            .map(|row| row.command.name.to_uppercase())
            .collect();
        let name = row.command.name.to_uppercase();
        names.push(match subcommands.join(" ") {
            none if none.is_empty() => format!("`{name}`"),
            subcommands => format!("`{name}` ({subcommands})"),
        });
    }
    let lines: Vec<String> = groups
        .into_iter()
        .map(|(name, names)| format!("- **{name}**: {}\n", names.join(", ")))
        .collect();
    lines.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_lists_every_command() {
        let readme = std::fs::read_to_string("../README.md").unwrap_or_default();
        let list = markdown();
        assert!(
            readme.contains(&list),
            "the README's section Commands should be:\n{list}"
        );
    }

    #[test]
    fn names_are_found_in_any_case_and_nothing_else_is() {
        for name in ["ping", "PING", "pInG"] {
            assert_eq!(find(name.as_bytes()).unwrap().full_name, "ping");
        }
        let client = find(b"client").unwrap();
        assert_eq!(
            client.find(b"No-EVICT").unwrap().full_name,
            "client|no-evict"
        );
        for name in [
            "",
            "pin",
            "pings",
            "ping\0",
            "p\u{9}ng",
            "a-name-of-more-than-sixteen-letters",
        ] {
            assert!(find(name.as_bytes()).is_none(), "{name:?}");
        }
        assert!(client.find(b"no\revict").is_none());
    }

    #[test]
    fn every_row_is_complete() {
        for row in rows() {
            let Command {
                name,
                arity,
                summary,
                since,
                keys,
                ..
            } = row.command;
            assert!(
                name.bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'-'),
                "{name}"
            );
            assert!(
                *arity != 0
                    && !summary.is_empty()
                    && !summary.ends_with('.')
                    && since.contains('.'),
                "{name}"
            );
            assert_eq!(keys.first == 0, keys.step == 0, "{name}");
        }
    }
}
