//! Processes that end with this one, however it ends.

use std::{
    fs::File,
    io,
    net::{SocketAddr, TcpStream},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{time::ClockId, unistd};
use parking_lot::Mutex;
pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};

use super::find_program;
use crate::interrupt::{self, CleanUp, Turn};

/// Longest pause between two looks at a server that starts.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// How long a server may take until it accepts connections.
const START_LIMIT: Duration = Duration::from_secs(20);

/// A server whose connections broke may be a moment from its end. It gets this long, so that its death is not mistaken
/// for our doing.
const DEATH_GRACE: Duration = Duration::from_millis(20);

/// Servers that ended by themselves, and that nobody has been told of.
static DEATHS: Mutex<Vec<ProcessError>> = Mutex::new(Vec::new());

/// Takes what is known of servers that ended by themselves until they were dropped.
#[must_use]
pub fn take_deaths() -> Vec<ProcessError> {
    std::mem::take(&mut DEATHS.lock())
}

/// Why a server does not run.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It could not be started.
    #[error("cannot start {name}, program {program}: {error}")]
    Start {
        /// What was to be started.
        name: String,
        /// Its program.
        program: String,
        /// Why not.
        error: io::Error,
    },
    /// Somebody wants an end of everything.
    #[error("{name} is not started: this was interrupted")]
    Interrupted {
        /// What was to be started.
        name: String,
    },
    /// It ended by itself.
    #[error("{name} ended by itself with {status}; its log is {}", log.display())]
    Ended {
        /// What had been started.
        name: String,
        /// How it ended.
        status: ExitStatus,
        /// Its output.
        log: PathBuf,
    },
    /// It takes too long.
    #[error("{name} does not listen on {address} after {START_LIMIT:?}; its log is {}", log.display())]
    Silent {
        /// What had been started.
        name: String,
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

/// A child process that is killed when it is dropped, and by the kernel when the thread that started it ends, which the
/// death of this process is too.
#[derive(Debug)]
pub struct Process {
    name: String,
    command: Command,
    child: Child,
    log: PathBuf,
    /// It was killed because somebody here wanted that.
    is_killed: bool,
    kill_on_interrupt: Option<CleanUp>,
}

impl Process {
    /// Starts `command`, which people know as `name`; what it prints goes to `log`.
    ///
    /// It ends with the calling thread, if the system has `setpriv`.
    ///
    /// # Errors
    /// [`ProcessError::Start`], or [`ProcessError::Interrupted`].
    pub fn start(name: &str, command: &Command, log: &Path) -> Result<Self, ProcessError> {
        let failed = |error| ProcessError::Start {
            name: name.to_owned(),
            program: command.get_program().to_string_lossy().into_owned(),
            error,
        };
        let output = File::create(log).map_err(failed)?;
        let errors = output.try_clone().map_err(failed)?;
        let mut command = bound(command).map_err(failed)?;
        // A group of its own: Ctrl-C in a terminal reaches this program alone, which then ends it in its order.
        command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors);
        let (child, kill_on_interrupt) = spawn(name, &mut command)?;
        Ok(Self {
            name: name.to_owned(),
            command,
            child,
            log: log.to_owned(),
            is_killed: false,
            kill_on_interrupt,
        })
    }

    /// Kills it because that is wanted, and waits for its end.
    pub fn kill(&mut self) {
        self.is_killed = true;
        // Both fail only for a process that has ended. In between its number is not another's, so that an interrupt does
        // no harm.
        let _ended = self.child.kill();
        self.kill_on_interrupt = None;
        let _status = self.child.wait();
    }

    /// Starts it again with the same command line, after it was killed.
    ///
    /// # Errors
    /// Those of [`Process::start`].
    pub fn restart(&mut self) -> Result<(), ProcessError> {
        self.kill();
        (self.child, self.kill_on_interrupt) = spawn(&self.name, &mut self.command)?;
        self.is_killed = false;
        Ok(())
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// [`ProcessError::Gone`].
    pub fn signal(&self, signal: Signal) -> Result<(), ProcessError> {
        let pid = self.pid();
        match number(&self.child).map(|pid| kill_process(pid, signal)) {
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
                let (name, log) = (self.name.clone(), self.log.clone());
                return Err(ProcessError::Silent { name, address, log });
            }
            thread::sleep(LOOK_INTERVAL);
        }
        Ok(())
    }

    /// Whether it still runs, or was killed because that was wanted.
    ///
    /// # Errors
    /// [`ProcessError::Ended`].
    pub fn check(&mut self) -> Result<(), ProcessError> {
        match self.child.try_wait() {
            Ok(Some(status)) if !self.is_killed => Err(self.ended(status)),
            Ok(_) => Ok(()),
            Err(_) => Err(ProcessError::Gone { pid: self.pid() }),
        }
    }

    fn ended(&self, status: ExitStatus) -> ProcessError {
        let (name, log) = (self.name.clone(), self.log.clone());
        ProcessError::Ended { name, status, log }
    }

    /// How it ended by itself, if it has or is about to.
    fn death(&mut self) -> Option<ExitStatus> {
        let deadline = Instant::now() + DEATH_GRACE;
        while self.child.try_wait().ok()?.is_none() && Instant::now() < deadline {
            thread::sleep(DEATH_GRACE / 10);
        }
        self.child.try_wait().ok()?
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let is_unexpected = !self.is_killed && interrupt::seen().is_none();
        if is_unexpected && let Some(status) = self.death() {
            DEATHS.lock().push(self.ended(status));
        }
        self.kill();
    }
}

