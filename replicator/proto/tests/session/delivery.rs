//! What delivery promises: once, from the cursor on, within the window.

use std::time::Duration;

use greenwich_proto::{
    entry::layout,
    hlc::Stamp,
    log::{LANES, Marks, Position},
    peer::{Input, Limits, State, WindowLimits},
    wire::{batch::Batch, control::Control},
};

use super::mem::{Pair, Setup};

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
fn a_link_over_which_nothing_arrives_is_silent_until_something_does() {
    let mut pair = Pair::new(&Setup::default());
    pair.connect();
    assert!(!pair.sides[0].report().is_silent);
    pair.now = pair.now + Duration::from_secs(1);
    pair.tell(0, Input::Tick);
    assert!(pair.sides[0].report().is_silent);
    pair.settle();
    assert!(!pair.sides[0].report().is_silent);
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
    pair.now = pair.now + Duration::from_secs(1);
    pair.tell(0, Input::Tick);
    let silent = (pair.sides[0].report().is_silent, 0);
    assert_eq!(silent, (true, pair.sides[0].log.holders(&marks)));
    pair.settle();
    assert_eq!(pair.sides[0].log.holders(&marks), 1, "it speaks again");
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
fn a_frame_that_only_a_later_release_knows_is_passed_over() {
    let mut pair = Pair::new(&Setup::default());
    pair.connect();
    // The text "News", and a map from it to 1, as MessagePack writes them.
    for frame in [&b"\xa4News"[..], b"\x81\xa4News\x01"] {
        assert_eq!(Control::decode(frame), Ok(None));
        pair.tell(1, Input::Control(frame));
    }
    pair.sides[0].set("a", "1");
    pair.settle();
    assert_eq!(*pair.sides[1].peer.state(), State::Up);
    assert_eq!(pair.sides[1].store.value("a").as_deref(), Some("1"));
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
