use std::time::Duration;

use super::*;
use crate::{
    entry::totals::Actor,
    hlc::Clock,
    time::{Time, Wall},
};

/// us-east, which was configured with eu-west and ap-south.
struct Node {
    roster: Roster,
    log: Log,
    lives: Lives,
}

fn region(name: &str, id: u8) -> Expected {
    Expected {
        region: name.to_owned(),
        origin: Origin(id),
    }
}

impl Node {
    fn new() -> Self {
        Self::with(Members::default())
    }

    fn with(members: Members) -> Self {
        let configured = [("eu-west", 2), ("ap-south", 3)];
        let configured = configured.map(|(name, id)| (region(name, id), format!("{name}:7401")));
        let own = Actor {
            origin: Origin(1),
            incarnation: 10,
        };
        let node = Self {
            roster: Roster::new(region("us-east", 1), configured, members),
            log: Log::new(Clock::new(Duration::from_secs(5)), 0, 1 << 20),
            lives: Lives::new(own, [], Time(0), Duration::from_secs(1)),
        };
        node.roster.seat_all(&node.log, &node.lives);
        node.lives.learn_regions();
        node
    }

    fn add(&self, name: &str, id: u8, at: u64) -> Result<bool, ChangeError> {
        let (stamp, address) = (Stamp::at(Wall(at)), format!("{name}:7401"));
        self.roster
            .add(region(name, id), address, stamp, &self.log, &self.lives)
    }

    fn remove(&self, name: &str, at: u64) -> Result<bool, ChangeError> {
        let stamp = Stamp::at(Wall(at));
        self.roster.remove(name, stamp, &self.log, &self.lives)
    }

    /// Names of the regions that are there.
    fn present(&self) -> Vec<String> {
        let seats = self.roster.seats().into_iter();
        let present = seats.filter(|seat| seat.is_present);
        present.map(|seat| seat.expected.region).collect()
    }
}

#[test]
fn a_region_is_known_to_log_and_lives_as_soon_as_it_is_added() {
    let node = Node::new();
    assert_eq!((node.log.peers(), node.lives.missing().len()), (2, 2));
    assert_eq!(node.add("us-west", 4, 100), Ok(true));
    assert_eq!((node.log.peers(), node.lives.missing().len()), (3, 3));
    assert_eq!(node.add("us-west", 4, 200), Ok(false), "once is enough");
    assert_eq!(node.remove("ap-south", 300), Ok(true));
    assert_eq!(node.remove("ap-south", 400), Ok(false));
    assert_eq!((node.log.peers(), node.lives.missing().len()), (2, 2));
    assert_eq!(node.present(), ["eu-west", "us-west"]);
    assert_eq!(node.roster.version(), 3);
}

#[test]
fn what_one_node_is_told_another_takes_over_and_keeps() {
    let (told, other) = (Node::new(), Node::new());
    told.add("us-west", 4, 100).unwrap();
    told.remove("ap-south", 200).unwrap();
    let members = told.roster.members();
    assert!(!told.roster.is_known_to(&other.roster.members()));
    assert!(other.roster.join(&members, &other.log, &other.lives));
    assert!(!other.roster.join(&members, &other.log, &other.lives));
    assert!(told.roster.is_known_to(&other.roster.members()));
    assert_eq!(other.present(), ["eu-west", "us-west"]);
    let restarted = Node::with(members);
    assert_eq!(restarted.present(), ["eu-west", "us-west"]);
    assert_eq!(
        (restarted.log.peers(), restarted.lives.missing().len()),
        (2, 2)
    );
}

#[test]
fn a_number_is_never_given_to_another_region() {
    let node = Node::new();
    let refused = |id, by: &str, was_removed| {
        Err(ChangeError::IdTaken {
            id,
            by: by.to_owned(),
            was_removed,
        })
    };
    assert_eq!(node.add("us-west", 3, 100), refused(3, "ap-south", false));
    node.remove("ap-south", 200).unwrap();
    assert_eq!(node.add("us-west", 3, 300), refused(3, "ap-south", true));
    assert_eq!(node.add("us-west", 1, 300), refused(1, "us-east", false));
    assert!(matches!(
        node.add("eu-west", 5, 300),
        Err(ChangeError::NameTaken { id: 2, .. })
    ));
    assert!(matches!(
        node.add("us-east", 5, 300),
        Err(ChangeError::Own(_))
    ));
    assert!(matches!(
        node.add("us west", 5, 300),
        Err(ChangeError::Name(_))
    ));
    assert_eq!(node.add("us-west", 64, 300), Err(ChangeError::Id(64)));
    assert!(matches!(
        node.remove("us-east", 300),
        Err(ChangeError::Own(_))
    ));
    assert!(matches!(
        node.remove("mars", 300),
        Err(ChangeError::Unknown(_))
    ));
}

#[test]
fn a_node_that_began_before_its_region_was_added_is_refused() {
    let node = Node::new();
    let admits = |peer, incarnation| node.roster.admits(PeerIndex(peer), incarnation);
    assert_eq!(admits(1, 5), Ok(()), "it was configured");
    node.remove("ap-south", 200).unwrap();
    assert!(matches!(admits(1, 500), Err(Refusal::Removed { .. })));
    assert_eq!(node.add("ap-south", 3, 300), Ok(true));
    assert!(matches!(admits(1, 299), Err(Refusal::BeganBefore { .. })));
    assert_eq!(admits(1, 300), Ok(()));
    let moved = "elsewhere:7401".to_owned();
    let stamp = Stamp::at(Wall(900));
    let is_moved = node
        .roster
        .add(region("ap-south", 3), moved, stamp, &node.log, &node.lives);
    assert_eq!(is_moved, Ok(true));
    assert_eq!(
        admits(1, 300),
        Ok(()),
        "another address makes no other region"
    );
    assert_eq!(node.roster.seats()[1].address, "elsewhere:7401");
}

#[test]
fn a_node_that_was_told_nothing_yet_decides_nothing() {
    let own = Actor {
        origin: Origin(1),
        incarnation: 10,
    };
    let lives = Lives::new(own, [], Time(0), Duration::from_secs(1));
    let node = Node {
        lives,
        ..Node::new()
    };
    node.roster.seat_all(&node.log, &node.lives);
    assert_eq!(node.remove("ap-south", 300), Err(ChangeError::Uninformed));
    assert_eq!(node.add("mars", 4, 300), Err(ChangeError::Uninformed));
    assert!(node.lives.loading(Time(0)).is_some());
    assert_eq!(
        node.lives.loading(Time(2_000_000)),
        None,
        "it waits no more"
    );
    assert_eq!(node.remove("ap-south", 300), Ok(true));
}
