//! The tree below an era. Keys in a node differ in their low `bits` bits only, and those alone are stored
//! where that saves memory; how many keys a node holds stands beside it, in its [`Branch`].

/// Bits by which a node's children differ.
const STEP: u32 = 4;
const FANOUT: usize = 1 << STEP;
const SLOT: u64 = (1 << STEP) - 1;
/// Most keys in a leaf: what a search through an unsorted array does in about a hundred nanoseconds.
const LEAF_MAX: usize = 512;
/// A node that shrinks to this many becomes a leaf again; well below [`LEAF_MAX`], so that it does not swing.
const REGROW_FROM: u64 = 128;
/// Bits that a narrow leaf keeps of a key.
const NARROW_BITS: u32 = 32;
const NARROW: u64 = (1 << NARROW_BITS) - 1;

#[derive(Debug)]
pub(super) enum Node {
    /// Whole keys, unsorted, while they differ in more than 32 bits.
    #[expect(clippy::box_collection, reason = "rare, and its pointer alone lets every node have three words")]
    Wide(Box<Vec<u64>>),
    /// The low 32 bits of keys, unsorted.
    Narrow(Vec<u32>),
    /// Branches by the next bits of their keys.
    Inner(Box<[Branch; FANOUT]>),
}

/// A node and how many keys it holds: together, since who needs one needs the other. Where no bit is left to
/// differ in, the count says all and the node stays empty.
#[derive(Debug)]
pub(super) struct Branch {
    pub(super) count: u64,
    pub(super) node: Node,
}

const _: () = assert!(size_of::<Branch>() == 32);

impl Branch {
    /// A branch for keys that differ in their low `bits` bits.
    pub(super) fn empty(bits: u32) -> Self {
        Self { count: 0, node: Node::empty(bits) }
    }
}

impl Node {
    /// A node for keys that differ in their low `bits` bits.
    fn empty(bits: u32) -> Self {
        if bits > NARROW_BITS { Self::Wide(Box::default()) } else { Self::Narrow(Vec::new()) }
    }

    /// A node of keys that differ in their low `bits` bits. Both slices are as long; what they hold after
    /// means nothing.
    pub(super) fn of(keys: &mut [u64], other: &mut [u64], bits: u32) -> Self {
        if keys.len() <= LEAF_MAX || bits == 0 {
            return match bits {
                0 => Self::empty(bits),
                1..=NARROW_BITS => Self::Narrow(keys.iter().map(|&key| narrow(key)).collect()),
                _ => Self::Wide(Box::new(keys.to_vec())),
            };
        }
        let below = bits - STEP;
        let mut counts = [0; FANOUT];
        for &key in &*keys {
            counts[slot(key, below)] += 1;
        }
        let mut starts = [0; FANOUT];
        for at in 1..FANOUT {
            starts[at] = starts[at - 1] + counts[at - 1];
        }
        let mut places = starts;
        for &key in &*keys {
            let place = &mut places[slot(key, below)];
            other[*place] = key;
            *place += 1;
        }
        let branch = |at: usize| {
            let part = starts[at]..places[at];
            let count = part.len() as u64;
            Branch { count, node: Self::of(&mut other[part.clone()], &mut keys[part], below) }
        };
        Self::Inner(Box::new(std::array::from_fn(branch)))
    }

    pub(super) fn insert(&mut self, key: u64, mut bits: u32) {
        let mut node = self;
        while bits > 0 {
            if node.is_full_leaf() {
                node.divide(bits);
            }
            match node {
                Self::Wide(keys) => return keys.push(key),
                Self::Narrow(lows) => return lows.push(narrow(key)),
                Self::Inner(branches) => {
                    bits -= STEP;
                    let branch = &mut branches[slot(key, bits)];
                    branch.count += 1;
                    node = &mut branch.node;
                }
            }
        }
    }

    /// Takes out one `key`; `count` is the number of keys in this node, that one included.
    pub(super) fn remove(&mut self, key: u64, mut bits: u32, mut count: u64) {
        let mut node = self;
        while bits > 0 {
            if count <= REGROW_FROM {
                node.flatten(key, bits);
            }
            match node {
                Self::Wide(keys) => return take(keys, key),
                Self::Narrow(lows) => return take(lows, narrow(key)),
                Self::Inner(branches) => {
                    bits -= STEP;
                    let branch = &mut branches[slot(key, bits)];
                    count = branch.count;
                    branch.count = count.checked_sub(1).expect("only what was inserted is removed");
                    node = &mut branch.node;
                }
            }
        }
    }

    /// Number of keys that are `key` or greater.
    pub(super) fn count_from(&self, key: u64, mut bits: u32) -> u64 {
        let mut node = self;
        let mut above = 0;
        loop {
            match node {
                Self::Wide(keys) => return above + keys.iter().map(|&at| u64::from(at >= key)).sum::<u64>(),
                Self::Narrow(lows) => {
                    let low = narrow(key);
                    return above + u64::from(lows.iter().map(|&at| u32::from(at >= low)).sum::<u32>());
                }
                Self::Inner(branches) => {
                    bits -= STEP;
                    let slot = slot(key, bits);
                    above += branches[slot + 1..].iter().map(|branch| branch.count).sum::<u64>();
                    if bits == 0 {
                        return above + branches[slot].count;
                    }
                    node = &branches[slot].node;
                }
            }
        }
    }

