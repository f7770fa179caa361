//! Named regressions. Each sets the parameters that made its fault likely, and was seen to fail with the fault put back; the
//! number of a seed means something else as soon as the drawing changes.

#[path = "common/flushes.rs"]
mod flushes;

use std::sync::atomic::{AtomicU64, Ordering};

use flushes::deadlines_and_flushes;
use greenwich_proto::wire::control::Control;
use greenwich_sim::{Direct, Plant, Summary, Swarm, Trace, run_planted, run_with, swarm::Faults};

fn end(swarm: Swarm) -> Summary {
    run_with(swarm, Direct, &mut Trace::off()).unwrap_or_else(|failure| panic!("{failure}"))
}

#[test]
fn slow_peer_falls_off_its_place_in_the_log() {
    for seed in 0..10 {
        let mut swarm = Swarm::draw(seed);
        (swarm.log_bytes, swarm.key_padding) = (0, 10_000);
        swarm.operations_per_s = 100;
        swarm.faults = Faults {
            cut_every_ms: 300,
            cut_ms_max: 2_000,
            ..Faults::default()
        };
        let first_sweeps = swarm.regions * (swarm.regions - 1);
        let busy_ms = swarm.busy_ms;
        let summary = end(swarm);
        assert!(
            busy_ms < 3_000 || summary.sweeps > first_sweeps as u64,
            "seed {seed}: {summary:?}"
        );
    }
}

#[test]
fn a_link_is_cut_while_a_restarted_node_catches_up() {
    let mut restarts = 0;
    for seed in 0..20 {
        let mut swarm = Swarm::draw(seed);
        swarm.regions = 2;
        swarm.limits.batch_bytes = 1;
        swarm.links.idle_us = 20_000;
        swarm.faults = Faults {
            cut_every_ms: 100,
            cut_ms_max: 60,
            restart_every_ms: 200,
            ..Faults::default()
        };
        restarts += end(swarm).restarts;
    }
    assert!(restarts > 10, "{restarts} restarts");
}

/// Issue: 2,000 deletions, the node dies 60 ms later, and the region that had not received them brought them back.
#[test]
fn a_node_dies_with_deletions_that_one_region_has_and_another_has_not() {
    let (mut restarts, mut lost) = (0, 0);
    for seed in 0..40 {
        let mut swarm = Swarm::draw(seed);
        swarm.regions = 3;
        swarm.links.delay_us_max = 100_000;
        swarm.mix.delete = 8;
        swarm.mix.keys = 8;
        swarm.faults = Faults {
            cut_every_ms: 500,
            cut_ms_max: 500,
            restart_every_ms: 300,
            down_ms_max: 100,
            ..Faults::default()
        };
        let summary = end(swarm);
        restarts += summary.restarts;
        lost += summary.lost;
    }
    assert!(
        restarts > 100 && lost > 100,
        "{restarts} restarts, {lost} writes lost with them"
    );
}

/// A key that was set, deleted and forgotten by all came back to a node that started again and read it in an old record.
#[test]
fn what_everybody_has_forgotten_does_not_come_back_to_a_node_that_starts_late() {
    for seed in 0..10 {
        let mut swarm = Swarm::draw(seed);
        swarm.regions = 3;
        swarm.busy_ms = 12_000;
        swarm.operations_per_s = 20;
        swarm.log_bytes = 64 << 20;
        swarm.key_padding = 0;
        swarm.links.delay_us_max = 5_000;
        swarm.mix.delete = 8;
        swarm.mix.keys = 40;
        swarm.faults = Faults {
            restart_every_ms: 3_000,
            down_ms_max: 100,
            ..Faults::default()
        };
        end(swarm);
    }
}

#[test]
fn clocks_step_while_keys_expire_and_are_counted_on() {
    for seed in 0..20 {
        let mut swarm = Swarm::draw(seed);
        swarm.max_skew_ms = 500;
        swarm.mix.increment = 8;
        swarm.mix.deadline = 4;
        swarm.mix.ttl_ms_max = 100;
        swarm.faults = Faults {
            clock_step_every_ms: 100,
            clock_offset_ms_max: 250,
            ..Faults::default()
        };
        end(swarm);
    }
}

/// A flush dropped a deadline that was set later, in ignorance of it: what was counted on the flush lasted for ever there.
#[test]
fn deadlines_are_set_while_flushes_are_on_their_way() {
    for seed in 0..120 {
        end(deadlines_and_flushes(seed));
    }
}

/// Peers of wire version 2 compare lists of names, and are told nothing that they do not know.
#[test]
fn regions_repair_with_peers_of_the_release_before() {
    static LISTINGS: AtomicU64 = AtomicU64::new(0);
    let tamper = |mut frame| {
        if let Control::Hello(hello) = &mut frame {
            hello.wire = 2;
        }
        let is_new = matches!(
            frame,
            Control::Sketches(_)
                | Control::Found(_)
                | Control::Chosen(_)
                | Control::Hearsay(_)
                | Control::Over(_)
        );
        assert!(!is_new, "a frame of wire version 3: {frame:?}");
        let is_listing = matches!(frame, Control::Listing(_));
        LISTINGS.fetch_add(u64::from(is_listing), Ordering::Relaxed);
        frame
    };
    for seed in 0..20 {
        let plant = Plant {
            tamper: Some(tamper),
            ..Plant::default()
        };
        let mut swarm = Swarm::draw(seed);
        swarm.regions = 3;
        swarm.faults.restart_every_ms = 300;
        // That release knows nothing of regions that come and go.
        swarm.faults.members_every_ms = 0;
        let ended = run_planted(swarm, Direct, plant, &mut Trace::off());
        ended.unwrap_or_else(|failure| panic!("{failure}"));
    }
    let listings = LISTINGS.load(Ordering::Relaxed);
    assert!(listings > 10, "{listings} listings");
}
