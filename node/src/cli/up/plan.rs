//! What `up` is about to start: names, ids, ports and one configuration a region. Touches nothing.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{bail, ensure};
use greenwich_replicator::identity::check_name;

use super::UpArgs;
use crate::config::{Config, Emulation, Peer};

const REGIONS: std::ops::RangeInclusive<usize> = 2..=8;

/// The cluster and its regions.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) data: PathBuf,
    pub(crate) regions: Vec<RegionPlan>,
    /// Which flags replace values of the emulated distance, if both are given.
    pub(crate) wan_mixture: Option<String>,
}

/// One region: its directory and what its `node.toml` says.
#[derive(Debug)]
pub(crate) struct RegionPlan {
    pub(crate) directory: PathBuf,
    pub(crate) config: Config,
}

impl Plan {
    /// Fails with a sentence when the arguments do not fit together.
    pub(crate) fn new(args: &UpArgs) -> anyhow::Result<Self> {
        check_names(&args.regions)?;
        check_ports(args)?;
        let regions = (0..args.regions.len())
            .map(|position| RegionPlan::new(args, position))
            .collect::<anyhow::Result<_>>()?;
        Ok(Self {
            data: args.data.clone(),
            regions,
            wan_mixture: args.wan.mixture(),
        })
    }

    pub(crate) fn certificates(&self) -> PathBuf {
        self.data.join("certs")
    }

    pub(crate) fn record(&self) -> PathBuf {
        record_file(&self.data)
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.data.join("up.lock")
    }
}

/// The file in which `up` tells what runs.
pub(crate) fn record_file(data: &Path) -> PathBuf {
    data.join("up.json")
}

