//! Carries packets between the TUN devices of regions as the links' models say, and measures how well it does.

pub mod account;
mod carrier;

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

use greenwich_proto::netem::{Link, LinkProfile};
use parking_lot::Mutex;
use tun_rs::SyncDevice;

use self::{
    account::{Account, ForwarderReport},
    carrier::Carrier,
};
use crate::notice::notice;

/// A forwarder of its own thread; dropping it ends it.
#[derive(Debug)]
pub struct Forwarder {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

#[derive(Debug)]
struct Shared {
    regions: usize,
    stop: AtomicBool,
    links: Mutex<Links>,
    account: Mutex<Account>,
}

/// Links from each region to each, in rows.
#[derive(Debug)]
struct Links {
    regions: usize,
    links: Vec<Link>,
}

impl Links {
    fn at(&mut self, from: usize, to: usize) -> Option<&mut Link> {
        (from < self.regions && to < self.regions)
            .then(|| &mut self.links[from * self.regions + to])
    }
}

impl Forwarder {
    /// Starts between `devices`; `profile` is asked for the link from one region to another.
    ///
    /// # Errors
    /// When the system refuses a thread or an event queue.
    pub fn start(
        devices: Vec<SyncDevice>,
        seed: u64,
        profile: impl Fn(usize, usize) -> LinkProfile,
    ) -> io::Result<Self> {
        let regions = devices.len();
        let pairs = (0..regions).flat_map(|from| (0..regions).map(move |to| (from, to)));
        let links = pairs.map(|(from, to)| {
            let own = (from * regions + to) as u64;
            Link::new(profile(from, to), seed.wrapping_add(own))
        });
        let shared = Arc::new(Shared {
            regions,
            stop: AtomicBool::new(false),
            links: Mutex::new(Links {
                regions,
                links: links.collect(),
            }),
            account: Mutex::new(Account::new(regions)),
        });
        let carrier = Carrier::new(devices, Arc::clone(&shared))?;
        let thread = std::thread::Builder::new()
            .name("forwarder".to_owned())
            .spawn(move || carrier.run())?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Changes what links do to packets that are sent from here on.
    pub fn set_profiles(&self, profile: impl Fn(usize, usize) -> LinkProfile) {
        let mut links = self.shared.links.lock();
        for from in 0..self.shared.regions {
            for to in 0..self.shared.regions {
                if let Some(link) = links.at(from, to) {
                    link.set_profile(profile(from, to));
                }
            }
        }
    }

    /// Cuts the link from one region to another, or heals it.
    pub fn set_cut(&self, from: usize, to: usize, cut: bool) {
        if let Some(link) = self.shared.links.lock().at(from, to) {
            link.set_cut(cut);
        }
    }

    /// Why it has ended, if it has.
    ///
    /// # Errors
    /// What its thread ended with. It is told once.
    pub fn check(&mut self) -> io::Result<()> {
        let Some(thread) = self.thread.take_if(|thread| thread.is_finished()) else {
            return Ok(());
        };
        let ended = thread
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("its thread panicked")));
        Err(ended
            .err()
            .unwrap_or_else(|| io::Error::other("its thread ended")))
    }

    /// How well it did since its start or the last call; what follows is counted anew.
    #[must_use]
    pub fn take_report(&self) -> ForwarderReport {
        let mut account = self.shared.account.lock();
        let report = account.report();
        *account = Account::new(self.shared.regions);
        report
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(Err(error))) => notice(format_args!("the forwarder failed: {error}")),
            Some(Err(_)) => notice("the forwarder panicked"),
            Some(Ok(Ok(()))) | None => {}
        }
    }
}
