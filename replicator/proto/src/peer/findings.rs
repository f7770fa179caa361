//! What is said of slots that differ between nodes that read sketches, packed.
//!
//! ```text
//!  told     = (slots skipped varint · capacity u8 · capacity × sum u32           a sketch
//!            | slots skipped varint · 0 · list) …                                names: see lists
//!  findings = (255                                                               the sketch was too small
//!            | (degree u8 · degree × term u32 | 254 · list)
//!              · count and whether there are more varint [· unasked varint] · count × glimpse) …
//! ```
//! Slots ascend; findings are of the slots that were told, in their order. Knows nothing of who asks and who answers, nor of what is done with it.

use super::{
    glimpse::Glimpse,
    lists::{put_names, put_words, read_names, read_words},
    sketch::{CAPACITY_MAX, Locator},
};
use crate::{
    slots::SLOTS,
    wire::bytes::{Reader, Truncated, put_varint},
};

const LIST: u8 = 0;
const LIST_OF_MISSING: u8 = 254;
const TOO_SMALL: u8 = 255;

/// What the asking side holds of a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Sketch(Vec<u32>),
    Names(Vec<u32>),
}

/// Those of the asking side's entries of a slot that the answering side lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    Roots(Locator),
    /// In their order.
    Names(Vec<u32>),
}

/// What the answering side says of a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) missing: Missing,
    /// What it holds itself that the other side may lack.
    pub(super) own: Vec<Glimpse>,
    /// What it holds beside that and sends without a question.
    pub(super) unasked: usize,
}

impl Missing {
    pub(super) fn has(&self, name: u32) -> bool {
        match self {
            Self::Roots(locator) => locator.has_root(name),
            Self::Names(names) => names.binary_search(&name).is_ok(),
        }
    }

    pub(super) fn count(&self) -> usize {
        match self {
            Self::Roots(locator) => locator.degree(),
            Self::Names(names) => names.len(),
        }
    }
}

/// Appends what is held of a slot. `next` is the slot after the one before.
pub(super) fn put_told(slot: usize, told: &Told, next: usize, out: &mut Vec<u8>) {
    put_varint((slot - next) as u64, out);
    match told {
        Told::Sketch(sums) => {
            out.push(u8::try_from(sums.len()).expect("capacities are small"));
            put_words(sums, out);
        }
        Told::Names(names) => {
            out.push(LIST);
            put_names(names, out);
        }
    }
}

/// Reads what [`put_told`] wrote. Slots ascend.
///
/// # Errors
/// [`Truncated`] for anything else.
pub(super) fn read_told(bytes: &[u8]) -> Result<Vec<(usize, Told)>, Truncated> {
    let mut reader = Reader::new(bytes);
    let (mut all, mut next) = (Vec::new(), 0);
    while !reader.is_empty() {
        let skipped = usize::try_from(reader.varint()?).map_err(|_| Truncated)?;
        let slot = skipped.saturating_add(next);
        if slot >= SLOTS {
            return Err(Truncated);
        }
        let told = match reader.u8()? {
            LIST => Told::Names(read_names(&mut reader)?),
            capacity => Told::Sketch(read_few_words(capacity, &mut reader)?),
        };
        all.push((slot, told));
        next = slot + 1;
    }
    Ok(all)
}

/// Says that a slot's sketch was too small.
pub(super) fn put_too_small(out: &mut Vec<u8>) {
    out.push(TOO_SMALL);
}

/// As much of the finding as comes before the glimpses.
pub(super) fn put_missing(missing: &Missing, out: &mut Vec<u8>) {
    match missing {
        Missing::Roots(locator) => {
            out.push(u8::try_from(locator.degree()).expect("capacities are small"));
            put_words(locator.terms(), out);
        }
        Missing::Names(names) => {
            out.push(LIST_OF_MISSING);
            put_names(names, out);
        }
    }
}

/// What follows [`put_missing`].
pub(super) fn put_own(own: &[Glimpse], unasked: usize, out: &mut Vec<u8>) {
    put_varint((own.len() as u64) << 1 | u64::from(unasked > 0), out);
    if unasked > 0 {
        put_varint(unasked as u64, out);
    }
    own.iter().for_each(|glimpse| glimpse.put(out));
}

