//! The history that every node must have, computed from the records of the cluster by other code than the store's.

use std::collections::{BTreeMap, HashMap, HashSet};

use lastseen_event::Event;
use lastseen_event::wire::encode_published;
use serde_json::Value;
use uuid::Uuid;

use crate::peer::History;

/// A record of the cluster.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) position: u64,
    pub(crate) stream: String,
    pub(crate) id: Uuid,
    pub(crate) event_type: String,
    /// 100 ns since 1970.
    pub(crate) ticks: i64,
    pub(crate) data: Vec<u8>,
    pub(crate) metadata: Vec<u8>,
}

/// An event that is kept.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) position: u64,
    pub(crate) id: Uuid,
    pub(crate) tenant: String,
    recorded_us: i64,
    content: Value,
}

/// The history that follows from the records of a cluster.
#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) kept: Vec<Kept>,
    /// Names of batches, and the record that took each back.
    pub(crate) retracted: BTreeMap<String, u64>,
    /// Ids by tenant, and the number of records that have them.
    pub(crate) stored: HashMap<(String, Uuid), usize>,
    /// Events that are left out since their batch was taken back before.
    pub(crate) dead: HashSet<(String, Uuid)>,
    /// Position of the last record.
    pub(crate) last: u64,
}

impl Model {
    /// The first event of each id of a tenant is kept, unless its batch was taken back before. An instant never steps back.
    pub(crate) fn of(records: &[Seen]) -> Self {
        let mut model = Self::default();
        let (mut ids, mut batches, mut before_us) = (HashSet::new(), HashSet::new(), i64::MIN);
        for record in records {
            assert!(record.position > model.last, "positions increase");
            model.last = record.position;
            let Some(content) = content(record) else { continue };
            let text = |field: &str| content.get(field).and_then(Value::as_str).map(str::to_owned);
            let recorded_us = before_us.max(record.ticks.div_euclid(10));
            if record.event_type == "backfill_retracted" {
                let batch = text("batch").unwrap();
                if batches.contains(&batch) && !model.retracted.contains_key(&batch) {
                    model.retracted.insert(batch, record.position);
                    before_us = recorded_us;
                }
                continue;
            }
            let tenant = text("tenant_id").unwrap();
            let key = (tenant.clone(), record.id);
            *model.stored.entry(key.clone()).or_default() += 1;
            let batch = text("batch");
            if batch.as_ref().is_some_and(|batch| model.retracted.contains_key(batch)) {
                model.dead.insert(key);
                continue;
            }
            if !ids.insert(key) {
                continue;
            }
            batches.extend(batch);
            before_us = recorded_us;
            model.kept.push(Kept { position: record.position, id: record.id, tenant, recorded_us, content });
        }
        model
    }

    /// A node has this history and nothing else.
    #[track_caller]
    pub(crate) fn assert_is(&self, history: &History) {
        for ((kept, fact), event) in self.kept.iter().zip(&history.facts).zip(history.events.iter()) {
            let found = (fact.position.get(), fact.id.as_uuid(), event.tenant_id.as_str());
            assert_eq!(found, (kept.position, kept.id, kept.tenant.as_str()), "another event is kept");
            assert_eq!(fact.recorded_at.as_micros(), kept.recorded_us, "at {}", kept.position);
            assert_eq!(published(&event), kept.content, "at {}", kept.position);
        }
        assert_eq!(history.facts.len(), self.kept.len(), "events that are kept");
        let found: BTreeMap<_, _> = history
            .batches
            .iter()
            .filter_map(|(name, retracted, _)| Some((name.clone(), retracted.as_ref()?.get())))
            .collect();
        assert_eq!(found, self.retracted);
        let positions = history.retractions.iter().map(|retraction| retraction.position.get());
        let mut expected: Vec<_> = self.retracted.values().copied().collect();
        expected.sort_unstable();
        assert!(positions.eq(expected), "retractions");
    }
}

/// The content of a record of Lastseen. `None`: it is none.
fn content(record: &Seen) -> Option<Value> {
    let metadata: Value = serde_json::from_slice(&record.metadata).ok()?;
    metadata.get("lastseen").filter(|form| **form == 1)?;
    serde_json::from_slice(&record.data).ok()
}

/// The content of an event as it was published.
fn published(event: &Event<'_>) -> Value {
    let mut json = Vec::new();
    encode_published(event, &mut json);
    serde_json::from_slice(&json).unwrap()
}
