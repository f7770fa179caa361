//! A server's regions behind emulated links.

use std::net::SocketAddr;

use anyhow::{Context, bail, ensure};
use greenwich_proto::netem::LinkProfile;

use super::{
    Stage,
    equal::{Patience, Readers},
    faults::Fault,
};
use crate::{
    load::{dataset::Dataset, fill::fill},
    server::{Adapter, Running, Site, clock::Clock},
    wan::{
        emulation::Emulation,
        forwarder::{Forwarder, account::ForwarderReport},
        namespaces::Namespaces,
        plan::Network,
    },
};

/// Regions that are far apart. Dropped in this order: servers, links, namespaces.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) regions: Vec<Running>,
    /// What stands between the regions; `None` when servers emulate their links themselves.
    between: Option<Between>,
    names: Vec<String>,
}

#[derive(Debug)]
struct Between {
    forwarder: Forwarder,
    namespaces: Namespaces,
    dropped_before: u64,
}

impl Between {
    fn make(stage: &Stage<'_>, network: &Network) -> anyhow::Result<Self> {
        let (namespaces, devices) = Namespaces::make(&stage.regions, stage.tcp)?;
        let regions = &stage.regions;
        let profile = |from: usize, to: usize| network.profile(regions[from], regions[to]);
        let forwarder = Forwarder::start(devices, stage.seed, profile).context("the forwarder")?;
        Ok(Self {
            forwarder,
            namespaces,
            dropped_before: 0,
        })
    }
}

/// Sites on loopback whose servers do to each other what the network does.
fn impaired_sites(stage: &Stage<'_>, network: &Network) -> anyhow::Result<Vec<Site>> {
    let mut sites = Site::on_loopback(&stage.regions).context("finding free ports")?;
    for site in &mut sites {
        let others = stage.regions.iter().filter(|other| **other != site.region);
        let impaired = others.map(|to| ((*to).to_owned(), network.profile(&site.region, to)));
        site.impaired = impaired.collect();
    }
    Ok(sites)
}

impl Place {
    /// Starts a server in each region. Its files go where the stage has them, below `name`. Regions whose clocks are set
    /// wrong by one of `faults` get their own.
    pub(super) fn open(
        stage: &Stage<'_>,
        server: &dyn Adapter,
        name: &str,
        network: &Network,
        faults: &[Fault],
    ) -> anyhow::Result<Self> {
        let (between, mut sites) = match stage.emulation {
            Emulation::Namespaces => {
                let between = Between::make(stage, network)?;
                let sites = between.namespaces.sites.clone();
                (Some(between), sites)
            }
            Emulation::Socket => (None, impaired_sites(stage, network)?),
        };
        (stage.tell)(format!("{}: starting", server.name()));
        let home = stage.directory.join(name);
        for site in &mut sites {
            if faults
                .iter()
                .any(|fault| fault.action.sets_clock(&site.region))
            {
                std::fs::create_dir_all(&home).context("the servers' directory")?;
                site.clock = Some(Clock::new(home.join(format!("{}-clock", site.region)))?);
            }
        }
        let regions = server
            .start(&sites, &home)
            .with_context(|| {
                let hint = match sites.iter().any(|site| site.clock.is_some()) {
                    true => " with libfaketime, under which some servers hang: leave out clock-step, or this server",
                    false => "",
                };
                format!("cannot start {}{hint}", server.name())
            })?;
        Ok(Self {
            regions,
            between,
            names: stage.regions.iter().map(ToString::to_string).collect(),
        })
    }

    /// Where clients find each region.
    pub(super) fn clients(&self) -> Vec<SocketAddr> {
        let regions = self.regions.iter();
        regions.map(|region| region.site.client).collect()
    }

    /// Whether links can be changed while servers run.
    pub(super) fn can_change(&self) -> bool {
        self.between.is_some()
    }

    /// Changes what links do to packets that are sent from here on.
    pub(super) fn set_network(&self, network: &Network) -> anyhow::Result<()> {
        let profile = |from: usize, to: usize| network.profile(&self.names[from], &self.names[to]);
        self.forwarder()?.set_profiles(profile);
        Ok(())
    }

    /// Cuts one direction between two regions, by their places, or ends the cut.
    pub(super) fn set_cut(&self, from: usize, to: usize, is_cut: bool) -> anyhow::Result<()> {
        self.forwarder()?.set_cut(from, to, is_cut);
        Ok(())
    }

    /// Ends all cuts.
    pub(super) fn heal(&self) -> anyhow::Result<()> {
        let regions = 0..self.regions.len();
        let mut links = regions
            .clone()
            .flat_map(|from| regions.clone().map(move |to| (from, to)));
        links.try_for_each(|(from, to)| self.set_cut(from, to, false))
    }

