//! What everything that was accepted for one key amounts to, executed in the order of stamps.

use std::{collections::BTreeSet, time::Duration};

use greenwich_proto::{entry::totals::Actor, hlc::Version, time::Wall};

use super::Effect;

/// Lives of one key whose counts may have come to nothing; there are hardly ever two.
const LIVES_MAX: usize = 8;

/// A key's value and deadline.
pub type Outcome = Option<(String, Option<Wall>)>;

/// What a key with these effects may be.
pub(super) fn outcomes(effects: &[Effect], now: Wall, clock_error: Duration) -> Vec<Outcome> {
    let newest = newest(effects);
    let lives = unaware(effects, &newest, clock_error);
    // Each life counts or does not, as a whole: its total is one.
    let chosen = |choice: u32, at: usize| choice & (1 << at) != 0;
    (0..1_u32 << lives.len())
        .map(|choice| {
            let counts = effects.iter().filter_map(|effect| {
                let (base, amount, actor) = count_of(effect)?;
                let late = lives.iter().position(|life| *life == actor);
                let is_late = late.is_some_and(|at| chosen(choice, at));
                let counts = base == newest.base || base == Version::ZERO && is_late;
                counts.then_some(amount)
            });
            newest.outcome(&counts.collect::<Vec<_>>(), now)
        })
        .collect()
}

fn version_of(effect: &Effect) -> Option<Version> {
    match effect {
        Effect::Base { version, .. } | Effect::Deadline { version, .. } => Some(*version),
        Effect::Count { .. } => None,
    }
}

fn count_of(effect: &Effect) -> Option<(Version, i64, Actor)> {
    match effect {
        Effect::Count {
            base,
            amount,
            actor,
            ..
        } => Some((*base, *amount, *actor)),
        Effect::Base { .. } | Effect::Deadline { .. } => None,
    }
}

/// The newest state of a key but for what was counted on it.
struct Newest<'a> {
    base: Version,
    value: Option<&'a Vec<u8>>,
    expires: Option<Wall>,
}

impl Newest<'_> {
    fn outcome(&self, counts: &[i64], now: Wall) -> Outcome {
        let is_there = self.value.is_some() || !counts.is_empty();
        let is_live = is_there && self.expires.is_none_or(|at| at > now);
        is_live.then(|| (render(self.value, counts), self.expires))
    }
}

fn newest(effects: &[Effect]) -> Newest<'_> {
    let version = |effect| Some((version_of(effect)?, effect));
    let mut writes: Vec<_> = effects.iter().filter_map(version).collect();
    writes.sort_by_key(|(version, _)| *version);
    let (mut base, mut value, mut expires) = (Version::ZERO, None, None);
    for (version, effect) in writes {
        match effect {
            Effect::Base { body, deadline, .. } => {
                (base, value, expires) = (version, body.as_ref(), *deadline)
            }
            Effect::Deadline { at, .. } => expires = *at,
            Effect::Count { .. } => {}
        }
    }
    // A base that every region had forgotten, and every node that had heard of it has died since: its effect is lost, and
    // what is counted on it is not.
    let counted = effects.iter().filter_map(count_of).map(|(base, ..)| base);
    if let Some(forgotten) = counted.max().filter(|counted| *counted > base) {
        (base, value, expires) = (forgotten, None, None);
    }
    Newest {
        base,
        value,
        expires,
    }
}

/// Lives that began after the newest base, which is a deletion, and counted on a key that never was: they served before
/// they had reached anybody who could tell of the deletion. Whether that counts depends on whether somebody remembers it.
///
/// Both times are of clocks that may be off by as much as `clock_error`.
fn unaware(effects: &[Effect], newest: &Newest<'_>, clock_error: Duration) -> BTreeSet<Actor> {
    let is_unaware = |&(base, _, actor): &(Version, i64, Actor)| {
        let began = Wall(actor.incarnation) + clock_error;
        base == Version::ZERO && began > newest.base.stamp.wall()
    };
    let is_deletion = newest.value.is_none() && newest.base > Version::ZERO;
    let counts = effects.iter().filter_map(count_of);
    counts
        .filter(|count| is_deletion && is_unaware(count))
        .map(|(.., actor)| actor)
        .take(LIVES_MAX)
        .collect()
}

fn render(value: Option<&Vec<u8>>, counts: &[i64]) -> String {
    let text = value.map_or_else(String::new, |value| {
        String::from_utf8_lossy(value).into_owned()
    });
    if counts.is_empty() {
        return text;
    }
    let base: i128 = if value.is_some() {
        text.parse().expect("only numbers are counted on")
    } else {
        0
    };
    (base
        + counts
            .iter()
            .map(|&amount| i128::from(amount))
            .sum::<i128>())
    .to_string()
}