    /// The greatest key. `prefix` is what the keys of this node have in common; there is at least one.
    pub(super) fn max(&self, mut prefix: u64, mut bits: u32) -> u64 {
        const PRESENT: &str = "a node in use is not empty";
        let mut node = self;
        while bits > 0 {
            match node {
                Self::Wide(keys) => return *keys.iter().max().expect(PRESENT),
                Self::Narrow(lows) => {
                    return prefix & !NARROW | u64::from(*lows.iter().max().expect(PRESENT));
                }
                Self::Inner(branches) => {
                    bits -= STEP;
                    let slot = branches.iter().rposition(|branch| branch.count > 0).expect(PRESENT);
                    prefix |= (slot as u64) << bits;
                    node = &branches[slot].node;
                }
            }
        }
        prefix
    }

    /// Reads the memory on the way to `key`, and enough of its leaf for the processor to fetch the rest.
    pub(super) fn touch(&self, key: u64, mut bits: u32) -> u64 {
        let mut node = self;
        while bits > 0 {
            match node {
                Self::Wide(keys) => return keys.iter().step_by(LEAF_MAX / 4).fold(0, |all, &at| all ^ at),
                Self::Narrow(lows) => {
                    return u64::from(lows.iter().step_by(LEAF_MAX / 4).fold(0, |all, &at| all ^ at));
                }
                Self::Inner(branches) => {
                    bits -= STEP;
                    node = &branches[slot(key, bits)].node;
                }
            }
        }
        0
    }

    fn is_full_leaf(&self) -> bool {
        match self {
            Self::Wide(keys) => keys.len() == LEAF_MAX,
            Self::Narrow(lows) => lows.len() == LEAF_MAX,
            Self::Inner(_) => false,
        }
    }

    /// Turns a leaf into an inner node with leaves below.
    fn divide(&mut self, bits: u32) {
        let below = bits - STEP;
        let mut branches = Box::new(std::array::from_fn(|_| Branch::empty(below)));
        self.each(0, bits, &mut |key| {
            let branch: &mut Branch = &mut branches[slot(key, below)];
            branch.count += 1;
            branch.node.insert(key, below);
        });
        *self = Self::Inner(branches);
    }

    /// Turns an inner node with few keys into a leaf. `key` begins with what the keys have in common.
    fn flatten(&mut self, key: u64, bits: u32) {
        if matches!(self, Self::Wide(_) | Self::Narrow(_)) {
            return;
        }
        let mut leaf = Self::empty(bits);
        self.each(key >> bits << bits, bits, &mut |key| leaf.insert(key, bits));
        *self = leaf;
    }

    /// Calls `take` with every key, `prefix` being what they have in common (a narrow leaf yields the low
    /// bits of its keys below that prefix).
    fn each(&self, prefix: u64, bits: u32, take: &mut impl FnMut(u64)) {
        match self {
            Self::Wide(keys) => keys.iter().copied().for_each(take),
            Self::Narrow(lows) => lows.iter().for_each(|&low| take(prefix & !NARROW | u64::from(low))),
            Self::Inner(branches) => {
                let bits = bits - STEP;
                for (slot, Branch { count, node }) in branches.iter().enumerate() {
                    let prefix = prefix | (slot as u64) << bits;
                    if bits > 0 {
                        node.each(prefix, bits, take);
                    } else {
                        (0..*count).for_each(|_| take(prefix));
                    }
                }
            }
        }
    }
}

fn slot(key: u64, bits: u32) -> usize {
    usize::from((key >> bits & SLOT) as u8)
}

fn narrow(key: u64) -> u32 {
    (key & NARROW) as u32
}

/// Takes one `key` out of a leaf, and its memory with it.
fn take<T: Copy + PartialEq>(keys: &mut Vec<T>, key: T) {
    const SMALL: usize = 16;
    let index = index_of(keys, key).expect("only what was inserted is removed");
    keys.swap_remove(index);
    if keys.is_empty() || (keys.capacity() > SMALL && keys.len() <= keys.capacity() / 4) {
        keys.shrink_to(keys.len() * 2);
    }
}

/// Returns the index of one `key`.
fn index_of<T: Copy + PartialEq>(keys: &[T], key: T) -> Option<usize> {
    // Without an early exit inside a group, a group is compared at once: several times as fast.
    const GROUP: usize = 32;
    let (groups, rest) = keys.as_chunks::<GROUP>();
    let holds = |group: &[T; GROUP]| group.iter().map(|&at| u8::from(at == key)).sum::<u8>() > 0;
    let (start, part) = match groups.iter().position(holds) {
        Some(group) => (group * GROUP, groups[group].as_slice()),
        None => (groups.len() * GROUP, rest),
    };
    part.iter().position(|&at| at == key).map(|index| start + index)
}
