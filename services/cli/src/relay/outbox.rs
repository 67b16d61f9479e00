//! The table: its columns, the statements on it, and the text that makes it.

use std::fmt::Write as _;

use anyhow::{Context, anyhow, bail};
use tokio_postgres::Client;

use crate::postgres::quoted;

/// The channel on which a trigger tells of new rows.
pub(super) const CHANNEL: &str = "lastseen_relay";
/// The columns that are read, in this order: name, type, and whether the table must have it.
pub(super) const COLUMNS: [(&str, Kind, bool); 11] = [
    ("seq", Kind::Integer, true),
    ("id", Kind::Text, true),
    ("type", Kind::Text, true),
    ("tenant_id", Kind::Text, true),
    ("user_id", Kind::Text, true),
    ("occurred_at", Kind::Instant, true),
    ("session_id", Kind::Text, false),
    ("from_tenant_id", Kind::Text, false),
    ("confirmed", Kind::Boolean, false),
    ("counts", Kind::Boolean, false),
    ("batch", Kind::Text, false),
];
/// One character more than any name may have: a longer one is refused, and is not read whole for that.
const TEXT_CHARS: usize = lastseen_event::limits::NAME_BYTES_MAX + 1;
/// The upper half of the number under which relays of a table exclude each other: "LSRL".
const LOCK_CLASS: i64 = 0x4c53_524c;

/// The type of a column, as the relay reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Integer,
    /// Any type: its text is read.
    Text,
    Instant,
    Boolean,
}

/// A table of events that wait to be published.
#[derive(Debug)]
pub(super) struct Outbox {
    /// The name as it was given, as SQL has it.
    name: String,
    /// True if rows are marked, false if they are deleted.
    mark: bool,
}

/// The statements on the table of one database.
pub(super) struct Statements {
    /// Takes the table for this connection; one row with a boolean.
    pub(super) lock: String,
    /// `$1` the number to read after, `$2` the most rows.
    pub(super) read: String,
    /// `$1` a number: the rows up to it that wait, as far as `$2`; one row with their number.
    pub(super) count: String,
    /// `$1` numbers, `$2` ids.
    pub(super) settle: String,
    /// The same: the rows of them that wait still; one row with their number.
    pub(super) kept: String,
    /// `$1` numbers, `$2` faults.
    pub(super) set_aside: String,
}

impl Kind {
    fn expected(self) -> &'static str {
        match self {
            Self::Integer => "bigint",
            Self::Text => "text",
            Self::Instant => "timestamp with time zone",
            Self::Boolean => "boolean",
        }
    }

    fn is(self, found: &str) -> bool {
        match self {
            Self::Integer => ["bigint", "integer", "smallint"].contains(&found),
            Self::Text => true,
            _ => self.expected() == found,
        }
    }

    /// The expression that reads a column.
    fn read(self, column: &str) -> String {
        match self {
            Self::Integer => format!("{column}::bigint"),
            // `left` counts characters, which takes as long as all the rest; few rows need it.
            Self::Text => format!(
                "CASE WHEN octet_length({column}::text) < {TEXT_CHARS} THEN {column}::text \
                 ELSE left({column}::text, {TEXT_CHARS}) END"
            ),
            Self::Instant | Self::Boolean => column.to_owned(),
        }
    }

    fn absent(self) -> &'static str {
        match self {
            Self::Integer => "NULL::bigint",
            Self::Text => "NULL::text",
            Self::Instant => "NULL::timestamptz",
            Self::Boolean => "NULL::boolean",
        }
    }
}

