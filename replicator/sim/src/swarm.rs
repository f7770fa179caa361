//! The parameters of a run, all drawn from its seed. Limits are often tiny, so that their edges are hit.

use std::time::Duration;

use greenwich_proto::{
    netem::LinkProfile,
    peer::{Limits, WindowLimits},
    rng::Rng,
};

/// What a run is made of.
#[derive(Clone, Debug)]
pub struct Swarm {
    /// Where everything comes from.
    pub seed: u64,
    /// Number of regions, 2 to 5.
    pub regions: usize,
    /// Virtual milliseconds before the first client comes.
    pub warm_up_ms: u64,
    /// Virtual milliseconds with clients and faults, before it becomes quiet.
    pub busy_ms: u64,
    /// Client commands per second and region.
    pub operations_per_s: u64,
    /// Links between regions.
    pub links: LinkRange,
    /// Limits of every session.
    pub limits: Limits,
    /// Limit of every log in bytes.
    pub log_bytes: usize,
    /// Bytes that are added to every key; long ones fill the log soon.
    pub key_padding: usize,
    /// The largest lead of a remote stamp that is followed, in milliseconds.
    pub max_skew_ms: u64,
    /// What clients do.
    pub mix: Mix,
    /// How likely a client comes while a session builds a batch.
    pub meanwhile: f64,
    /// What goes wrong.
    pub faults: Faults,
    /// How long a node that starts waits for the keys of others that it cannot reach.
    pub loading_patience_ms: u64,
    /// How long a region may be away before nobody waits for it; zero is for ever.
    pub horizon_ms: u64,
}

/// Bounds within which each direction of each link is drawn.
#[derive(Clone, Copy, Debug)]
pub struct LinkRange {
    /// The longest delay one way, in microseconds.
    pub delay_us_max: u64,
    /// The largest loss, 0 to 1.
    pub loss_max: f64,
    /// The largest share of messages that arrive twice.
    pub duplicate_max: f64,
    /// A link without an answer for this long is given up, in microseconds.
    pub idle_us: u64,
}

impl LinkRange {
    /// One direction of a link.
    #[must_use]
    pub fn draw(&self, rng: &mut Rng) -> LinkProfile {
        let delay_us = 200 + rng.below(self.delay_us_max);
        LinkProfile {
            delay_us,
            jitter_us: rng.below(delay_us),
            loss: rng.fraction() * self.loss_max,
            duplicate: rng.fraction() * self.duplicate_max,
            reorder: true,
            ..LinkProfile::NONE
        }
    }
}

/// How often clients do what, as weights.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mix {
    /// SET, with and without a deadline.
    pub set: u64,
    /// DEL.
    pub delete: u64,
    /// EXPIRE and PERSIST.
    pub deadline: u64,
    /// INCRBY, of either sign.
    pub increment: u64,
    /// APPEND.
    pub append: u64,
    /// Several keys as one unit.
    pub unit: u64,
    /// FLUSHALL.
    pub flush: u64,
    /// Number of plain keys.
    pub keys: u64,
    /// The longest of the short deadlines, in milliseconds.
    pub ttl_ms_max: u64,
}

/// How often what goes wrong: mean milliseconds between two of a kind; zero is never.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// One or both directions of a link are cut.
    pub cut_every_ms: u64,
    /// The longest cut.
    pub cut_ms_max: u64,
    /// A node dies with what it has not sent, and starts again, empty.
    pub restart_every_ms: u64,
    /// The longest time until it does.
    pub down_ms_max: u64,
    /// A region is cut off from all others.
    pub away_every_ms: u64,
    /// The longest time that it is.
    pub away_ms_max: u64,
    /// A clock is set to another offset.
    pub clock_step_every_ms: u64,
    /// The largest offset of a clock.
    pub clock_offset_ms_max: u64,
    /// A region is added or removed. Where that happens, one is not there at first.
    pub members_every_ms: u64,
    /// The longest time that the node of a region goes on after that was removed.
    pub leaving_ms_max: u64,
}

fn pick<T: Copy>(rng: &mut Rng, choices: &[T]) -> T {
    let at = usize::try_from(rng.below(choices.len() as u64)).expect("an index");
    choices[at]
}

