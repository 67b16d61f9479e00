//! The model as a whole: acknowledged means visible; a writer that is closed is seen.

use std::sync::Arc;
use std::time::Duration;

use lastseen_log::{Fault, LogOptions, Operation};
use lastseen_projections::Scope;
use lastseen_store::{AppendError, EventStore, ManualClock, MemoryStore};

use crate::testing::{Model, NOW, Replica, instant};

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledged_event_is_in_the_next_reading() {
    let model = Model::new();
    for number in 0..50 {
        let login = format!("login acme user{number} 2026-01-09T00:00:00Z");
        let appended = model.append(&[&login]).await.unwrap();
        let reading = model.inner.reading();
        assert!(reading.position >= appended.position);
        assert_eq!(reading.at, instant(NOW));
        assert!(reading.tenant(model.inner.log(), "acme").is_some());
    }
    assert!(model.inner.reading().tenant(model.inner.log(), "nobody").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_sync_closes_the_writer_and_health_says_so_while_reading_goes_on() {
    let model = Model::new();
    model.append(&["login acme ada 2026-01-09T00:00:00Z"]).await.unwrap();
    assert_eq!(model.inner.standstills(), []);
    model.disk.fail(Operation::SyncData, 0, 1, (Fault::Io, 0));
    let failed = model.append(&["login acme bob 2026-01-09T00:00:00Z"]).await;
    assert!(matches!(failed, Err(AppendError::Indeterminate(_))), "{failed:?}");
    let refused = model.append(&["login acme eve 2026-01-09T00:00:00Z"]).await;
    assert!(matches!(refused, Err(AppendError::Closed)), "{refused:?}");
    let standstills = model.inner.standstills();
    assert!(standstills.iter().any(|it| it.part == "writer" && it.is_final), "{standstills:?}");
    assert!(model.inner.closed().is_some());
    assert!(model.inner.reading().tenant(model.inner.log(), "acme").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_before_anything_was_written_passes() {
    let model = Model::new();
    model.disk.fail(Operation::Create, 0, 1, (Fault::NoDescriptors, 0));
    let refused = model.append(&["login acme ada 2026-01-09T00:00:00Z"]).await;
    assert!(matches!(refused, Err(AppendError::Unavailable(_))), "{refused:?}");
    let standstills = model.inner.standstills();
    assert!(standstills.iter().all(|it| !it.is_final), "{standstills:?}");
    assert!(!standstills.is_empty(), "it is shown until an append succeeds");
    assert!(model.inner.closed().is_none());
    model.append(&["login acme ada 2026-01-09T00:00:00Z"]).await.unwrap();
    assert_eq!(model.inner.standstills(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_stands_on_any_store() {
    let clock = Arc::new(ManualClock::new(instant(NOW)));
    let store: Arc<dyn EventStore> = Arc::new(MemoryStore::new(clock));
    let model = Model::over(|_, _| Ok(store.clone()));
    model
        .append(&["login acme ada 2026-01-09T00:00:00Z", "login acme bob 2026-01-09T00:00:00Z"])
        .await
        .unwrap();
    let reading = model.inner.reading();
    assert_eq!(reading.log_id, store.lineage().log_id());
    assert!(reading.tenant(model.inner.log(), "acme").is_some());
    assert_eq!(reading.views().summary(Scope::All, instant(NOW)).total_users, 2);
    assert_eq!(model.inner.closed(), None);
    store.close();
    assert!(model.inner.closed().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fold_that_cannot_read_the_log_is_told_and_goes_on_once_it_can() {
    // Nothing is kept in memory for those who follow.
    let model = Model::with(LogOptions { ring_bytes: 0, ..LogOptions::default() });
    model.append(&["login acme ada 2026-01-09T00:00:00Z"]).await.unwrap();
    let before = model.inner.position();
    model.disk.fail(Operation::Read, 0, u64::MAX, (Fault::Io, 0));
    let told = async {
        let standstill = loop {
            if let Some(standstill) = model.inner.standstills().into_iter().find(|it| it.part == "fold") {
                break standstill;
            }
            tokio::task::yield_now().await;
        };
        assert!(!standstill.is_final && standstill.cause.contains("cannot be read"), "{standstill:?}");
        assert_eq!(model.inner.position(), before, "nothing is skipped");
        model.disk.heal();
    };
    let (appended, ()) = tokio::join!(model.append(&["login acme bob 2026-01-09T00:00:00Z"]), told);
    let appended = appended.unwrap();
    assert!(model.inner.reading().position >= appended.position);
    assert!(model.inner.reach(appended.position, Duration::from_secs(1)).await);
    assert_eq!(model.inner.standstills(), []);
}

/// The lag was a difference of positions: a few events behind looked like gigabytes of them.
#[tokio::test(flavor = "multi_thread")]
async fn the_lag_is_a_number_of_events_where_positions_have_gaps() {
    let mut replica = None;
    let model = Model::over(|disk, _| Ok(replica.insert(Replica::new(disk)).log.clone()));
    let replica = replica.unwrap();
    let tail = replica.take_in(5, Replica::GAP).await;
    assert!(model.inner.reach(tail, Duration::from_secs(10)).await);
    assert_eq!((model.inner.lag(), model.inner.folded_events()), (0, 5));
    model.disk.fail(Operation::Read, 0, u64::MAX, (Fault::Io, 0));
    let tail = replica.take_in(3, Replica::GAP).await;
    assert!((3..=8).contains(&model.inner.lag()), "{} of 8 events", model.inner.lag());
    model.disk.heal();
    assert!(model.inner.reach(tail, Duration::from_secs(10)).await);
    assert_eq!((model.inner.lag(), model.inner.folded_events()), (0, 8));
}
