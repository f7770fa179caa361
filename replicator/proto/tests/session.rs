//! Two sessions wired to each other: what a handshake refuses, and what delivery promises.

#[path = "common/mem.rs"]
mod mem;

use std::time::Duration;

use greenwich_proto::{
    entry::layout,
    hlc::{Origin, Stamp},
    log::{LANES, Marks, Position},
    peer::{Input, Limits, Output, State, WindowLimits},
    wire::batch::Batch,
};
use mem::{Pair, Setup, Side};

/// Connects two nodes of which the first was changed. Returns why the second refused the first.
fn refusal(change: impl Fn(&mut Pair)) -> String {
    let mut pair = Pair::new(&Setup::default());
    change(&mut pair);
    pair.connect();
    let State::Refused(reason) = pair.sides[1].peer.state() else {
        panic!("{:?}", pair.sides[1].peer.state());
    };
    assert_ne!(
        *pair.sides[0].peer.state(),
        State::Up,
        "the other side is told"
    );
    assert!(pair.sides[1].closed.is_some(), "the link is closed");
    let times_up = pair.sides.each_ref().map(|side| side.times_up);
    assert_eq!(times_up, [0, 0], "neither side says that the link is up");
    reason.clone()
}

fn assert_names(reason: &str, values: &[&str]) {
    assert!(
        values.iter().all(|value| reason.contains(value)),
        "{reason} names {values:?}"
    );
}

#[test]
fn a_refusal_names_both_values() {
    assert_names(
        &refusal(|pair| pair.sides[0].identity.cluster = "prod".into()),
        &["cluster", "prod", "test"],
    );
    assert_names(
        &refusal(|pair| pair.sides[0].identity.rules = 0xabc),
        &["rules", "0abc", "0007"],
    );
    assert_names(
        &refusal(|pair| pair.sides[0].identity.region = "mars".into()),
        &["region", "mars", "region1"],
    );
    assert_names(
        &refusal(|pair| pair.sides[0].identity.origin = Origin(9)),
        &["region", "id 9", "id 1"],
    );
    let ahead = |pair: &mut Pair| pair.sides[0].wall = pair.sides[0].wall + Duration::from_mins(10);
    assert_names(&refusal(ahead), &["clock", "600000 ms", "5000 ms"]);
}

#[test]
fn a_refusal_of_the_hello_itself_names_both_values() {
    use greenwich_proto::wire::control::Control;
    let refused = |change: fn(&mut greenwich_proto::wire::control::Hello)| {
        let mut pair = Pair::new(&Setup::default());
        let out = pair.sides[0].handle(pair.now, Input::Connected);
        let [Output::Control(bytes)] = out.as_slice() else {
            panic!("{out:?}")
        };
        let Ok(Some(Control::Hello(mut hello))) = Control::decode(bytes) else {
            panic!("a hello comes first")
        };
        change(&mut hello);
        pair.tell(1, Input::Connected);
        pair.tell(1, Input::Control(&Control::Hello(hello).encode()));
        match pair.sides[1].peer.state() {
            State::Refused(reason) => reason.clone(),
            other @ (State::Down | State::Handshaking | State::Up) => panic!("{other:?}"),
        }
    };
    let wire = refused(|hello| (hello.wire, hello.wire_min) = (9, 8));
    assert_names(&wire, &["wire version", "8 to 9", "1 to 2"]);
    assert_names(&refused(|hello| hello.lanes = 32), &["lanes", "32", "16"]);
    let ahead = refused(|hello| {
        hello.resume.incarnation = 1_000;
        hello.resume.applied = vec![5; 16];
    });
    assert_names(&ahead, &["resume", "5", "0"]);
}

#[test]
fn an_earlier_incarnation_is_refused() {
    let mut pair = Pair::new(&Setup::default());
    pair.connect();
    pair.disconnect();
    pair.sides[0].identity.incarnation = 900;
    pair.connect();
    let State::Refused(reason) = pair.sides[1].peer.state() else {
        panic!("it is taken")
    };
    assert_names(reason, &["incarnation", "900", "1000"]);
}