impl Swarm {
    /// By how many milliseconds the clocks of two regions differ at most, but for their drift, which is small.
    #[must_use]
    pub const fn clock_error_ms(&self) -> u64 {
        2 * self.faults.clock_offset_ms_max
    }

    /// The parameters of a seed.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let rng = &mut Rng::new(seed ^ 0x5747_524d);
        let busy_ms = 1_000 + rng.below(5_000);
        let max_skew_ms = pick(rng, &[100, 500, 5_000]);
        let has_tiny_log = rng.chance(0.3);
        let mut swarm = Self {
            seed,
            regions: usize::try_from(2 + rng.below(4)).expect("few"),
            warm_up_ms: pick(rng, &[0, 500]),
            busy_ms,
            operations_per_s: (150_000 + rng.below(900_000))
                / busy_ms
                / if has_tiny_log { 3 } else { 1 },
            links: LinkRange {
                delay_us_max: pick(rng, &[500, 5_000, 100_000]),
                loss_max: pick(rng, &[0.0, 0.02, 0.3]),
                duplicate_max: pick(rng, &[0.0, 0.0, 0.1]),
                idle_us: pick(rng, &[300_000, 1_000_000]),
            },
            limits: draw_limits(rng),
            log_bytes: if has_tiny_log { 0 } else { 64 << 20 },
            key_padding: if has_tiny_log {
                pick(rng, &[500, 3_000])
            } else {
                0
            },
            max_skew_ms,
            mix: draw_mix(rng),
            faults: draw_faults(rng, max_skew_ms),
            // Drawn last, so that a seed is in all else what it was.
            meanwhile: pick(rng, &[0.0, 0.02, 0.3]),
            loading_patience_ms: pick(rng, &[300, 3_000, 60_000]),
            horizon_ms: pick(rng, &[0, 0, 0, 300, 1_000]),
        };
        if swarm.horizon_ms > 0 {
            swarm.faults.away_every_ms = pick(rng, &[1_000, 3_000]);
            swarm.faults.away_ms_max = pick(rng, &[1_000, 4_000]);
        }
        if rng.chance(0.3) {
            swarm.regions = swarm.regions.max(3);
            swarm.faults.members_every_ms = pick(rng, &[300, 1_000]);
            swarm.faults.leaving_ms_max = pick(rng, &[1, 500, 3_000]);
        }
        swarm
    }
}

fn draw_limits(rng: &mut Rng) -> Limits {
    let min_bytes = pick(rng, &[64, 1_000, 1 << 20]);
    Limits {
        batch_bytes: pick(rng, &[1, 200, 4_000, 64 << 10]),
        flush_interval: Duration::from_micros(pick(rng, &[0, 1_000, 5_000])),
        window: WindowLimits {
            min_bytes,
            max_bytes: min_bytes * pick(rng, &[1, 8, 64]),
        },
        ack_delay: Duration::from_micros(pick(rng, &[0, 1_000, 5_000])),
        watermark_interval: Duration::from_millis(pick(rng, &[20, 100, 250])),
        hello_timeout: Duration::from_secs(2),
    }
}

fn draw_mix(rng: &mut Rng) -> Mix {
    Mix {
        set: 2 + rng.below(8),
        delete: rng.below(4),
        deadline: rng.below(4),
        increment: rng.below(8),
        append: rng.below(3),
        unit: rng.below(4),
        flush: u64::from(rng.chance(0.3)),
        keys: pick(rng, &[2, 8, 40]),
        ttl_ms_max: pick(rng, &[100, 1_000]),
    }
}

fn draw_faults(rng: &mut Rng, max_skew_ms: u64) -> Faults {
    Faults {
        cut_every_ms: pick(rng, &[0, 200, 1_000]),
        cut_ms_max: pick(rng, &[50, 500, 3_000]),
        restart_every_ms: pick(rng, &[0, 0, 700]),
        clock_step_every_ms: pick(rng, &[0, 0, 500]),
        // Half as much again as is followed: some links are refused until the clocks are right.
        clock_offset_ms_max: pick(
            rng,
            &[0, max_skew_ms / 4, max_skew_ms / 2, max_skew_ms * 3 / 4],
        ),
        down_ms_max: pick(rng, &[1, 100, 1_000]),
        // Absences only where there is a horizon, members in some seeds.
        ..Faults::default()
    }
}
