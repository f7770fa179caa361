//! Sets of keys, with what is known of each.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

/// Different keys, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct KeySet {
    hasher: FixedState,
    table: HashTable<usize>,
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl KeySet {
    pub(super) fn clear(&mut self) {
        self.table.clear();
        self.bytes.clear();
        self.ends.clear();
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Memory of the keys.
    pub(super) fn bytes(&self) -> usize {
        // Of each key also its end, and its place in the table, which is at most half empty.
        self.bytes.len() + self.len() * 3 * size_of::<usize>()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).map(|at| get(&self.bytes, &self.ends, at))
    }

    /// The place of a key.
    pub(super) fn find(&self, key: &[u8]) -> Option<usize> {
        let hash = self.hasher.hash_one(key);
        let is_key = |&at: &usize| get(&self.bytes, &self.ends, at) == key;
        self.table.find(hash, is_key).copied()
    }

    /// Adds a key, unless it is there. Returns its place.
    pub(super) fn insert(&mut self, key: &[u8]) -> usize {
        if let Some(at) = self.find(key) {
            return at;
        }
        let at = self.len();
        self.bytes.extend_from_slice(key);
        self.ends.push(self.bytes.len());
        let Self {
            hasher,
            table,
            bytes,
            ends,
        } = self;
        let hash_of = |&at: &usize| hasher.hash_one(get(bytes, ends, at));
        table.insert_unique(hasher.hash_one(key), at, hash_of);
        at
    }
}

fn get<'a>(bytes: &'a [u8], ends: &[usize], at: usize) -> &'a [u8] {
    let start = at.checked_sub(1).map_or(0, |before| ends[before]);
    &bytes[start..ends[at]]
}

/// Where an entry is among the items, and its size.
pub(super) type Item = (usize, usize);

/// How a key came into the batch, and where its entry is, if it has one of its own.
#[derive(Clone, Copy, Debug)]
enum Taken {
    /// Its record carried its state.
    Carried(Item),
    /// Its state was looked up in this pass. It stands for the records that were read before, which are those of the
    /// pass: while the batch is built, the key may be written again.
    Exported(u32, Option<Item>),
}

/// The keys that are in the batch already.
#[derive(Debug, Default)]
pub(super) struct Seen {
    keys: KeySet,
    taken: Vec<Taken>,
    pass: u32,
}

impl Seen {
    pub(super) fn clear(&mut self) {
        self.keys.clear();
        self.taken.clear();
        self.pass = 0;
    }

    /// Records were read, and their keys are about to be looked up.
    pub(super) fn begin_pass(&mut self) {
        self.pass += 1;
    }

    /// Whether the key's state was looked up in this pass.
    pub(super) fn is_exported(&self, key: &[u8]) -> bool {
        matches!(self.taken(key), Some(Taken::Exported(pass, _)) if pass == self.pass)
    }

    /// The keys.
    pub(super) fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.keys.iter()
    }

    /// Where the key's entry is.
    pub(super) fn item(&self, key: &[u8]) -> Option<Item> {
        match self.taken(key)? {
            Taken::Carried(item) => Some(item),
            Taken::Exported(_, item) => item,
        }
    }

    /// Where the key's entry is, if its record carried it. One that was looked up may be newer than what a later record
    /// carries: a write shares the number of an earlier one that nobody has read.
    pub(super) fn carried(&self, key: &[u8]) -> Option<Item> {
        match self.taken(key)? {
            Taken::Carried(item) => Some(item),
            Taken::Exported(..) => None,
        }
    }

    fn taken(&self, key: &[u8]) -> Option<Taken> {
        self.keys.find(key).map(|at| self.taken[at])
    }

    /// The key's state was in its record.
    pub(super) fn carry(&mut self, key: &[u8], item: Item) {
        self.insert(key, Taken::Carried(item));
    }

    /// The key was looked up in this pass.
    pub(super) fn export(&mut self, key: &[u8], item: Option<Item>) {
        self.insert(key, Taken::Exported(self.pass, item));
    }

    fn insert(&mut self, key: &[u8], taken: Taken) {
        let at = self.keys.insert(key);
        if at == self.taken.len() {
            self.taken.push(taken);
        } else {
            self.taken[at] = taken;
        }
    }
}
