//! A load begins when it is connected: however long that takes, it is as long as it was asked to be.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod common;

use std::{
    io::Write,
    net::{SocketAddr, TcpListener, TcpStream},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use common::answer_all;
use greenwich_bench::load::{Load, generator::Progress};

const LENGTH: Duration = Duration::from_secs(1);
const CONNECTIONS: usize = 4;
/// Each connection's greeting is answered so late; all of them together take longer than the load.
const GREETING_DELAY: Duration = Duration::from_millis(400);
/// So that replies to a closed loop are not without number.
const ANSWER_DELAY: Duration = Duration::from_millis(1);

/// Greets slowly, one connection after the other, and answers PINGs; tells when each request came.
fn serve() -> (SocketAddr, mpsc::Receiver<Instant>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (told, arrivals) = mpsc::channel();
    thread::spawn(move || {
        for _ in 0..CONNECTIONS {
            let (mut stream, _) = listener.accept().unwrap();
            thread::sleep(GREETING_DELAY);
            let told = told.clone();
            // The load may have failed and gone.
            let _gone = stream.write_all(b"%0\r\n");
            thread::spawn(move || answer(stream, &told));
        }
    });
    (address, arrivals)
}

fn answer(stream: TcpStream, told: &mpsc::Sender<Instant>) {
    answer_all(stream, |request| {
        if !request.ends_with(b"PING\r\n") {
            return Vec::new();
        }
        let _gone = told.send(Instant::now());
        thread::sleep(ANSWER_DELAY);
        b"+PONG\r\n".to_vec()
    });
}

fn load(address: SocketAddr, threads: usize) -> Load {
    Load {
        length: LENGTH,
        connections: CONNECTIONS,
        threads,
        resp3: true,
        ..Load::pings(address)
    }
}

#[test]
fn connecting_takes_nothing_from_a_turn() {
    for threads in [1, 2] {
        let (address, arrivals) = serve();
        let record = load(address, threads).run(&Progress::default()).unwrap();
        let arrivals: Vec<Instant> = arrivals.iter().collect();
        assert_eq!(arrivals.len() as u64, record.answered);
        let first = arrivals.iter().min().expect("something was asked");
        let last = arrivals.iter().max().expect("something was asked");
        let length = *last - *first;
        assert!(
            length >= LENGTH.mul_f64(0.8),
            "{threads} threads asked for {length:?} instead of {LENGTH:?}"
        );
    }
}

#[test]
fn a_thread_that_cannot_connect_ends_the_load() {
    let refused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
    let error = load(refused.unwrap(), 2).run(&Progress::default());
    assert!(error.unwrap_err().to_string().contains("connection"));
}