#[test]
fn an_incarnation_that_lies_ahead_is_refused_and_not_remembered() {
    let mut pair = Pair::new(&Setup::default());
    let day = Duration::from_hours(24);
    let right = pair.sides[0].identity.incarnation;
    // Its clock is right by now; it was a day ahead when it started.
    pair.sides[0].identity.incarnation = (pair.sides[0].wall + day).0;
    pair.connect();
    let State::Refused(reason) = pair.sides[1].peer.state() else {
        panic!("it is taken")
    };
    assert_names(
        reason,
        &["incarnation", "87400000", "86400000 ms", "5000 ms"],
    );
    pair.disconnect();
    pair.sides[0].identity.incarnation = right + 1;
    pair.connect();
    assert_eq!(*pair.sides[1].peer.state(), State::Up);
}

#[test]
fn how_far_a_peers_clock_is_off_is_seen_while_the_link_lasts_and_when_it_is_refused() {
    let mut pair = Pair::new(&Setup::default());
    let lead_of_other = |pair: &Pair, side: usize| pair.sides[side].report().clock_lead_ms;
    assert_eq!(lead_of_other(&pair, 1), None);
    pair.sides[0].wall = pair.sides[0].wall + Duration::from_millis(700);
    pair.connect();
    assert_eq!(
        [0, 1].map(|side| lead_of_other(&pair, side)),
        [Some(-700), Some(700)]
    );
    // It is set while the link is up; what was heard before counts for some seconds more.
    pair.sides[0].wall = pair.sides[1].wall;
    (0..30).for_each(|_| pair.settle());
    assert_eq!(
        [0, 1].map(|side| lead_of_other(&pair, side)),
        [Some(0), Some(0)]
    );
    pair.disconnect();
    pair.sides[0].wall = pair.sides[1].wall + Duration::from_mins(1);
    pair.connect();
    assert!(matches!(pair.sides[1].peer.state(), State::Refused(_)));
    assert_eq!(lead_of_other(&pair, 1), Some(60_000));
}

#[test]
fn a_peer_of_the_first_wire_version_is_not_told_what_it_does_not_know() {
    use greenwich_proto::wire::control::Control;
    let mut pair = Pair::new(&Setup::default());
    let out = pair.sides[0].handle(pair.now, Input::Connected);
    let [Output::Control(bytes)] = out.as_slice() else {
        panic!("{out:?}")
    };
    let Ok(Some(Control::Hello(mut hello))) = Control::decode(bytes) else {
        panic!("a hello comes first")
    };
    hello.wire = 1;
    let mut told = pair.sides[1].handle(pair.now, Input::Connected);
    for frame in [Control::Hello(hello), Control::Ready] {
        told.extend(pair.sides[1].handle(pair.now, Input::Control(&frame.encode())));
    }
    assert_eq!(*pair.sides[1].peer.state(), State::Up);
    let frames = told.iter().filter_map(|output| match output {
        Output::Control(bytes) => Control::decode(bytes).unwrap(),
        Output::Batch(_) | Output::Established | Output::Close(_) => None,
    });
    let is_new = |frame| {
        matches!(
            frame,
            Control::Clock(_) | Control::Want | Control::Sent(_) | Control::Compare(_)
        )
    };
    assert!(!frames.into_iter().any(is_new));
}

#[test]
fn a_link_without_a_hello_is_given_up() {
    let mut pair = Pair::new(&Setup::default());
    pair.tell(0, Input::Connected);
    pair.now = pair.now + Limits::default().hello_timeout;
    pair.tell(0, Input::Tick);
    assert!(
        matches!(pair.sides[0].peer.state(), State::Refused(reason) if reason.contains("no hello within 5s"))
    );
}

#[test]
fn what_is_written_arrives_once() {
    let mut pair = Pair::new(&Setup::default());
    pair.connect();
    for key in ["a", "b", "c"] {
        pair.sides[0].set(key, "1");
    }
    pair.settle();
    assert_eq!(pair.sides[1].store.value("b").as_deref(), Some("1"));
    assert_eq!(pair.sides[1].store.joins.get(), 3);
    assert_eq!(pair.sides.each_ref().map(|side| side.times_up), [1, 1]);
    assert_eq!(pair.sides[0].report().lag_updates, 0);
    // A batch that arrives again is acknowledged and not applied.
    for (to, batch) in pair.batches.clone() {
        if Batch::decode(&batch).unwrap().entries > 0 {
            pair.tell(to, Input::Batch(&batch));
        }
    }
    assert_eq!(pair.sides[1].store.joins.get(), 3);
    assert!(pair.sides[1].report().received.duplicates > 0);
}

