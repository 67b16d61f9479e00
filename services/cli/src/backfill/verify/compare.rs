//! A row of a users table beside what the server says of the user: what differs, and why. Pure.

use std::fmt;

use lastseen_event::UtcInstant;
use serde::Deserialize;

use crate::backfill::decisions::Decision;
use crate::backfill::rules::users::{Deletion, Row};

/// The values of a row that are compared.
#[derive(Clone, Debug)]
pub(super) struct OwnedRow {
    pub(super) user_id: Box<str>,
    confirmed: bool,
    created_at: UtcInstant,
    estimated_at: Option<UtcInstant>,
    /// `None`: the table does not say it.
    deletion: Option<Deletion>,
    /// The last time.
    observed_at: Option<UtcInstant>,
    /// `None`: the table does not say it.
    left_out: Option<bool>,
}

impl OwnedRow {
    /// `tells_deletions`, `tells_left_out`: the table says who is deleted, who is left out.
    pub(super) fn of(row: &Row<'_>, tells_deletions: bool, tells_left_out: bool) -> Self {
        Self {
            user_id: row.user_id.as_str().into(),
            confirmed: row.confirmed,
            created_at: row.created_at,
            estimated_at: row.estimated_at,
            deletion: tells_deletions.then_some(row.deletion),
            observed_at: row.observed_at.last().copied(),
            left_out: tells_left_out.then_some(row.left_out),
        }
    }
}

/// A user as the server answers.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Known {
    pub(super) user_id: String,
    #[serde(deserialize_with = "instant")]
    last_seen_at: Option<UtcInstant>,
    last_seen_provenance: Option<String>,
    #[serde(deserialize_with = "instant")]
    created_at: Option<UtcInstant>,
    confirmed: bool,
    #[serde(deserialize_with = "instant")]
    deleted_at: Option<UtcInstant>,
    status: String,
}

/// The events that decide about a user.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Deciding<'a> {
    pub(super) deletion: Option<&'a Decision>,
    pub(super) left_out: Option<&'a Decision>,
}

impl Known {
    fn is_left_out(&self) -> bool {
        self.status == "left_out"
    }
}

fn instant<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<UtcInstant>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| UtcInstant::parse(&text)).transpose().map_err(serde::de::Error::custom)
}

/// Why a row and the server differ. In the order in which they are summed up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cause {
    /// Nothing of the row was brought in, or not under the same ids.
    NotBroughtIn,
    /// The row says more than what was brought in of it.
    RowIsNewer,
    /// A backfill deleted the user, and the row has no deletion any more.
    CameBack { batch: String },
    /// A backfill took the user for back, and the row is deleted all the same.
    GoneAgain { batch: String },
    /// A backfill said otherwise whether the user counts than the row does now.
    CountsOtherwise { batch: String },
    /// The server knows the user, and the table, which goes on beyond, does not.
    NoRow,
    /// The same, where rows could not be told whose they are.
    NoReadableRow,
    /// The user is deleted on the server.
    NoRowAndDeleted,
    /// The user came after the rows of the table.
    AfterTheTable,
    /// An event deleted the user later than the table knows.
    DeletedByEvent,
    /// An event deleted the user later than the row says.
    DeletedLater,
    /// An event restored the user later than the row was deleted.
    RestoredByEvent,
    /// An event that no backfill made says whether the user counts.
    CountsByEvent,
    /// An event had occurred before the row says that the user was created.
    EventBeforeCreation,
    /// An event confirmed the user, or a row had done so before.
    Confirmed,
    /// A greater estimate came with a row that has changed since, or with another batch.
    GreaterEstimate,
    /// An observation beats an estimate.
    Observed,
}

impl Cause {
    /// True if the rules do not explain it.
    pub(super) fn is_finding(&self) -> bool {
        matches!(
            self,
            Self::NotBroughtIn
                | Self::RowIsNewer
                | Self::CameBack { .. }
                | Self::GoneAgain { .. }
                | Self::CountsOtherwise { .. }
                | Self::NoRow
                | Self::NoReadableRow
        )
    }