    /// Links that delay as the network has it, and lose nothing.
    fn set_lossless(&self, network: &Network) -> anyhow::Result<()> {
        let profile = |from: usize, to: usize| LinkProfile {
            loss: 0.0,
            ..network.profile(&self.names[from], &self.names[to])
        };
        self.forwarder()?.set_profiles(profile);
        Ok(())
    }

    /// Writes every key once, and waits until all regions hold them. It fails when they do not in time. Nothing is lost
    /// meanwhile: some servers would need minutes.
    pub(super) fn fill(
        &self,
        data: &Dataset,
        keys: &[String],
        network: &Network,
        patience: Patience,
        seed: u64,
    ) -> anyhow::Result<Readers> {
        if self.can_change() {
            self.set_lossless(network)?;
        }
        let addresses = self.clients();
        let source = *self.sources().first().context("no region takes writes")?;
        fill(addresses[source], data, seed).context("filling")?;
        let mut readers = Readers::connect(&addresses).context("comparing regions")?;
        let settled = readers.settle(keys, patience);
        let settled = settled.context("comparing regions")?;
        ensure!(
            settled.differing.is_empty(),
            "the regions do not become equal after filling: {} of {} keys differ",
            settled.differing.len(),
            keys.len()
        );
        if self.can_change() {
            self.set_network(network)?;
        }
        Ok(readers)
    }

    fn forwarder(&self) -> anyhow::Result<&Forwarder> {
        match &self.between {
            Some(between) => Ok(&between.forwarder),
            None => bail!("links that servers emulate themselves cannot be changed or cut"),
        }
    }

    /// How well the emulation did since the start or the last call; `None` when nothing stands between the regions that
    /// could tell.
    pub(super) fn take_report(&mut self) -> anyhow::Result<Option<ForwarderReport>> {
        let Some(between) = &mut self.between else {
            return Ok(None);
        };
        between.forwarder.check().context("the forwarder")?;
        let mut report = between.forwarder.take_report();
        let dropped = between.namespaces.dropped()?;
        report.own_fault += dropped - between.dropped_before;
        between.dropped_before = dropped;
        Ok(Some(report))
    }

    /// Why it cannot go on, if a server has died or the forwarder has ended.
    pub(super) fn check(&mut self) -> anyhow::Result<()> {
        if let Some(between) = &mut self.between {
            between.forwarder.check().context("the forwarder")?;
        }
        let mut regions = self.regions.iter_mut();
        Ok(regions.try_for_each(|region| region.process.check())?)
    }

    /// Regions whose clients may write, by their places.
    pub(super) fn sources(&self) -> Vec<usize> {
        let regions = self.regions.iter().enumerate();
        let writable = regions.filter(|(_, region)| region.is_writable);
        writable.map(|(index, _)| index).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, net::UdpSocket, process::Command, thread};

    use greenwich_proto::netem::LinkProfile;
    use rustix::{
        fd::AsFd,
        thread::{LinkNameSpaceType, move_into_link_name_space},
    };

    use super::*;
    use crate::wan::tcp::CUBIC;

    #[test]
    fn packets_that_devices_drop_are_the_emulation_s_own_fault() {
        let (namespaces, mut devices) = match Namespaces::make(&["a", "b"], CUBIC) {
            Ok(made) => made,
            Err(error) => {
                assert!(error.is_forbidden(), "{error}");
                eprintln!("not checked here: {error}");
                return;
            }
        };
        // Nobody takes what region a sends, beyond a queue of ten.
        let forwarder = Forwarder::start(devices.split_off(1), 1, |_, _| LinkProfile::NONE);
        let name = namespaces.sites[0].namespace.clone().unwrap();
        let device = name.replace("gwb", "gwt");
        let shorten = ["-n", &name, "link", "set", &device, "txqueuelen", "10"];
        assert!(Command::new("ip").args(shorten).status().unwrap().success());
        let namespace = File::open(format!("/run/netns/{name}")).unwrap();
        let send = |count: usize| {
            let network = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(namespace.as_fd(), network).unwrap();
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            (0..count).for_each(|_| {
                // A kernel may say that it has dropped it.
                let _dropped = socket.send_to(&[0; 100], ("10.201.0.2", 9));
            });
        };
        let between = Some(Between {
            forwarder: forwarder.unwrap(),
            namespaces,
            dropped_before: 0,
        });
        let mut place = Place {
            regions: Vec::new(),
            between,
            names: Vec::new(),
        };
        let mut sent = |count| {
            thread::scope(|scope| scope.spawn(|| send(count)).join()).unwrap();
            place.take_report().unwrap().unwrap().own_fault
        };
        let first = sent(100);
        assert!((80..=100).contains(&first), "{first} of 100 were dropped");
        assert_eq!((sent(50), sent(0)), (50, 0));
    }
}
