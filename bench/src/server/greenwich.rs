//! Greenwich, built from this tree: a node in each region, with certificates of a cluster of its own.

use std::{
    fmt::Write as _,
    fs,
    net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use greenwich_proto::netem::LinkProfile;

use super::{Adapter, Running, ServerError, Site, process::Process, version_of};

/// How long the regions may take to find each other.
const LINK_LIMIT: Duration = Duration::from_secs(20);
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Its name in reports, and that of a second binary which it is compared with.
pub const NAME: &str = "greenwich";
/// See [`NAME`].
pub const BASELINE_NAME: &str = "greenwich-baseline";
/// The same binary with batches that are compressed.
pub const ZSTD_NAME: &str = "greenwich-zstd";

/// Name of the clusters.
const CLUSTER: &str = "bench";

/// The greenwich binary.
#[derive(Debug)]
pub struct Greenwich {
    name: &'static str,
    program: PathBuf,
    /// What batches are compressed with; the node's default without it.
    compression: Option<&'static str>,
}

impl Greenwich {
    /// This binary.
    #[must_use]
    pub fn new(program: PathBuf) -> Self {
        Self {
            name: NAME,
            program,
            compression: None,
        }
    }

    /// This binary, with compressed batches.
    #[must_use]
    pub fn zstd(program: PathBuf) -> Self {
        Self {
            name: ZSTD_NAME,
            compression: Some("zstd"),
            ..Self::new(program)
        }
    }

    /// This binary, as the one that another is compared with.
    #[must_use]
    pub fn baseline(program: PathBuf) -> Self {
        Self {
            name: BASELINE_NAME,
            ..Self::new(program)
        }
    }

    fn certificates(&self, directory: &Path, sites: &[Site]) -> Result<(), ServerError> {
        let make = |words: &[&str]| {
            let step = format!("greenwich certs {}", words.join(" "));
            let failed = |output| ServerError::SetUp { step, output };
            let mut command = Command::new(&self.program);
            command.arg("certs").args(words).arg("--out").arg(directory);
            match command.output() {
                Ok(output) if output.status.success() => Ok(()),
                Ok(output) => {
                    let said = String::from_utf8_lossy(&output.stderr);
                    Err(failed(format!("{}, {}", output.status, said.trim())))
                }
                Err(error) => Err(failed(error.to_string())),
            }
        };
        make(&["ca", "--cluster", CLUSTER])?;
        sites
            .iter()
            .try_for_each(|site| make(&["node", "--region", &site.region]))
    }
}

/// The ports of a node beside its client port.
#[derive(Clone, Copy, Debug)]
struct Ports {
    replication: u16,
    admin: u16,
}

impl Ports {
    /// Free ones for each site.
    fn free(count: usize) -> std::io::Result<Vec<Self>> {
        let any = (IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        let held = (0..count)
            .map(|_| Ok((UdpSocket::bind(any)?, TcpListener::bind(any)?)))
            .collect::<std::io::Result<Vec<_>>>()?;
        let ports = held.iter().map(|(udp, tcp)| {
            Ok(Self {
                replication: udp.local_addr()?.port(),
                admin: tcp.local_addr()?.port(),
            })
        });
        ports.collect()
    }
}

/// The configuration of the node in `sites[index]`.
fn config(
    index: usize,
    sites: &[Site],
    ports: &[Ports],
    certificates: &Path,
    compression: Option<&str>,
) -> String {
    let site = &sites[index];
    let mut text = format!(
        "cluster = \"{CLUSTER}\"\ndata_dir = \"data\"\n\n[region]\nname = \"{name}\"\nid = {id}\n\n\
         [client]\nbind = \"{client}\"\n\n[admin]\nbind = \"127.0.0.1:{admin}\"\n\n\
         [replication]\nbind = \"{link}:{replication}\"\nca = '{dir}/ca.pem'\ncert = '{dir}/{name}.pem'\nkey = '{dir}/{name}-key.pem'\n",
        name = site.region,
        id = index + 1,
        client = site.client,
        admin = ports[index].admin,
        link = site.link,
        replication = ports[index].replication,
        dir = certificates.display(),
    );
    if let Some(compression) = compression {
        writeln!(text, "compression = \"{compression}\"").expect("a string takes every text");
    }
    for (other, (peer, ports)) in sites.iter().zip(ports).enumerate() {
        if other != index {
            write!(
                text,
                "\n[[replication.peers]]\nregion = \"{}\"\nid = {}\naddress = \"{}:{}\"\n",
                peer.region,
                other + 1,
                peer.link,
                ports.replication,
            )
            .expect("a string takes every text");
        }
    }
    for (peer, profile) in &site.impaired {
        text += &emulation(peer, profile);
    }
    text
}

/// The part of a configuration that impairs what is sent to `peer`.
fn emulation(peer: &str, profile: &LinkProfile) -> String {
    let micros = |micros| humantime::format_duration(Duration::from_micros(micros));
    let mut text = format!(
        "\n[[emulation]]\npeer = \"{peer}\"\ndelay = \"{}\"\njitter = \"{}\"\nloss = \"{:.6}%\"\n",
        micros(profile.delay_us),
        // More than the delay has no effect, and the node refuses it.
        micros(profile.jitter_us.min(profile.delay_us)),
        profile.loss * 100.0,
    );
    if let Some(rate) = profile.rate_bytes_per_s {
        let bits = rate.saturating_mul(8);
        writeln!(text, "rate = \"{bits}bit\"").expect("a string takes every text");
    }
    text
}

impl Adapter for Greenwich {
    fn name(&self) -> &'static str {
        self.name
    }

    fn emulates_links(&self) -> bool {
        true
    }

    fn version(&self) -> Option<String> {
        version_of(&self.program)
    }

    fn start(&self, sites: &[Site], directory: &Path) -> Result<Vec<Running>, ServerError> {
        let written = |path: &Path, result: std::io::Result<()>| {
            result.map_err(|error| ServerError::Write {
                path: path.to_owned(),
                error,
            })
        };
        let certificates = directory.join("certs");
        written(&certificates, fs::create_dir_all(&certificates))?;
        self.certificates(&certificates, sites)?;
        let ports = Ports::free(sites.len()).map_err(|error| ServerError::SetUp {
            step: "finding free ports".to_owned(),
            output: error.to_string(),
        })?;
        let mut running = Vec::new();
        for (index, site) in sites.iter().enumerate() {
            let home = directory.join(&site.region);
            written(&home, fs::create_dir_all(&home))?;
            let file = home.join("node.toml");
            written(
                &file,
                fs::write(
                    &file,
                    config(index, sites, &ports, &certificates, self.compression),
                ),
            )?;
            let mut command = site.command(&self.program);
            command.args(["node", "--config"]).arg(&file);
            let mut process =
                Process::start(&site.name_of(self.name), &command, &home.join("server.log"))?;
            process.await_port(site.client)?;
            running.push(Running {
                site: site.clone(),
                process,
                is_writable: true,
            });
        }
        self.await_links(&mut running, &ports)?;
        Ok(running)
    }
}

impl Greenwich {
    /// Waits until every node says that its links are up and that it serves clients, which it does a little later.
    fn await_links(&self, running: &mut [Running], ports: &[Ports]) -> Result<(), ServerError> {
        let deadline = Instant::now() + LINK_LIMIT;
        for (node, ports) in running.iter_mut().zip(ports) {
            loop {
                let state = self.status(node, *ports);
                if state.is_linked {
                    break;
                }
                node.process.check()?;
                if Instant::now() > deadline {
                    let seconds = LINK_LIMIT.as_secs();
                    return Err(ServerError::Unlinked {
                        seconds,
                        state: state.text,
                    });
                }
                thread::sleep(LOOK_INTERVAL);
            }
        }
        Ok(())
    }

    fn status(&self, node: &Running, ports: Ports) -> State {
        let output = node
            .site
            .command(&self.program)
            .args([
                "status",
                "--json",
                "--admin",
                &format!("127.0.0.1:{}", ports.admin),
            ])
            .output();
        let text = output.map_or_else(
            |error| error.to_string(),
            |output| String::from_utf8_lossy(&output.stdout).into_owned(),
        );
        State {
            is_linked: is_linked(&text),
            text,
        }
    }
}

struct State {
    is_linked: bool,
    text: String,
}

/// Whether `greenwich status --json` of one node says that all its links are up, and no reason why it does not serve yet.
fn is_linked(text: &str) -> bool {
    let status: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    let status = &status["regions"][0]["status"];
    let is_ready = status["not_ready"].as_array().is_none_or(Vec::is_empty);
    let links = status["links"].as_array();
    is_ready && links.is_some_and(|links| links.iter().all(|link| link["state"] == "up"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_impaired_as_the_profile_says() {
        let profile = LinkProfile {
            delay_us: 40_500,
            jitter_us: 50_000,
            loss: 0.07 / 100.0,
            rate_bytes_per_s: Some(1_300_000),
            ..LinkProfile::NONE
        };
        let text = emulation("eu-west", &profile);
        for line in [
            "peer = \"eu-west\"",
            "delay = \"40ms 500us\"",
            "jitter = \"40ms 500us\"",
            "loss = \"0.070000%\"",
            "rate = \"10400000bit\"",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
        assert!(!emulation("b", &LinkProfile::NONE).contains("rate"));
    }

    #[test]
    fn links_are_up_when_all_are_and_nothing_is_loading() {
        let status = |links: &str| format!(r#"{{"regions":[{{"status":{{"links":{links}}}}}]}}"#);
        assert!(is_linked(&status(r#"[{"state":"up"},{"state":"up"}]"#)));
        assert!(is_linked(&status("[]")), "a region alone");
        assert!(!is_linked(&status(
            r#"[{"state":"up"},{"state":"connecting"}]"#
        )));
        let status = |why: &str| {
            format!(r#"{{"regions":[{{"status":{{"not_ready":[{why}],"links":[]}}}}]}}"#)
        };
        assert!(is_linked(&status("")));
        assert!(!is_linked(&status(r#""loading""#)));
        assert!(!is_linked(r#"{"regions":[{"status":null}]}"#));
        assert!(!is_linked(""));
    }
}
