//! Messages between connections, which are served by several threads.

use crate::common::{TestServer, eventually};

#[test]
fn messages_reach_channels_and_patterns_in_order() {
    let server = TestServer::start();
    let (mut subscriber, mut other, mut publisher) =
        (server.client(), server.client(), server.client());
    subscriber.ask(
        "SUBSCRIBE news",
        "*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n",
    );
    subscriber.ask(
        "PSUBSCRIBE n*",
        "*3\r\n$10\r\npsubscribe\r\n$2\r\nn*\r\n:2\r\n",
    );
    other.ask(
        "SUBSCRIBE news",
        "*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n",
    );
    for number in 0..100 {
        publisher.ask(&format!("PUBLISH news {number:02}"), ":3\r\n");
    }
    publisher.ask("PUBLISH elsewhere x", ":0\r\n");
    for number in 0..100 {
        let message = format!("*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$2\r\n{number:02}\r\n");
        subscriber.expect(&message);
        subscriber.expect(format!(
            "*4\r\n$8\r\npmessage\r\n$2\r\nn*\r\n$4\r\nnews\r\n$2\r\n{number:02}\r\n"
        ));
        other.expect(&message);
    }
    subscriber.ask("PING", "*2\r\n$4\r\npong\r\n$0\r\n\r\n");
    subscriber.ask(
        "GET k",
        "-ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this \
         context\r\n",
    );
    publisher.ask("PUBSUB NUMSUB news", "*2\r\n$4\r\nnews\r\n:2\r\n");
    subscriber.ask(
        "UNSUBSCRIBE",
        "*3\r\n$11\r\nunsubscribe\r\n$4\r\nnews\r\n:1\r\n",
    );
    subscriber.ask("RESET", "+RESET\r\n");
    publisher.ask("PUBSUB NUMPAT", ":0\r\n");
    drop(other);
    eventually("a client that left is forgotten", || {
        publisher.ask_integer("PUBLISH news x") == 0
    });
    publisher.ask("PUBSUB CHANNELS", "*0\r\n");
}

#[test]
fn resp3_subscribers_may_do_anything_else() {
    let server = TestServer::start();
    let mut client = server.client();
    client.send("HELLO 3\r\n");
    while client.line() != "$7" || client.line() != "modules" {}
    client.expect("*0\r\n");
    client.ask("SUBSCRIBE c", ">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n");
    client.ask("SET k v", "+OK\r\n");
    client.ask(
        "PUBLISH c hi",
        ">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\nhi\r\n:1\r\n",
    );
    client.send("MULTI\r\nPUBLISH c hi\r\nGET k\r\nEXEC\r\n");
    client.expect("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:1\r\n$1\r\nv\r\n>3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\nhi\r\n");
}

#[test]
fn a_subscriber_that_never_reads_is_disconnected_and_nobody_else_notices() {
    let server = TestServer::with(0, |config| {
        config.client.output_buffer_limit = greenwich::config::Bytes::mib(1)
    });
    let (mut silent, mut reading, mut publisher) =
        (server.client(), server.client(), server.client());
    silent.ask(
        "SUBSCRIBE flood",
        "*3\r\n$9\r\nsubscribe\r\n$5\r\nflood\r\n:1\r\n",
    );
    reading.ask(
        "SUBSCRIBE flood",
        "*3\r\n$9\r\nsubscribe\r\n$5\r\nflood\r\n:1\r\n",
    );
    let message = "m".repeat(100_000);
    let mut published = 0;
    eventually("the silent one is cut off", || {
        published += 1;
        let receivers = publisher.ask_integer(&format!(
            "*3\r\n$7\r\nPUBLISH\r\n$5\r\nflood\r\n$100000\r\n{message}"
        ));
        reading.expect(format!(
            "*3\r\n$7\r\nmessage\r\n$5\r\nflood\r\n$100000\r\n{message}\r\n"
        ));
        receivers == 1
    });
    assert!(
        published > 10,
        "the limit was reached after {published} messages"
    );
    assert_eq!(server.server.counts_since_reset().output_limit, 1);
    eventually("its place is free", || {
        server.server.clients_connected() == 2
    });
}
