//! What COMMAND INFO says of a command beyond its row: the categories of access control, hints for clients that speak
//! to many nodes, and how keys are found and used. Data about redis-server 7.0.15; nothing here is acted upon.

use super::{Command, Flags, Group, table::Row};
use crate::resp::Reply;

/// One way in which a command finds keys, all at fixed places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KeySpec {
    /// What is to be known beside the flags, if anything.
    notes: Option<&'static str>,
    /// How the keys are used: `RO`, `RW`, `OW` or `RM`, and what for.
    flags: &'static [&'static str],
    /// The argument that is the first key.
    first: i32,
    /// The last key, counted from the first; when negative, from the end.
    last: i32,
    /// From one to the next.
    step: i32,
}

impl KeySpec {
    /// The key behind the command's name.
    const fn one(flags: &'static [&'static str]) -> Self {
        Self {
            notes: None,
            flags,
            first: 1,
            last: 0,
            step: 1,
        }
    }

    /// Every argument.
    const fn all(flags: &'static [&'static str]) -> Self {
        Self {
            last: -1,
            ..Self::one(flags)
        }
    }

    /// Every other argument.
    const fn pairs(flags: &'static [&'static str]) -> Self {
        Self {
            step: 2,
            ..Self::all(flags)
        }
    }

    /// The second argument.
    const fn second(flags: &'static [&'static str]) -> Self {
        Self {
            first: 2,
            ..Self::one(flags)
        }
    }

    /// Writes it as COMMAND INFO shows it.
    pub(super) fn describe(&self, reply: &mut Reply) {
        reply.map(3 + usize::from(self.notes.is_some()));
        if let Some(notes) = self.notes {
            reply.bulk(b"notes");
            reply.bulk(notes.as_bytes());
        }
        reply.bulk(b"flags");
        reply.set(self.flags.len());
        self.flags.iter().for_each(|flag| reply.simple(flag));
        reply.bulk(b"begin_search");
        describe_step(reply, "index", &[("index", self.first)]);
        reply.bulk(b"find_keys");
        let range = [("lastkey", self.last), ("keystep", self.step), ("limit", 0)];
        describe_step(reply, "range", &range);
    }
}

fn describe_step(reply: &mut Reply, kind: &str, numbers: &[(&str, i32)]) {
    reply.map(2);
    reply.bulk(b"type");
    reply.bulk(kind.as_bytes());
    reply.bulk(b"spec");
    reply.map(numbers.len());
    for (name, number) in numbers {
        reply.bulk(name.as_bytes());
        reply.integer((*number).into());
    }
}

const SET: KeySpec = KeySpec {
    notes: Some("RW and ACCESS due to the optional `GET` argument"),
    ..KeySpec::one(&["RW", "access", "update", "variable_flags"])
};
const GETEX: KeySpec = KeySpec {
    notes: Some("RW and UPDATE because it changes the TTL"),
    ..KeySpec::one(&["RW", "access", "update"])
};
const LCS: KeySpec = KeySpec {
    last: 1,
    ..KeySpec::one(&["RO", "access"])
};
const MOVED: KeySpec = KeySpec::one(&["RW", "access", "delete"]);
const OVERWRITTEN: &[&str] = &["OW", "update"];
const INSERTED: &[&str] = &["OW", "insert"];

/// How the keys of a command are found and used, by its full name.
pub(super) fn key_specs(full_name: &str) -> &'static [KeySpec] {
    match full_name {
        "append" => &[const { KeySpec::one(&["RW", "insert"]) }],
        "copy" => &[
            const { KeySpec::one(&["RO", "access"]) },
            const { KeySpec::second(OVERWRITTEN) },
        ],
        "decr" | "decrby" | "getset" | "incr" | "incrby" | "incrbyfloat" => {
            &[const { KeySpec::one(&["RW", "access", "update"]) }]
        }
        "del" | "unlink" => &[const { KeySpec::all(&["RM", "delete"]) }],
        "exists" | "touch" | "watch" => &[const { KeySpec::all(&["RO"]) }],
        "expire" | "expireat" | "persist" | "pexpire" | "pexpireat" | "setrange" => {
            &[const { KeySpec::one(&["RW", "update"]) }]
        }
        "expiretime" | "get" | "getrange" | "pexpiretime" | "pttl" | "substr" | "ttl" => {
            &[const { KeySpec::one(&["RO", "access"]) }]
        }
        "getdel" => &[MOVED],
        "getex" => &[GETEX],
        "lcs" => &[LCS],
        "memory|usage" | "object|encoding" | "object|freq" | "object|idletime"
        | "object|refcount" => &[const { KeySpec::second(&["RO"]) }],
        "mget" => &[const { KeySpec::all(&["RO", "access"]) }],
        "mset" => &[const { KeySpec::pairs(OVERWRITTEN) }],
        "msetnx" => &[const { KeySpec::pairs(INSERTED) }],
        "psetex" | "setex" => &[const { KeySpec::one(OVERWRITTEN) }],
        "rename" => &[MOVED, const { KeySpec::second(OVERWRITTEN) }],
        "renamenx" => &[MOVED, const { KeySpec::second(INSERTED) }],
        "set" => &[SET],
        "setnx" => &[const { KeySpec::one(INSERTED) }],
        "strlen" | "type" => &[const { KeySpec::one(&["RO"]) }],
        _ => &[],
    }
}

