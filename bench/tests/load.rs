//! What `greenwich-bench load` says when a server stops answering, and when somebody interrupts it.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::process::CommandExt,
    process::{Child, Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

const LIMIT: Duration = Duration::from_secs(60);
const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";

/// Answers so many PINGs, and then only counts.
fn serve(mut stream: TcpStream, answers: usize, asked: &AtomicUsize) {
    let (mut bytes, mut answered) = (0, 0);
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        bytes += read;
        let now = bytes / PING.len();
        asked.store(now, Ordering::Relaxed);
        let replies = b"+PONG\r\n".repeat(now.min(answers) - answered);
        answered = now.min(answers);
        if stream.write_all(&replies).is_err() {
            return;
        }
    }
}

/// A server that stops answering, and how much it was asked.
fn server(answers: usize) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let counter = Arc::clone(&counter);
            thread::spawn(move || serve(stream, answers, &counter));
        }
    });
    (address, asked)
}

/// A running greenwich-bench, killed when a test fails.
struct Bench(Option<Child>);

impl Bench {
    fn start(address: SocketAddr, more: &[&str]) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_greenwich-bench"))
            .args(["load", "--mix", "ping", "--connections", "1"])
            .arg("--address")
            .arg(format!("localhost:{}", address.port()))
            .args(more)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn();
        Self(Some(child.unwrap()))
    }

    fn interrupt(&self, signal: Signal) {
        let pid = self.0.as_ref().unwrap().id();
        kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal).unwrap();
    }

    fn end(mut self) -> Output {
        poll("the bench ends", || {
            self.0.as_mut().unwrap().try_wait().unwrap().is_some()
        });
        self.0.take().unwrap().wait_with_output().unwrap()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ended = child.kill();
            let _status = child.wait();
        }
    }
}

fn poll(what: &str, mut look: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !look() {
        assert!(Instant::now() < deadline, "it does not come to be: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_was_answered_until_an_interrupt_is_shown() {
    for (signal, name, code) in [(Signal::INT, "SIGINT", 130), (Signal::TERM, "SIGTERM", 143)] {
        let (address, asked) = server(100);
        let open = ["--rate", "1000", "--length", "1h", "--warm-up", "0s"];
        let bench = Bench::start(address, &open);
        poll("it has been asked", || asked.load(Ordering::Relaxed) > 200);
        bench.interrupt(signal);
        let output = bench.end();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(code), "{text}");
        for part in [
            &format!("interrupted by {name} after "),
            " s of 1h: the rest was not measured",
            "not yet answered: the latencies below are of the other 100\n",
            "│ ping ",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        // Slots that were not due are not missed.
        let missed = text.split("missed slots ").nth(1).unwrap();
        let missed: u64 = missed.split(',').next().unwrap().parse().unwrap();
        assert!(missed < 3_600_000 / 2, "{missed}");
    }
}

#[test]
fn a_load_that_is_interrupted_while_it_warms_up_has_nothing_to_show() {
    let (address, asked) = server(usize::MAX);
    let bench = Bench::start(address, &["--length", "1h", "--warm-up", "59m"]);
    poll("it has been asked", || asked.load(Ordering::Relaxed) > 200);
    bench.interrupt(Signal::INT);
    let output = bench.end();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(130), "{text}");
    assert!(
        text.contains("nothing was recorded: it was warming up"),
        "{text}"
    );
}

/// Answers so many PINGs like this, and then ends the connection.
fn mortal(answers: usize, answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; PING.len()];
            for _ in 0..answers {
                if stream.read_exact(&mut request).is_err() || stream.write_all(answer).is_err() {
                    break;
                }
            }
        }
    });
    address
}

#[test]
fn what_a_server_answered_before_it_died_is_shown_as_partial() {
    let address = mortal(100, b"+PONG\r\n");
    let open = ["--rate", "1000", "--length", "1h", "--warm-up", "0s"];
    let output = Bench::start(address, &open).end();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    for part in [
        "PARTIAL, given up after ",
        " s of 1h: 127.0.0.1:",
        "│ ping ",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("the load was given up: "), "{said}");
}

#[test]
fn errors_are_quoted_and_nothing_but_errors_is_a_failure() {
    let address = mortal(100, b"-NOAUTH who are you?\r\n");
    let open = ["--rate", "100", "--length", "500ms", "--warm-up", "0s"];
    let output = Bench::start(address, &open).end();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    let quoted = "errors 50, such as: NOAUTH who are you?\n";
    assert!(text.contains(quoted), "{text}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("every request was answered with an error"),
        "{said}"
    );
}