    /// True if most users of a live server have it: such differences are counted, and listed only if all are
    /// asked for.
    pub(super) fn is_usual(&self) -> bool {
        *self == Self::Observed
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotBroughtIn => "the row was not brought in: run the backfill",
            Self::RowIsNewer => "the row has changed since it was brought in: run the backfill again",
            Self::CameBack { batch } => {
                return write!(f, "batch {batch} deleted the user and the row is back: run it again");
            }
            Self::GoneAgain { batch } => {
                return write!(
                    f,
                    "batch {batch} took the user for back and the row is deleted: run it again"
                );
            }
            Self::CountsOtherwise { batch } => {
                return write!(f, "batch {batch} said otherwise than the row does now: run it again");
            }
            Self::NoRow => "the table has no row: publish user_deleted if the user is gone",
            Self::NoReadableRow => "no row that can be read: mend those that cannot, and compare again",
            Self::NoRowAndDeleted => "the table has no row of a user that is deleted",
            Self::AfterTheTable => "the user came after the last row of the table",
            Self::DeletedByEvent => "an event deleted the user, and the table does not know it",
            Self::DeletedLater => "an event deleted the user later than the row says",
            Self::RestoredByEvent => "an event restored the user after the row was deleted",
            Self::CountsByEvent => "an event says otherwise whether the user counts",
            Self::EventBeforeCreation => "an event had occurred before the row was created",
            Self::Confirmed => "an event confirmed the user, or a row did before",
            Self::GreaterEstimate => "a row said later before, or another batch did",
            Self::Observed => "the user was really seen then",
        })
    }
}

/// One thing that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    what: &'static str,
    table: String,
    server: String,
    pub(super) cause: Cause,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, table, server, cause } = self;
        write!(f, "{what}: table {table}, Lastseen {server}: {cause}")
    }
}

fn text(at: Option<UtcInstant>) -> String {
    at.map_or_else(|| "none".to_owned(), |at| at.to_string())
}

/// Returns the differences between a row and the server's answer about the user; empty if there is none.
pub(super) fn differences(row: &OwnedRow, known: Option<&Known>, deciding: &Deciding<'_>) -> Vec<Difference> {
    let Some(known) = known else {
        let (table, server) = (format!("created {}", row.created_at), "unknown".to_owned());
        return vec![Difference { what: "user", table, server, cause: Cause::NotBroughtIn }];
    };
    let mut found = Vec::new();
    let mut differ = |what, table: String, server: String, cause| {
        found.push(Difference { what, table, server, cause });
    };
    if known.created_at != Some(row.created_at) {
        let is_later = known.created_at.is_none_or(|created| created > row.created_at);
        let cause = if is_later { Cause::NotBroughtIn } else { Cause::EventBeforeCreation };
        differ("created", row.created_at.to_string(), text(known.created_at), cause);
    }
    // A real login confirms, too.
    let confirmed = row.confirmed || row.observed_at.is_some();
    if known.confirmed != confirmed {
        let cause = if confirmed { Cause::RowIsNewer } else { Cause::Confirmed };
        differ("confirmed", confirmed.to_string(), known.confirmed.to_string(), cause);
    }
    if let Some(cause) = deletion(row, known, deciding.deletion) {
        let in_row = match row.deletion {
            Some(Deletion::None) | None => text(None),
            Some(Deletion::At(at)) => at.to_string(),
            Some(Deletion::Sometime) => "at some time".to_owned(),
        };
        differ("deleted", in_row, text(known.deleted_at), cause);
    }
    if let Some(in_row) = row.left_out.filter(|in_row| *in_row != known.is_left_out()) {
        let server = known.is_left_out().to_string();
        differ("left out", in_row.to_string(), server, left_out((row, in_row), deciding.left_out));
    }
    if let Some((table, cause)) = last_seen(row, known) {
        differ("last seen", text(table), text(known.last_seen_at), cause);
    }
    found
}