const ALL_SHARDS: &str = "request_policy:all_shards";
const MULTI_SHARD: &str = "request_policy:multi_shard";
const ALL_SUCCEEDED: &str = "response_policy:all_succeeded";
const SUM: &str = "response_policy:agg_sum";
const MINIMUM: &str = "response_policy:agg_min";
const RANDOM: &str = "nondeterministic_output";
const RANDOM_ORDER: &str = "nondeterministic_output_order";

/// Hints for clients and proxies, by a command's full name.
pub(super) fn tips(full_name: &str) -> &'static [&'static str] {
    match full_name {
        "client|info" | "client|list" | "object|encoding" | "object|freq" | "object|idletime"
        | "object|refcount" | "pttl" | "time" | "ttl" => &[RANDOM],
        "command" | "command|docs" | "command|info" | "command|list" => &[RANDOM_ORDER],
        "config|set" => &["request_policy:all_nodes", ALL_SUCCEEDED],
        "dbsize" => &[ALL_SHARDS, SUM],
        "del" | "exists" | "touch" | "unlink" => &[MULTI_SHARD, SUM],
        "flushall" | "flushdb" | "ping" => &[ALL_SHARDS, ALL_SUCCEEDED],
        "info" => &[RANDOM, ALL_SHARDS, "response_policy:special"],
        "keys" => &[ALL_SHARDS, RANDOM_ORDER],
        "mget" => &[MULTI_SHARD],
        "mset" => &[MULTI_SHARD, ALL_SUCCEEDED],
        "msetnx" => &[MULTI_SHARD, MINIMUM],
        "randomkey" => &[ALL_SHARDS, RANDOM],
        "scan" => &[RANDOM, "request_policy:special"],
        "wait" => &[ALL_SHARDS, MINIMUM],
        _ => &[],
    }
}

/// The categories of access control, in the order of redis-server. Most follow from the flags and the group.
pub(super) fn categories(row: &Row) -> Vec<&'static str> {
    let Command { flags, group, .. } = *row.command;
    let name = row.full_name.as_str();
    // A container that is never run itself belongs to no group.
    let is_bare = !row.command.subcommands.is_empty() && flags == Flags::NONE;
    let is_of = |of| group == of && !is_bare;
    let is_about_command = name == "command" || name.starts_with("command|");
    let is_about_keys = matches!(name, "dbsize" | "flushall" | "flushdb");
    let is_admin = flags.has(Flags::ADMIN) || name == "role";
    let is_dangerous = matches!(name, "flushall" | "flushdb" | "info" | "keys");
    let rules = [
        (
            (is_of(Group::Generic) && name != "wait") || is_about_keys,
            "@keyspace",
        ),
        (flags.has(Flags::READONLY), "@read"),
        (flags.has(Flags::WRITE), "@write"),
        (is_of(Group::String), "@string"),
        (flags.has(Flags::PUBSUB), "@pubsub"),
        (is_admin, "@admin"),
        (flags.has(Flags::FAST), "@fast"),
        (!flags.has(Flags::FAST), "@slow"),
        (flags.has(Flags::BLOCKING), "@blocking"),
        (is_admin || is_dangerous, "@dangerous"),
        (
            is_of(Group::Connection) || is_about_command || name == "wait",
            "@connection",
        ),
        (is_of(Group::Transactions), "@transaction"),
    ];
    rules
        .into_iter()
        .filter_map(|(is_in, category)| is_in.then_some(category))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Keys, table};

    #[test]
    fn key_specs_and_rows_name_the_same_keys() {
        for row in table::rows() {
            let Keys { first, last, step } = row.command.keys;
            let specs = key_specs(&row.full_name);
            assert_eq!(specs.is_empty(), first == 0, "{}", row.full_name);
            let (Some(start), Some(end)) = (specs.first(), specs.last()) else {
                continue;
            };
            let specs_last = if end.last < 0 {
                end.last
            } else {
                end.first + end.last
            };
            assert_eq!(
                (start.first, specs_last, end.step),
                (first, last, step),
                "{}",
                row.full_name
            );
        }
    }
}
