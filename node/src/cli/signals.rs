//! How a process is told to stop: Ctrl-C, SIGTERM, or the end of the process that holds its input.

use std::io::{self, Read};
use std::thread;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

/// Listens from its creation on, so that a signal during start-up is not lost.
#[derive(Debug)]
pub(crate) struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
    input_end: Option<oneshot::Receiver<()>>,
}

impl StopSignals {
    /// Must be called inside a runtime.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            input_end: None,
        })
    }

    /// Also stops at the end of standard input: the pipe of a parent ends with the parent, even when
    /// that is killed.
    pub(crate) fn and_input_end(mut self) -> Self {
        let (ended, input_end) = oneshot::channel();
        thread::spawn(move || {
            let mut ignored = [0; 256];
            let mut input = io::stdin().lock();
            while input.read(&mut ignored).is_ok_and(|count| count > 0) {}
            ended.send(()).ok();
        });
        self.input_end = Some(input_end);
        self
    }

    /// Resolves when the process is to stop, with what told it so.
    pub(crate) async fn stop(&mut self) -> &'static str {
        let input_end = async {
            match &mut self.input_end {
                Some(end) => end.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => "interrupt",
            _ = self.terminate.recv() => "SIGTERM",
            _ = input_end => "end of the starting process",
        }
    }
}
