//! A row of the table, and the event in it.

use std::error::Error;

use lastseen_client::{Event, Fault, UtcInstant};
use tokio_postgres::types::{FromSql, Type};
use tokio_postgres::{Row, types};

use crate::written::Written;

/// The instant from which PostgreSQL counts, 2000-01-01T00:00:00Z, in microseconds since 1970.
const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// The row's number, its event, and the id under which both are known.
pub(super) struct OutboxRow {
    pub(super) seq: i64,
    pub(super) occurred_at: Option<UtcInstant>,
    /// The event; or all that is wrong with the row.
    pub(super) event: Result<Event, Vec<Fault>>,
}

/// An instant as PostgreSQL sends it. `None`: infinity.
struct Instant(Option<UtcInstant>);

impl<'a> FromSql<'a> for Instant {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        let micros = i64::from_sql(&Type::INT8, raw)?;
        let is_finite = micros != i64::MAX && micros != i64::MIN;
        let since_1970 = is_finite.then(|| micros.checked_add(EPOCH_MICROS)).flatten();
        Ok(Self(since_1970.map(UtcInstant::from_micros)))
    }

    types::accepts!(TIMESTAMPTZ);
}

impl OutboxRow {
    /// Reads a row with the columns of [`COLUMNS`](super::outbox::COLUMNS), in their order.
    ///
    /// # Errors
    /// If the database sends another type than it was asked for.
    pub(super) fn read(row: &Row) -> Result<Self, tokio_postgres::Error> {
        let seq = row.try_get(0)?;
        let instant: Option<Instant> = row.try_get(5)?;
        let occurred_at = instant.as_ref().and_then(|instant| instant.0);
        // An infinity is told as such.
        let text =
            |instant: Instant| instant.0.map_or_else(|| "infinity".to_owned(), |instant| instant.to_string());
        let occurred_at_text = instant.map(text);
        let written = Written {
            id: row.try_get(1)?,
            r#type: row.try_get(2)?,
            tenant_id: row.try_get(3)?,
            user_id: row.try_get(4)?,
            occurred_at: occurred_at_text.as_deref(),
            session_id: row.try_get(6)?,
            from_tenant_id: row.try_get(7)?,
            confirmed: row.try_get(8)?,
            counts: row.try_get(9)?,
            batch: row.try_get(10)?,
        };
        Ok(Self { seq, occurred_at, event: written.event() })
    }
}
