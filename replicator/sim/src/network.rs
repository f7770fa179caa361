//! Links between regions as one QUIC connection a pair: a control stream that is reliable and in order, and messages
//! that are delivered whole, late, in any order, sometimes twice. What is lost is sent again while the connection lives;
//! one without an answer for too long is given up at both ends, and all that was under way is lost with it.

use std::collections::BTreeMap;

use greenwich_proto::{
    netem::{Link, Verdict},
    rng::Rng,
    time::Time,
};

use crate::swarm::LinkRange;

/// What travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A control frame and its place in the stream.
    Control(u64, Vec<u8>),
    /// A batch.
    Batch(Vec<u8>),
}

impl Message {
    fn len(&self) -> usize {
        match self {
            Self::Control(_, bytes) | Self::Batch(bytes) => bytes.len(),
        }
    }
}

/// From one region to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// Who sends.
    pub from: usize,
    /// Who receives.
    pub to: usize,
}

impl Route {
    /// The other way.
    #[must_use]
    pub const fn back(self) -> Self {
        Self {
            from: self.to,
            to: self.from,
        }
    }
}

/// What becomes of a message that is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It arrives, maybe twice.
    Arrives(Time, Option<Time>),
    /// It was lost; the sender notices by then and sends it again.
    Lost(Time),
}

/// One direction between two regions.
#[derive(Debug)]
struct Direction {
    link: Link,
    /// Counts cuts, so that the end of an earlier one does not end a later one.
    cuts: u64,
    /// The connection that this end believes in; zero for none.
    epoch: u64,
    next_control: u64,
    /// Control frames that arrived before their predecessors, and the one that is due.
    held: BTreeMap<u64, Vec<u8>>,
    due_control: u64,
}

/// All links.
#[derive(Debug)]
pub struct Network {
    regions: usize,
    directions: Vec<Direction>,
    next_epoch: u64,
}

impl Network {
    /// Links between all regions, none of them connected.
    #[must_use]
    pub fn new(regions: usize, range: &LinkRange, rng: &mut Rng) -> Self {
        let directions = (0..regions * regions).map(|_| {
            let profile = range.draw(rng);
            Direction {
                link: Link::new(profile, rng.next_u64()),
                cuts: 0,
                epoch: 0,
                next_control: 0,
                held: BTreeMap::new(),
                due_control: 0,
            }
        });
        Self {
            regions,
            directions: directions.collect(),
            next_epoch: 1,
        }
    }

    fn direction(&mut self, route: Route) -> &mut Direction {
        &mut self.directions[route.from * self.regions + route.to]
    }

    /// The connection that `route.from` believes to have with `route.to`; zero for none.
    #[must_use]
    pub fn epoch(&self, route: Route) -> u64 {
        self.directions[route.from * self.regions + route.to].epoch
    }

    /// Whether one direction is cut.
    #[must_use]
    pub fn is_cut(&self, route: Route) -> bool {
        self.directions[route.from * self.regions + route.to]
            .link
            .is_cut()
    }

    /// Connects two regions that both have no connection. `false` when one of them still has, or a direction is cut.
    pub fn connect(&mut self, route: Route) -> bool {
        let both = [route, route.back()];
        if both
            .iter()
            .any(|&way| self.is_cut(way) || self.epoch(way) != 0)
        {
            return false;
        }
        let epoch = self.next_epoch;
        self.next_epoch += 1;
        for way in both {
            let direction = self.direction(way);
            (
                direction.epoch,
                direction.next_control,
                direction.due_control,
            ) = (epoch, 0, 0);
            direction.held.clear();
        }
        true
    }

    /// One end gives its connection up. `false` when it had none, or another one.
    pub fn drop_end(&mut self, route: Route, epoch: u64) -> bool {
        let direction = self.direction(route);
        let had = epoch != 0 && direction.epoch == epoch;
        if had {
            direction.epoch = 0;
        }
        had
    }

    /// Cuts one direction and returns the number of the cut.
    pub fn cut(&mut self, route: Route) -> u64 {
        let direction = self.direction(route);
        direction.cuts += 1;
        direction.link.set_cut(true);
        direction.cuts
    }

    /// Ends a cut, unless a later one has begun.
    pub fn heal(&mut self, route: Route, cut: u64) {
        let direction = self.direction(route);
        if direction.cuts == cut {
            direction.link.set_cut(false);
        }
    }

    /// The number of the last cut.
    #[must_use]
    pub fn cuts(&self, route: Route) -> u64 {
        self.directions[route.from * self.regions + route.to].cuts
    }

    /// Ends every cut and every loss.
    pub fn make_quiet(&mut self) {
        for direction in &mut self.directions {
            direction.link.set_cut(false);
            let quiet = greenwich_proto::netem::LinkProfile {
                loss: 0.0,
                ..direction.link.profile()
            };
            direction.link.set_profile(quiet);
        }
    }

    /// Numbers a control frame.
    pub fn control(&mut self, route: Route, bytes: Vec<u8>) -> Message {
        let direction = self.direction(route);
        direction.next_control += 1;
        Message::Control(direction.next_control - 1, bytes)
    }

    /// Sends a message, for the first time or again.
    pub fn send(&mut self, now: Time, route: Route, message: &Message) -> Fate {
        let back_us = self.direction(route.back()).link.profile().delay_us;
        let direction = self.direction(route);
        let retry_us = 2 * direction.link.profile().delay_us + back_us + 1_000;
        match direction.link.send(now, message.len()) {
            Verdict::Deliver { at, duplicate_at } => Fate::Arrives(at, duplicate_at),
            Verdict::Drop(_) => Fate::Lost(Time(now.0 + retry_us)),
        }
    }

    /// The control frames that may be read once this one has arrived.
    pub fn in_order(&mut self, route: Route, number: u64, bytes: Vec<u8>) -> Vec<Vec<u8>> {
        let direction = self.direction(route);
        if number >= direction.due_control {
            direction.held.insert(number, bytes);
        }
        let mut ready = Vec::new();
        while let Some(bytes) = direction.held.remove(&direction.due_control) {
            ready.push(bytes);
            direction.due_control += 1;
        }
        ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTE: Route = Route { from: 0, to: 1 };

    fn network() -> Network {
        let range = LinkRange {
            delay_us_max: 1_000,
            loss_max: 0.0,
            duplicate_max: 0.0,
            idle_us: 1,
        };
        Network::new(2, &range, &mut Rng::new(1))
    }

    #[test]
    fn control_frames_wait_for_their_predecessors_and_come_once() {
        let mut network = network();
        assert!(network.connect(ROUTE));
        assert!(network.in_order(ROUTE, 1, vec![1]).is_empty());
        assert_eq!(network.in_order(ROUTE, 0, vec![0]), [vec![0], vec![1]]);
        assert!(network.in_order(ROUTE, 1, vec![1]).is_empty());
    }

    #[test]
    fn a_cut_loses_messages_and_forbids_connections() {
        let mut network = network();
        let cut = network.cut(ROUTE);
        assert!(!network.connect(ROUTE.back()));
        assert!(matches!(
            network.send(Time(0), ROUTE, &Message::Batch(vec![])),
            Fate::Lost(_)
        ));
        network.cut(ROUTE);
        network.heal(ROUTE, cut);
        assert!(network.is_cut(ROUTE), "the second cut lasts");
        network.heal(ROUTE, cut + 1);
        assert!(network.connect(ROUTE.back()) && !network.connect(ROUTE));
    }
}
