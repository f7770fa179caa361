//! Requests as bytes, however they are cut, and the replies as bytes.

use crate::common::{TestServer, eventually};

#[test]
fn a_pipeline_is_answered_in_order_whatever_its_cuts() {
    let server = TestServer::start();
    let request = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nva\r\nl\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\nPING\r\n\r\n*0\r\n*1\r\n$4\r\nPING\r\n";
    let reply = b"+OK\r\n$5\r\nva\r\nl\r\n+PONG\r\n+PONG\r\n";
    let mut client = server.client();
    client.send(request);
    client.expect(reply);
    for size in 1..request.len() {
        let mut client = server.client();
        client.send(&request[..size]);
        // What came whole is answered before the rest comes.
        if size >= 58 {
            client.expect(&reply[..16]);
            client.send(&request[size..]);
            client.expect(&reply[16..]);
        } else {
            client.send(&request[size..]);
            client.expect(reply);
        }
    }
    let mut slow = server.client();
    for byte in request {
        slow.send([*byte]);
    }
    slow.expect(reply);
}

#[test]
fn many_requests_in_one_write_are_all_answered() {
    let server = TestServer::start();
    let mut client = server.client();
    let mut writer = client.stream.try_clone().unwrap();
    let requests = b"*2\r\n$4\r\nECHO\r\n$3\r\nabc\r\n".repeat(50_000);
    let sending =
        std::thread::spawn(move || std::io::Write::write_all(&mut writer, &requests).unwrap());
    client.expect(b"$3\r\nabc\r\n".repeat(50_000));
    sending.join().unwrap();
    eventually("all are counted", || {
        server.server.commands_total() == 50_000
    });
}

#[test]
fn a_large_value_goes_in_and_comes_out() {
    let server = TestServer::start();
    let mut client = server.client();
    let value: Vec<u8> = (0..20_000_000_u32)
        .map(|index| (index % 251) as u8)
        .collect();
    client.send(format!(
        "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n",
        value.len()
    ));
    client.send(&value);
    client.send("\r\n");
    client.expect("+OK\r\n");
    client.send("GET k\r\n");
    client.expect(format!("${}\r\n", value.len()));
    client.expect(&value);
    client.expect("\r\n");
    client.ask("STRLEN k", ":20000000\r\n");
}

#[test]
fn what_is_no_request_is_answered_and_ends_the_connection() {
    let server = TestServer::start();
    for (sent, answer) in [
        (
            "*1\r\n:1\r\n",
            "-ERR Protocol error: expected '$', got ':'\r\n",
        ),
        (
            "*x\r\n",
            "-ERR Protocol error: invalid multibulk length\r\n",
        ),
        (
            "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$10000000000\r\n",
            "-ERR Protocol error: invalid bulk length\r\n",
        ),
        (
            "PING \"\r\n",
            "-ERR Protocol error: unbalanced quotes in request\r\n",
        ),
    ] {
        let mut client = server.client();
        client.send(format!("PING\r\n{sent}PING\r\n"));
        assert_eq!(
            String::from_utf8(client.rest()).unwrap(),
            format!("+PONG\r\n{answer}"),
            "{sent:?}"
        );
    }
    eventually("nobody is left", || server.server.clients_connected() == 0);
}

#[test]
fn unknown_commands_and_wrong_arguments_are_named() {
    let server = TestServer::start();
    let mut client = server.client();
    client.ask(
        "foo bar baz",
        "-ERR unknown command 'foo', with args beginning with: 'bar' 'baz' \r\n",
    );
    client.ask(
        "GET",
        "-ERR wrong number of arguments for 'get' command\r\n",
    );
    client.ask(
        "client kill",
        "-ERR wrong number of arguments for 'client|kill' command\r\n",
    );
    client.ask(
        "Client nosuch",
        "-ERR unknown subcommand 'nosuch'. Try CLIENT HELP.\r\n",
    );
    client.send(format!(
        "*2\r\n$3\r\nGET\r\n$65536\r\n{}\r\n",
        "k".repeat(65_536)
    ));
    client.expect("-ERR key is longer than 65535 bytes\r\n");
    client.ask("GET k", "$-1\r\n");
}

#[test]
fn the_protocol_can_be_chosen() {
    let server = TestServer::start();
    let mut client = server.client();
    client.ask("HELLO 4", "-NOPROTO unsupported protocol version\r\n");
    client.ask("GET k", "$-1\r\n");
    client.send("HELLO 3 SETNAME me\r\n");
    client.expect("%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n$5\r\nproto\r\n:3\r\n$2\r\nid\r\n:1\r\n");
    client.expect(
        "$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n",
    );
    client.ask("GET k", "_\r\n");
    client.ask("CLIENT GETNAME", "$2\r\nme\r\n");
    client.ask("RESET", "+RESET\r\n");
    client.ask("GET k", "$-1\r\n");
    client.ask("CLIENT GETNAME", "$-1\r\n");
}

#[test]
fn replies_are_held_back_as_asked() {
    let server = TestServer::start();
    let mut client = server.client();
    client.send("CLIENT REPLY OFF\r\nSET k 1\r\nNOSUCH\r\nCLIENT REPLY ON\r\n");
    client.expect("+OK\r\n");
    client.send("CLIENT REPLY SKIP\r\nINCR k\r\nINCR k\r\n");
    client.expect(":3\r\n");
    client.send("CLIENT REPLY SKIP\r\nWAIT 1 1\r\nPING\r\n");
    client.expect("+PONG\r\n");
    client.send("CLIENT REPLY OFF\r\nRESET\r\n");
    client.expect("+RESET\r\n");
}

#[test]
fn quit_is_answered_and_nothing_after_it() {
    let server = TestServer::start();
    let mut client = server.client();
    client.send("SET k v\r\nQUIT\r\nSET k w\r\n");
    assert_eq!(client.rest(), b"+OK\r\n+OK\r\n");
    server.client().ask("GET k", "$1\r\nv\r\n");
}