fn deletion(row: &OwnedRow, known: &Known, decision: Option<&Decision>) -> Option<Cause> {
    let back = |decision: &Decision| match &decision.batch {
        Some(batch) => Cause::GoneAgain { batch: batch.to_string() },
        None => Cause::RestoredByEvent,
    };
    let gone_at = match (row.deletion?, known.deleted_at) {
        (Deletion::None, None) | (Deletion::Sometime, Some(_)) => return None,
        (Deletion::At(at), Some(known)) if at == known => return None,
        (Deletion::Sometime, None) => {
            return Some(decision.filter(|back| !back.holds).map_or(Cause::RowIsNewer, back));
        }
        (Deletion::At(at), _) => Some(at),
        (Deletion::None, Some(_)) => None,
    };
    Some(match (gone_at, decision) {
        (Some(at), Some(decision)) if decision.at > at && decision.holds => Cause::DeletedLater,
        (Some(at), Some(decision)) if decision.at >= at && !decision.holds => back(decision),
        (Some(_), _) => Cause::RowIsNewer,
        (None, Some(Decision { batch: Some(batch), .. })) => Cause::CameBack { batch: batch.to_string() },
        (None, _) => Cause::DeletedByEvent,
    })
}

/// The cause of another answer about who is left out.
fn left_out((row, in_row): (&OwnedRow, bool), decision: Option<&Decision>) -> Cause {
    match decision {
        // An older row left the user out, or took it in again.
        Some(Decision { batch: Some(batch), .. }) => Cause::CountsOtherwise { batch: batch.to_string() },
        // A row that leaves the user out says so at its creation.
        Some(decision) if !in_row || decision.at >= row.created_at => Cause::CountsByEvent,
        Some(_) | None => Cause::RowIsNewer,
    }
}

/// Returns the last-seen value of the table and the cause of the server's different answer. `None` if they
/// agree.
fn last_seen(row: &OwnedRow, known: &Known) -> Option<(Option<UtcInstant>, Cause)> {
    let is_observed = known.last_seen_provenance.as_deref() == Some("observed");
    let (expected, is_real) = match row.observed_at {
        Some(at) => (Some(at), true),
        None => (row.estimated_at, false),
    };
    let is_the_same = expected == known.last_seen_at && (is_observed || !is_real);
    let cause = if is_the_same {
        return None;
    } else if is_observed && (!is_real || known.last_seen_at > expected) {
        Cause::Observed
    } else if is_real || expected > known.last_seen_at {
        Cause::RowIsNewer
    } else {
        Cause::GreaterEstimate
    };
    Some((expected, cause))
}

