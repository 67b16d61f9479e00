//! The values of a record as what they mean: names, instants, truths.

use lastseen_event::{TenantId, UserId, UtcInstant};

use super::condition::Clauses;
use super::instant::{Form, Reading};
use super::notes::Notes;
use super::words::{self, Damage};
use crate::backfill::formats::record::{At, Fault, Fields, Kind, Record};

/// The tenant of a row.
#[derive(Clone, Debug)]
pub(crate) enum Tenant {
    Column(At),
    /// All rows have one.
    Named(String),
}

/// The member of a row: whose it is.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) tenant: Tenant,
    pub(crate) user: At,
}

/// When a table is read, and what is known of all of its rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// When the run began.
    pub(crate) now: UtcInstant,
    /// No event may have occurred later.
    pub(crate) latest: UtcInstant,
    /// True if a row is of text alone, which may have been through a spreadsheet.
    pub(crate) is_of_cells: bool,
}

/// A record with all that is needed to read it.
#[derive(Clone, Copy)]
pub(crate) struct Values<'a> {
    pub(crate) record: &'a Record,
    pub(crate) fields: &'a Fields,
    pub(crate) reading: &'a Reading,
    pub(crate) moment: Moment,
}

impl<'a> Values<'a> {
    /// The one value of a column; `None` where it is null.
    ///
    /// # Errors
    /// If there are several.
    fn one(&self, at: At) -> Result<Option<&'a str>, Fault> {
        if self.record.has_several(at) {
            return Err(self.fault(at, "expected one value, found several"));
        }
        Ok(self.record.get(at).filter(|text| !words::is_null(text)))
    }

    /// True if a column has no value.
    pub(crate) fn is_null(&self, at: At) -> bool {
        self.record.get(at).is_none_or(words::is_null)
    }

    fn fault(&self, at: At, reason: impl std::fmt::Display) -> Fault {
        Fault::of(self.fields.get(at), reason)
    }

    /// Returns the tenant and the user of a row.
    ///
    /// # Errors
    /// The fault of the names.
    pub(crate) fn member(
        &self,
        member: &'a Member,
        notes: &mut Notes,
    ) -> Result<(TenantId<'a>, UserId<'a>), Fault> {
        let tenant_id = match &member.tenant {
            Tenant::Named(name) => TenantId::new(name).map_err(Fault::of_row)?,
            Tenant::Column(at) => {
                TenantId::new(self.id(*at, notes)?).map_err(|error| self.fault(*at, error))?
            }
        };
        let user_id = UserId::new(self.id(member.user, notes)?);
        Ok((tenant_id, user_id.map_err(|error| self.fault(member.user, error))?))
    }

    fn id(&self, at: At, notes: &mut Notes) -> Result<&'a str, Fault> {
        let id = self.one(at)?.ok_or_else(|| self.missing(at, "expected an id"))?;
        // It may have been rounded, and two users would become one.
        if self.record.kind(at) == Kind::Rounded {
            let expected =
                "expected text or a whole number that no program rounds (at most 64 bits; 53 in a sheet)";
            return Err(self.fault(at, format!("{expected}, found {id}")));
        }
        match words::damage(id).filter(|_| self.moment.is_of_cells) {
            Some(Damage::Certain(expected)) => Err(self.fault(at, format!("{expected}: {id:?}"))),
            Some(Damage::Likely) => {
                notes.damaged_ids += 1;
                notes.damaged_example.get_or_insert_with(|| (self.record.line, id.to_owned()));
                Ok(id)
            }
            None => Ok(id),
        }
    }

    /// An instant, or null. A date alone is its first instant.
    ///
    /// # Errors
    /// If it is none, or no event may have it.
    pub(crate) fn instant(&self, at: At, notes: &mut Notes) -> Result<Option<UtcInstant>, Fault> {
        let Some((instant, form)) = self.read(at, notes)? else { return Ok(None) };
        notes.dates_first += u64::from(form == Form::Date);
        self.in_range(at, instant).map(Some)
    }

    /// The same, of a column that the table may be without.
    ///
    /// # Errors
    /// Those of [`Values::instant`].
    pub(crate) fn instant_if(&self, at: Option<At>, notes: &mut Notes) -> Result<Option<UtcInstant>, Fault> {
        at.map_or(Ok(None), |at| self.instant(at, notes))
    }

    /// True if any of the clauses holds.
    ///
    /// # Errors
    /// If a value is not a number or an instant where it is compared with one.
    pub(crate) fn hold(&self, clauses: &Clauses) -> Result<bool, Fault> {
        clauses.hold(self.record, (self.fields, self.reading), self.moment.now)
    }

    /// The instant of real activity, or null. A date alone is none, unless its last instant is meant.
    ///
    /// # Errors
    /// Those of [`Values::instant`].
    pub(crate) fn observed(&self, at: At, notes: &mut Notes) -> Result<Option<UtcInstant>, Fault> {
        let Some((instant, form)) = self.read(at, notes)? else { return Ok(None) };
        let instant = self.in_range(at, instant)?;
        if form != Form::Date {
            return Ok(Some(instant));
        }
        if !self.reading.dates_are_days {
            let found = self.record.get(at).unwrap_or_default();
            let expected = "expected an instant: a date alone is no observation, unless --dates-are-days says that its last \
                            instant is meant";
            return Err(self.fault(at, format!("{expected}; found {found:?}")));
        }
        let last = self.reading.last_instant(instant);
        // Of a day that goes on nothing but its beginning is past, and the same for every run on it.
        let is_over = last <= self.moment.now;
        *(if is_over { &mut notes.dates_last } else { &mut notes.dates_running }) += 1;
        Ok(Some(if is_over { last } else { instant }))
    }

    fn read(&self, at: At, notes: &mut Notes) -> Result<Option<(UtcInstant, Form)>, Fault> {
        let Some(text) = self.one(at)?.filter(|text| !self.reading.nulls.iter().any(|null| null == text))
        else {
            return Ok(None);
        };
        let parsed = self.reading.parse(text);
        let read = parsed.map_err(|expected| self.fault(at, format!("{expected}, found {text:?}")))?;
        notes.without_offset += u64::from(matches!(read.1, Form::Local | Form::LocalTwice));
        notes.shown_twice += u64::from(read.1 == Form::LocalTwice);
        Ok(Some(read))
    }

    fn in_range(&self, at: At, instant: UtcInstant) -> Result<UtcInstant, Fault> {
        if instant < UtcInstant::EARLIEST {
            let expected = format!(
                "expected {} or later, found {instant}; --null says which text stands for no instant",
                UtcInstant::EARLIEST
            );
            return Err(self.fault(at, expected));
        }
        if instant > self.moment.latest {
            return Err(self.fault(at, format!("expected no instant ahead of now, found {instant}")));
        }
        Ok(instant)
    }

    /// A truth that must be said.
    ///
    /// # Errors
    /// If it is not.
    pub(crate) fn truth(&self, at: At) -> Result<bool, Fault> {
        self.optional_truth(at)?.ok_or_else(|| self.fault(at, format!("{EXPECTED_TRUTH}, found null")))
    }

    /// A truth, or null.
    ///
    /// # Errors
    /// If it is neither.
    pub(crate) fn optional_truth(&self, at: At) -> Result<Option<bool>, Fault> {
        let Some(text) = self.one(at)? else { return Ok(None) };
        let truth = words::truth(text);
        truth.map(Some).ok_or_else(|| self.fault(at, format!("{EXPECTED_TRUTH}, found {text:?}")))
    }

    /// The fault of a column that has to have a value.
    pub(crate) fn missing(&self, at: At, expected: &str) -> Fault {
        self.fault(at, format!("{expected}, found null"))
    }
}

const EXPECTED_TRUTH: &str = "expected true or false (t or f, 1 or 0, yes or no)";
