use super::*;

fn arrivals(link: &mut Link, packets: u64, gap_us: u64, bytes: usize) -> Vec<(Time, Time)> {
    (0..packets)
        .filter_map(|i| {
            let now = Time(i * gap_us);
            match link.send(now, bytes) {
                Verdict::Deliver { at, .. } => Some((now, at)),
                Verdict::Drop(_) => None,
            }
        })
        .collect()
}

fn mean_delay_us(arrivals: &[(Time, Time)]) -> f64 {
    let total: u64 = arrivals.iter().map(|(sent, at)| at.0 - sent.0).sum();
    total as f64 / arrivals.len() as f64
}

fn jittery(reorder: bool) -> LinkProfile {
    LinkProfile {
        delay_us: 20_000,
        jitter_us: 4_000,
        reorder,
        ..LinkProfile::NONE
    }
}

#[test]
fn a_plain_link_delivers_at_once() {
    let mut link = Link::new(LinkProfile::NONE, 1);
    let verdict = link.send(Time(5), 1_400);
    assert_eq!(
        verdict,
        Verdict::Deliver {
            at: Time(5),
            duplicate_at: None
        }
    );
    assert!(LinkProfile::NONE.is_none());
    assert!(!jittery(false).is_none());
}

#[test]
fn jitter_keeps_the_mean_and_the_order() {
    let arrivals = arrivals(&mut Link::new(jittery(false), 11), 100_000, 100, 200);
    assert!((mean_delay_us(&arrivals) - 20_000.0).abs() < 200.0);
    assert!(arrivals.is_sorted_by_key(|(_, at)| *at));
    let within = |(sent, at): &(Time, Time)| (16_000..=24_000).contains(&(at.0 - sent.0));
    assert!(arrivals.iter().all(within));
    let early = arrivals
        .iter()
        .filter(|(sent, at)| at.0 - sent.0 < 18_000)
        .count();
    assert!(early > 10_000, "the whole range is used, {early} early");
}

#[test]
fn packets_overtake_each_other_only_when_asked() {
    let arrivals = arrivals(&mut Link::new(jittery(true), 11), 10_000, 100, 200);
    assert!(!arrivals.is_sorted_by_key(|(_, at)| *at));
    assert!((mean_delay_us(&arrivals) - 20_000.0).abs() < 200.0);
}

#[test]
fn a_link_that_becomes_faster_does_not_reorder() {
    let mut link = Link::new(LinkProfile::with_rtt_us(80_000), 1);
    link.send(Time(0), 100);
    link.set_profile(LinkProfile::with_rtt_us(2_000));
    assert_eq!(
        link.send(Time(10), 100),
        Verdict::Deliver {
            at: Time(40_000),
            duplicate_at: None
        }
    );
}

#[test]
fn loss_and_duplicates_come_at_their_fractions() {
    let profile = LinkProfile {
        loss: 0.01,
        duplicate: 0.02,
        ..LinkProfile::NONE
    };
    let mut link = Link::new(profile, 5);
    let (mut lost, mut doubled) = (0, 0);
    for i in 0..200_000 {
        match link.send(Time(i), 100) {
            Verdict::Drop(reason) => {
                assert_eq!(reason, DropReason::Loss);
                lost += 1;
            }
            Verdict::Deliver { duplicate_at, .. } => doubled += u32::from(duplicate_at.is_some()),
        }
    }
    assert!((1_800..2_200).contains(&lost), "{lost}");
    assert!((3_600..4_300).contains(&doubled), "{doubled}");
}

#[test]
fn a_rate_spaces_packets_and_its_queue_has_an_end() {
    let profile = LinkProfile {
        delay_us: 1_000,
        rate_bytes_per_s: Some(1_000_000),
        queue_bytes: 10_000,
        ..LinkProfile::NONE
    };
    let mut link = Link::new(profile, 1);
    for i in 1..=10 {
        let at = Time(1_000 + i * 1_000);
        assert_eq!(
            link.send(Time(0), 1_000),
            Verdict::Deliver {
                at,
                duplicate_at: None
            }
        );
    }
    assert_eq!(link.send(Time(0), 1_000), Verdict::Drop(DropReason::Queue));
    assert_eq!(
        link.send(Time(1_000), 1_000),
        Verdict::Deliver {
            at: Time(12_000),
            duplicate_at: None
        }
    );
    let idle = link.send(Time(100_000), 1_000);
    assert_eq!(
        idle,
        Verdict::Deliver {
            at: Time(102_000),
            duplicate_at: None
        }
    );
}

#[test]
fn a_fast_link_does_not_round_short_packets_up() {
    let profile = LinkProfile {
        rate_bytes_per_s: Some(1_000_000_000),
        queue_bytes: u64::MAX,
        ..LinkProfile::NONE
    };
    let mut link = Link::new(profile, 1);
    let last = arrivals(&mut link, 10_000, 0, 100).pop().unwrap();
    assert_eq!(last.1, Time(1_000));
}

#[test]
fn a_cut_link_delivers_nothing_until_it_heals() {
    let mut link = Link::new(LinkProfile::NONE, 1);
    link.set_cut(true);
    assert_eq!(link.send(Time(0), 100), Verdict::Drop(DropReason::Cut));
    link.set_cut(false);
    assert_eq!(
        link.send(Time(1), 100),
        Verdict::Deliver {
            at: Time(1),
            duplicate_at: None
        }
    );
}

#[test]
fn equal_seeds_give_equal_links_and_others_do_not() {
    let profile = LinkProfile {
        loss: 0.1,
        ..jittery(true)
    };
    let run = |seed| arrivals(&mut Link::new(profile, seed), 1_000, 50, 300);
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn presets_are_symmetric_and_named() {
    for (name, wan) in Wan::ALL {
        assert_eq!(name.parse(), Ok(wan));
        assert_eq!(wan.to_string(), name);
        assert_eq!(
            preset(wan, "us-east", "ap-south"),
            preset(wan, "ap-south", "us-east")
        );
        assert!(preset(wan, "us-east", "us-east").is_none());
    }
    assert_eq!(preset(Wan::Global, "us-east", "eu-west").delay_us, 35_000);
    assert_eq!(preset(Wan::Global, "us-east", "mars").delay_us, 75_000);
    let error = "wide".parse::<Wan>().unwrap_err();
    assert!(error.to_string().contains("`wide`"));
}

#[test]
fn bursts_keep_the_share_of_lost_packets_and_have_their_mean_length() {
    for (loss, burst) in [(0.01, 5.0), (0.2, 3.0), (0.05, 1.0)] {
        let profile = LinkProfile {
            loss,
            loss_burst_packets: burst,
            ..LinkProfile::NONE
        };
        let mut link = Link::new(profile, 21);
        let lost: Vec<bool> = (0..400_000)
            .map(|i| matches!(link.send(Time(i), 100), Verdict::Drop(DropReason::Loss)))
            .collect();
        let count = lost.iter().filter(|&&lost| lost).count() as f64;
        let bursts = lost.windows(2).filter(|pair| !pair[0] && pair[1]).count() as f64;
        let share = count / lost.len() as f64;
        assert!((share - loss).abs() < loss * 0.1, "{share} for {loss}");
        // Independent losses follow each other by chance.
        let length = if burst > 1.0 {
            burst
        } else {
            1.0 / (1.0 - loss)
        };
        let found = count / bursts;
        assert!((found - length).abs() < length * 0.1, "{found} in a row");
    }
}
