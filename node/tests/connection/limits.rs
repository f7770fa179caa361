//! Clients that are too many, too quiet, too slow or no longer wanted.

use std::{io::Write, sync::atomic::Ordering, time::Duration};

use crate::common::{TestServer, eventually};
use greenwich::config::{Bytes, Period, Secret};
use greenwich_proto::log::{LANES, PeerIndex};

#[test]
fn one_client_more_than_allowed_is_told_so() {
    let server = TestServer::with(0, |config| config.client.max_clients = 2);
    let (mut first, mut second) = (server.client(), server.client());
    first.ask("PING", "+PONG\r\n");
    second.ask("PING", "+PONG\r\n");
    assert_eq!(
        server.client().rest(),
        b"-ERR max number of clients reached\r\n"
    );
    assert_eq!(
        (
            server.server.clients_refused(),
            server.server.clients_accepted()
        ),
        (1, 2)
    );
    first.ask("CONFIG SET maxclients 3", "+OK\r\n");
    server.client().ask("PING", "+PONG\r\n");
    drop(second);
    eventually("places are given back", || {
        server.server.clients_connected() == 1
    });
}

#[test]
fn without_the_password_nothing_is_told() {
    let server = TestServer::with(0, |config| {
        config.client.password = Some(Secret("secret".into()))
    });
    let mut client = server.client();
    client.ask("GET k", "-NOAUTH Authentication required.\r\n");
    client.ask(
        "AUTH wrong",
        "-WRONGPASS invalid username-password pair or user is disabled.\r\n",
    );
    client.ask("AUTH default secret", "+OK\r\n");
    client.ask("GET k", "$-1\r\n");
    client.ask("RESET", "+RESET\r\n");
    client.ask("GET k", "-NOAUTH Authentication required.\r\n");
    client.send("*11\r\n");
    assert_eq!(
        client.rest(),
        b"-ERR Protocol error: unauthenticated multibulk length\r\n"
    );
    let mut client = server.client();
    client.ask("AUTH secret", "+OK\r\n");
    client.ask(
        &format!("ECHO {}", "x".repeat(20_000)),
        format!("$20000\r\n{}\r\n", "x".repeat(20_000)),
    );
    client.send(format!(
        "*2\r\n$4\r\nECHO\r\n$20000\r\n{}\r\n",
        "x".repeat(20_000)
    ));
    client.expect(format!("$20000\r\n{}\r\n", "x".repeat(20_000)));
}

#[test]
fn a_client_that_never_reads_is_made_to_wait_and_others_are_served() {
    let server = TestServer::with(0, |config| {
        config.client.output_buffer_limit = Bytes::mib(1)
    });
    let mut client = server.client();
    client.send(format!(
        "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1000000\r\n{}\r\n",
        "v".repeat(1_000_000)
    ));
    client.expect("+OK\r\n");
    let greedy = server.client();
    eventually("it is connected", || server.server.clients.all().len() == 2);
    let id = server.server.clients.all().last().unwrap().id;
    greedy.stream.set_nonblocking(true).unwrap();
    let mut asked = 0;
    while asked < 200_000 {
        match (&greedy.stream).write(b"GET k\r\n") {
            Ok(bytes) => asked += bytes,
            Err(_) => break,
        }
    }
    let before = server.server.commands_total();
    for _ in 0..100 {
        client.ask("PING", "+PONG\r\n");
    }
    eventually("it is made to wait", || {
        server.server.commands_total() - before < 1000
    });
    assert!(server.server.clients.find(id).is_some());
    assert!(
        server.server.counters.totals().output_bytes < 100_000_000,
        "replies are made as they are read"
    );
    client.ask(&format!("CLIENT KILL ID {id}"), ":1\r\n");
    eventually("it is gone", || server.server.clients_connected() == 1);
}

#[test]
fn a_reply_beyond_every_limit_ends_the_connection() {
    let server = TestServer::with(0, |config| {
        config.client.output_buffer_limit = Bytes::kib(64);
        config.client.max_value_size = Bytes::kib(64);
    });
    let mut client = server.client();
    client.send(format!("SET k {}\r\n", "v".repeat(60_000)));
    client.expect("+OK\r\n");
    client.send("MULTI\r\nGET k\r\nGET k\r\nGET k\r\n");
    client.expect(b"+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n");
    client.send("EXEC\r\n");
    assert_eq!(client.rest(), b"");
    assert_eq!(
        server.server.counters.output_limit.load(Ordering::Relaxed),
        1
    );
}

#[test]
fn a_client_that_sends_nothing_is_disconnected() {
    let server = TestServer::with(0, |config| {
        config.client.idle_timeout = Period(Duration::from_secs(1))
    });
    let (mut idle, mut subscriber) = (server.client(), server.client());
    subscriber.ask("SUBSCRIBE c", "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n");
    assert_eq!(idle.rest(), b"");
    subscriber.ask("PING", "*2\r\n$4\r\npong\r\n$0\r\n\r\n");
}

