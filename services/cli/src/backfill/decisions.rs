//! The members who were deleted or came back, each with the event that decides: a row without a deletion
//! restores a member that its own batch had deleted.

use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::sync::Arc;

use anyhow::bail;
use lastseen_event::{EventId, EventType, UtcInstant};
use serde::Deserialize;

use crate::upload::{Found, Uploader};

/// Members whose deletion or restoration was told, by tenant and user, with what decides.
#[derive(Debug, Default)]
pub(super) struct Decisions {
    by_member: HashMap<String, HashMap<String, Decision>>,
    /// The batch that was named last: most name the same.
    batch: Option<Arc<str>>,
    /// The batches that were taken back.
    dead: HashSet<String>,
}

/// Ordered as the server decides: the greatest holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Decision {
    pub(super) at: UtcInstant,
    id: EventId,
    pub(super) deletes: bool,
    /// The backfill that told it.
    pub(super) batch: Option<Arc<str>>,
}

/// The fields of an event that are needed.
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

impl Decision {
    #[cfg(test)]
    pub(super) fn of_test(at: UtcInstant, deletes: bool, batch: Option<&str>) -> Self {
        let id = EventId::parse("0199a1b2-7c3d-7e4f-8a5b-6c7d8e9f0a1b").unwrap();
        Self { at, id, deletes, batch: batch.map(Arc::from) }
    }
}

impl Decisions {
    /// Asks the server for all deletions and restorations that count. `None`: a signal came first.
    ///
    /// # Errors
    /// If the server does not answer as Lastseen does.
    pub(super) fn ask(uploader: &Uploader) -> anyhow::Result<Option<Self>> {
        let path = "/v1/events?types=user_deleted,user_restored";
        let Some(dead) = taken_back(uploader)? else { return Ok(None) };
        let events = uploader.get(path, &|notice| eprintln!("{notice}"))?;
        events.map(|events| Self::read(events, dead)).transpose()
    }

    /// Reads events but those of batches that were taken back.
    fn read(answer: impl Read, dead: HashSet<String>) -> anyhow::Result<Self> {
        let mut decisions = Self { dead, ..Self::default() };
        for told in super::events::<Told>(answer, "deletions") {
            let told = told?;
            if told.batch.as_ref().is_none_or(|batch| !decisions.is_dead(batch)) {
                decisions.add(told)?;
            }
        }
        Ok(decisions)
    }

    /// True if the batch was taken back.
    pub(super) fn is_dead(&self, batch: &str) -> bool {
        self.dead.contains(batch)
    }

    fn add(&mut self, told: Told) -> anyhow::Result<()> {
        if self.batch.as_deref() != told.batch.as_deref() {
            self.batch = told.batch.map(Arc::from);
        }
        let decision = Decision {
            at: UtcInstant::parse(&told.occurred_at)?,
            id: EventId::parse(&told.id)?,
            deletes: told.event_type == EventType::UserDeleted.as_str(),
            batch: self.batch.clone(),
        };
        let of_tenant = self.by_member.entry(told.tenant_id).or_default();
        let decides = of_tenant.entry(told.user_id).or_insert_with(|| decision.clone());
        if decision > *decides {
            *decides = decision;
        }
        Ok(())
    }

    /// Returns the decision about a member's deletion. `None` if no event tells of one.
    pub(super) fn of(&self, (tenant, user): (&str, &str)) -> Option<&Decision> {
        self.by_member.get(tenant)?.get(user)
    }

    /// When a member came back whose row was modified then and has no deletion; `None` if this batch has not deleted it. `now` is
    /// when the run began.
    pub(super) fn restored_at(
        &self,
        batch: &str,
        member: (&str, &str),
        (modified_at, now): (Option<UtcInstant>, UtcInstant),
    ) -> Option<UtcInstant> {
        let decides = self.of(member)?;
        let is_ours = decides.deletes && decides.batch.as_deref() == Some(batch);
        is_ours.then(|| modified_at.filter(|at| *at > decides.at).unwrap_or(now))
    }

    /// When a member went again whose row was deleted at `deleted_at`; `None` if this batch has not told of a return after that.
    /// `now` is when the run began.
    pub(super) fn deleted_again_at(
        &self,
        batch: &str,
        member: (&str, &str),
        (deleted_at, now): (UtcInstant, UtcInstant),
    ) -> Option<UtcInstant> {
        let decides = self.of(member)?;
        let is_ours = !decides.deletes && decides.batch.as_deref() == Some(batch);
        (is_ours && decides.at >= deleted_at).then_some(now)
    }
}

/// The batches that were taken back. `None`: a signal came first.
fn taken_back(uploader: &Uploader) -> anyhow::Result<Option<HashSet<String>>> {
    #[derive(Deserialize)]
    struct Page {
        backfills: Vec<Backfill>,
        next_cursor: Option<String>,
    }
    #[derive(Deserialize)]
    struct Backfill {
        batch: String,
        state: String,
    }
    let (mut dead, mut cursor) = (HashSet::new(), String::new());
    loop {
        let path = format!("/v1/backfills?limit=1000{cursor}");
        let page = match uploader.ask::<Page>(&path, |notice| eprintln!("{notice}"))? {
            Found::Answer(page) => page,
            Found::Unknown => bail!("{path} is not known to the server"),
            Found::Interrupted => return Ok(None),
        };
        let gone = page.backfills.into_iter().filter(|backfill| backfill.state != "active");
        dead.extend(gone.map(|backfill| backfill.batch));
        match page.next_cursor {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(Some(dead)),
        }
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
        let mut decisions = Decisions::default();
        for told in all {
            decisions.add(told).unwrap();
        }
        let modified_at = modified_at.map(|at| UtcInstant::parse(at).unwrap());
        decisions.restored_at("users", ("t", "u"), (modified_at, NOW))
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
    fn what_a_dead_batch_told_decides_nothing() {
        let line = |at: &str, batch: &str| {
            format!(
                r#"{{"id":"0199a1b2-7c3d-7e4f-8a5b-6c7d8e9f0a1b","type":"user_deleted","tenant_id":"t","user_id":"u","occurred_at":"{at}","batch":"{batch}"}}"#
            ) + "\n"
        };
        let events = line("2024-01-01T00:00:00Z", "users") + &line("2024-02-01T00:00:00Z", "dead");
        let dead = HashSet::from(["dead".to_owned()]);
        let decides = |dead| {
            let decisions = Decisions::read(events.as_bytes(), dead).unwrap();
            decisions.of(("t", "u")).unwrap().batch.clone()
        };
        assert_eq!(decides(dead).as_deref(), Some("users"));
        assert_eq!(decides(HashSet::new()).as_deref(), Some("dead"));
    }

    #[test]
    fn a_row_that_is_deleted_again_with_an_old_instant_went_when_the_run_began() {
        let again = |batch, deleted_at| {
            let mut decisions = Decisions::default();
            decisions.add(told("user_deleted", "2024-01-01T00:00:00Z", Some("users"))).unwrap();
            decisions.add(told("user_restored", "2024-02-01T00:00:00Z", Some(batch))).unwrap();
            decisions.deleted_again_at("users", ("t", "u"), (UtcInstant::parse(deleted_at).unwrap(), NOW))
        };
        assert_eq!(again("users", "2024-01-01T00:00:00Z"), Some(NOW));
        assert_eq!(again("users", "2024-03-01T00:00:00Z"), None);
        assert_eq!(again("others", "2024-01-01T00:00:00Z"), None);
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
