//! Who is deleted because this batch said so: their rows come back if the table has them without a deletion.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};

use anyhow::Context;
use lastseen_event::{EventId, EventType, UtcInstant};
use serde::Deserialize;

use crate::upload::Uploader;

/// Members whose deletion or restoration was told, by tenant and user, with what decides.
#[derive(Debug, Default)]
pub(super) struct Deleted(HashMap<String, HashMap<String, Decision>>);

/// Ordered as the server decides: the greatest holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Decision {
    at: UtcInstant,
    id: EventId,
    /// Whether it is a deletion of this batch.
    is_ours: bool,
}

/// What is needed of an event.
#[derive(Deserialize)]
struct Told {
    id: String,
    #[serde(rename = "type")]
    event_type: String,
    tenant_id: String,
    user_id: String,
    occurred_at: String,
    batch: Option<String>,
}

impl Deleted {
    /// Asks the server for all deletions and restorations.
    ///
    /// # Errors
    /// Where it does not answer as Lastseen does.
    pub(super) fn ask(uploader: &Uploader, batch: &str) -> anyhow::Result<Self> {
        let mut deleted = Self::default();
        let events = uploader.get("/v1/events?type=user_deleted,user_restored")?;
        for line in BufReader::new(events).lines() {
            let line = line.context("the answer about deletions was cut short")?;
            let told: Told = serde_json::from_str(&line).context("the server told of no event")?;
            deleted.add(told, batch)?;
        }
        Ok(deleted)
    }

    fn add(&mut self, told: Told, batch: &str) -> anyhow::Result<()> {
        let deletes = told.event_type == EventType::UserDeleted.as_str();
        let decision = Decision {
            at: UtcInstant::parse(&told.occurred_at)?,
            id: EventId::parse(&told.id)?,
            is_ours: deletes && told.batch.as_deref() == Some(batch),
        };
        let of_tenant = self.0.entry(told.tenant_id).or_default();
        let decides = of_tenant.entry(told.user_id).or_insert(decision);
        *decides = decision.max(*decides);
        Ok(())
    }

    /// When a member came back whose row was modified then and has no deletion; `None` if this batch has not deleted it. `now` is
    /// when the run began.
    pub(super) fn restored_at(
        &self,
        member: (&str, &str),
        modified_at: Option<UtcInstant>,
        now: UtcInstant,
    ) -> Option<UtcInstant> {
        let decides = self.0.get(member.0)?.get(member.1)?;
        decides.is_ours.then(|| modified_at.filter(|at| *at > decides.at).unwrap_or(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UtcInstant = UtcInstant::from_micros(1_800_000_000_000_000);

    fn told(event_type: &str, at: &str, batch: Option<&str>) -> Told {
        Told {
            id: "0199a1b2-7c3d-7e4f-8a5b-6c7d8e9f0a1b".to_owned(),
            event_type: event_type.to_owned(),
            tenant_id: "t".to_owned(),
            user_id: "u".to_owned(),
            occurred_at: at.to_owned(),
            batch: batch.map(str::to_owned),
        }
    }

    fn restored_at(all: Vec<Told>, modified_at: Option<&str>) -> Option<UtcInstant> {
        let mut deleted = Deleted::default();
        for told in all {
            deleted.add(told, "users").unwrap();
        }
        deleted.restored_at(("t", "u"), modified_at.map(|at| UtcInstant::parse(at).unwrap()), NOW)
    }

    #[test]
    fn only_what_this_batch_deleted_comes_back() {
        let [early, late] = ["2024-01-01T00:00:00Z", "2024-03-01T00:00:00Z"];
        let ours = || told("user_deleted", early, Some("users"));
        assert_eq!(restored_at(vec![], None), None);
        assert_eq!(restored_at(vec![told("user_deleted", early, None)], None), None);
        assert_eq!(restored_at(vec![told("user_deleted", early, Some("others"))], None), None);
        assert_eq!(restored_at(vec![ours()], None), Some(NOW));
        assert_eq!(restored_at(vec![ours(), told("user_restored", late, None)], Some(late)), None);
        assert_eq!(restored_at(vec![told("user_deleted", late, None), ours()], Some(late)), None);
    }

    #[test]
    fn it_came_back_when_its_row_was_modified_if_that_is_later() {
        let ours = || vec![told("user_deleted", "2024-01-01T00:00:00Z", Some("users"))];
        let later = "2024-02-01T00:00:00Z";
        assert_eq!(restored_at(ours(), Some(later)), Some(UtcInstant::parse(later).unwrap()));
        assert_eq!(restored_at(ours(), Some("2024-01-01T00:00:00Z")), Some(NOW));
        assert_eq!(restored_at(ours(), Some("2023-01-01T00:00:00Z")), Some(NOW));
    }
}
