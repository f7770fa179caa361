//! Network namespaces of regions, made and removed with `ip`.
//!
//! Each has two ways out: a TUN device to the other regions, whose other end is the forwarder, and a pair of virtual
//! Ethernet devices to this namespace, over which clients connect without delay.

use std::{
    fs::File,
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    process::Command,
};

use tun_rs::{DeviceBuilder, SyncDevice};

use crate::{
    interrupt::{self, CleanUp, Turn},
    notice::notice,
    server::Site,
    wan::tcp,
};

/// Why regions cannot be set apart.
#[derive(Debug, thiserror::Error)]
pub enum WanError {
    /// Not root.
    #[error(
        "emulated links between regions need network namespaces, and those need root: run it with sudo, or with --emulation socket"
    )]
    NotRoot,
    /// This kernel does not have it.
    #[error(
        "this kernel has no congestion control {name:?} for TCP: name one with --tcp, such as {available}"
    )]
    NoCongestionControl {
        /// Which.
        name: String,
        /// Those that it has.
        available: String,
    },
    /// A command failed.
    #[error("`{command}` failed: {output}")]
    Command {
        /// What was run.
        command: String,
        /// What it said.
        output: String,
    },
    /// The lock of a run.
    #[error("cannot open {path}: {error}")]
    Lock {
        /// The file.
        path: String,
        /// Why not.
        error: std::io::Error,
    },
    /// Too many run at the same time.
    #[error(
        "{RUNS_MAX} runs with namespaces are under way on this machine, and there is no room for more"
    )]
    Crowded,
    /// A TUN device.
    #[error("cannot make the TUN device {name}: {error}")]
    Tun {
        /// Its name.
        name: String,
        /// Why not.
        error: std::io::Error,
    },
}

impl WanError {
    /// Whether this machine does not let this user have namespaces and TUN devices, rather than that something is wrong.
    #[must_use]
    pub fn is_forbidden(&self) -> bool {
        match self {
            Self::NotRoot => true,
            Self::Command { output, .. } => output.contains("not permitted"),
            Self::Tun { error, .. } => matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::PermissionDenied
            ),
            Self::Lock { .. } | Self::Crowded | Self::NoCongestionControl { .. } => false,
        }
    }
}

/// Port of the servers in their namespaces.
const CLIENT_PORT: u16 = 6379;
/// Regions are told apart in the last byte but one of client addresses, runs too, and in the last of link addresses.
const LINK_NET: [u8; 3] = [10, 201, 0];
const CLIENT_NET: [u8; 2] = [10, 202];
/// Packets that wait in a TUN device while the forwarder does something else; the kernel's 500 are a burst of 0.6 MB.
const QUEUE_PACKETS: &str = "20000";
/// What names of namespaces and of the outer ends of virtual Ethernet devices begin with.
const NAMESPACE: &str = "gwb";
const VETH: &str = "gwv";
/// And those of TUN devices.
const TUN: &str = "gwt";
/// Runs side by side, and regions of one.
const RUNS_MAX: u8 = 32;
const REGIONS_MAX: u8 = 8;

/// A number that no other run on this machine has, as long as this lives.
#[derive(Debug)]
struct Claim {
    run: u8,
    _locked: File,
}

impl Claim {
    /// Takes the first free number, and removes what runs that were killed have left.
    fn take() -> Result<Self, WanError> {
        let mut own = None;
        for run in 0..RUNS_MAX {
            let path = format!("/run/greenwich-bench-{run}.lock");
            if own.is_some() && !Path::new(&path).exists() {
                continue;
            }
            let file = File::create(&path).map_err(|error| WanError::Lock { path, error })?;
            if file.try_lock().is_ok() {
                (1..=REGIONS_MAX).try_for_each(|number| remove(&namespace(run, number)))?;
                own.get_or_insert(Self { run, _locked: file });
            }
        }
        own.ok_or(WanError::Crowded)
    }
}

fn namespace(run: u8, number: u8) -> String {
    format!("{NAMESPACE}{run}-{number}")
}

/// The namespaces of a run; dropping it removes them.
#[derive(Debug)]
pub struct Namespaces {
    claim: Claim,
    names: Vec<String>,
    clean_ups: Vec<CleanUp>,
    /// Where a server of each region lives.
    pub sites: Vec<Site>,
}

impl Namespaces {
    /// One for each region, whose TCP to other regions has this congestion control, and the forwarder's ends of their TUN
    /// devices, in the same order.
    ///
    /// # Errors
    /// [`WanError`]; what was made has been removed.
    pub fn make(regions: &[&str], tcp: &str) -> Result<(Self, Vec<SyncDevice>), WanError> {
        if !rustix::process::geteuid().is_root() {
            return Err(WanError::NotRoot);
        }
        let mut made = Self {
            claim: Claim::take()?,
            names: Vec::new(),
            clean_ups: Vec::new(),
            sites: Vec::new(),
        };
        let mut devices = Vec::new();
        for (index, region) in regions.iter().enumerate() {
            let number = u8::try_from(index + 1).expect("there are at most 8 regions");
            devices.push(made.add(number, region, tcp)?);
        }
        Ok((made, devices))
    }

