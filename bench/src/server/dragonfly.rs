//! Dragonfly: a primary in the first region, replicas in the others.
//!
//! Written from its documentation (flags `--bind`, `--port`, `--dir`, `--dbfilename`, `--dbnum`, `--replicaof`, and what
//! `INFO replication` says), and not run: no build of it was at hand. It runs a thread on each processor, as it does for
//! its users; a replica takes no writes.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    Adapter, Running, ServerError, Site, find_program, make_directory, process::Process,
    redis::await_links, version_of,
};

/// `dragonfly` of the system.
#[derive(Debug)]
pub struct Dragonfly {
    program: Option<PathBuf>,
}

impl Default for Dragonfly {
    fn default() -> Self {
        Self {
            program: find_program("dragonfly"),
        }
    }
}

/// What the server in `site` listens on. It takes one address, or all: all are two in a namespace, where clients and other
/// regions come to different ones, and without one they come to the same.
fn address(site: &Site) -> IpAddr {
    match site.namespace {
        Some(_) => Ipv4Addr::UNSPECIFIED.into(),
        None => site.client.ip(),
    }
}

/// The server in `site`, which replicates from `primary`.
fn command(program: &Path, site: &Site, primary: Option<&Site>, home: &Path) -> Command {
    let mut command = site.command(program);
    command
        .arg(format!("--bind={}", address(site)))
        .args(["--dbnum=1", "--logtostderr"])
        // Without a name nothing is saved.
        .arg("--dbfilename=")
        .arg(format!("--dir={}", home.display()))
        .arg(format!("--port={}", site.client.port()));
    if let Some(primary) = primary {
        let port = primary.client.port();
        command.arg(format!("--replicaof={}:{port}", primary.link));
    }
    command
}

impl Adapter for Dragonfly {
    fn name(&self) -> &'static str {
        "dragonfly"
    }

    fn version(&self) -> Option<String> {
        version_of(self.program.as_ref()?)
    }

    fn start(&self, sites: &[Site], directory: &Path) -> Result<Vec<Running>, ServerError> {
        let program = self.program.as_deref();
        let program = program.unwrap_or_else(|| Path::new(self.name()));
        let mut running = Vec::new();
        for (index, site) in sites.iter().enumerate() {
            let home = directory.join(&site.region);
            make_directory(&home)?;
            let primary = (index > 0).then(|| &sites[0]);
            let command = command(program, site, primary, &home);
            let name = site.name_of(self.name());
            let mut process = Process::start(&name, &command, &home.join("server.log"))?;
            process.await_port(site.client)?;
            running.push(Running {
                site: site.clone(),
                process,
                is_writable: index == 0,
            });
        }
        for replica in running.iter_mut().skip(1) {
            await_links(replica, 1)?;
        }
        Ok(running)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_are_told_of_the_primary() {
        let sites = Site::on_loopback(&["a", "b"]).unwrap();
        let words = |primary| {
            let command = command(Path::new("dragonfly"), &sites[1], primary, Path::new("/d"));
            let words = command.get_args().map(|word| word.to_string_lossy());
            words.collect::<Vec<_>>().join(" ")
        };
        let of_replica = words(Some(&sites[0]));
        let port = sites[0].client.port();
        assert!(of_replica.contains(&format!("--replicaof=127.0.0.1:{port}")));
        assert!(of_replica.contains(&format!("--port={}", sites[1].client.port())));
        assert!(!words(None).contains("--replicaof"));
        assert!(words(None).contains("--bind=127.0.0.1 "));
    }
}
