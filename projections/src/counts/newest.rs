//! Tenants ranked by the greatest counted last seen of their members, to count the active ones.
//!
//! The rank is kept by buckets of neighbouring instants. A tenant that stays in its bucket costs a few comparisons,
//! as most logins do: they raise the newest of a tenant within the latest bucket, which may grow for an hour. Other
//! buckets that grow are divided, and those that shrink are put together. A count passes over one bucket, that with
//! the edge of its window: up to 512 tenants, or those last seen in the same hour as that edge.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};

use lastseen_event::{TenantOrdinal, UtcInstant};
use roaring::RoaringBitmap;

/// The start of the first bucket.
const START: UtcInstant = UtcInstant::from_micros(i64::MIN);

/// The tenants with a newest last seen. The instants themselves are the caller's, who gives a function for
/// them.
#[derive(Debug)]
pub(super) struct TenantsByNewest {
    /// By their least instant; each ends where the next one starts, and the first starts at [`START`].
    buckets: BTreeMap<UtcInstant, Bucket>,
    /// The start of the last bucket.
    latest: UtcInstant,
    /// No tenant was ever seen later.
    greatest: UtcInstant,
    /// A bucket that outgrows it is divided, unless all of its tenants have one instant.
    bucket_max: u64,
    /// The latest bucket is not divided before it is that long.
    span_us: i64,
}

#[derive(Debug, Default)]
struct Bucket {
    tenants: RoaringBitmap,
    count: u64,
}

impl Bucket {
    fn of(tenants: RoaringBitmap) -> Self {
        Self { count: tenants.len(), tenants }
    }
}

impl TenantsByNewest {
    /// No tenants yet.
    pub(super) fn new(bucket_max: u64, span_us: i64) -> Self {
        let buckets = BTreeMap::from([(START, Bucket::default())]);
        Self { buckets, latest: START, greatest: START, bucket_max, span_us }
    }

    /// Follows a tenant whose newest was `before`; `newest` gives that of any tenant now.
    pub(super) fn replace(
        &mut self,
        tenant: TenantOrdinal,
        before: Option<UtcInstant>,
        newest: impl Fn(TenantOrdinal) -> Option<UtcInstant>,
    ) {
        let after = newest(tenant);
        if let Some(at) = after.filter(|at| *at > self.greatest) {
            self.go_on(at);
        }
        if before == after || (before >= Some(self.latest) && after >= Some(self.latest)) {
            return;
        }
        let [from, to] = [before, after].map(|at| at.map(|at| self.bucket_of(at)));
        if from == to {
            return;
        }
        if let Some(from) = from {
            self.remove(from, tenant);
        }
        // Looked for again: buckets may have been put together.
        if let Some(to) = after.map(|at| self.bucket_of(at)) {
            let bucket = self.buckets.entry(to).or_default();
            bucket.count += u64::from(bucket.tenants.insert(tenant.get()));
            // A bucket that was the latest may be larger. To divide it would take long, and it shrinks by itself.
            if bucket.count == self.bucket_max + 1 && !self.is_growing(to) {
                self.divide(to, newest);
            }
        }
    }

    /// Moves the greatest instant on, and starts a bucket with it if the latest is full and long enough.
    fn go_on(&mut self, at: UtcInstant) {
        self.greatest = at;
        let length_us = at.as_micros().saturating_sub(self.latest.as_micros());
        let is_full = || self.buckets.last_key_value().is_some_and(|(_, last)| last.count >= self.bucket_max);
        if length_us >= self.span_us && is_full() {
            // No tenant has to move: none was seen then.
            self.buckets.insert(at, Bucket::default());
            self.latest = at;
        }
    }

    /// True if the bucket is the latest and began a short time ago.
    fn is_growing(&self, start: UtcInstant) -> bool {
        let length_us = self.greatest.as_micros().saturating_sub(start.as_micros());
        start == self.latest && length_us < self.span_us.saturating_mul(2)
    }

    /// The start of the bucket with this instant.
    fn bucket_of(&self, at: UtcInstant) -> UtcInstant {
        if at >= self.latest {
            return self.latest;
        }
        self.buckets.range(..=at).next_back().map_or(START, |(start, _)| *start)
    }

    /// The start of the bucket after the one that starts at `start`.
    fn next(&self, start: UtcInstant) -> Option<(UtcInstant, u64)> {
        let (next, bucket) = self.buckets.range((Excluded(start), Unbounded)).next()?;
        Some((*next, bucket.count))
    }

    fn remove(&mut self, start: UtcInstant, tenant: TenantOrdinal) {
        let Some(bucket) = self.buckets.get_mut(&start) else { return };
        bucket.count -= u64::from(bucket.tenants.remove(tenant.get()));
        let count = bucket.count;
        // Well below the size at which they are divided, so that they do not swing.
        let small = self.bucket_max / 4;
        if count > small {
            return;
        }
        if let Some((next, _)) = self.next(start).filter(|(_, more)| count + more <= small) {
            self.put_together(start, next);
        }
        if let Some((before, bucket)) = self.buckets.range(..start).next_back()
            && bucket.count + self.buckets[&start].count <= small
        {
            self.put_together(*before, start);
        }
    }

    /// Makes one bucket of two neighbours.
    fn put_together(&mut self, start: UtcInstant, next: UtcInstant) {
        let Some(later) = self.buckets.remove(&next) else { return };
        let bucket = self.buckets.entry(start).or_default();
        bucket.tenants |= later.tenants;
        bucket.count += later.count;
        if self.latest == next {
            self.latest = start;
        }
    }