    fn add(&mut self, number: u8, region: &str, tcp: &str) -> Result<SyncDevice, WanError> {
        let run = self.claim.run;
        let name = namespace(run, number);
        let (tun, veth, inner) = (
            format!("{TUN}{run}-{number}"),
            name.replace(NAMESPACE, VETH),
            format!("gwi{run}-{number}"),
        );
        ip(&["netns", "add", &name])?;
        self.names.push(name.clone());
        let left = name.clone();
        self.clean_ups
            .push(interrupt::clean_up(Turn::Last, move || {
                // The next run removes what this could not.
                let _removed = remove(&left);
            }));
        let device = DeviceBuilder::new()
            .name(&tun)
            .build_sync()
            .map_err(|error| WanError::Tun {
                name: tun.clone(),
                error,
            })?;
        ip(&["link", "set", &tun, "netns", &name])?;
        let link = Ipv4Addr::new(LINK_NET[0], LINK_NET[1], LINK_NET[2], number);
        let subnet = run * REGIONS_MAX + number - 1;
        let client = |host| Ipv4Addr::new(CLIENT_NET[0], CLIENT_NET[1], subnet, host);
        ip(&[
            "link", "add", &veth, "type", "veth", "peer", "name", &inner, "netns", &name,
        ])?;
        ip(&["address", "add", &format!("{}/30", client(1)), "dev", &veth])?;
        ip(&["link", "set", &veth, "up"])?;
        let inside = |words: &[&str]| ip(&[&["-n", &name], words].concat());
        inside(&["link", "set", "lo", "up"])?;
        inside(&[
            "address",
            "add",
            &format!("{}/30", client(2)),
            "dev",
            &inner,
        ])?;
        inside(&["link", "set", &inner, "up"])?;
        inside(&["address", "add", &format!("{link}/24"), "dev", &tun])?;
        inside(&["link", "set", &tun, "txqueuelen", QUEUE_PACKETS])?;
        inside(&["link", "set", &tun, "up"])?;
        route(&name, &tun, link, tcp)?;
        self.sites.push(Site {
            region: region.to_owned(),
            client: SocketAddr::from((client(2), CLIENT_PORT)),
            link: IpAddr::V4(link),
            namespace: Some(name),
            impaired: Vec::new(),
            clock: None,
        });
        Ok(device)
    }
}

impl Namespaces {
    /// Packets that the regions' devices have dropped so far, because the forwarder did not take them soon enough.
    ///
    /// # Errors
    /// [`WanError::Command`].
    pub fn dropped(&self) -> Result<u64, WanError> {
        let dropped = self.names.iter().map(|name| {
            let text = ip(&["-n", name, "-j", "-s", "link", "show"])?;
            let links: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
            let links = links.as_array().into_iter().flatten();
            let tun = links.filter(|link| link["ifname"].as_str().is_some_and(is_tun));
            Ok(tun
                .filter_map(|link| link["stats64"]["tx"]["dropped"].as_u64())
                .sum::<u64>())
        });
        dropped.sum()
    }
}

fn is_tun(device: &str) -> bool {
    device.starts_with(TUN)
}

/// The region, from zero, that a packet goes to.
#[must_use]
pub fn destination(packet: &[u8]) -> Option<usize> {
    let is_v4 = packet.first()? >> 4 == 4;
    let [a, b, c, number] = *packet.get(16..)?.first_chunk::<4>()?;
    (is_v4 && [a, b, c] == LINK_NET).then(|| usize::from(number).checked_sub(1))?
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for name in &self.names {
            if let Err(error) = remove(name) {
                notice(format_args!("{error}; remove it by hand"));
            }
        }
    }
}

/// Leads to the other regions. A namespace may not choose among all that the kernel has for TCP, a route may.
fn route(namespace: &str, tun: &str, own: Ipv4Addr, congestion: &str) -> Result<(), WanError> {
    let [a, b, c] = LINK_NET;
    let net = format!("{a}.{b}.{c}.0/24");
    let own = own.to_string();
    let made = ip(&[
        "-n", namespace, "route", "replace", &net, "dev", tun, "proto", "kernel", "scope", "link",
        "src", &own, "congctl", congestion,
    ]);
    match made {
        Err(WanError::Command { output, .. }) if output.contains("congestion") => {
            Err(WanError::NoCongestionControl {
                name: congestion.to_owned(),
                available: tcp::available(),
            })
        }
        made => made.map(drop),
    }
}

/// Removes what there is of a namespace. Its own devices go later: connections that were not ended keep it for minutes.
fn remove(name: &str) -> Result<(), WanError> {
    let veth = name.replace(NAMESPACE, VETH);
    if Path::new("/sys/class/net").join(&veth).exists() {
        ip(&["link", "delete", &veth])?;
    }
    if Path::new("/run/netns").join(name).exists() {
        ip(&["netns", "delete", name])?;
    }
    Ok(())
}

fn ip(words: &[&str]) -> Result<String, WanError> {
    let failed = |output| WanError::Command {
        command: format!("ip {}", words.join(" ")),
        output,
    };
    match Command::new("ip").args(words).output() {
        Ok(output) if output.status.success() => {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        }
        Ok(output) => Err(failed(
            String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        )),
        Err(error) => Err(failed(format!("{error}; it is part of iproute2"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_go_to_the_region_of_their_address() {
        let mut packet = [0_u8; 20];
        packet[0] = 0x45;
        packet[16..].copy_from_slice(&[10, 201, 0, 3]);
        assert_eq!(destination(&packet), Some(2));
        packet[18] = 9;
        assert_eq!(destination(&packet), None, "another network");
        packet[0] = 0x60;
        assert_eq!(destination(&packet), None, "IPv6");
        assert_eq!(destination(&packet[..19]), None, "cut short");
    }
}