#[test]
fn a_lost_link_resumes_from_the_cursor() {
    let mut pair = Pair::new(&Setup::default());
    pair.connect();
    pair.sides[0].set("a", "arrives");
    pair.settle();
    pair.sides[0].set("b", "is lost with the link");
    pair.tell(0, Input::Tick);
    pair.lose_batches();
    pair.disconnect();
    pair.sides[0].set("c", "is written without a link");
    pair.connect();
    assert_eq!(
        pair.sides[1].store.value("b").as_deref(),
        Some("is lost with the link")
    );
    assert_eq!(
        pair.sides[1].store.value("c").as_deref(),
        Some("is written without a link")
    );
    assert_eq!(
        pair.sides[1].store.joins.get(),
        3,
        "what had arrived is not sent again"
    );
    assert_eq!(
        pair.sides[0].report().sent.sweeps,
        1,
        "only the first link begins with a sweep"
    );
}

#[test]
fn only_a_linked_peer_counts_as_holding_what_it_acknowledged() {
    let mut pair = Pair::new(&Setup::default());
    let mut marks = Marks::default();
    assert_eq!(pair.sides[0].log.holders(&marks), 0, "there is no link yet");
    pair.connect();
    pair.sides[0].set("a", "1");
    for lane in 0..LANES {
        let seq = pair.sides[0].log.head(lane);
        marks.note(Position {
            lane,
            seq,
            stamp: Stamp::ZERO,
        });
    }
    assert_eq!(pair.sides[0].log.holders(&marks), 0, "it is not sent yet");
    pair.settle();
    assert_eq!(pair.sides[0].log.holders(&marks), 1);
    pair.disconnect();
    assert_eq!(pair.sides[0].log.holders(&marks), 0);
    pair.connect();
    assert_eq!(pair.sides[0].log.holders(&marks), 1, "it still holds it");
    pair.tell(0, Input::Control(b"nonsense"));
    assert_eq!(pair.sides[0].log.holders(&marks), 0, "the link is refused");
}

#[test]
fn a_peer_that_does_not_acknowledge_stops_the_sender_at_its_window() {
    let window = WindowLimits {
        min_bytes: 2_000,
        max_bytes: 2_000,
    };
    let limits = Limits {
        batch_bytes: 100,
        window,
        ..Limits::default()
    };
    let mut pair = Pair::new(&Setup {
        limits,
        ..Setup::default()
    });
    pair.connect();
    pair.loses_acks = true;
    for key in 0..1_000 {
        pair.sides[0].set(&format!("key{key}"), "0123456789");
        pair.settle_briefly();
    }
    let report = pair.sides[0].report();
    assert!(
        (2_000..2_400).contains(&report.in_flight_bytes),
        "{report:?}"
    );
    assert!(report.lag_updates > 900 && pair.sides[1].store.joins.get() < 100);
    pair.tell(0, Input::Disconnected);
    let down = pair.sides[0].report();
    assert_eq!(
        (down.in_flight_bytes, down.lag_updates),
        (0, report.lag_updates),
        "what a lost link carried is owed and not in flight"
    );
    // It goes on where it was on the next link.
    pair.loses_acks = false;
    pair.disconnect();
    pair.connect();
    for _ in 0..20 {
        pair.settle();
    }
    assert_eq!(pair.sides[0].report().lag_updates, 0);
    assert_eq!(
        pair.sides[1].store.value("key999").as_deref(),
        Some("0123456789")
    );
}

#[test]
fn a_hot_key_crosses_a_few_times() {
    let mut pair = Pair::new(&Setup::default());
    pair.connect();
    for value in 0..1_000 {
        pair.sides[0].set("hot", &value.to_string());
        if value % 100 == 0 {
            pair.settle_briefly();
        }
    }
    pair.settle();
    let sent = pair.sides[0].report().sent;
    assert_eq!(pair.sides[1].store.value("hot").as_deref(), Some("999"));
    assert!(sent.updates <= 20 && sent.coalesced >= 980, "{sent:?}");
}

