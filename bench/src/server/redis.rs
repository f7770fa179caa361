//! redis-server and those that are started as it is: a primary in the first region, replicas in the others. KeyDB's
//! replicas are active: they take writes, and every region replicates from every other. They forward each other's updates,
//! which is KeyDB's default, and costs bytes where every region has a link to every other.

use std::{
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use super::{
    Adapter, Running, ServerError, Site, find_program, make_directory, process::Process, version_of,
};
use crate::load::{client::Client, connection::ConnectionError, mix::put_command};

/// A server with the command line of redis-server.
#[derive(Debug)]
pub struct RedisLike {
    name: &'static str,
    program: Option<PathBuf>,
    is_active: bool,
    is_alone: bool,
}

impl RedisLike {
    /// `redis-server` of the system.
    #[must_use]
    pub fn redis() -> Self {
        Self {
            name: "redis",
            program: find_program("redis-server"),
            is_active: false,
            is_alone: false,
        }
    }

    /// The same without replicas: one server for the first region, and none in the others.
    #[must_use]
    pub fn redis_alone() -> Self {
        Self {
            name: "redis-alone",
            is_alone: true,
            ..Self::redis()
        }
    }

    /// `valkey-server` of the system.
    #[must_use]
    pub fn valkey() -> Self {
        Self {
            name: "valkey",
            program: find_program("valkey-server"),
            is_active: false,
            is_alone: false,
        }
    }

    /// `keydb-server` of the system, with active replicas.
    #[must_use]
    pub fn keydb() -> Self {
        Self {
            name: "keydb",
            program: find_program("keydb-server"),
            is_active: true,
            is_alone: false,
        }
    }

    /// The server in site `index`, which replicates from those that it has links to.
    fn command(&self, program: &Path, index: usize, sites: &[Site], home: &Path) -> Command {
        let site = &sites[index];
        let mut command = site.command(program);
        command
            .arg("--bind")
            .args(addresses(site))
            // It would refuse clients and replicas from other addresses than loopback.
            .args(["--protected-mode", "no"])
            .args(["--save", "", "--appendonly", "no", "--databases", "1"])
            // It would wait 5 s for further replicas before it sends one the first copy.
            .args(["--repl-diskless-sync-delay", "0"])
            .args(["--port", &site.client.port().to_string()])
            .arg("--dir")
            .arg(home);
        if self.is_active && sites.len() > 1 {
            command.args(["--multi-master", "yes", "--active-replica", "yes"]);
        }
        for other in self.links(index, sites) {
            command.args([
                "--replicaof",
                &other.link.to_string(),
                &other.client.port().to_string(),
            ]);
        }
        command
    }

    fn links<'a>(&self, index: usize, sites: &'a [Site]) -> Vec<&'a Site> {
        match (self.is_active, index) {
            (true, _) => sites
                .iter()
                .enumerate()
                .filter(|(other, _)| *other != index)
                .map(|(_, site)| site)
                .collect(),
            (false, 0) => Vec::new(),
            (false, _) => vec![&sites[0]],
        }
    }
}

/// What the server listens on: nothing that neither clients nor other regions use. The link's address is the first, because
/// older servers connect to their primary from there.
fn addresses(site: &Site) -> Vec<String> {
    let mut addresses = vec![site.link.to_string(), site.client.ip().to_string()];
    addresses.dedup();
    addresses
}

impl Adapter for RedisLike {
    fn name(&self) -> &'static str {
        self.name
    }

    fn version(&self) -> Option<String> {
        version_of(self.program.as_ref()?)
    }

    fn start(&self, sites: &[Site], directory: &Path) -> Result<Vec<Running>, ServerError> {
        let program = self
            .program
            .as_deref()
            .unwrap_or_else(|| Path::new(self.name));
        let mut running = Vec::new();
        let sites = if self.is_alone { &sites[..1] } else { sites };
        for (index, site) in sites.iter().enumerate() {
            let home = directory.join(&site.region);
            make_directory(&home)?;
            let command = self.command(program, index, sites, &home);
            let mut process =
                Process::start(&site.name_of(self.name), &command, &home.join("server.log"))?;
            process.await_port(site.client)?;
            let is_writable = index == 0 || self.is_active;
            running.push(Running {
                site: site.clone(),
                process,
                is_writable,
            });
        }
        for (index, region) in running.iter_mut().enumerate() {
            await_links(region, self.links(index, sites).len())?;
        }
        Ok(running)
    }
}

