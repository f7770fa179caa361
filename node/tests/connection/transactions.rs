//! MULTI, EXEC and WATCH over the wire.

use greenwich_proto::wire::batch::ITEMS_BYTES_MAX;

use crate::common::TestServer;

#[test]
fn queued_commands_run_together_and_errors_stop_nothing() {
    let server = TestServer::start();
    let mut client = server.client();
    client.send("MULTI\r\nSET t abc\r\nINCR t\r\nINCR n\r\nDBSIZE\r\nWAIT 3 0\r\nINFO keyspace\r\nMULTI\r\n");
    client.expect("+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n");
    client.expect("-ERR MULTI calls can not be nested\r\n");
    server.client().ask("EXISTS t n", ":0\r\n");
    client.send("EXEC\r\n");
    client
        .expect("*6\r\n+OK\r\n-ERR value is not an integer or out of range\r\n:1\r\n:2\r\n:0\r\n");
    client.expect("$12\r\n# Keyspace\r\n\r\n");
    client.ask("EXEC", "-ERR EXEC without MULTI\r\n");
}

#[test]
fn a_refused_command_aborts_the_transaction() {
    let server = TestServer::start();
    let mut client = server.client();
    client.ask("MULTI", "+OK\r\n");
    client.ask("SET k v", "+QUEUED\r\n");
    client.ask(
        "SET k",
        "-ERR wrong number of arguments for 'set' command\r\n",
    );
    client.ask(
        "EXEC",
        "-EXECABORT Transaction discarded because of previous errors.\r\n",
    );
    client.ask("EXISTS k", ":0\r\n");
    client.ask("MULTI", "+OK\r\n");
    client.ask("WATCH k", "-ERR WATCH inside MULTI is not allowed\r\n");
    client.ask("DISCARD", "+OK\r\n");
    client.ask("DISCARD", "-ERR DISCARD without MULTI\r\n");
}

#[test]
fn a_transaction_that_writes_more_than_travels_together_is_refused_before_it_runs() {
    let server = TestServer::start();
    let mut client = server.client();
    let refusal = format!(
        "-ERR too much in one command or transaction: at most {ITEMS_BYTES_MAX} bytes can be written together\r\n"
    );
    client.send("MULTI\r\nSET small v\r\n");
    client.expect("+OK\r\n+QUEUED\r\n");
    for key in ["a", "b", "c"] {
        client.ask(&format!("SETRANGE {key} 500000000 x"), "+QUEUED\r\n");
    }
    client.ask("EXEC", &refusal);
    client.ask("EXISTS small a b c", ":0\r\n");
    client.send("MULTI\r\nSET small v\r\nSETRANGE a 999999999 x\r\nSET b v\r\nEXEC\r\n");
    client.expect("+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n+OK\r\n");
    client.expect("-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n+OK\r\n");
}

#[test]
fn a_watched_key_that_changes_stops_the_transaction() {
    let server = TestServer::start();
    let (mut watching, mut other) = (server.client(), server.client());
    for (touch, reply) in [
        ("SET k 1", "+OK\r\n"),
        ("SET k 1", "+OK\r\n"),
        ("EXPIRE k 100", ":1\r\n"),
        ("DEL k", ":1\r\n"),
    ] {
        watching.ask("WATCH k other", "+OK\r\n");
        other.ask(touch, reply);
        watching.send("MULTI\r\nSET k mine\r\nEXEC\r\n");
        watching.expect("+OK\r\n+QUEUED\r\n*-1\r\n");
    }
    watching.ask("WATCH k", "+OK\r\n");
    other.ask("GET k", "$-1\r\n");
    other.ask("SET elsewhere 1", "+OK\r\n");
    watching.send("MULTI\r\nSET k mine\r\nEXEC\r\n");
    watching.expect("+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n");
    // The watch ended with EXEC.
    other.ask("SET k theirs", "+OK\r\n");
    watching.send("MULTI\r\nGET k\r\nEXEC\r\n");
    watching.expect("+OK\r\n+QUEUED\r\n*1\r\n$6\r\ntheirs\r\n");
}

#[test]
fn transactions_on_the_same_keys_lose_no_update() {
    let server = TestServer::start();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = server.client();
                for _ in 0..200 {
                    client.send("MULTI\r\nINCR a\r\nINCR b\r\nEXEC\r\n");
                    client.expect("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n");
                    let (a, b) = (client.line(), client.line());
                    assert_eq!(a, b, "both keys change together");
                }
            });
        }
    });
    server
        .client()
        .ask("MGET a b", "*2\r\n$3\r\n800\r\n$3\r\n800\r\n");
}

#[test]
fn a_transaction_has_an_end() {
    let server = TestServer::start();
    let mut client = server.client();
    client.ask("MULTI", "+OK\r\n");
    let value = "v".repeat(40 << 20);
    let mut set = || {
        client.send(format!(
            "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n{value}\r\n",
            value.len()
        ));
        client.line()
    };
    assert_eq!(set(), "+QUEUED");
    assert_eq!(set(), "+QUEUED");
    assert_eq!(set(), "-ERR the transaction is too large");
    client.ask(
        "EXEC",
        "-EXECABORT Transaction discarded because of previous errors.\r\n",
    );
    client.ask("EXISTS k", ":0\r\n");
}