/// Reads findings; none of a slot whose sketch was too small.
///
/// # Errors
/// [`Truncated`] for anything that the functions above do not write.
pub(super) fn read_findings(bytes: &[u8]) -> Result<Vec<Option<Finding>>, Truncated> {
    let mut reader = Reader::new(bytes);
    let mut all = Vec::new();
    while !reader.is_empty() {
        all.push(read_finding(&mut reader)?);
    }
    Ok(all)
}

fn read_finding(reader: &mut Reader<'_>) -> Result<Option<Finding>, Truncated> {
    let missing = match reader.u8()? {
        TOO_SMALL => return Ok(None),
        LIST_OF_MISSING => {
            let mut names = read_names(reader)?;
            names.sort_unstable();
            Missing::Names(names)
        }
        degree => Missing::Roots(Locator::from_terms(read_few_words(degree, reader)?)),
    };
    let count = reader.varint()?;
    let unasked = if count & 1 == 1 { reader.varint()? } else { 0 };
    let own = (0..count >> 1).map(|_| Glimpse::read(reader));
    Ok(Some(Finding {
        missing,
        own: own.collect::<Result<_, _>>()?,
        unasked: usize::try_from(unasked).map_err(|_| Truncated)?,
    }))
}

fn read_few_words(count: u8, reader: &mut Reader<'_>) -> Result<Vec<u32>, Truncated> {
    let count = usize::from(count);
    if count > CAPACITY_MAX {
        return Err(Truncated);
    }
    read_words(count, reader)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{entry::EntryRef, hlc::Version, slots::KeyHash};

    fn glimpses(count: usize) -> Vec<Glimpse> {
        let of = |key: usize| {
            let entry = EntryRef::absent(b"any", Version::ZERO);
            Glimpse::of(KeyHash(key as u64), &entry, 7)
        };
        (0..count).map(of).collect()
    }

    #[test]
    fn what_is_told_is_read_as_it_was_put_and_nothing_else_is() {
        let told = [
            (3, Told::Sketch(vec![7; CAPACITY_MAX])),
            (4, Told::Names(vec![1, 2])),
            (SLOTS - 1, Told::Names(vec![])),
        ];
        let (mut bytes, mut next) = (Vec::new(), 0);
        for (slot, told) in &told {
            put_told(*slot, told, next, &mut bytes);
            next = slot + 1;
        }
        assert_eq!(read_told(&bytes).as_deref(), Ok(&told[..]));
        assert_eq!(read_told(&bytes[..bytes.len() - 1]), Err(Truncated));
        put_told(SLOTS, &Told::Names(vec![]), next, &mut bytes);
        assert_eq!(read_told(&bytes), Err(Truncated), "no such slot");
        let mut large = Vec::new();
        put_told(3, &Told::Sketch(vec![7; CAPACITY_MAX + 1]), 0, &mut large);
        assert_eq!(read_told(&large), Err(Truncated));
    }

    #[test]
    fn findings_are_read_as_they_were_put_and_nothing_else_is() {
        let finding = |missing, own, unasked| {
            let own = glimpses(own);
            Some(Finding {
                missing,
                own,
                unasked,
            })
        };
        let findings = [
            finding(Missing::Roots(Locator::from_terms(vec![9, 8])), 3, 300),
            None,
            finding(Missing::Names(vec![1, 2]), 1, 0),
        ];
        let mut bytes = Vec::new();
        for finding in &findings {
            match finding {
                None => put_too_small(&mut bytes),
                Some(found) => {
                    put_missing(&found.missing, &mut bytes);
                    put_own(&found.own, found.unasked, &mut bytes);
                }
            }
        }
        assert_eq!(read_findings(&bytes).as_deref(), Ok(&findings[..]));
        assert_eq!(read_findings(&bytes[..bytes.len() - 1]), Err(Truncated));
    }

    proptest! {
        #[test]
        fn garbage_is_refused_or_no_larger_than_it_was(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            if let Ok(all) = read_told(&bytes) {
                let words = |told: &Told| match told {
                    Told::Sketch(words) | Told::Names(words) => words.len(),
                };
                prop_assert!(all.iter().map(|(_, told)| 4 * words(told)).sum::<usize>() <= bytes.len());
            }
            if let Ok(all) = read_findings(&bytes) {
                let findings = all.iter().flatten();
                let sizes = findings.map(|found| 4 * found.missing.count() + 4 * found.own.len());
                prop_assert!(sizes.sum::<usize>() <= bytes.len());
            }
        }
    }
}
