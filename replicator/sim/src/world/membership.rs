//! Regions that are added and removed while clients write, as an operator does it: told to one node, and spread by the
//! sessions. The node of a region that is added starts, empty, once all have confirmed; that of one that was removed goes on for
//! a while, and serves its clients, because it does not know.

use greenwich_proto::{members::Members, store::Store};

use super::{Event, World};
use crate::{
    invariants::Broken,
    network::Route,
    region::{Region, Regions, name},
    swarm::Swarm,
};

/// Regions that are never removed below.
const MEMBERS_MIN: usize = 2;
/// How often an operator looks whether all regions have confirmed.
const ADMIT_EVERY_US: u64 = 20_000;
/// Most microseconds until a node ends the links of regions that were removed, and begins those of others.
const FOLLOW_US_MAX: u64 = 2_000;

/// Where a region stands, in truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// It has no node.
    Out,
    /// It belongs to the cluster, and its node runs, or will again soon.
    Member,
    /// It was removed, and its node runs still.
    Leaving,
}

/// A region that is being added.
#[derive(Clone, Copy, Debug)]
struct Joining {
    index: usize,
    /// The region whose node was told.
    told: usize,
}

/// Which regions there are, in truth.
#[derive(Debug)]
pub(super) struct Cluster {
    places: Vec<Place>,
    joining: Option<Joining>,
    /// Whether the node of each region was told of a removal. Until all have confirmed that, its region is not removed itself.
    has_news: Vec<bool>,
    /// Whether each region ever was part of the cluster.
    was_member: Vec<bool>,
}

impl Cluster {
    /// All regions, but for the last where regions come and go.
    pub(super) fn new(swarm: &Swarm) -> Self {
        let mut places = vec![Place::Member; swarm.regions];
        if swarm.faults.members_every_ms > 0 {
            places[swarm.regions - 1] = Place::Out;
        }
        Self {
            was_member: places.iter().map(|place| *place == Place::Member).collect(),
            has_news: vec![false; places.len()],
            places,
            joining: None,
        }
    }

    /// Whether a region has a node that runs, or is down for a moment.
    pub(super) fn runs(&self, index: usize) -> bool {
        self.places[index] != Place::Out
    }

    fn is_member(&self, index: usize) -> bool {
        self.places[index] == Place::Member
    }

    fn members(&self) -> Vec<usize> {
        let all = 0..self.places.len();
        all.filter(|&index| self.is_member(index)).collect()
    }

    /// What a node is configured with that starts with the cluster.
    pub(super) fn configuration(&self, index: usize) -> Regions {
        let mut configured = self.members();
        configured.retain(|other| *other != index);
        Regions {
            configured,
            members: Members::default(),
        }
    }
}

