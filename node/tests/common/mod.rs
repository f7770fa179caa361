//! What tests of several processes share: the program, ports for it, and waiting for a condition.

use std::net::{TcpListener, UdpSocket};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_greenwich");
/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a command that has to succeed.
pub(crate) fn greenwich(args: &[&str]) {
    let done = Command::new(BINARY).args(args).output().unwrap();
    assert!(done.status.success(), "{args:?}: {done:?}");
}

/// A port that neither TCP nor UDP uses.
pub(crate) fn free_port() -> u16 {
    loop {
        let tcp = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = tcp.local_addr().unwrap().port();
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Waits until a condition holds, or panics with what was waited for.
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(50));
    }
}