impl RegionPlan {
    fn new(args: &UpArgs, position: usize) -> anyhow::Result<Self> {
        let name = &args.regions[position];
        let mut config = Config::example(name, id(position));
        config.data_dir = ".".into();
        config.client.bind = loopback(args.port, position);
        config.admin.bind = loopback(args.admin_port, position);
        let replication = &mut config.replication;
        replication.bind = loopback(args.replication_port, position);
        replication.ca = "../certs/ca.pem".into();
        replication.cert = format!("../certs/{name}.pem").into();
        replication.key = format!("../certs/{name}-key.pem").into();
        replication.compression = args.compression;
        let others = || (0..args.regions.len()).filter(|other| *other != position);
        replication.peers = others()
            .map(|other| Peer {
                region: args.regions[other].clone(),
                id: id(other),
                address: loopback(args.replication_port, other).to_string(),
            })
            .collect();
        for other in others() {
            config.emulation.extend(emulation(args, position, other)?);
        }
        Ok(Self {
            directory: args.data.join(name),
            config,
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.config.region.name
    }

    pub(crate) fn config_file(&self) -> PathBuf {
        self.directory.join("node.toml")
    }

    pub(crate) fn log_file(&self) -> PathBuf {
        self.directory.join("node.log")
    }
}

fn emulation(args: &UpArgs, here: usize, there: usize) -> anyhow::Result<Option<Emulation>> {
    let Some(link) = args.wan.towards(&args.regions[here], &args.regions[there]) else {
        return Ok(None);
    };
    let Emulation {
        delay,
        jitter,
        loss,
        ..
    } = &link;
    ensure!(
        jitter <= delay,
        "--jitter {jitter} exceeds the one-way delay of {delay}: give a longer --rtt or less jitter"
    );
    ensure!(
        loss.0 < 1.0,
        "--loss {loss} leaves no link: give less than 100%"
    );
    ensure!(
        delay.0.as_secs() < 10,
        "--rtt of twice {delay} is too long: give less than 20s"
    );
    Ok(Some(link))
}

fn check_names(names: &[String]) -> anyhow::Result<()> {
    ensure!(
        REGIONS.contains(&names.len()),
        "--regions lists {}: give {} to {} names, such as --regions us-east,eu-west,ap-south",
        names.len(),
        REGIONS.start(),
        REGIONS.end()
    );
    for (position, name) in names.iter().enumerate() {
        ensure!(
            check_name(name).is_ok() && name != "certs",
            "\"{name}\" cannot name a region: use lower-case letters, digits and dashes (and not \"certs\")"
        );
        ensure!(
            !names[..position].contains(name),
            "--regions lists \"{name}\" twice"
        );
    }
    Ok(())
}

fn check_ports(args: &UpArgs) -> anyhow::Result<()> {
    let redis = ports("--port", args.port, args.regions.len())?;
    let admin = ports("--admin-port", args.admin_port, args.regions.len())?;
    ports(
        "--replication-port",
        args.replication_port,
        args.regions.len(),
    )?;
    if redis.start < admin.end && admin.start < redis.end {
        bail!(
            "--port {} and --admin-port {} overlap: each region takes the next port of both",
            args.port,
            args.admin_port
        );
    }
    Ok(())
}

/// The ports from `first` on, one a region.
fn ports(flag: &str, first: u16, count: usize) -> anyhow::Result<Range<usize>> {
    let ports = usize::from(first)..usize::from(first) + count;
    ensure!(
        first > 0 && ports.end <= 1 << 16,
        "{flag} {first} leaves no room for {count} regions: give 1 to {}",
        (1 << 16) - count
    );
    Ok(ports)
}

fn loopback(first: u16, position: usize) -> SocketAddr {
    let port = usize::from(first) + position;
    (
        Ipv4Addr::LOCALHOST,
        u16::try_from(port).expect("check_ports allows u16 only"),
    )
        .into()
}

fn id(position: usize) -> u8 {
    u8::try_from(position + 1).expect("at most 8 regions")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Compression;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        up: UpArgs,
    }

    fn plan(line: &str) -> anyhow::Result<Plan> {
        let words = std::iter::once("up").chain(line.split_whitespace());
        Plan::new(&Line::try_parse_from(words).unwrap().up)
    }

    #[test]
    fn the_defaults_are_three_regions_on_known_ports() {
        let plan = plan("").unwrap();
        let seen: Vec<_> = plan
            .regions
            .iter()
            .map(|region| {
                let config = &region.config;
                (
                    region.name(),
                    config.region.id,
                    config.client.bind.port(),
                    config.admin.bind.port(),
                    config.replication.bind.port(),
                    config.replication.peers.len(),
                )
            })
            .collect();
        assert_eq!(
            seen,
            [
                ("us-east", 1, 6401, 9401, 7401, 2),
                ("eu-west", 2, 6402, 9402, 7402, 2),
                ("ap-south", 3, 6403, 9403, 7403, 2),
            ]
        );
        assert!(
            plan.regions
                .iter()
                .all(|region| region.config.emulation.is_empty())
        );
    }

    #[test]
    fn every_written_configuration_is_accepted() {
        let plan =
            plan("--regions a,b,c,d --wan global --jitter 1ms --loss 1% --rate 100mbit --compression zstd").unwrap();
        for region in &plan.regions {
            let text = region.config.to_commented_toml();
            let read = Config::parse(&text, Path::new("node.toml")).unwrap();
            assert_eq!(read, region.config);
            assert_eq!(read.emulation.len(), 3);
            assert_eq!(read.replication.compression, Compression::Zstd);
        }
    }

    #[test]
    fn arguments_that_do_not_fit_are_one_sentence() {
        let cases = [
            ("--regions a", "--regions lists 1: give 2 to 8 names"),
            (
                "--regions a,b,c,d,e,f,g,h,i",
                "--regions lists 9: give 2 to 8 names",
            ),
            ("--regions a,b,a", "--regions lists \"a\" twice"),
            ("--regions a,B", "\"B\" cannot name a region"),
            ("--regions a,certs", "\"certs\" cannot name a region"),
            (
                "--port 65534",
                "--port 65534 leaves no room for 3 regions: give 1 to 65533",
            ),
            ("--port 9400", "--port 9400 and --admin-port 9401 overlap"),
            (
                "--rtt 10ms --jitter 6ms",
                "--jitter 6ms exceeds the one-way delay of 5ms",
            ),
            ("--loss 100%", "--loss 100% leaves no link"),
        ];
        for (line, expected) in cases {
            let text = plan(line).unwrap_err().to_string();
            assert!(
                text.starts_with(expected) && text.lines().count() == 1,
                "{line} gave: {text}"
            );
        }
        assert!(plan("--port 65533 --regions a,b,c").is_ok());
    }
}
