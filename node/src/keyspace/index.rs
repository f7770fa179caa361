//! Which entries a shard holds: an open table of tags and handles, eight to a cache line.
//!
//! A slot keeps half of its key's hash, and its home is found with that half alone, so the table grows and shrinks
//! without a look at the entries. Collisions go to the next slot (linear probing). Entries leave in bulk, when husks
//! are forgotten, and then the table is built anew: there is no removal of one.
//!
//! A walk goes from home to home in the order of the tags with their bits reversed (redis-server's order, too). In that
//! order the tags that share a home stand together, whatever the number of slots, so a walk may go on in a table of
//! another size. And it is not the order of the slots: keys that are walked over, removed and written again do not crowd
//! in one part of a table that grows.
//!
//! Does not know keys: a caller compares what lies behind a handle.

use std::ops::ControlFlow;

use super::arena::Handle;

const FIRST_SLOTS: usize = 8;

/// The half of a hash that finds a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag(pub(super) u32);

impl Tag {
    pub(super) const BITS: u32 = u32::BITS;
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    tag: Tag,
    handle: Option<Handle>,
}

pub(super) const SLOT_BYTES: usize = size_of::<Slot>();

const EMPTY: Slot = Slot {
    tag: Tag(0),
    handle: None,
};

/// A table of handles. The number of slots is zero or a power of two, and at most three quarters are taken.
#[derive(Debug, Default)]
pub(super) struct Index {
    slots: Box<[Slot]>,
    len: usize,
}

impl Index {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The slot of the first handle under `tag` that `is` accepts.
    #[inline]
    pub(super) fn find(&self, tag: Tag, mut is: impl FnMut(Handle) -> bool) -> Option<usize> {
        if self.slots.is_empty() {
            return None;
        }
        let mut at = self.home(tag);
        while let Some(handle) = self.slots[at].handle {
            if self.slots[at].tag == tag && is(handle) {
                return Some(at);
            }
            at = self.next(at);
        }
        None
    }

    /// The handle in a slot that [`Self::find`] returned.
    #[inline]
    pub(super) fn handle(&self, slot: usize) -> Handle {
        self.slots[slot].handle.expect("the slot was found")
    }

    /// Puts another handle into a slot that [`Self::find`] returned.
    pub(super) fn replace(&mut self, slot: usize, handle: Handle) {
        self.slots[slot].handle = Some(handle);
    }

    /// Adds a handle that is not there.
    pub(super) fn insert(&mut self, tag: Tag, handle: Handle) {
        if self.len + 1 > self.slots.len() / 4 * 3 {
            self.resize((self.slots.len() * 2).max(FIRST_SLOTS));
        }
        self.place(tag, handle);
        self.len += 1;
    }

