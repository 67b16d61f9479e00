//! The tree against a sorted array, and its memory against its content.

use proptest::prelude::*;

use super::node::Node;
use super::*;

/// The model that the tree must agree with.
#[derive(Default)]
struct Sorted(Vec<i64>);

impl Sorted {
    fn insert(&mut self, at: i64) {
        let index = self.0.partition_point(|&other| other < at);
        self.0.insert(index, at);
    }

    fn remove(&mut self, at: i64) {
        let index = self.0.binary_search(&at).unwrap();
        self.0.remove(index);
    }

    fn count_from(&self, since: i64) -> u64 {
        (self.0.len() - self.0.partition_point(|&other| other < since)) as u64
    }
}

fn at(micros: i64) -> UtcInstant {
    UtcInstant::from_micros(micros)
}

fn check(tree: &InstantCounts, sorted: &Sorted, probe: i64) -> Result<(), TestCaseError> {
    for since in [probe.saturating_sub(1), probe, probe.saturating_add(1), i64::MIN, i64::MAX] {
        prop_assert_eq!(tree.count_from(at(since)), sorted.count_from(since), "since {}", since);
    }
    prop_assert_eq!(tree.max(), sorted.0.last().copied().map(at));
    Ok(())
}

/// Instants that collide, crowd, spread over eras, and lie at both ends.
fn instant() -> impl Strategy<Value = i64> {
    const TODAY: i64 = 1_767_715_200_000_000;
    prop_oneof![
        4 => (0..4_i64).prop_map(|n| TODAY + n),
        3 => (0..100_000_i64).prop_map(|n| TODAY + n),
        3 => (0..60_i64).prop_map(|day| TODAY - day * 86_400_000_000),
        2 => (-3..4_i64).prop_map(|n| n),
        1 => (0..3_i64).prop_map(|n| i64::MIN + n),
        1 => (0..3_i64).prop_map(|n| i64::MAX - n),
        1 => any::<i64>(),
    ]
}

proptest! {
    #[test]
    fn all_at_once_or_one_by_one_is_the_same(
        (instants, removed) in prop::collection::vec((instant(), 1..700_usize, 0..9_i64), 0..12).prop_flat_map(|runs| {
            let run = |(at, times, stride): (i64, usize, i64)| {
                (0..i64::try_from(times).unwrap()).map(move |n| at.saturating_add(n * stride))
            };
            let instants: Vec<i64> = runs.into_iter().flat_map(run).collect();
            let removed = prop::sample::subsequence(instants.clone(), 0..=instants.len());
            (Just(instants).prop_shuffle(), removed)
        }),
        probe in instant(),
    ) {
        let mut tree = InstantCounts::of(instants.iter().copied().map(at));
        let mut sorted = Sorted::default();
        sorted.0.clone_from(&instants);
        sorted.0.sort_unstable();
        check(&tree, &sorted, probe)?;
        for instant in removed {
            tree.remove(at(instant));
            sorted.remove(instant);
        }
        check(&tree, &sorted, probe)?;
        for &instant in instants.iter().take(600) {
            tree.insert(at(instant));
            sorted.insert(instant);
        }
        check(&tree, &sorted, probe)?;
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// So many instants, each one `stride` after the one before.
    Insert { at: i64, times: usize, stride: i64 },
    /// So many of those that are there, from one of them on.
    Remove { pick: prop::sample::Index, times: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let times = prop_oneof![3 => 1..4_usize, 1 => 100..900_usize];
    let stride = prop::sample::select(vec![0, 0, 1, 17, 70_000, 5_000_000_000]);
    prop_oneof![
        3 => (instant(), times.clone(), stride).prop_map(|(at, times, stride)| Step::Insert { at, times, stride }),
        2 => (any::<prop::sample::Index>(), times).prop_map(|(pick, times)| Step::Remove { pick, times }),
    ]
}

proptest! {
    #[test]
    fn agrees_with_a_sorted_array(steps in prop::collection::vec(step(), 1..40), probe in instant()) {
        let (mut tree, mut sorted) = (InstantCounts::default(), Sorted::default());
        for step in steps {
            match step {
                Step::Insert { at: first, times, stride } => {
                    for n in 0..times {
                        let micros = first.saturating_add(stride * i64::try_from(n).unwrap());
                        tree.insert(at(micros));
                        sorted.insert(micros);
                    }
                    check(&tree, &sorted, first)?;
                }
                Step::Remove { pick, times } => {
                    let first = if sorted.0.is_empty() { 0 } else { pick.index(sorted.0.len()) };
                    for _ in 0..times.min(sorted.0.len()) {
                        let micros = sorted.0[first.min(sorted.0.len() - 1)];
                        tree.remove(at(micros));
                        sorted.remove(micros);
                        check(&tree, &sorted, micros)?;
                    }
                }
            }
            check(&tree, &sorted, probe)?;
        }
        for micros in sorted.0 {
            tree.remove(at(micros));
        }
        prop_assert!(tree.eras.is_empty());
    }
}

/// Heap bytes below a node.
fn bytes_of(node: &Node) -> usize {
    match node {
        Node::Wide(keys) => size_of_val(&**keys) + keys.capacity() * size_of::<u64>(),
        Node::Narrow(lows) => lows.capacity() * size_of::<u32>(),
        Node::Inner(branches) => {
            size_of_val(&**branches) + branches.iter().map(|branch| bytes_of(&branch.node)).sum::<usize>()
        }
    }
}

fn bytes(tree: &InstantCounts) -> usize {
    tree.eras.values().map(|era| size_of::<Branch>() + bytes_of(&era.node)).sum()
}

#[test]
fn a_million_equal_instants_are_a_count() {
    let mut tree = InstantCounts::default();
    for _ in 0..1_000_000 {
        tree.insert(at(7));
    }
    assert_eq!([6, 7, 8].map(|since| tree.count_from(at(since))), [1_000_000, 1_000_000, 0]);
    assert!(bytes(&tree) < 16 * 1024, "{}", bytes(&tree));
    for _ in 0..999_999 {
        tree.remove(at(7));
    }
    assert_eq!((tree.count_from(at(7)), tree.max()), (1, Some(at(7))));
    assert!(bytes(&tree) < 2048, "{}", bytes(&tree));
}

#[test]
fn memory_follows_the_content() {
    // Seven weeks in steps that come in no order: every era gets its share.
    const SPAN: i64 = 49 * 86_400_000_000;
    const COUNT: i64 = 200_000;
    let instants = || (0..COUNT).map(|n| n * 2_000_000_011 % SPAN);
    // All but one of so many move on, as members do that come back.
    for one_in in [1, 4, 20, 100, 1000] {
        let mut tree = InstantCounts::default();
        for micros in instants() {
            tree.insert(at(micros));
        }
        for (_, micros) in instants().enumerate().filter(|(n, _)| n % one_in != 0) {
            tree.remove(at(micros));
        }
        let left = usize::try_from(tree.count_from(at(0))).unwrap();
        assert_eq!(left, 200_000 / one_in);
        // At most eight bytes an instant, and a leaf has room for less than four times what it holds.
        assert!(bytes(&tree) < 32 * left, "{} bytes for {left}", bytes(&tree));
    }
}

#[test]
#[should_panic(expected = "only what was inserted is removed")]
fn taking_out_what_is_not_there_is_a_broken_invariant() {
    let mut tree = InstantCounts::default();
    tree.insert(at(1));
    tree.remove(at(2));
}
