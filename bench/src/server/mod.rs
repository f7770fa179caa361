//! Servers that can be measured: where their programs are, how one is started in each region, and how the regions are
//! linked. Each adapter is one file.

pub mod clock;
pub mod dragonfly;
pub mod greenwich;
pub mod process;
pub mod redis;

use std::{
    ffi::OsString,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Command,
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

/// The first line that `program --version` prints.
#[must_use]
pub fn version_of(program: &Path) -> Option<String> {
    let output = Command::new(program).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().next().map(|line| line.trim().to_owned())
}