    /// Every handle, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Handle> {
        self.slots.iter().filter_map(|slot| slot.handle)
    }

    /// Visits the handles whose tags, reversed, are at least `position`, in the order of their homes, until `visit` breaks
    /// off; those with the same home still follow. Returns the position to go on from, or `None` at the end.
    pub(super) fn walk(
        &self,
        position: u32,
        mut visit: impl FnMut(Handle) -> ControlFlow<()>,
    ) -> Option<u32> {
        let bits = self.slots.len().checked_ilog2()?;
        // A home is the lowest bits of a tag, and so the highest of a position.
        let below_home = u32::MAX >> bits;
        let mut from = position;
        loop {
            let home = (from & !below_home).reverse_bits() as usize;
            let flow = self.visit_home(home, from, &mut visit);
            match (from | below_home).checked_add(1) {
                Some(next) if flow.is_continue() => from = next,
                next => return next,
            }
        }
    }

    fn visit_home(
        &self,
        home: usize,
        position: u32,
        visit: &mut impl FnMut(Handle) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let mut flow = ControlFlow::Continue(());
        let mut at = home;
        while let Slot {
            tag,
            handle: Some(handle),
        } = self.slots[at]
        {
            if self.home(tag) == home && tag.0.reverse_bits() >= position {
                flow = visit(handle);
            }
            at = self.next(at);
        }
        flow
    }

    /// Keeps the handles that `keep` wants, and gives back the memory of a table that has become much too large.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(Handle) -> bool) {
        let before = self.len;
        for slot in &mut self.slots {
            if slot.handle.is_some_and(|handle| !keep(handle)) {
                slot.handle = None;
                self.len -= 1;
            }
        }
        if self.len < before {
            let is_sparse = self.len < self.slots.len() / 8;
            let slots = if is_sparse {
                (self.len * 2).next_power_of_two().max(FIRST_SLOTS)
            } else {
                self.slots.len()
            };
            self.resize(slots);
        }
    }

    /// Asks for the memory where a search for `tag` begins.
    pub(super) fn prefetch(&self, tag: Tag) {
        if !self.slots.is_empty() {
            greenwich_prefetch::prefetch(&self.slots, self.home(tag));
        }
    }

    fn home(&self, tag: Tag) -> usize {
        tag.0 as usize & (self.slots.len() - 1)
    }

    fn next(&self, slot: usize) -> usize {
        (slot + 1) & (self.slots.len() - 1)
    }

    fn place(&mut self, tag: Tag, handle: Handle) {
        let mut at = self.home(tag);
        while self.slots[at].handle.is_some() {
            at = self.next(at);
        }
        self.slots[at] = Slot {
            tag,
            handle: Some(handle),
        };
    }

    fn resize(&mut self, slots: usize) {
        let old = std::mem::replace(&mut self.slots, vec![EMPTY; slots].into());
        for slot in old {
            if let Some(handle) = slot.handle {
                self.place(slot.tag, handle);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::arena::Arena, *};

    /// Handles that differ.
    fn handles(count: usize) -> Vec<Handle> {
        let mut arena = Arena::default();
        (0..count).map(|_| arena.insert(0, |_| ())).collect()
    }

    proptest! {
        #[test]
        fn every_handle_is_found_under_its_tag_until_it_is_dropped(
            // Few homes, so that searches run into each other and around the end.
            tags in prop::collection::vec(prop_oneof![0..6u32, u32::MAX - 3..=u32::MAX, any::<u32>()], 0..300),
            kept in any::<[bool; 16]>(),
        ) {
            let mut index = Index::default();
            let handles = handles(tags.len());
            let finds = |index: &Index, at: usize| {
                index.find(Tag(tags[at]), |handle| handle == handles[at]).map(|slot| index.handle(slot))
            };
            for (at, tag) in tags.iter().enumerate() {
                prop_assert_eq!(finds(&index, at), None);
                index.insert(Tag(*tag), handles[at]);
                prop_assert_eq!(index.len(), at + 1);
                prop_assert!(index.len() <= index.slots.len() / 4 * 3);
            }
            prop_assert_eq!(index.iter().count(), tags.len());
            let stays = |at: usize| kept[at % kept.len()];
            let position = |handle| handles.iter().position(|held| *held == handle).unwrap();
            index.retain(|handle| stays(position(handle)));
            for (at, handle) in handles.iter().enumerate() {
                prop_assert_eq!(finds(&index, at), stays(at).then_some(*handle));
            }
            prop_assert_eq!(index.len(), (0..tags.len()).filter(|at| stays(*at)).count());
        }
    }

    proptest! {
        #[test]
        fn a_walk_visits_what_stays_once_while_the_table_grows_and_shrinks(
            stays in prop::collection::vec(prop_oneof![0..6u32, u32::MAX - 3..=u32::MAX, any::<u32>()], 0..100),
            // What each step wants, how many come after it, and whether those that came before leave.
            steps in prop::collection::vec((0..20usize, 0..200u32, any::<bool>()), 0..30),
        ) {
            let handles = handles(stays.len() + 1);
            let mut index = Index::default();
            for (tag, handle) in stays.iter().zip(&handles) {
                index.insert(Tag(*tag), *handle);
            }
            let guest = handles[stays.len()];
            let mut visits = vec![0; stays.len()];
            // After these steps, the rest in one: guests that keep coming could outrun a walk.
            let mut steps = steps.into_iter();
            let (mut position, mut rounds) = (Some(0), 0);
            while let Some(from) = position {
                let (mut wanted, come, leave) = steps.next().unwrap_or((usize::MAX, 0, false));
                position = index.walk(from, |handle| {
                    if let Some(at) = handles[..stays.len()].iter().position(|held| *held == handle) {
                        visits[at] += 1;
                    }
                    wanted = wanted.saturating_sub(1);
                    if wanted == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                });
                prop_assert!(position.is_none_or(|next| next > from));
                if leave {
                    index.retain(|handle| handle != guest);
                }
                rounds += 1;
                for n in 0..come {
                    index.insert(Tag((n + rounds * 1000).wrapping_mul(0x9E37_79B9)), guest);
                }
            }
            prop_assert_eq!(visits, vec![1; stays.len()]);
        }
    }

    #[test]
    fn a_replaced_handle_is_found_instead_of_the_old_one() {
        let handles = handles(3);
        let mut index = Index::default();
        index.insert(Tag(7), handles[0]);
        index.insert(Tag(7), handles[1]);
        let slot = index.find(Tag(7), |handle| handle == handles[1]).unwrap();
        index.replace(slot, handles[2]);
        assert_eq!(index.find(Tag(7), |handle| handle == handles[1]), None);
        assert_eq!(
            index.find(Tag(7), |handle| handle == handles[2]),
            Some(slot)
        );
    }

    #[test]
    fn a_table_that_has_become_much_too_large_shrinks() {
        let handles = handles(10_000);
        let mut index = Index::default();
        for (tag, handle) in (0..).zip(&handles) {
            index.insert(Tag(tag), *handle);
        }
        let before = index.slots.len();
        index.retain(|handle| handle == handles[0]);
        assert!(index.slots.len() < before / 100);
        assert_eq!(
            index.find(Tag(0), |_| true).map(|slot| index.handle(slot)),
            Some(handles[0])
        );
    }
}
