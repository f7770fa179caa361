//! What INFO counts.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where something unexpected happens"
)]

use crate::common::{TestClient, TestServer, eventually};

/// One field of a section.
fn field(client: &mut TestClient, section: &str, name: &str) -> u64 {
    client.send(format!("INFO {section}\r\n"));
    let len: usize = client.line().strip_prefix('$').unwrap().parse().unwrap();
    let (mut read, mut found) = (0, None);
    while read < len {
        let line = client.line();
        read += line.len() + 2;
        let value = line
            .strip_prefix(name)
            .and_then(|rest| rest.strip_prefix(':'));
        found = found.or_else(|| value.map(|value| value.parse().unwrap()));
    }
    client.expect("\r\n");
    found.unwrap_or_else(|| panic!("no field {name}"))
}

fn lookups(client: &mut TestClient) -> (u64, u64) {
    let mut stat = |name| field(client, "stats", name);
    (stat("keyspace_hits"), stat("keyspace_misses"))
}

/// Hits and misses of each command as redis-server 7.0 counts them, where `k` and `l` have a value.
const COMMANDS: &[(&str, u64, u64)] = &[
    ("GET k", 1, 0),
    ("GET none", 0, 1),
    ("MGET k none l k", 3, 1),
    ("EXISTS k none k", 2, 1),
    ("EXISTS k", 1, 0),
    ("TOUCH k none", 1, 1),
    ("TYPE k", 1, 0),
    ("TYPE none", 0, 1),
    ("TTL k", 1, 0),
    ("PTTL none", 0, 1),
    ("EXPIRETIME k", 1, 0),
    ("STRLEN none", 0, 1),
    ("GETRANGE k 0 0", 1, 0),
    ("LCS k none", 1, 1),
    ("OBJECT ENCODING k", 1, 0),
    ("OBJECT FREQ none", 0, 1),
    ("GETEX k", 1, 0),
    ("GETEX none", 0, 1),
    ("GETSET k 1", 1, 0),
    ("GETDEL none", 0, 1),
    ("SET k 1 GET", 1, 0),
    ("SET k 1 XX GET", 1, 0),
    ("COPY k l", 1, 0),
    ("COPY none l", 0, 1),
    ("COPY k l REPLACE", 1, 0),
    ("SET k 1", 0, 0),
    ("SET k 1 NX", 0, 0),
    ("SET k 1 KEEPTTL", 0, 0),
    ("SETNX k 1", 0, 0),
    ("MSETNX none 1 k 1", 0, 0),
    ("MSET k 1 l 1", 0, 0),
    ("APPEND k 1", 0, 0),
    ("SETRANGE k 0 1", 0, 0),
    ("INCR k", 0, 0),
    ("INCRBYFLOAT k 1", 0, 0),
    ("EXPIRE none 10", 0, 0),
    ("PERSIST k", 0, 0),
    ("DEL none", 0, 0),
    ("RENAME k k2", 0, 0),
    ("RENAMENX k2 k", 0, 0),
    ("WATCH k", 0, 0),
    ("RANDOMKEY", 0, 0),
    ("SCAN 0", 0, 0),
    ("KEYS *", 0, 0),
    ("MEMORY USAGE k", 0, 0),
    ("DBSIZE", 0, 0),
];

#[test]
fn hits_and_misses_are_those_of_reading_commands() {
    let server = TestServer::start();
    let (mut client, mut asked) = (server.client(), server.client());
    client.ask("MSET k 1 l 2", "+OK\r\n");
    for (command, hits, misses) in COMMANDS {
        client.ask("CONFIG RESETSTAT", "+OK\r\n");
        assert_eq!(lookups(&mut client), (0, 0), "nothing before {command}");
        // Its reply, of any shape, ends before this one.
        asked.send(format!("{command}\r\nECHO the-end\r\n"));
        while asked.line() != "the-end" {}
        assert_eq!(lookups(&mut client), (*hits, *misses), "{command}");
    }
    client.ask("CONFIG RESETSTAT", "+OK\r\n");
    client.ask("SET k 7", "+OK\r\n");
    client.send("MULTI\r\nGET k\r\nMGET k none\r\nEXEC\r\n");
    client.expect("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n$1\r\n7\r\n*2\r\n$1\r\n7\r\n$-1\r\n");
    assert_eq!(lookups(&mut client), (2, 1), "inside EXEC");
}

#[test]
fn errors_reads_writes_and_expired_keys_are_counted_until_the_reset() {
    let server = TestServer::start();
    let mut client = server.client();
    let stat = |client: &mut TestClient, name| field(client, "stats", name);
    client.ask("CONFIG RESETSTAT", "+OK\r\n");
    let (reads, writes) = (
        stat(&mut client, "total_reads_processed"),
        stat(&mut client, "total_writes_processed"),
    );
    client.ask("SET k v PX 1", "+OK\r\n");
    client.send("MULTI\r\nINCR text\r\nGET\r\nEXEC\r\n");
    client.expect("+OK\r\n+QUEUED\r\n-ERR wrong number of arguments for 'get' command\r\n");
    client.expect("-EXECABORT Transaction discarded because of previous errors.\r\n");
    assert_eq!(stat(&mut client, "total_error_replies"), 2);
    assert!(stat(&mut client, "total_reads_processed") >= reads + 3);
    assert!(stat(&mut client, "total_writes_processed") >= writes + 3);

    assert_eq!(stat(&mut client, "expired_keys"), 0);
    eventually("the value expires and is counted", || {
        server
            .server
            .keyspace
            .tend(greenwich::server::process::wall(), 0, 1024);
        stat(&mut client, "expired_keys") == 1
    });
    client.ask("CONFIG RESETSTAT", "+OK\r\n");
    for name in ["expired_keys", "total_error_replies"] {
        assert_eq!(stat(&mut client, name), 0, "{name}");
    }
}