/// How long a region may take to find those that it replicates.
const LINK_LIMIT: Duration = Duration::from_secs(30);
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Waits until a server says that it replicates `links` others.
pub(super) fn await_links(region: &mut Running, links: usize) -> Result<(), ServerError> {
    let deadline = Instant::now() + LINK_LIMIT;
    loop {
        let state = match replication(region) {
            Ok(state) if is_linked(&state, links) => return Ok(()),
            Ok(state) => state,
            // It refuses commands while it loads what it was sent.
            Err(error) => error.to_string(),
        };
        region.process.check()?;
        if Instant::now() > deadline {
            return Err(ServerError::Unlinked {
                seconds: LINK_LIMIT.as_secs(),
                state: about_links(&state),
            });
        }
        thread::sleep(LOOK_INTERVAL);
    }
}

/// Whether `INFO replication` says that `links` others are replicated. A link that is up may still carry the first copy,
/// and KeyDB's state of all links together is none of them.
fn is_linked(state: &str, links: usize) -> bool {
    let is_up = |line: &&str| line.contains("link_status:up") && !line.contains("global");
    let up = state.lines().filter(is_up).count();
    up >= links && !state.contains("sync_in_progress:1")
}

/// The part of `INFO replication` that a person needs.
fn about_links(state: &str) -> String {
    let is_of_links = |line: &&str| {
        ["role:", "link_status:", "sync_in_progress:"]
            .iter()
            .any(|name| line.contains(name))
    };
    let lines: Vec<&str> = state.lines().filter(is_of_links).collect();
    match lines.as_slice() {
        [] => state.trim().to_owned(),
        lines => lines.join(", "),
    }
}

/// What `INFO replication` says.
fn replication(region: &Running) -> Result<String, ConnectionError> {
    let mut request = Vec::new();
    let count = put_command(&mut request, &[b"INFO", b"replication"]);
    let mut state = String::new();
    Client::connect(region.site.client)?.exchange(&request, count as usize, |reply| {
        state = String::from_utf8_lossy(reply).into_owned();
    })?;
    Ok(state)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_else_reaches_a_server() {
        let mut sites = Site::on_loopback(&["a", "b"]).unwrap();
        let words = |sites: &[Site]| {
            let program = Path::new("redis-server");
            let command = RedisLike::redis().command(program, 1, sites, Path::new("/d"));
            let words = command.get_args().map(|word| word.to_string_lossy());
            words.collect::<Vec<_>>().join(" ")
        };
        assert!(words(&sites).contains("--bind 127.0.0.1 --protected"));
        sites[1].link = [10, 0, 0, 2].into();
        assert!(words(&sites).contains("--bind 10.0.0.2 127.0.0.1 --protected"));
        let port = sites[0].client.port();
        assert!(words(&sites).ends_with(&format!("--replicaof 127.0.0.1 {port}")));
    }

    #[test]
    fn links_are_up_when_all_are_and_the_first_copy_is_there() {
        let one = "role:slave\r\nmaster_link_status:up\r\nmaster_sync_in_progress:0\r\n";
        assert!(is_linked(one, 1));
        assert!(!is_linked(one, 2));
        assert!(!is_linked(&one.replace(":up", ":down"), 1));
        assert!(!is_linked(&one.replace("progress:0", "progress:1"), 1));
        assert!(is_linked("role:master\r\n", 0));
        let keydb =
            "master_global_link_status:up\r\nmaster_link_status:up\r\nmaster_1_link_status:up\r\n";
        assert!(is_linked(keydb, 2) && !is_linked(keydb, 3));
        let said = about_links(&format!("$70\r\n# Replication\r\n{one}other:1\r\n"));
        assert_eq!(
            said,
            "role:slave, master_link_status:up, master_sync_in_progress:0"
        );
        assert_eq!(about_links("refused\n"), "refused");
    }
}