fn number(child: &Child) -> Option<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw)
}

/// Starts it, to be killed when somebody interrupts.
fn spawn(name: &str, command: &mut Command) -> Result<(Child, Option<CleanUp>), ProcessError> {
    let name = || name.to_owned();
    if interrupt::seen().is_some() {
        return Err(ProcessError::Interrupted { name: name() });
    }
    let child = command.spawn().map_err(|error| ProcessError::Start {
        name: name(),
        program: command.get_program().to_string_lossy().into_owned(),
        error,
    })?;
    let kill = number(&child).map(|pid| {
        interrupt::clean_up(Turn::First, move || {
            // It fails only for a process that has ended.
            let _ended = kill_process(pid, Signal::KILL);
        })
    });
    Ok((child, kill))
}

/// The same command in a process that the kernel kills when the thread that starts it ends. No signal handler and no
/// destructor runs when this program is killed, so nothing less would do. Without `setpriv` it is the command itself.
fn bound(command: &Command) -> io::Result<Command> {
    let program = command.get_program();
    let is_there = match Path::new(program).components().count() {
        1 => find_program(&program.to_string_lossy()).is_some(),
        _ => Path::new(program).exists(),
    };
    if !is_there {
        // `setpriv` would say so in a log.
        return Err(io::ErrorKind::NotFound.into());
    }
    let mut bound = match find_program("setpriv") {
        Some(setpriv) => Command::new(setpriv),
        None => Command::new(program),
    };
    if bound.get_program() != program {
        bound.args(["--pdeathsig", "KILL", "--"]).arg(program);
    }
    bound.args(command.get_args());
    Ok(bound)
}

/// What a process has used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Time on processors, of all its threads, those that ended too, user and system. It is that of the kernel's clock of
    /// the process, in nanoseconds: `/proc/PID/stat` rounds each down to 10 ms, and `schedstat` forgets threads that ended.
    /// What a thread has used since the scheduler last looked at it, 10 ms at most, may be missing while it runs.
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
    let number = unistd::Pid::from_raw(i32::try_from(pid).ok()?);
    let cpu = ClockId::pid_cpu_clock_id(number).and_then(ClockId::now);
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
        cpu: cpu.ok()?.into(),
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

    const TICK: Duration = Duration::from_millis(10);

    /// User and system time as `/proc/PID/stat` says them, each of them up to a tick too short.
    fn cpu_of_stat(pid: u32) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        // The name, in parentheses, may contain anything.
        let fields = stat.rsplit_once(')').unwrap().1.split_whitespace().skip(11);
        let ticks = fields.take(2).map(|ticks| ticks.parse::<u32>().unwrap());
        TICK * ticks.sum()
    }

    #[test]
    fn time_on_processors_is_finer_than_ticks_and_keeps_that_of_threads_that_ended() {
        let pid = std::process::id();
        let cpu = || usage(pid).unwrap().cpu;
        let until = cpu() + 10 * TICK;
        let deadline = Instant::now() + Duration::from_secs(60);
        let busy = thread::spawn(move || {
            let mut seen = vec![usage(pid).unwrap().cpu];
            while *seen.last().unwrap() < until && Instant::now() < deadline {
                seen.push(usage(pid).unwrap().cpu);
            }
            seen
        });
        let seen = busy.join().unwrap();
        assert!(seen.is_sorted(), "it goes backwards");
        assert!(*seen.last().unwrap() >= until, "no time passes");
        assert!(cpu() >= until, "the time of the thread is lost");
        let is_fine = |cpu: &Duration| !cpu.as_nanos().is_multiple_of(TICK.as_nanos());
        assert!(seen.iter().any(is_fine));
        let (before, clock, after) = (cpu_of_stat(pid), cpu(), cpu_of_stat(pid));
        assert!(
            (before - 2 * TICK..=after + 2 * TICK).contains(&clock),
            "{clock:?} is not between {before:?} and {after:?}"
        );
    }

    #[test]
    fn a_program_that_ends_or_is_missing_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
        let mut process = Process::start("truth", &Command::new("true"), &log).unwrap();
        let error = process.await_port(nowhere).unwrap_err().to_string();
        process.kill();
        assert!(
            error.contains("truth ended by itself with exit status: 0"),
            "{error}"
        );
        let missing = Command::new("/nowhere/server");
        let missing = Process::start("a server", &missing, &log).unwrap_err();
        let missing = missing.to_string();
        assert!(
            missing.contains("cannot start a server, program /nowhere/server"),
            "{missing}"
        );
    }

    #[test]
    fn a_death_that_nobody_wanted_is_remembered() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let start = |name: &str| {
            let mut command = Command::new("sleep");
            Process::start(name, command.arg("600"), &log).unwrap()
        };
        let (found_dead, mut killed, dropped) =
            (start("found dead"), start("killed"), start("dropped"));
        let pid = Pid::from_raw(i32::try_from(found_dead.pid()).unwrap()).unwrap();
        kill_process(pid, Signal::KILL).unwrap();
        killed.kill();
        drop((found_dead, killed, dropped));
        let deaths: Vec<String> = take_deaths().iter().map(ToString::to_string).collect();
        let [death] = deaths.as_slice() else {
            panic!("one death is told: {deaths:?}");
        };
        assert!(death.contains("found dead ended by itself with signal: 9"));
    }
}