impl<S: Store> World<'_, S> {
    /// The nodes of all regions that belong to the cluster.
    pub(super) fn members(&self) -> Vec<&Region<S>> {
        let members = self.cluster.members().into_iter();
        members.map(|index| &self.regions[index]).collect()
    }

    /// The nodes that there are.
    pub(super) fn running(&self) -> Vec<&Region<S>> {
        let runs = |region: &&Region<S>| self.cluster.runs(region.index);
        self.regions.iter().filter(runs).collect()
    }

    /// What of the membership is still under way, in words.
    pub(super) fn is_changing(&self) -> Option<String> {
        if let Some(joining) = self.cluster.joining {
            return Some(format!("{} is being added", name(joining.index)));
        }
        let members = self.cluster.members();
        for region in self.running() {
            let others = members.iter().filter(|other| **other != region.index);
            if !self.cluster.is_member(region.index) || others.ne(&self.others(region.index)) {
                let known = self.others(region.index);
                return Some(format!("{} has links to {known:?}", name(region.index)));
            }
        }
        None
    }

    /// Adds a region or removes one.
    pub(super) fn change_members(&mut self) {
        if self.is_quiet {
            return;
        }
        self.after_about(self.swarm.faults.members_every_ms, Event::Members);
        let members = self.cluster.members();
        let addable = self.addable(&members);
        let is_full = members.len() > MEMBERS_MIN;
        if !addable.is_empty() && (!is_full || self.rng.chance(0.5)) {
            let joining = addable[self.below(addable.len())];
            self.cluster.joining = Some(joining);
            let text = format_args!("adds {}", name(joining.index));
            self.trace.line(self.now, "world", text);
            self.after(0, Event::Admit);
        } else if is_full {
            let at = self.below(members.len());
            let told = members[(at + 1 + self.below(members.len() - 1)) % members.len()];
            self.remove(members[at], told);
        }
    }

    /// Regions that are not there, and nodes that know so and can be told, where nothing is in doubt that the dead left behind.
    /// One is added at a time.
    fn addable(&self, members: &[usize]) -> Vec<Joining> {
        if self.cluster.joining.is_some() || self.survival.is_in_doubt() {
            return Vec::new();
        }
        let out = (0..self.swarm.regions).filter(|index| !self.cluster.is_member(*index));
        let pairs = out.flat_map(|index| members.iter().map(move |&told| Joining { index, told }));
        pairs
            .filter(|joining| !self.regions[joining.told].knows(joining.index))
            .collect()
    }

    fn remove(&mut self, index: usize, told: usize) {
        if self.is_busy(index) || !self.regions[told].knows(index) || self.is_unfit(told) {
            return;
        }
        let leaving_us = self.rng.below(1_000 * self.swarm.faults.leaving_ms_max);
        let removed = self.regions[told].change(index, false, self.now);
        removed.expect("it is known, and is another region");
        self.summary.removed += 1;
        self.trace.line(
            self.now,
            &name(told),
            format_args!(
                "is told that {} is removed, whose node goes on for {} ms",
                name(index),
                leaving_us / 1_000
            ),
        );
        self.cluster.places[index] = Place::Leaving;
        self.cluster.has_news[told] = true;
        self.note_roster(told);
        self.after(leaving_us, Event::Stop(index));
    }

    /// Whether a node cannot be asked to change anything.
    fn is_unfit(&self, told: usize) -> bool {
        self.is_down(told) || !self.regions[told].is_informed()
    }

    /// Whether a node was told something that not all have confirmed: what an operator is told of then.
    fn is_busy(&self, index: usize) -> bool {
        let is_told = |joining: Joining| joining.told == index;
        let has_news = self.cluster.has_news[index] && !self.regions[index].is_heard_by_all();
        has_news || self.cluster.joining.is_some_and(is_told)
    }

    /// The node of a region that was removed is stopped, at last: until then it may have been refused because its region was
    /// added again.
    pub(super) fn stop(&mut self, index: usize) {
        self.trace
            .line(self.now, &name(index), format_args!("is stopped"));
        self.die(index, None);
        self.cluster.places[index] = Place::Out;
        self.bury();
    }

    /// Tells a node of a region that is added, as often as it takes until all have confirmed, and starts the node of that one
    /// then, if the last one is stopped.
    pub(super) fn admit(&mut self) {
        let Some(Joining { index, told }) = self.cluster.joining else {
            return;
        };
        if self.is_unfit(told) {
            return self.after(ADMIT_EVERY_US, Event::Admit);
        }
        let node = &mut self.regions[told];
        let added = node.change(index, true, self.now);
        added.expect("no other region has its name or its number");
        let clock = self.regions[index].clock.read(self.now);
        let node = &self.regions[told];
        let is_late_enough = node
            .added_at(index)
            .is_some_and(|since| since.wall() <= clock);
        let mut others = node.known();
        others.retain(|other| *other != index);
        let is_confirmed = is_late_enough && node.is_heard_by(&others);
        self.note_roster(told);
        if is_confirmed && !self.cluster.runs(index) {
            self.start_added(index, told);
        } else {
            self.after(ADMIT_EVERY_US, Event::Admit);
        }
    }

    /// Starts the first node of a region that was added, with nothing in its directory.
    fn start_added(&mut self, index: usize, told: usize) {
        let mut configured = self.regions[told].known();
        configured.retain(|other| *other != index);
        configured.push(told);
        configured.sort_unstable();
        self.trace.line(
            self.now,
            &name(index),
            format_args!("was added, and starts with {configured:?}"),
        );
        let last = &self.regions[index];
        let clock = last.clock;
        let incarnation = clock.read(self.now).0.max(last.incarnation() + 1);
        let life = Regions {
            configured,
            members: Members::default(),
        };
        let node = Region::new(
            (index, life),
            incarnation,
            clock,
            &self.swarm,
            &self.wrap,
            self.now,
        );
        self.summary.added += 1;
        let was_member = std::mem::replace(&mut self.cluster.was_member[index], true);
        self.summary.added_again += u64::from(was_member);
        self.cluster.places[index] = Place::Member;
        self.cluster.joining = None;
        self.begin(index, node);
        for other in self.others(index) {
            let in_us = self.rng.below(50_000);
            let route = Route {
                from: index,
                to: other,
            };
            self.after(in_us, Event::Connect(route));
        }
    }

    /// Has a node follow its roster soon, if that has changed.
    pub(super) fn note_roster(&mut self, index: usize) {
        if self.regions[index].look_at_roster() {
            let in_us = self.rng.below(FOLLOW_US_MAX);
            self.after(in_us, Event::Follow(index));
        }
    }

    /// A node ends its links with regions that were removed, and begins to dial those that were added.
    pub(super) fn follow_roster(&mut self, index: usize) -> Result<(), Broken> {
        if !self.cluster.runs(index) {
            return Ok(());
        }
        let changes = self.regions[index].changes();
        for other in changes.gone {
            self.trace.line(
                self.now,
                &name(index),
                format_args!("ends the link to {}, which was removed", name(other)),
            );
            let route = Route {
                from: index,
                to: other,
            };
            let report = self.regions[other].report(index, self.now);
            // Parts of units may be all that arrived.
            self.is_torn_for_good |= report.is_some_and(|report| report.is_sweeping);
            let epoch = self.network.epoch(route);
            self.close(route, epoch);
            self.drop_end(route, epoch)?;
            self.regions[index].end_session(other);
            self.regions[index].wakes[other] = None;
            self.delivery.part(index, other);
        }
        for other in changes.come {
            self.regions[index].begin_session(other, self.now);
            let route = Route {
                from: index,
                to: other,
            };
            self.after(0, Event::Connect(route));
        }
        Ok(())
    }

    /// Whether a node has a session for a link.
    pub(super) fn tries(&self, route: Route) -> bool {
        self.cluster.runs(route.from) && self.regions[route.from].session(route.to).is_some()
    }
}
