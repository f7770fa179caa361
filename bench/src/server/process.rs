//! Processes that end with this one's interest in them.

use std::{
    fs::File,
    io,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};

/// Longest pause between two looks at a server that starts.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// How long a server may take until it accepts connections.
const START_LIMIT: Duration = Duration::from_secs(20);
/// Clock ticks of `/proc/PID/stat` in a second, as every Linux shows them to programs.
const TICKS_PER_SECOND: f64 = 100.0;

/// Why a server does not run.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It could not be started.
    #[error("cannot start {program}: {error}")]
    Start {
        /// What was to be started.
        program: String,
        /// Why not.
        error: io::Error,
    },
    /// It ended by itself.
    #[error("{program} ended with {status}; its log is {}", log.display())]
    Ended {
        /// What had been started.
        program: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// Its output.
        log: PathBuf,
    },
    /// It takes too long.
    #[error("{program} does not listen on {address} after {START_LIMIT:?}; its log is {}", log.display())]
    Silent {
        /// What had been started.
        program: String,
        /// Where it should listen.
        address: SocketAddr,
        /// Its output.
        log: PathBuf,
    },
    /// It does not come to rest, so that nothing can be charged to what comes next.
    #[error("process {pid} is still busy {limit:?} after its load")]
    Restless {
        /// The process.
        pid: u32,
        /// How long was waited.
        limit: Duration,
    },
    /// What the kernel says of it cannot be read.
    #[error("cannot read what process {pid} uses: it may have ended")]
    Gone {
        /// The process.
        pid: u32,
    },
}

/// A child process that is killed when it is dropped.
#[derive(Debug)]
pub struct Process {
    program: String,
    command: Command,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command`; what it prints goes to `log`.
    ///
    /// # Errors
    /// [`ProcessError::Start`].
    pub fn start(mut command: Command, log: &Path) -> Result<Self, ProcessError> {
        let program = command.get_program().to_string_lossy().into_owned();
        let failed = |error| ProcessError::Start {
            program: program.clone(),
            error,
        };
        let output = File::create(log).map_err(failed)?;
        let errors = output.try_clone().map_err(failed)?;
        command.stdin(Stdio::null()).stdout(output).stderr(errors);
        let child = command.spawn().map_err(failed)?;
        Ok(Self {
            program,
            command,
            child,
            log: log.to_owned(),
        })
    }

    /// Kills it, and waits for its end.
    pub fn kill(&mut self) {
        // Both fail only for a process that has ended.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }

    /// Starts it again with the same command line, after it was killed.
    ///
    /// # Errors
    /// [`ProcessError::Start`].
    pub fn restart(&mut self) -> Result<(), ProcessError> {
        self.kill();
        let program = self.program.clone();
        let failed = |error| ProcessError::Start { program, error };
        self.child = self.command.spawn().map_err(failed)?;
        Ok(())
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// [`ProcessError::Gone`].
    pub fn signal(&self, signal: Signal) -> Result<(), ProcessError> {
        let pid = self.pid();
        let sent = Pid::from_raw(pid as i32).map(|pid| kill_process(pid, signal));
        match sent {
            Some(Ok(())) => Ok(()),
            Some(Err(_)) | None => Err(ProcessError::Gone { pid }),
        }
    }

    /// The process' number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it accepts connections at `address`.
    ///
    /// # Errors
    /// [`ProcessError`] when it ends or takes too long.
    pub fn await_port(&mut self, address: SocketAddr) -> Result<(), ProcessError> {
        let deadline = Instant::now() + START_LIMIT;
        while TcpStream::connect_timeout(&address, LOOK_INTERVAL).is_err() {
            self.check()?;
            if Instant::now() > deadline {
                let (program, log) = (self.program.clone(), self.log.clone());
                return Err(ProcessError::Silent {
                    program,
                    address,
                    log,
                });
            }
            thread::sleep(LOOK_INTERVAL);
        }
        Ok(())
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// [`ProcessError::Ended`].
    pub fn check(&mut self) -> Result<(), ProcessError> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => {
                let (program, log) = (self.program.clone(), self.log.clone());
                Err(ProcessError::Ended {
                    program,
                    status,
                    log,
                })
            }
            Err(_) => Err(ProcessError::Gone { pid: self.pid() }),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What a process has used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Time on processors, of all its threads, user and system.
    pub cpu: Duration,
    /// Resident memory.
    pub resident_bytes: u64,
}

/// Reads what a process has used so far.
///
/// # Errors
/// [`ProcessError::Gone`].
pub fn usage(pid: u32) -> Result<Usage, ProcessError> {
    read_usage(pid).ok_or(ProcessError::Gone { pid })
}

fn read_usage(pid: u32) -> Option<Usage> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may contain anything.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let resident = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = resident
        .trim()
        .trim_end_matches(" kB")
        .trim()
        .parse()
        .ok()?;
    Some(Usage {
        cpu: Duration::from_secs_f64((user + system) / TICKS_PER_SECOND),
        resident_bytes: kib * 1024,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_costs_time_on_processors_and_memory_is_seen() {
        let pid = std::process::id();
        let before = usage(pid).unwrap();
        let held = vec![1_u8; 64 << 20];
        let deadline = Instant::now() + Duration::from_secs(60);
        while usage(pid).unwrap().cpu < before.cpu + Duration::from_millis(50) {
            assert!(Instant::now() < deadline, "no time passes on the processor");
        }
        assert!(
            usage(pid).unwrap().resident_bytes >= before.resident_bytes + held.len() as u64 / 2
        );
    }

    #[test]
    fn a_program_that_ends_or_is_missing_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
        let mut process = Process::start(Command::new("true"), &log).unwrap();
        let error = process.await_port(nowhere).unwrap_err().to_string();
        assert!(error.contains("true ended with exit status: 0"), "{error}");
        let missing = Process::start(Command::new("/nowhere/server"), &log).unwrap_err();
        assert!(
            missing.to_string().contains("cannot start /nowhere/server"),
            "{missing}"
        );
    }
}