    /// Divides a bucket at an instant near its median. If all tenants have one instant, that becomes a bucket
    /// of its own, which no window's edge divides.
    fn divide(&mut self, start: UtcInstant, newest: impl Fn(TenantOrdinal) -> Option<UtcInstant>) {
        if after(start) == start || self.next(start).is_some_and(|(next, _)| next == after(start)) {
            return;
        }
        let Some(Bucket { tenants, .. }) = self.buckets.remove(&start) else { return };
        let mut instants: Vec<UtcInstant> =
            tenants.iter().filter_map(|tenant| newest(TenantOrdinal::new(tenant))).collect();
        let middle = instants.len() / 2;
        let (below, median, _) = instants.select_nth_unstable(middle);
        let (median, least) = (*median, below.iter().copied().min().unwrap_or(*median).min(*median));
        let cut = if median > least { median } else { after(median) };
        let is_later = |tenant: &u32| newest(TenantOrdinal::new(*tenant)) >= Some(cut);
        let later: RoaringBitmap = tenants.iter().filter(is_later).collect();
        let earlier = Bucket::of(tenants - &later);
        // The next bucket may start at the cut already. Then nobody is later.
        self.buckets.entry(cut).or_insert_with(|| Bucket::of(later));
        if cut > median && median > start {
            // Only the least instant is left below the cut.
            self.buckets.insert(start, Bucket::default());
            self.buckets.insert(median, earlier);
        } else {
            self.buckets.insert(start, earlier);
        }
        self.latest = self.buckets.last_key_value().map_or(START, |(latest, _)| *latest);
    }

    /// Counts the tenants whose newest is `since` or later.
    pub(super) fn count_from(
        &self,
        since: UtcInstant,
        newest: impl Fn(TenantOrdinal) -> Option<UtcInstant>,
    ) -> u64 {
        let edge = self.bucket_of(since);
        let later: u64 = self.buckets.range((Excluded(edge), Unbounded)).map(|(_, later)| later.count).sum();
        let Some(bucket) = self.buckets.get(&edge) else { return later };
        if edge == since {
            return later + bucket.count;
        }
        let is_active = |tenant: &u32| newest(TenantOrdinal::new(*tenant)) >= Some(since);
        later + bucket.tenants.iter().filter(is_active).count() as u64
    }
}

/// The instant after this one.
fn after(at: UtcInstant) -> UtcInstant {
    UtcInstant::from_micros(at.as_micros().saturating_add(1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Tenants with their newest, by ordinal.
    type Model = Vec<Option<UtcInstant>>;

    fn newest(model: &Model) -> impl Fn(TenantOrdinal) -> Option<UtcInstant> {
        |tenant| model[tenant.index()]
    }

    fn instant() -> impl Strategy<Value = Option<UtcInstant>> {
        let micros = prop_oneof![
            4 => 0..40_i64,
            4 => Just(7_i64),
            1 => prop::sample::select(vec![i64::MIN, i64::MIN + 1, i64::MAX - 1, i64::MAX]),
        ];
        prop::option::weighted(0.8, micros.prop_map(UtcInstant::from_micros))
    }

    proptest! {
        #[test]
        fn counts_are_those_of_a_pass_over_all_tenants(
            moves in prop::collection::vec((0..30_u32, instant()), 0..300),
            bucket_max in 0..9_u64,
            span_us in prop::sample::select(vec![0, 0, 5, 20]),
        ) {
            let mut model: Model = vec![None; 30];
            let mut ranked = TenantsByNewest::new(bucket_max, span_us);
            for (tenant, to) in moves {
                let tenant = TenantOrdinal::new(tenant);
                let before = std::mem::replace(&mut model[tenant.index()], to);
                ranked.replace(tenant, before, newest(&model));
                let edges = to.into_iter().chain([0, 7, 8, 20, i64::MIN, i64::MAX].map(UtcInstant::from_micros));
                for since in edges {
                    let expected = model.iter().filter(|at| **at >= Some(since)).count() as u64;
                    prop_assert_eq!(ranked.count_from(since, newest(&model)), expected, "since {}", since);
                }
                for (start, bucket) in &ranked.buckets {
                    let of_one_instant = ranked.next(*start).is_some_and(|(next, _)| next == after(*start));
                    let is_last = *start == UtcInstant::from_micros(i64::MAX);
                    prop_assert!(bucket.count <= bucket_max || of_one_instant || is_last || span_us > 0);
                }
            }
        }
    }

    /// Buckets after many tenants came back again and again, a microsecond after each other.
    fn buckets_after(span_us: i64) -> TenantsByNewest {
        const TENANTS: u32 = 1_000;
        let mut model: Model = vec![None; TENANTS as usize];
        let mut ranked = TenantsByNewest::new(64, span_us);
        for at in 0..50_000_u32 {
            let tenant = TenantOrdinal::new(at.wrapping_mul(2_654_435_761) % TENANTS);
            let before = model[tenant.index()].replace(UtcInstant::from_micros(at.into()));
            ranked.replace(tenant, before, newest(&model));
        }
        ranked
    }

    #[test]
    fn buckets_of_tenants_that_come_back_do_not_pile_up() {
        for span_us in [0, 700] {
            let buckets = buckets_after(span_us).buckets;
            let seen: u64 = buckets.values().map(|bucket| bucket.count).sum();
            assert!(
                seen > 500 && buckets.len() as u64 <= 2 + seen / 8,
                "{} buckets for {seen}",
                buckets.len()
            );
        }
    }

    #[test]
    fn the_latest_bucket_grows_for_its_span_and_then_ends() {
        let ranked = buckets_after(10_000);
        let latest = &ranked.buckets[&ranked.latest];
        assert!(latest.count > ranked.bucket_max, "{} tenants", latest.count);
        let begun = ranked.latest.as_micros();
        assert!((30_000..50_000).contains(&begun), "begun at {begun}");
    }
}