impl Outbox {
    pub(super) fn new(name: &str, mark: bool) -> Self {
        Self { name: name.to_owned(), mark }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Looks at the table and makes the statements on it.
    ///
    /// # Errors
    /// If it is not there, lacks a column or a privilege, or a column has another type.
    pub(super) async fn statements(&self, client: &Client) -> anyhow::Result<Statements> {
        const TABLE: &str = "SELECT c.oid, quote_ident(n.nspname) || '.' || quote_ident(c.relname), \
            has_table_privilege(c.oid, 'SELECT'), has_any_column_privilege(c.oid, 'UPDATE'), \
            has_table_privilege(c.oid, 'DELETE') \
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1::text::regclass";
        const TYPES: &str = "SELECT attname::text, format_type(atttypid, NULL) FROM pg_attribute \
            WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped";
        const UNIQUE: &str = "SELECT EXISTS (SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid \
            AND a.attnum = i.indkey[0] WHERE i.indrelid = $1 AND i.indisunique AND i.indnkeyatts = 1 \
            AND i.indpred IS NULL AND a.attname = 'seq')";
        let table = client.query_one(TABLE, &[&self.name]).await;
        let table = table.with_context(|| {
            format!("cannot use the table {} (lastseen relay --print-ddl tells how to make it)", self.name)
        })?;
        let (oid, name): (u32, String) = (table.try_get(0)?, table.try_get(1)?);
        for (place, privilege) in [(2, "SELECT"), (3, "UPDATE"), (4, "DELETE")] {
            let is_asked = privilege != "DELETE" || !self.mark;
            if is_asked && !table.try_get::<_, bool>(place)? {
                bail!("the user of the database has not the privilege {privilege} on {name}");
            }
        }
        let rows = client.query(TYPES, &[&oid]).await?;
        let there = rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
        let there: Vec<(String, String)> = there.collect::<Result<_, tokio_postgres::Error>>()?;
        let selected = self.selected(&name, &there)?;
        if !client.query_one(UNIQUE, &[&oid]).await?.try_get::<_, bool>(0)? {
            bail!("the numbers of {name} may repeat: expected a unique index on seq");
        }
        let open = self.open();
        // A row with the same number may be another one, after a restore of the database.
        let done = "unnest($1::bigint[], $2::text[]) AS done(seq, id)";
        let is_done = format!("{name}.seq = done.seq AND lower({name}.id::text) = done.id");
        Ok(Statements {
            lock: format!("SELECT pg_try_advisory_lock({})", LOCK_CLASS << 32 | i64::from(oid)),
            read: format!(
                "SELECT {selected} FROM {name} WHERE seq > $1::bigint AND {open} ORDER BY seq LIMIT $2::bigint"
            ),
            count: format!(
                "SELECT count(*) FROM (SELECT FROM {name} WHERE seq <= $1::bigint AND {open} ORDER BY seq LIMIT $2::bigint) AS waiting"
            ),
            settle: if self.mark {
                format!("UPDATE {name} SET published_at = now() FROM {done} WHERE {is_done}")
            } else {
                format!("DELETE FROM {name} USING {done} WHERE {is_done}")
            },
            kept: format!("SELECT count(*) FROM {name}, {done} WHERE {is_done} AND {open}"),
            set_aside: format!(
                "UPDATE {name} SET fault = refused.fault FROM unnest($1::bigint[], $2::text[]) \
                 AS refused(seq, fault) WHERE {name}.seq = refused.seq"
            ),
        })
    }

    /// The condition on rows that wait.
    fn open(&self) -> &'static str {
        if self.mark { "fault IS NULL AND published_at IS NULL" } else { "fault IS NULL" }
    }

    /// The expressions for all columns, of a table that has these columns with these types.
    fn selected(&self, table: &str, there: &[(String, String)]) -> anyhow::Result<String> {
        let found = |name: &str| there.iter().find(|(column, _)| column == name).map(|(_, kind)| &**kind);
        let mut columns = COLUMNS.to_vec();
        columns.push(("fault", Kind::Text, true));
        if self.mark {
            columns.push(("published_at", Kind::Instant, true));
        }
        let mut wrong = Vec::new();
        for (name, kind, is_required) in &columns {
            match found(name) {
                None if *is_required => wrong.push(format!("{name} is missing ({})", kind.expected())),
                Some(other) if !kind.is(other) => {
                    wrong.push(format!("{name} is {other}, expected {}", kind.expected()));
                }
                _ => {}
            }
        }
        if !wrong.is_empty() {
            return Err(anyhow!("the columns of {table}: {}", wrong.join("; ")));
        }
        let selected = COLUMNS.map(|(name, kind, _)| match found(name) {
            Some(_) => kind.read(&quoted(name)),
            None => kind.absent().to_owned(),
        });
        Ok(selected.join(", "))
    }

    /// The text that makes the table, its index and its trigger.
    pub(super) fn ddl(&self) -> String {
        let name = &self.name;
        // The last part of the name, for what belongs to the table.
        let last = name.rsplit_once('.').map_or(&**name, |(_, last)| last).trim_matches('"');
        let published =
            if self.mark { "published_at   timestamptz,  -- of a row that was published\n    " } else { "" };
        let mut text = format!(
            "-- Events that wait to be published. Insert a row in the transaction of what happened.\n\
             CREATE TABLE {name} (\n    \
             seq            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,\n    \
             id             uuid NOT NULL DEFAULT gen_random_uuid(),\n    \
             type           text NOT NULL,\n    \
             tenant_id      text NOT NULL,\n    \
             user_id        text NOT NULL,\n    \
             occurred_at    timestamptz NOT NULL DEFAULT clock_timestamp(),\n    \
             session_id     text,     -- of a login, token_refresh, tenant_switch, signup_complete\n    \
             from_tenant_id text,     -- of a tenant_switch\n    \
             confirmed      boolean,  -- of a user_created\n    \
             counts         boolean,  -- of a user_created, user_changed: false for bots and staff\n    \
             {published}fault          text      -- the reason, where the row was refused and set aside\n"
        );
        // Rows come and go: dead ones are to be cleared long before a fifth of the table is.
        text.push_str(
            ") WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000,\n        \
             autovacuum_vacuum_cost_delay = 0);\n",
        );
        if self.mark {
            let open = self.open();
            let _ = write!(
                text,
                "\n-- The rows that wait.\nCREATE INDEX {} ON {name} (seq) WHERE {open};\n",
                quoted(&format!("{last}_waiting"))
            );
        }
        let function = quoted(&format!("{last}_notify"));
        let _ = write!(
            text,
            "\n-- Wakes the relay at each commit. Without it, rows wait for the next look (--poll).\n\
             CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS\n    \
             $$ BEGIN PERFORM pg_notify('{CHANNEL}', ''); RETURN NULL; END $$;\n\
             CREATE TRIGGER {function} AFTER INSERT ON {name}\n    \
             FOR EACH STATEMENT EXECUTE FUNCTION {function}();\n"
        );
        text
    }
}