/// A user that no row has; who was created after `newest` may have come after the table, `any_unknown` says whether rows could not
/// be told whose they are.
pub(super) fn without_row(known: &Known, newest: Option<UtcInstant>, any_unknown: bool) -> Difference {
    let cause = if known.deleted_at.is_some() {
        Cause::NoRowAndDeleted
    } else if newest.is_some_and(|newest| known.created_at > Some(newest)) {
        Cause::AfterTheTable
    } else if any_unknown {
        Cause::NoReadableRow
    } else {
        Cause::NoRow
    };
    let server = format!("created {}", text(known.created_at));
    Difference { what: "user", table: "no row".to_owned(), server, cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Option<UtcInstant> {
        (!text.is_empty()).then(|| UtcInstant::parse(&format!("2024-{text}T00:00:00Z")).unwrap())
    }

    /// Confirmed, created, modified, deleted, observed: months and days of 2024.
    fn row((confirmed, created, modified): (bool, &str, &str), deleted: &str, observed: &str) -> OwnedRow {
        OwnedRow {
            user_id: "u".into(),
            confirmed,
            created_at: at(created).unwrap(),
            estimated_at: confirmed.then(|| at(modified).or(at(created))).flatten(),
            deletion: Some(at(deleted).map_or(Deletion::None, Deletion::At)),
            observed_at: at(observed),
            left_out: None,
        }
    }

    fn known((confirmed, created): (bool, &str), (seen, provenance): (&str, &str), deleted: &str) -> Known {
        Known {
            user_id: "u".to_owned(),
            last_seen_at: at(seen),
            last_seen_provenance: Some(provenance.to_owned()).filter(|text| !text.is_empty()),
            created_at: at(created),
            confirmed,
            deleted_at: at(deleted),
            status: "inactive".to_owned(),
        }
    }

    fn causes(row: &OwnedRow, known: &Known, deletion: Option<&Decision>) -> Vec<(&'static str, Cause)> {
        let found = differences(row, Some(known), &Deciding { deletion, left_out: None });
        found.into_iter().map(|difference| (difference.what, difference.cause)).collect()
    }

    #[test]
    fn what_was_brought_in_is_the_same() {
        let confirmed = row((true, "01-01", "03-01"), "", "");
        assert_eq!(causes(&confirmed, &known((true, "01-01"), ("03-01", "estimated"), ""), None), []);
        let invited = row((false, "01-01", "03-01"), "", "");
        assert_eq!(causes(&invited, &known((false, "01-01"), ("", ""), ""), None), []);
        let real = row((true, "01-01", "03-01"), "", "02-01");
        assert_eq!(causes(&real, &known((true, "01-01"), ("02-01", "observed"), ""), None), []);
        let seen = row((false, "01-01", ""), "", "02-01");
        assert_eq!(causes(&seen, &known((true, "01-01"), ("02-01", "observed"), ""), None), []);
        let gone = row((true, "01-01", ""), "02-01", "");
        assert_eq!(causes(&gone, &known((true, "01-01"), ("01-01", "estimated"), "02-01"), None), []);
    }

    #[test]
    fn every_difference_has_its_cause() {
        let confirmed = row((true, "01-01", "03-01"), "", "");
        for (seen, cause) in [
            (("02-01", "observed"), Cause::Observed),
            (("04-01", "observed"), Cause::Observed),
            (("02-01", "estimated"), Cause::RowIsNewer),
            (("04-01", "estimated"), Cause::GreaterEstimate),
            (("", ""), Cause::RowIsNewer),
        ] {
            let known = known((true, "01-01"), seen, "");
            assert_eq!(causes(&confirmed, &known, None), [("last seen", cause)], "{seen:?}");
        }
        let real = row((true, "01-01", "03-01"), "", "03-01");
        for (seen, cause) in [
            (("02-01", "observed"), Cause::RowIsNewer),
            (("03-01", "estimated"), Cause::RowIsNewer),
            (("04-01", "observed"), Cause::Observed),
        ] {
            let known = known((true, "01-01"), seen, "");
            assert_eq!(causes(&real, &known, None), [("last seen", cause)], "{seen:?}");
        }
        let of = |created| known((true, created), ("03-01", "estimated"), "");
        assert_eq!(causes(&confirmed, &of("02-01"), None), [("created", Cause::NotBroughtIn)]);
        assert_eq!(
            causes(&confirmed, &known((true, "01-01"), ("03-01", "estimated"), "02-01"), None),
            [("deleted", Cause::DeletedByEvent)]
        );
        let invited = row((false, "01-05", ""), "", "");
        let seen = known((true, "01-01"), ("02-01", "observed"), "");
        assert_eq!(
            causes(&invited, &seen, None),
            [
                ("created", Cause::EventBeforeCreation),
                ("confirmed", Cause::Confirmed),
                ("last seen", Cause::Observed)
            ]
        );
        assert_eq!(differences(&invited, None, &Deciding::default())[0].cause, Cause::NotBroughtIn);
    }

    #[test]
    fn a_deletion_is_explained_by_what_decides() {
        let decision = |day: &str, deletes, batch: Option<&str>| {
            Some(Decision::of_test(at(day).unwrap(), deletes, batch))
        };
        let gone = row((true, "01-01", ""), "02-01", "");
        let there = row((true, "01-01", ""), "", "");
        for (row, deleted, decision, cause) in [
            (&gone, "", None, Cause::RowIsNewer),
            (&gone, "", decision("03-01", false, None), Cause::RestoredByEvent),
            (&gone, "", decision("03-01", false, Some("b")), Cause::GoneAgain { batch: "b".to_owned() }),
            (&gone, "", decision("01-10", false, None), Cause::RowIsNewer),
            (&gone, "03-01", decision("03-01", true, None), Cause::DeletedLater),
            (&gone, "01-10", decision("01-10", true, Some("users")), Cause::RowIsNewer),
            (&there, "03-01", decision("03-01", true, None), Cause::DeletedByEvent),
            (&there, "03-01", decision("03-01", true, Some("b")), Cause::CameBack { batch: "b".to_owned() }),
        ] {
            let known = known((true, "01-01"), ("01-01", "estimated"), deleted);
            assert_eq!(causes(row, &known, decision.as_ref()), [("deleted", cause)]);
        }
    }

    #[test]
    fn who_went_at_some_time_is_deleted_at_any() {
        let gone = OwnedRow { deletion: Some(Deletion::Sometime), ..row((true, "01-01", ""), "", "") };
        let seen = ("01-01", "estimated");
        let back = |batch: Option<&str>| Some(Decision::of_test(at("03-01").unwrap(), false, batch));
        assert_eq!(causes(&gone, &known((true, "01-01"), seen, "02-01"), None), []);
        let untold = OwnedRow { deletion: None, ..gone.clone() };
        assert_eq!(causes(&untold, &known((true, "01-01"), seen, "02-01"), None), []);
        for (decision, cause) in [
            (None, Cause::RowIsNewer),
            (back(None), Cause::RestoredByEvent),
            (back(Some("b")), Cause::GoneAgain { batch: "b".to_owned() }),
        ] {
            let known = known((true, "01-01"), seen, "");
            assert_eq!(causes(&gone, &known, decision.as_ref()), [("deleted", cause)]);
        }
    }

    #[test]
    fn who_counts_is_explained_by_what_decides() {
        let decision =
            |holds, batch: Option<&str>| Some(Decision::of_test(at("02-01").unwrap(), holds, batch));
        let cause = |in_row: bool, on_server: bool, decision: Option<Decision>| {
            let row = OwnedRow { left_out: Some(in_row), ..row((true, "01-01", ""), "", "") };
            let status = if on_server { "left_out" } else { "active" }.to_owned();
            let known = Known { status, ..known((true, "01-01"), ("01-01", "estimated"), "") };
            let deciding = Deciding { deletion: None, left_out: decision.as_ref() };
            let mut found = differences(&row, Some(&known), &deciding);
            assert!(found.len() <= 1 && found.iter().all(|difference| difference.what == "left out"));
            found.pop().map(|difference| difference.cause)
        };
        assert_eq!(cause(true, true, decision(true, Some("users"))), None);
        assert_eq!(cause(false, false, None), None);
        assert_eq!(cause(true, false, None), Some(Cause::RowIsNewer));
        assert_eq!(cause(true, false, decision(false, None)), Some(Cause::CountsByEvent));
        assert_eq!(cause(false, true, decision(true, None)), Some(Cause::CountsByEvent));
        let batch = "users".to_owned();
        assert_eq!(cause(false, true, decision(true, Some("users"))), Some(Cause::CountsOtherwise { batch }));
    }

    #[test]
    fn a_user_without_a_row_came_later_or_is_missing() {
        let newest = at("06-01");
        let cause =
            |created, deleted| without_row(&known((true, created), ("", ""), deleted), newest, false).cause;
        assert_eq!(cause("05-01", ""), Cause::NoRow);
        assert_eq!(cause("07-01", ""), Cause::AfterTheTable);
        let certain = without_row(&known((true, "07-01"), ("", ""), ""), None, false).cause;
        assert_eq!(certain, Cause::NoRow);
        assert_eq!(cause("05-01", "05-02"), Cause::NoRowAndDeleted);
        let unsure = without_row(&known((true, "05-01"), ("", ""), ""), newest, true).cause;
        assert_eq!(unsure, Cause::NoReadableRow);
    }
}
