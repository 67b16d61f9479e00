//! The ids that are on their way to the cluster. The cluster forgets ids within minutes, and two sessions may overtake each other:
//! an id that is on its way is waited for, so that of two appends with one id the second finds what the first has stored.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use lastseen_event::EventBatch;
use parking_lot::Mutex;
use tokio::sync::Notify;
use uuid::Uuid;

/// An id within its tenant. Two tenants that meet in the hash only wait for each other.
type Key = (u64, Uuid);

/// The ids that are claimed. They are as many as the events of the appends that are under way, which are bounded.
#[derive(Default)]
pub(crate) struct Claims {
    taken: Mutex<HashSet<Key>>,
    freed: Notify,
    tenants: RandomState,
}

/// Some ids, until it is dropped.
pub(crate) struct Claim<'a> {
    claims: &'a Claims,
    keys: Vec<Key>,
}

impl Claims {
    /// Waits until none of the batch's ids is claimed by another, and claims them all.
    pub(crate) async fn claim(&self, batch: &EventBatch) -> Claim<'_> {
        let key = |row| {
            let (tenant_id, _) = batch.names(row);
            (self.tenants.hash_one(tenant_id.as_str()), batch.identity(row).0.as_uuid())
        };
        let mut keys: Vec<Key> = (0..batch.len()).map(key).collect();
        keys.sort_unstable();
        keys.dedup();
        loop {
            // Before looking: what is freed in between is not missed.
            let mut freed = std::pin::pin!(self.freed.notified());
            freed.as_mut().enable();
            if self.take(&keys) {
                return Claim { claims: self, keys };
            }
            freed.await;
        }
    }

    /// Takes all, or none.
    fn take(&self, keys: &[Key]) -> bool {
        let mut taken = self.taken.lock();
        if keys.iter().any(|key| taken.contains(key)) {
            return false;
        }
        taken.extend(keys);
        true
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut taken = self.claims.taken.lock();
        for key in &self.keys {
            taken.remove(key);
        }
        drop(taken);
        self.claims.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use lastseen_store::contract::Source;

    use super::*;

    fn batch(numbers: std::ops::Range<u64>) -> EventBatch {
        Source::default().batch(numbers)
    }

    #[test]
    fn an_id_is_waited_for_and_others_are_not() {
        let claims = Claims::default();
        let context = &mut Context::from_waker(Waker::noop());
        let (one, other, both) = (batch(0..10), batch(10..20), batch(5..15));
        let mut waiting = pin!(claims.claim(&both));
        let mut at_once = pin!(claims.claim(&one));
        let Poll::Ready(first) = at_once.as_mut().poll(context) else { panic!("nobody has these") };
        assert!(waiting.as_mut().poll(context).is_pending(), "5 is on its way");
        let mut beside = pin!(claims.claim(&other));
        let Poll::Ready(second) = beside.as_mut().poll(context) else { panic!("nobody has these") };
        drop(first);
        assert!(waiting.as_mut().poll(context).is_pending(), "10 is on its way");
        drop(second);
        let Poll::Ready(third) = waiting.as_mut().poll(context) else { panic!("all are free") };
        drop(third);
        assert!(claims.taken.lock().is_empty());
    }
}
