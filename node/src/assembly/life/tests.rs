use std::sync::Arc;

use greenwich_proto::hlc::Clock;
use proptest::prelude::*;

use super::*;

const NOW: Wall = Wall(1_750_000_000_000);
const MAX_SKEW: Duration = Duration::from_secs(5);
const DAY: Duration = Duration::from_hours(24);

fn begin(data_dir: &Path, now: Wall) -> (Life, Stamp) {
    Life::begin(data_dir, now, MAX_SKEW).unwrap()
}

/// A clock that goes on after the stamps of earlier lives and asks for more.
fn clock_of(life: Arc<Life>, after: Stamp) -> Clock {
    let clock = Clock::new(MAX_SKEW);
    clock.advance(after);
    clock.reserve_with(life.reserved(), move |stamp| life.reserve(stamp));
    clock
}

proptest! {
    // Each writes a file a hundred times, to the disk and back.
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn no_life_gives_a_stamp_or_an_incarnation_of_an_earlier_one_wherever_its_clock_is_set(
        lives in prop::collection::vec((0u64..10_000_000, prop::collection::vec(0u64..10_000, 1..20), any::<bool>()), 1..6),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let (mut newest, mut incarnation) = (Stamp::ZERO, 0);
        for (start_ms, steps_ms, ends_in_order) in lives {
            let mut wall = NOW + Duration::from_millis(start_ms);
            let (life, after) = begin(dir.path(), wall);
            prop_assert!(life.incarnation() > incarnation);
            incarnation = life.incarnation();
            let life = Arc::new(life);
            let clock = clock_of(Arc::clone(&life), after);
            for step_ms in steps_ms {
                wall = wall + Duration::from_millis(step_ms);
                let stamp = clock.stamp(wall);
                prop_assert!(stamp > newest, "{stamp} after {newest}");
                newest = stamp;
                clock.note_reserved(life.renew(newest, true));
            }
            if ends_in_order {
                life.end(newest);
            }
        }
    }
}

#[test]
fn a_life_that_no_peer_heard_of_and_whose_clock_was_ahead_is_left_behind() {
    let dir = tempfile::tempdir().unwrap();
    let (life, _) = begin(dir.path(), NOW);
    let heard = life.renew(Stamp::at(NOW), true);
    let incarnation = life.incarnation();
    let (ahead, _) = begin(dir.path(), NOW + DAY);
    ahead.renew(Stamp::at(NOW + DAY), false);
    assert_eq!(ahead.incarnation(), (NOW + DAY).0);
    let (right, after) = begin(dir.path(), NOW);
    assert_eq!(
        (right.incarnation(), after),
        (incarnation + 1, heard),
        "what peers heard of before is gone beyond"
    );
}

#[test]
fn a_clock_that_was_a_little_ahead_is_carried_on() {
    let dir = tempfile::tempdir().unwrap();
    let (ahead, _) = begin(dir.path(), NOW + MAX_SKEW / 2);
    let (right, after) = begin(dir.path(), NOW);
    assert_eq!(right.incarnation(), ahead.incarnation() + 1);
    assert_eq!(after, ahead.reserved());
}

#[test]
fn what_a_peer_heard_of_is_carried_on_when_the_clock_is_set_back_a_day() {
    let dir = tempfile::tempdir().unwrap();
    let (life, _) = begin(dir.path(), NOW);
    let heard = life.renew(Stamp::at(NOW), true);
    let (behind, after) = begin(dir.path(), Wall(NOW.0 - 86_400_000));
    assert_eq!(
        (behind.incarnation(), after),
        (life.incarnation() + 1, heard)
    );
}

#[test]
fn after_an_orderly_end_the_next_life_begins_without_a_lead() {
    let dir = tempfile::tempdir().unwrap();
    let (life, _) = begin(dir.path(), NOW);
    life.renew(Stamp::at(NOW), true);
    life.end(Stamp::at(NOW).next());
    let soon = NOW + Duration::from_millis(1);
    assert_eq!(begin(dir.path(), soon).1, Stamp::at(soon));
}

#[test]
fn the_file_of_the_release_before_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let file_before = dir.path().join(FILE_BEFORE);
    fs::write(&file_before, format!("{}\n", NOW.0)).unwrap();
    let (life, after) = begin(dir.path(), Wall(NOW.0 - 1_000));
    assert_eq!((life.incarnation(), after), (NOW.0 + 1, Stamp::at(NOW)));

    let dir = tempfile::tempdir().unwrap();
    let file_before = dir.path().join(FILE_BEFORE);
    fs::write(file_before, format!("{}\n", (NOW + DAY).0)).unwrap();
    assert_eq!(begin(dir.path(), NOW).0.incarnation(), NOW.0);
}

#[test]
fn a_file_that_a_full_disk_cut_short_counts_as_none() {
    let whole = toml::to_string(&Record::default()).unwrap();
    for name in [FILE, FILE_BEFORE] {
        for left in ["", "x", &whole[..whole.len() / 2]] {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join(name), left).unwrap();
            let (life, after) = begin(dir.path(), NOW);
            assert_eq!(
                (life.incarnation(), after),
                (NOW.0, Stamp::ZERO),
                "{left:?}"
            );
            assert_eq!(begin(dir.path(), NOW).0.incarnation(), NOW.0 + 1);
        }
    }
}

#[test]
fn a_disk_that_takes_nothing_stops_no_stamp_and_is_made_up_for() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    fs::create_dir(&data_dir).unwrap();
    let (life, _) = begin(&data_dir, NOW);
    let later = NOW + DAY;
    fs::remove_dir_all(&data_dir).unwrap();
    assert!(life.reserve(Stamp::at(later)) > Stamp::at(later));
    assert!(life.renew(Stamp::at(later), true) > Stamp::at(later));
    fs::create_dir(&data_dir).unwrap();
    life.renew(Stamp::at(later), true);
    let (next, after) = begin(&data_dir, NOW);
    assert_eq!(next.incarnation(), life.incarnation() + 1);
    assert!(after > Stamp::at(later));
}