#[test]
fn batches_of_large_values_end_near_their_limit_and_miss_none() {
    let limits = Limits {
        batch_bytes: 1_000,
        ..Limits::default()
    };
    let mut pair = Pair::new(&Setup {
        limits,
        ..Setup::default()
    });
    pair.connect();
    pair.batches.clear();
    let value = "v".repeat(900);
    for key in 0..100 {
        pair.sides[0].set(&format!("k{key}"), &value);
    }
    pair.settle();
    // Two that fill the limit, one that goes over it, and their headers.
    let largest = pair.batches.iter().map(|(_, batch)| batch.len()).max();
    assert!(largest.unwrap() < 3_000, "{largest:?}");
    assert_eq!(pair.sides[1].store.joins.get(), 100);
    for key in 0..100 {
        let arrived = pair.sides[1].store.value(&format!("k{key}"));
        assert_eq!(arrived.as_deref(), Some(value.as_str()), "k{key}");
    }
}

/// Large values, all in one lane, each with a small one after it.
fn set_large(pair: &mut Pair) -> String {
    let value = "v".repeat(300_000);
    for key in 0..LARGE {
        pair.sides[0].set(&format!("large{key}"), &value);
        pair.sides[0].set(&format!("little{key}"), "small");
    }
    value
}

const LARGE: usize = 6;

/// What the first side sends of its own accord: small batches and large ones.
fn sent_batches(pair: &mut Pair) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let mut sent = Vec::new();
    for _ in 0..10 {
        pair.now = pair.now + Duration::from_millis(1);
        sent.extend(pair.sides[0].handle(pair.now, Input::Tick));
    }
    let batches = sent.into_iter().filter_map(|output| match output {
        Output::Batch(batch) => Some(batch),
        Output::Control(_) | Output::Established | Output::Close(_) => None,
    });
    batches.partition(|batch| batch.len() < 300_000)
}

fn assert_all_arrived(pair: &Pair, large: &str) {
    for key in 0..LARGE {
        let held = |name: &str| pair.sides[1].store.value(&format!("{name}{key}"));
        assert!(held("large").as_deref() == Some(large), "large{key}");
        assert_eq!(held("little").as_deref(), Some("small"), "little{key}");
    }
    assert_eq!(pair.sides[0].report().lag_updates, 0);
}

#[test]
fn what_is_written_after_large_values_does_not_wait_for_them() {
    let mut pair = Pair::new(&Setup::default());
    pair.connect();
    let value = set_large(&mut pair);
    let (small, large) = sent_batches(&mut pair);
    assert_eq!(large.len(), 2, "the others wait");
    for batch in &small {
        pair.tell(1, Input::Batch(batch));
    }
    for key in 0..LARGE {
        let arrived = pair.sides[1].store.value(&format!("little{key}"));
        assert_eq!(arrived.as_deref(), Some("small"), "little{key}");
    }
    let owed = pair.sides[0].report().lag_updates;
    assert_eq!(owed, 2 * LARGE as u64, "nothing was acknowledged yet");
    for batch in &large {
        pair.tell(1, Input::Batch(batch));
    }
    pair.settle();
    assert_all_arrived(&pair, &value);
}

#[test]
fn a_large_value_that_is_written_again_while_it_waits_travels_once_in_its_newest_state() {
    let mut pair = Pair::new(&Setup::default());
    pair.connect();
    set_large(&mut pair);
    let (small, first) = sent_batches(&mut pair);
    let newest = "n".repeat(300_000);
    for key in 2..LARGE {
        for _ in 0..3 {
            pair.sides[0].set(&format!("large{key}"), &newest);
            let (none, more) = sent_batches(&mut pair);
            assert!(none.is_empty() && more.is_empty(), "there is no room");
        }
    }
    pair.batches.clear();
    for batch in small.iter().chain(&first) {
        pair.tell(1, Input::Batch(batch));
    }
    pair.settle();
    assert_eq!(pair.batches.len(), LARGE - 2);
    for key in 2..LARGE {
        let arrived = pair.sides[1].store.value(&format!("large{key}"));
        assert!(arrived == Some(newest.clone()), "large{key}");
    }
    assert_eq!(pair.sides[0].report().lag_updates, 0);
}

#[test]
fn a_lost_link_forgets_no_large_value() {
    let mut pair = Pair::new(&Setup::default());
    pair.connect();
    let value = set_large(&mut pair);
    let (small, _) = sent_batches(&mut pair);
    for batch in &small {
        pair.tell(1, Input::Batch(batch));
    }
    pair.disconnect();
    pair.connect();
    pair.settle();
    assert_all_arrived(&pair, &value);
    assert_eq!(pair.sides[0].report().sent.sweeps, 1, "that of the start");
}

