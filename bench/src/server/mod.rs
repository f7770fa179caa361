//! Servers that can be measured: where their programs are, how one is started in each region, and how the regions are
//! linked. Each adapter is one file.

pub mod clock;
pub mod dragonfly;
pub mod greenwich;
pub mod process;
pub mod redis;

use std::{
    ffi::OsString,
    io::{BufRead, BufReader},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use greenwich_proto::netem::LinkProfile;

use self::{
    clock::Clock,
    process::{Process, ProcessError},
};

/// A region that a server is started in.
#[derive(Clone, Debug)]
pub struct Site {
    /// Its name.
    pub region: String,
    /// Where clients connect.
    pub client: SocketAddr,
    /// Where other regions connect.
    pub link: IpAddr,
    /// The network namespace that its server lives in; `None` for this one.
    pub namespace: Option<String>,
    /// What its server itself does to what it sends to other regions, by their names, because nothing else emulates links.
    pub impaired: Vec<(String, LinkProfile)>,
    /// A clock of its own, for timetables that set it wrong.
    pub clock: Option<Clock>,
}

impl Site {
    /// Sites on loopback, all ports free when this returns.
    ///
    /// # Errors
    /// When the system has no port left.
    pub fn on_loopback(regions: &[&str]) -> std::io::Result<Vec<Self>> {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        // All are held together, so that none is given twice.
        let held = regions
            .iter()
            .map(|_| std::net::TcpListener::bind((loopback, 0)))
            .collect::<std::io::Result<Vec<_>>>()?;
        let sites = regions.iter().zip(&held).map(|(region, port)| {
            Ok(Self {
                region: (*region).to_owned(),
                client: port.local_addr()?,
                link: loopback,
                namespace: None,
                impaired: Vec::new(),
                clock: None,
            })
        });
        sites.collect()
    }

    /// What people call `server` here.
    #[must_use]
    pub fn name_of(&self, server: &str) -> String {
        format!("{server} in {}", self.region)
    }

    /// `program` in this site's namespace, with this site's clock.
    #[must_use]
    pub fn command(&self, program: &Path) -> Command {
        let mut words: Vec<OsString> = Vec::new();
        if let Some(namespace) = &self.namespace {
            words.extend(["ip", "netns", "exec", namespace].map(Into::into));
        }
        if let Some(clock) = &self.clock {
            words.push("env".into());
            words.extend(clock.variables());
        }
        words.push(program.into());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        command
    }
}

/// A server that runs in a region.
#[derive(Debug)]
pub struct Running {
    /// Where.
    pub site: Site,
    /// Its process.
    pub process: Process,
    /// Whether clients may write here.
    pub is_writable: bool,
}

/// Why a server cannot be measured.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// A process.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A file of its configuration.
    #[error("cannot write {}: {error}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
    /// A step of its set-up.
    #[error("{step} failed: {output}")]
    SetUp {
        /// What was done.
        step: String,
        /// What it said.
        output: String,
    },
    /// The regions did not find each other.
    #[error("the regions are not linked after {seconds} s: {state}")]
    Unlinked {
        /// How long was waited.
        seconds: u64,
        /// What they say.
        state: String,
    },
}

/// One kind of server.
pub trait Adapter: Sync {
    /// Its name in reports.
    fn name(&self) -> &'static str;

    /// The program's version; `None` when it is not installed.
    fn version(&self) -> Option<String>;

    /// Whether it does by itself what [`Site::impaired`] says.
    fn emulates_links(&self) -> bool {
        false
    }

    /// Starts a server in each site and links them. `directory` is theirs.
    ///
    /// # Errors
    /// [`ServerError`]; what was started has been ended.
    fn start(&self, sites: &[Site], directory: &Path) -> Result<Vec<Running>, ServerError>;
}

/// Makes a server's directory.
fn make_directory(path: &Path) -> Result<(), ServerError> {
    std::fs::create_dir_all(path).map_err(|error| ServerError::Write {
        path: path.to_owned(),
        error,
    })
}

/// A program of this name in the directories of `PATH`.
#[must_use]
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|program| program.is_file())
}

/// How long a program may think about its version.
const VERSION_LIMIT: Duration = Duration::from_secs(5);
/// From one look at a program that thinks about it to the next.
const VERSION_LOOK_INTERVAL: Duration = Duration::from_millis(2);

/// The first line that `program --version` prints; `None` when there is no such program, or it does not end soon.
#[must_use]
pub fn version_of(program: &Path) -> Option<String> {
    version_within(program, VERSION_LIMIT)
}

fn version_within(program: &Path, limit: Duration) -> Option<String> {
    let mut child = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let deadline = Instant::now() + limit;
    while child.try_wait().ok()?.is_none() {
        if Instant::now() > deadline {
            child.kill().and_then(|()| child.wait()).ok()?;
            return None;
        }
        thread::sleep(VERSION_LOOK_INTERVAL);
    }
    let mut line = String::new();
    BufReader::new(child.stdout?).read_line(&mut line).ok()?;
    Some(line.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn a_program_that_does_not_tell_its_version_holds_up_nothing() {
        let home = tempfile::tempdir().expect("a directory");
        let script = |name: &str, text: &str| {
            let path = home.path().join(name);
            // Not written here: a process that another test starts meanwhile would hold the file open, and what is open
            // for writing cannot be run.
            let writes = "printf %s \"$1\" >\"$0\" && chmod 700 \"$0\"";
            let arguments = [
                OsStr::new("-c"),
                writes.as_ref(),
                path.as_ref(),
                text.as_ref(),
            ];
            let writing = Command::new("sh").args(arguments).status();
            assert!(writing.expect("a shell").success());
            path
        };
        let tells = script("tells", "#!/bin/sh\necho \"v=7 $1\"; echo more\n");
        assert_eq!(version_of(&tells).as_deref(), Some("v=7 --version"));
        let hangs = script("hangs", "#!/bin/sh\nexec sleep 600\n");
        let began = Instant::now();
        assert_eq!(version_within(&hangs, Duration::from_millis(50)), None);
        assert!(began.elapsed() < Duration::from_secs(300));
        assert_eq!(version_of(&home.path().join("none")), None);
    }
}
