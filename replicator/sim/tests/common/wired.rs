//! Regions whose links take no time and lose nothing; tests say what is written, and when time passes.

#![allow(dead_code, reason = "each test crate uses its own part")]
#![allow(unreachable_pub, reason = "a module of test crates")]

use std::{collections::VecDeque, time::Duration};

use greenwich_proto::{
    members::Members,
    peer::{Input, Output},
    time::Time,
};
use greenwich_sim::{
    Direct, Swarm,
    clock::WallClock,
    region::{Region, Regions},
};

/// One end of a link, and the other.
pub type Ends = (usize, usize);

/// Regions, and what is on its way between them.
pub struct Wired {
    pub regions: Vec<Region<Direct>>,
    pub now: Time,
    /// To whom, from whom, what.
    sent: VecDeque<(usize, usize, Output)>,
}

impl Wired {
    /// Regions that have configured each other, none of them linked.
    pub fn new(swarm: &Swarm) -> Self {
        Self {
            regions: (0..swarm.regions).map(|at| region(at, swarm)).collect(),
            now: Time(0),
            sent: VecDeque::new(),
        }
    }

    /// Links come up, each at both of its ends.
    pub fn link(&mut self, ends: &[Ends]) {
        for &(at, other) in ends {
            self.tell(at, other, Input::Connected);
        }
        self.deliver();
    }

    /// Tells a session something.
    pub fn tell(&mut self, at: usize, other: usize, input: Input<'_>) {
        let (out, _) = self.regions[at].handle(self.now, other, input, None);
        let sent = out.into_iter().map(|output| (other, at, output));
        self.sent.extend(sent);
    }

    /// Delivers all that is on its way, and what follows from it.
    pub fn deliver(&mut self) {
        while let Some((to, from, output)) = self.sent.pop_front() {
            match output {
                Output::Control(bytes) => self.tell(to, from, Input::Control(&bytes)),
                Output::Batch(bytes) => self.tell(to, from, Input::Batch(&bytes)),
                Output::Established => {}
                Output::Close(why) => panic!("{to} and {from} part: {}", why.reason),
            }
        }
    }

    /// Lets these sessions look whether something is due.
    pub fn tick(&mut self, ends: &[Ends]) {
        for &(at, other) in ends {
            self.tell(at, other, Input::Tick);
        }
        self.deliver();
    }

    /// Time passes before these sessions look.
    pub fn pass(&mut self, time: Duration, ends: &[Ends]) {
        self.now = self.now + time;
        self.tick(ends);
    }
}

/// A region that has configured all others.
pub fn region(at: usize, swarm: &Swarm) -> Region<Direct> {
    let clock = WallClock::default();
    let others = Regions {
        configured: (0..swarm.regions).filter(|other| *other != at).collect(),
        members: Members::default(),
    };
    let start = clock.read(Time(0)).0;
    Region::new((at, others), start, clock, swarm, &Direct, Time(0))
}

/// Both ends of every link between these regions.
pub fn between(regions: &[usize]) -> Vec<Ends> {
    let all = regions
        .iter()
        .flat_map(|at| regions.iter().map(move |other| (*at, *other)));
    all.filter(|(at, other)| at != other).collect()
}