#[test]
fn a_peer_that_falls_off_the_log_is_swept_to() {
    let mut pair = Pair::new(&Setup {
        log_bytes: 0,
        ..Setup::default()
    });
    pair.connect();
    pair.disconnect();
    // Records of one lane beyond what a lane keeps.
    let long = "k".repeat(2_000);
    for key in 0..100 {
        pair.sides[0].set(&format!("{long}{key}"), "1");
    }
    assert!(
        pair.sides[0].log.bytes() < 100 * 2_000,
        "the log is bounded"
    );
    pair.connect();
    pair.settle();
    let report = pair.sides[0].report();
    assert_eq!(
        (report.sent.sweeps, report.lag_updates, report.is_sweeping),
        (2, 0, false)
    );
    for key in 0..100 {
        assert_eq!(
            pair.sides[1]
                .store
                .value(&format!("{long}{key}"))
                .as_deref(),
            Some("1")
        );
    }
}

#[test]
fn a_sweep_that_is_cut_short_begins_again_on_the_next_link() {
    let mut pair = Pair::new(&Setup::default());
    // The second node's own log is empty: only a sweep brings what it holds.
    pair.sides[0].set("a", "1");
    pair.connect();
    let restarted = Side::new(
        1,
        &Setup {
            incarnation: 2_000,
            ..Setup::default()
        },
    );
    pair.disconnect();
    pair.sides[0] = restarted;
    for side in 0..2 {
        pair.tell(side, Input::Connected);
    }
    pair.deliver_control();
    pair.lose_batches();
    pair.disconnect();
    assert_eq!(pair.sides[0].store.value("a"), None);
    pair.connect();
    assert_eq!(pair.sides[0].store.value("a").as_deref(), Some("1"));
}

#[test]
fn a_restarted_peer_is_swept_to_although_it_has_heard_of_us() {
    let mut pair = Pair::new(&Setup::default());
    // As above, the second node has written nothing itself.
    pair.sides[0].set("a", "1");
    pair.connect();
    pair.disconnect();
    let restarted = Side::new(
        1,
        &Setup {
            incarnation: 2_000,
            ..Setup::default()
        },
    );
    pair.sides[0] = restarted;
    // Its own hello is lost with the link; it remembers ours, and says so in the next one.
    let hello = pair.sides[1].handle(pair.now, Input::Connected);
    let [Output::Control(hello)] = hello.as_slice() else {
        panic!("a link begins with a hello: {hello:?}")
    };
    pair.sides[0].handle(pair.now, Input::Connected);
    pair.sides[0].handle(pair.now, Input::Control(hello));
    pair.disconnect();
    pair.connect();
    assert_eq!(pair.sides[0].store.value("a").as_deref(), Some("1"));
}

#[test]
fn a_new_life_does_not_read_what_was_forgotten() {
    let mut pair = Pair::new(&Setup::default());
    pair.connect();
    pair.sides[0].set_and_forget("a");
    pair.disconnect();
    pair.sides[1] = Side::new(
        2,
        &Setup {
            incarnation: 2_000,
            ..Setup::default()
        },
    );
    pair.connect();
    assert_eq!(pair.sides[1].store.value("a"), None);
    assert_eq!(pair.sides[0].report().lag_updates, 0);
}

#[test]
fn a_batch_from_a_clock_far_ahead_is_refused_and_not_applied() {
    let mut pair = Pair::new(&Setup::default());
    pair.connect();
    pair.sides[0].wall = pair.sides[0].wall + Duration::from_mins(10);
    pair.sides[0].set("a", "1");
    pair.settle();
    assert!(
        matches!(pair.sides[1].peer.state(), State::Refused(reason) if reason.contains("clock skew"))
    );
    assert_eq!(pair.sides[1].store.joins.get(), 0);
}

#[test]
fn bytes_that_are_no_frame_close_the_link() {
    let mut pair = Pair::new(&Setup::default());
    pair.connect();
    pair.tell(1, Input::Batch(&[0xff; 40]));
    pair.deliver();
    assert!(matches!(pair.sides[1].peer.state(), State::Refused(_)));
    assert!(
        matches!(pair.sides[0].peer.state(), State::Refused(reason) if reason.starts_with("refused by region2"))
    );
    pair.disconnect();
    pair.connect();
    assert_eq!(
        *pair.sides[1].peer.state(),
        State::Up,
        "the next link is judged anew"
    );
    assert!(layout::decode(&[]).is_err());
}
