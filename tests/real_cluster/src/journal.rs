//! The answers that publishers were given for each event, and the things that must hold because of them.

use std::collections::HashMap;

use lastseen_event::EventBatch;
use lastseen_store::{AppendError, Appended, OnRefused};
use uuid::Uuid;

use crate::model::Model;

/// The key of an event: its tenant and its id.
pub(crate) type Key = (String, Uuid);

/// The strongest word on an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Word {
    /// Every answer said that nothing was or will be written.
    Nothing,
    /// An answer said that it may be there or not.
    Unknown,
    /// An answer said that it is there.
    Stored,
}

/// The words on all events.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    words: HashMap<Key, Word>,
    /// The position of an answer to each, which is at or above it.
    answers: Vec<(Vec<Key>, u64)>,
    /// Batches without a full answer, to be sent again.
    unknown: Vec<EventBatch>,
    /// Batches that are retracted.
    pub(crate) retracted: Vec<String>,
    /// Answers by kind.
    pub(crate) told: HashMap<&'static str, u64>,
}

pub(crate) fn keys(batch: &EventBatch) -> Vec<Key> {
    batch.iter().map(|event| (event.tenant_id.as_str().to_owned(), event.id.as_uuid())).collect()
}

impl Journal {
    fn say(&mut self, key: Key, word: Word) {
        let found = self.words.entry(key).or_insert(word);
        *found = word.max(*found);
    }

    /// Notes the answer to a batch.
    pub(crate) fn note(
        &mut self,
        batch: &EventBatch,
        on_refused: OnRefused,
        answer: &Result<Appended, AppendError>,
    ) {
        let all = keys(batch);
        let kind = match answer {
            Ok(appended) => {
                let Appended { stored, duplicates, refused, position } = appended;
                assert_eq!(stored + duplicates + refused.len(), batch.len(), "{appended:?}");
                let is_refused =
                    |row: &usize| refused.conflicts.contains(row) || refused.retracted.contains(row);
                let rows = (0..all.len()).filter(|row| !is_refused(row));
                let there: Vec<Key> = rows.map(|row| all[row].clone()).collect();
                for key in &there {
                    self.say(key.clone(), Word::Stored);
                }
                self.answers.push((there, position.get()));
                "stored"
            }
            Err(AppendError::PartlyUnknown { unknown, .. }) => {
                assert!(!unknown.is_empty() && unknown.is_sorted(), "{unknown:?}");
                for (row, key) in all.into_iter().enumerate() {
                    // Under `Skip`, what is not unknown may have been refused.
                    let is_stored = !unknown.contains(&row) && on_refused == OnRefused::RefuseBatch;
                    self.say(key, if is_stored { Word::Stored } else { Word::Unknown });
                }
                self.unknown.push(batch.clone());
                "partly unknown"
            }
            Err(AppendError::Indeterminate(_)) => {
                for key in all {
                    self.say(key, Word::Unknown);
                }
                self.unknown.push(batch.clone());
                "unknown"
            }
            Err(error) => {
                for key in all {
                    self.say(key, Word::Nothing);
                }
                match error {
                    AppendError::Refused(_) => "refused",
                    AppendError::Unavailable(_) => "unavailable",
                    AppendError::Closed => "closed",
                    AppendError::Overloaded => "overloaded",
                    other => panic!("an answer that nothing here leads to: {other:?}"),
                }
            }
        };
        *self.told.entry(kind).or_default() += 1;
    }

    /// The batches without a full answer, which are to be sent again.
    pub(crate) fn take_unknown(&mut self) -> Vec<EventBatch> {
        std::mem::take(&mut self.unknown)
    }

    /// Number of events with a word.
    pub(crate) fn len(&self) -> usize {
        self.words.len()
    }

    /// Everything that was said is true of the history. Events of batches that were taken back are left out everywhere.
    #[track_caller]
    pub(crate) fn assert_true(&self, model: &Model) {
        let mut kept: HashMap<Key, u64> = HashMap::new();
        for event in &model.kept {
            let twice = kept.insert((event.tenant.clone(), event.id), event.position);
            assert!(twice.is_none(), "an event is kept twice");
        }
        for (key, word) in &self.words {
            let (is_kept, is_stored) = (kept.contains_key(key), model.stored.contains_key(key));
            match word {
                Word::Stored => {
                    assert!(is_stored, "an acknowledged event is lost: {key:?}");
                    assert!(is_kept || model.dead.contains(key), "it is not kept: {key:?}");
                }
                Word::Nothing => assert!(!is_stored, "said to be not written, and it is there: {key:?}"),
                Word::Unknown => {}
            }
        }
        for key in model.stored.keys() {
            assert!(self.words.contains_key(key), "nobody published {key:?}");
        }
        for (keys, position) in &self.answers {
            for key in keys {
                let at = kept.get(key);
                assert!(at.is_none_or(|at| at <= position), "{key:?} is at {at:?}, above {position}");
            }
        }
        for name in &self.retracted {
            assert!(model.retracted.contains_key(name), "the retraction of {name} is lost");
        }
    }
}
