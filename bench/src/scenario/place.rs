//! A server's regions, each in its namespace behind emulated links.

use anyhow::Context;

use super::Stage;
use crate::{
    server::{Adapter, Running},
    wan::{
        forwarder::{Forwarder, account::ForwarderReport},
        namespaces::Namespaces,
        plan::Network,
    },
};

/// Regions that are far apart. Dropped in this order: servers, links, namespaces.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) regions: Vec<Running>,
    pub(super) forwarder: Forwarder,
    namespaces: Namespaces,
    names: Vec<String>,
    dropped_before: u64,
}

impl Place {
    /// Starts a server in each region. Its files go where the stage has them, below `name`.
    pub(super) fn open(
        stage: &Stage<'_>,
        server: &dyn Adapter,
        name: &str,
        network: &Network,
    ) -> anyhow::Result<Self> {
        let (namespaces, devices) = Namespaces::make(&stage.regions)?;
        let names: Vec<String> = stage.regions.iter().map(ToString::to_string).collect();
        let profile = |from: usize, to: usize| network.profile(&names[from], &names[to]);
        let forwarder = Forwarder::start(devices, stage.seed, profile).context("the forwarder")?;
        (stage.tell)(format!("{}: starting", server.name()));
        let home = stage.directory.join(name);
        let regions = server
            .start(&namespaces.sites, &home)
            .with_context(|| format!("cannot start {}", server.name()))?;
        Ok(Self {
            regions,
            forwarder,
            namespaces,
            names,
            dropped_before: 0,
        })
    }

    /// Changes what links do to packets that are sent from here on.
    pub(super) fn set_network(&self, network: &Network) {
        let profile = |from: usize, to: usize| network.profile(&self.names[from], &self.names[to]);
        self.forwarder.set_profiles(profile);
    }

    /// How well the emulation did since the start or the last call.
    pub(super) fn take_report(&mut self) -> anyhow::Result<ForwarderReport> {
        let mut report = self.forwarder.take_report();
        let dropped = self.namespaces.dropped()?;
        report.own_fault += dropped - self.dropped_before;
        self.dropped_before = dropped;
        Ok(report)
    }

    /// Regions whose clients may write, by their places.
    pub(super) fn sources(&self) -> Vec<usize> {
        let regions = self.regions.iter().enumerate();
        let writable = regions.filter(|(_, region)| region.is_writable);
        writable.map(|(index, _)| index).collect()
    }
}