#[test]
fn http_is_hung_up_on_before_its_body_is_read() {
    let server = TestServer::with(0, |_| ());
    for head in [
        "POST / HTTP/1.1\r\n",
        "GET / HTTP/1.1\r\nHost: foo\r\n",
        "hOsT: foo\r\n",
    ] {
        let mut browser = server.client();
        browser.send(format!("{head}\r\nSET k v\r\n"));
        assert_eq!(browser.rest(), b"", "{head}");
    }
    server.client().ask("EXISTS k", ":0\r\n");
}

#[test]
fn clients_are_killed_by_address_and_by_kind() {
    let server = TestServer::start();
    let (mut killer, mut victim, mut subscriber) =
        (server.client(), server.client(), server.client());
    victim.ask("PING", "+PONG\r\n");
    subscriber.ask("SUBSCRIBE c", "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n");
    let address = victim.stream.local_addr().unwrap();
    killer.ask(&format!("CLIENT KILL {address}"), "+OK\r\n");
    assert_eq!(victim.rest(), b"");
    killer.ask(&format!("CLIENT KILL {address}"), "-ERR No such client\r\n");
    killer.ask("CLIENT KILL TYPE pubsub", ":1\r\n");
    assert_eq!(subscriber.rest(), b"");
    killer.ask("CLIENT KILL TYPE normal SKIPME no", ":1\r\n");
    assert_eq!(killer.rest(), b"");
}

#[test]
fn wait_counts_the_regions_that_acknowledge() {
    let server = TestServer::with(2, |_| {});
    let mut client = server.client();
    client.send("SET k v\r\nWAIT 1 0\r\nPING\r\n");
    client.expect("+OK\r\n");
    eventually("the client waits", || {
        server.server.clients.all()[0]
            .is_blocked
            .load(Ordering::Relaxed)
    });
    let log = server.server.keyspace.log();
    for lane in 0..LANES {
        log.acknowledge(PeerIndex(0), lane, 1);
    }
    log.set_linked(PeerIndex(0), true);
    server.server.acknowledged.notify_waiters();
    client.expect(":1\r\n+PONG\r\n");
    client.ask("WAIT 2 20", ":1\r\n");
    client.ask("WAIT 0 0", ":1\r\n");
    client.send("WAIT 2 0\r\n");
    drop(client);
    eventually("a client that leaves waits no longer", || {
        server.server.clients_connected() == 0
    });
}

#[test]
fn wait_counts_no_region_whose_link_is_down() {
    let server = TestServer::with(2, |_| {});
    let log = server.server.keyspace.log();
    let mut client = server.client();
    client.ask("SET k v", "+OK\r\n");
    for (peer, lane) in (0..2).flat_map(|peer| (0..LANES).map(move |lane| (peer, lane))) {
        log.acknowledge(PeerIndex(peer), lane, 1);
    }
    client.ask("WAIT 2 1", ":0\r\n");
    log.set_linked(PeerIndex(0), true);
    log.set_linked(PeerIndex(1), true);
    client.ask("WAIT 2 0", ":2\r\n");
    log.set_linked(PeerIndex(1), false);
    client.ask("WAIT 2 1", ":1\r\n");
    client.send("MULTI\r\nWAIT 2 0\r\nEXEC\r\n");
    client.expect("+OK\r\n+QUEUED\r\n*1\r\n:1\r\n");
}

#[test]
fn a_stop_ends_every_connection_and_frees_the_port() {
    let server = TestServer::start();
    let address = server.address();
    let (mut quiet, mut waiting) = (server.client(), server.client());
    quiet.ask("PING", "+PONG\r\n");
    waiting.send("PING\r\nWAIT 5 0\r\n");
    waiting.expect("+PONG\r\n");
    server.stop();
    assert_eq!((quiet.rest(), waiting.rest()), (vec![], vec![]));
    assert!(std::net::TcpListener::bind(address).is_ok());
}

#[test]
fn no_command_makes_a_value_longer_than_the_largest() {
    let server = TestServer::with(0, |config| {
        config.client.max_value_size = Bytes::kib(1);
        config.client.query_buffer_limit = Bytes::mib(1);
    });
    let mut client = server.client();
    let too_long = "-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n";
    client.ask(&format!("SET k {}", "x".repeat(1023)), "+OK\r\n");
    client.ask("APPEND k y", ":1024\r\n");
    client.ask("APPEND k y", too_long);
    client.ask("SETRANGE k 1023 yy", too_long);
    client.ask("SETRANGE k 1022 yy", ":1024\r\n");
    client.ask("STRLEN k", ":1024\r\n");
}
