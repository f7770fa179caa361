//! Walks over keys that come and go.

use proptest::prelude::*;

use super::*;

fn step(space: &Keyspace, cursor: u64, keys: usize) -> ScanPage {
    let limits = ScanLimits {
        keys,
        bytes: usize::MAX,
    };
    at(space, NOW, |access| {
        access.scan(cursor, limits, |_, _| true)
    })
}

#[test]
fn a_walk_visits_every_key_that_stays_exactly_once_while_others_come_and_go() {
    let space = keyspace(1);
    for n in 0..5_000 {
        set(&space, NOW, &format!("stay:{n}"), "v", None);
    }
    let (mut cursor, mut seen, mut round) = (0, Vec::new(), 0);
    loop {
        let page = step(&space, cursor, 37);
        seen.extend(
            page.keys
                .into_iter()
                .filter(|key| key.starts_with(b"stay:")),
        );
        for n in 0..50 {
            set(&space, NOW, &format!("come:{round}:{n}"), "v", None);
            delete(&space, NOW, &format!("come:{}:{n}", round / 2));
        }
        (cursor, round) = (page.cursor, round + 1);
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(seen.len(), 5_000);
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 5_000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_walk_visits_what_stays_once_whatever_size_the_tables_take_meanwhile(
        stays in 1..3000usize,
        // Of each step: the keys wanted, how many others there are afterwards.
        steps in prop::collection::vec((1..600usize, 0..4000usize), 0..8),
    ) {
        let space = keyspace(1);
        let names = |kind: &str, count: usize| -> Vec<String> {
            (0..count).map(|n| format!("{kind}:{n}")).collect()
        };
        let all_others = names("other", 4000);
        for key in names("stay", stays) {
            set(&space, NOW, &key, "v", None);
        }
        let mut steps = steps.into_iter();
        let (mut cursor, mut seen, mut others) = (0, Vec::new(), 0);
        loop {
            let (keys, then) = steps.next().unwrap_or((1000, others));
            let page = step(&space, cursor, keys);
            seen.extend(page.keys.into_iter().filter(|key| key.starts_with(b"stay:")));
            prop_assert!(page.cursor == 0 || page.cursor > cursor);
            cursor = page.cursor;
            if cursor == 0 {
                break;
            }
            for key in &all_others[others.min(then)..then] {
                set(&space, NOW, key, "v", None);
            }
            for key in &all_others[then.min(others)..others] {
                assert!(delete(&space, NOW, key));
            }
            others = then;
            space.settle(Settled::up_to(Stamp::at(LATER)));
            space.tend(LATER, 0, SHARDS);
        }
        prop_assert_eq!(seen.len(), stays);
        seen.sort();
        seen.dedup();
        prop_assert_eq!(seen.len(), stays);
    }
}

#[test]
fn a_cursor_beyond_all_keys_ends_the_walk() {
    let space = keyspace(1);
    set(&space, NOW, "k", "v", None);
    let last = ((SHARDS as u64) << 32) - 1;
    for cursor in [last + 1, 1 << 53, u64::MAX] {
        assert_eq!(step(&space, cursor, 10), ScanPage::default(), "{cursor}");
    }
    assert_eq!(step(&space, last, 10).cursor, 0);
}

#[test]
fn a_step_looks_at_about_as_many_keys_as_it_was_told() {
    let space = keyspace(1);
    let count = 20_000;
    (0..count).for_each(|n| set(&space, NOW, &n.to_string(), "v", None));
    let (mut cursor, mut steps) = (0, 0);
    loop {
        let page = step(&space, cursor, 10);
        assert!(page.keys.len() < 30, "{}", page.keys.len());
        (cursor, steps) = (page.cursor, steps + 1);
        if cursor == 0 {
            break;
        }
    }
    assert!((count / 15..=count / 10).contains(&steps), "{steps}");
}

#[test]
fn a_step_that_is_told_to_take_everything_ends_at_its_limits() {
    let space = keyspace(1);
    let count = 40_000;
    (0..count).for_each(|n| set(&space, NOW, &n.to_string(), "v", None));
    let page = step(&space, 0, usize::MAX);
    assert!(page.cursor > 0 && page.keys.len() < count / 2);
    let limits = ScanLimits {
        keys: usize::MAX,
        bytes: 1000,
    };
    let page = at(&space, NOW, |access| access.scan(0, limits, |_, _| true));
    let bytes = page.keys.iter().map(|key| key.len() + size_of_val(key));
    assert!((1000..1500).contains(&bytes.sum::<usize>()));
    let page = at(&space, NOW, |access| access.scan(0, limits, |_, _| false));
    assert!(page.cursor > 0, "what is not accepted was looked at, too");
}

#[test]
fn a_random_key_is_a_live_one() {
    let space = keyspace(1);
    assert_eq!(at(&space, NOW, |access| access.key_near(3)), None);
    set(&space, NOW, "only", "v", None);
    for random in [0, 1 << 20, u64::MAX] {
        assert_eq!(
            at(&space, NOW, |access| access.key_near(random)).as_deref(),
            Some(&b"only"[..])
        );
    }
}

/// Every entry of a sweep in steps of about `bytes`, and the bytes of each step.
fn sweep(
    space: &Keyspace,
    bytes: usize,
    meanwhile: &mut dyn FnMut(),
) -> (Vec<Box<[u8]>>, Vec<usize>) {
    let (mut keys, mut steps, mut position) = (Vec::new(), Vec::new(), Some(0));
    while let Some(here) = position {
        let mut step = 0;
        position = space.sweep(here, bytes, &mut |entry| {
            step += entry.len();
            keys.push(layout::key_of(entry).into());
        });
        assert!(position.is_none_or(|next| next > here));
        steps.push(step);
        meanwhile();
    }
    (keys, steps)
}

#[test]
fn a_sweep_goes_in_small_steps_and_finds_every_key_that_stays() {
    let space = keyspace(1);
    for n in 0..5_000 {
        set(&space, NOW, &format!("stay:{n}"), "v", None);
    }
    let mut round = 0;
    let (keys, steps) = sweep(&space, 2_000, &mut || {
        for n in 0..50 {
            set(&space, NOW, &format!("come:{round}:{n}"), "v", None);
        }
        round += 1;
    });
    let mut stayed: Vec<_> = keys
        .iter()
        .filter(|key| key.starts_with(b"stay:"))
        .collect();
    stayed.sort();
    stayed.dedup();
    assert_eq!(stayed.len(), 5_000);
    assert!(steps.iter().all(|&step| step < 2_500), "{steps:?}");
}

#[test]
fn a_sweep_stops_inside_of_a_shard() {
    let space = keyspace(1);
    // So many that one shard has several of them.
    for n in 0..4 * SHARDS {
        set(&space, NOW, &format!("key:{n}"), &"v".repeat(100), None);
    }
    let (keys, steps) = sweep(&space, 1, &mut || {});
    assert_eq!(keys.len(), 4 * SHARDS);
    let most = steps.iter().max().unwrap();
    assert!(*most < 4 * 150, "a step has the keys of one home: {most}");
    assert!(steps.len() > 2 * SHARDS, "{}", steps.len());
}
