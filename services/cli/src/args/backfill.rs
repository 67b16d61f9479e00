//! The arguments of `lastseen backfill`. What a flag says of a table is also a key of presets, by the same name with `_` for `-`.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Subcommand, ValueEnum};
use serde::Deserialize;

use super::values::{batch_name, clause, column_name, delimiter, names, one_char, tenant_name, zone};
use super::{SendArgs, ServerArgs};
use crate::backfill::presets::PRESETS;
use crate::backfill::rules::instant::Epoch;

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct BackfillArgs {
    #[command(subcommand)]
    pub(crate) command: Option<BackfillCommand>,
    /// The users table: a file as CSV, TSV, NDJSON, JSON, Parquet or Excel (.xlsx), - for stdin, or a database: the file of SQLite,
    /// `postgres://USER@HOST/DATABASE`, `mysql://USER@HOST/DATABASE`
    #[arg(value_name = "SOURCE", required_unless_present_any = ["logins", "print_preset"])]
    pub(crate) source: Option<PathBuf>,
    /// The name of this run: all of its events bear it
    #[arg(long, value_name = "NAME", value_parser = batch_name, required_unless_present = "print_preset")]
    pub(crate) batch: Option<String>,
    #[command(flatten)]
    pub(crate) from: SourceArgs,
    #[command(flatten)]
    pub(crate) logins: LoginArgs,
    #[command(flatten)]
    pub(crate) table: TableArgs,
    /// Send nothing; say what would be sent, and of how many users the server knows better already
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// File for the rows that are refused; default: BATCH.rejects.csv, and nowhere in a dry run
    #[arg(long, value_name = "FILE")]
    pub(crate) rejects: Option<PathBuf>,
    /// Print a preset as a file that lists what it says of columns, and end
    #[arg(long, value_name = "PRESET", value_parser = PossibleValuesParser::new(PRESETS))]
    pub(crate) print_preset: Option<String>,
    #[command(flatten)]
    pub(crate) send: SendArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BackfillCommand {
    /// Compare a users table with what the server says of its users
    ///
    /// Prints how many users differ by which cause. Causes that the rules explain, such as an observation that beats an estimate, are
    /// no findings; of the others (exit code 3) the cause says what mends them: mostly the same backfill once more. With --list,
    /// also every user that differs.
    Verify(Box<BackfillVerifyArgs>),
    /// Take a batch back: all numbers are then as if it had never been, and its name is dead
    ///
    /// Its events stay on record and count no more. The server rebuilds its numbers beside those it answers with; the command
    /// waits until they are in place.
    Retract(RetractArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct BackfillVerifyArgs {
    /// The users table, as for `backfill`
    #[arg(value_name = "SOURCE")]
    pub(crate) source: PathBuf,
    /// List the users that differ, each with its cause
    #[arg(long)]
    pub(crate) list: bool,
    /// List also the users who were really seen, which beats any estimate: mostly many
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) from: SourceArgs,
    #[command(flatten)]
    pub(crate) table: TableArgs,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RetractArgs {
    /// The name of the batch
    #[arg(value_name = "NAME", value_parser = batch_name)]
    pub(crate) batch: String,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

/// The place of a users table in a database.
#[derive(Debug, clap::Args)]
pub(crate) struct SourceArgs {
    /// The users table in the database that SOURCE names, as SQL has it: users, app.users, or '"user"' where a word is taken
    #[arg(long, value_name = "NAME", conflicts_with = "query")]
    pub(crate) table: Option<String>,
    /// A SELECT whose rows are the users table
    #[arg(long, value_name = "SQL", allow_hyphen_values = true)]
    pub(crate) query: Option<String>,
    /// The password of the database, where its URL has none
    #[arg(long, value_name = "PASSWORD", env = "PGPASSWORD", hide_env_values = true)]
    pub(crate) postgres_password: Option<String>,
    /// The password of MySQL or MariaDB, where the URL has none
    #[arg(long, value_name = "PASSWORD", env = "MYSQL_PWD", hide_env_values = true)]
    pub(crate) mysql_password: Option<String>,
    /// The meaning of the columns of a widely used product; other flags beat it. docs/BACKFILL.md lists how to export
    #[arg(long, value_name = "PRODUCT", value_parser = PossibleValuesParser::new(PRESETS))]
    pub(crate) preset: Option<String>,
}

/// Tables of logins.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Logins")]
pub(crate) struct LoginArgs {
    /// A file with a table of logins or sessions: real activity. Every row counts as a login, unless --login-where or another
    /// says which ones do
    #[arg(long, value_name = "FILE")]
    pub(crate) logins: Vec<PathBuf>,
    /// The table of logins in the database that SOURCE names
    #[arg(long, value_name = "NAME", conflicts_with = "logins_query")]
    pub(crate) logins_table: Option<String>,
    /// A SELECT whose rows are the table of logins
    #[arg(long, value_name = "SQL", allow_hyphen_values = true)]
    pub(crate) logins_query: Option<String>,
    /// The column of the instant [default: `occurred_at`]
    #[arg(long, value_name = "NAME", value_parser = column_name)]
    pub(crate) login_column: Option<String>,
    /// The column of the user [default: that of --user-column]
    #[arg(long, value_name = "NAME", value_parser = column_name)]
    pub(crate) login_user_column: Option<String>,
    /// The column of the tenant [default: that of --tenant-column]
    #[arg(long, value_name = "NAME", value_parser = column_name, conflicts_with = "tenant")]
    pub(crate) login_tenant_column: Option<String>,
    /// The rows that are logins, such as `success=true` or `type=s,scoa`; all others do not count. Several: any of them
    #[arg(long, value_name = "CLAUSE", value_parser = clause)]
    pub(crate) login_where: Vec<String>,
    /// The rows that are refreshes of tokens
    #[arg(long, value_name = "CLAUSE", value_parser = clause)]
    pub(crate) token_refresh_where: Vec<String>,
    /// The rows that are completed sign-ups
    #[arg(long, value_name = "CLAUSE", value_parser = clause)]
    pub(crate) signup_where: Vec<String>,
}

/// The layout of tables, and the meaning of their columns.
#[derive(Debug, clap::Args)]
pub(crate) struct TableArgs {
    #[command(flatten)]
    pub(crate) layout: LayoutArgs,
    #[command(flatten)]
    pub(crate) columns: ColumnArgs,
}

/// The layout of tables, and the forms of their values.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Files and values")]
pub(crate) struct LayoutArgs {
    /// Format of the files, if neither their names nor their first bytes say it
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<TableFormat>,
    /// Separator of the fields of CSV: one character, or \t for a tab [default: ,]
    #[arg(long, value_name = "CHAR", value_parser = delimiter)]
    pub(crate) delimiter: Option<u8>,
    /// The names of the first columns of a file without a header, such as `id,,created_at`; an empty name is a column without use
    #[arg(long, value_name = "NAMES", value_parser = names)]
    pub(crate) header: Option<Names>,
    /// The array of rows in a JSON document, such as `users` or `result.items`; a dot alone: the objects at the top are the rows;
    /// default: the only array of objects
    #[arg(long, value_name = "PATH", value_parser = column_name)]
    pub(crate) array: Option<String>,
    /// The sheet of a workbook; default: the only one
    #[arg(long, value_name = "NAME")]
    pub(crate) sheet: Option<String>,
    /// Number of the last fields that a row of CSV or TSV may lack: they are null
    #[arg(long, value_name = "N")]
    pub(crate) short_rows: Option<usize>,
    /// A character that stands before every text of CSV, TSV or a sheet, and is not of it
    #[arg(long, value_name = "CHAR", value_parser = one_char)]
    pub(crate) text_prefix: Option<char>,
    /// Time zone of instants without an offset, such as Europe/Berlin [default: UTC]
    #[arg(long, value_name = "ZONE", value_parser = zone)]
    pub(crate) tz: Option<chrono_tz::Tz>,
    /// The unit of a bare number that is an instant; default: it is none
    #[arg(long, value_name = "UNIT")]
    pub(crate) instants: Option<Epoch>,
    /// One more text that stands for no instant, such as `0000-00-00 00:00:00` or 0. Several: all of them
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) null: Vec<String>,
    /// A date alone, where it is that of a login, is its last instant; default: such a row is refused
    #[arg(long)]
    pub(crate) dates_are_days: bool,
}

/// The meaning of the columns of a users table.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Columns (a name that ends in ? is that of a column that may be missing)")]
pub(crate) struct ColumnArgs {
    /// The tenant of all rows, where there is no column of it; of logins too
    #[arg(long, value_name = "NAME", conflicts_with = "tenant_column", value_parser = tenant_name)]
    pub(crate) tenant: Option<String>,
    /// The column of the tenant [default: `tenant_id`]
    #[arg(long, value_name = "NAME", value_parser = column_name)]
    pub(crate) tenant_column: Option<String>,
    /// The column of the user [default: `user_id`]
    #[arg(long, value_name = "NAME", value_parser = column_name)]
    pub(crate) user_column: Option<String>,
    /// The column that says whether the user is confirmed: true or false, t or f, 1 or 0, yes or no [default: `email_confirmed`]
    #[arg(long, value_name = "NAME", value_parser = column_name)]
    pub(crate) confirmed_column: Option<String>,
    /// The column of the instant since which the user is confirmed; null: not yet
    #[arg(long, value_name = "NAME", value_parser = column_name, conflicts_with = "confirmed_column")]
    pub(crate) confirmed_at_column: Option<String>,
    /// The users that are confirmed, where no column says it
    #[arg(long, value_name = "WHO", conflicts_with_all = ["confirmed_column", "confirmed_at_column", "confirmed_where"])]
    pub(crate) confirmed: Option<Everybody>,
    /// The rows that are confirmed, such as `status=ACTIVE,LOCKED`; with --confirmed-at-column both must hold. Several: any of them
    #[arg(long, value_name = "CLAUSE", value_parser = clause, conflicts_with = "confirmed_column")]
    pub(crate) confirmed_where: Vec<String>,
    /// The column of the instant of creation; empty: there is none [default: `created_at`]
    #[arg(long, value_name = "NAME")]
    pub(crate) created_column: Option<String>,
    /// The creation of rows that do not tell it: an instant, a date, or `earliest`, the earliest other instant of the row
    #[arg(long, value_name = "INSTANT")]
    pub(crate) created: Option<String>,
    /// The column of the instant of the last change; empty: there is none [default: `modified_at`]
    #[arg(long, value_name = "NAME")]
    pub(crate) modified_column: Option<String>,
    /// The column of the instant of deletion; empty: there is none [default: `deleted_at`]
    #[arg(long, value_name = "NAME")]
    pub(crate) deleted_column: Option<String>,
    /// Rows that are deleted as well, such as `blocked=true` or `banned_until>now`. Several: any of them
    #[arg(long, value_name = "CLAUSE", value_parser = clause)]
    pub(crate) deleted_where: Vec<String>,
    /// The column of the instant since which those are deleted; default: that of their last change, or else the run's start
    #[arg(long, value_name = "NAME", value_parser = column_name)]
    pub(crate) deleted_since_column: Option<String>,
    /// A column of a real login, such as `last_login_at`. Null means never: such a user gets no estimate. Several: all of them
    #[arg(long, value_name = "NAME", value_parser = column_name)]
    pub(crate) observed_column: Vec<String>,
    /// Estimate also confirmed users that --observed-column knows of no login of
    #[arg(long)]
    pub(crate) estimate_unseen: bool,
    /// The column that says whether the user is left out of all numbers, such as `is_bot`: true or false as above, null is false
    #[arg(long, value_name = "NAME", value_parser = column_name)]
    pub(crate) left_out_column: Option<String>,
    /// Rows that are left out of all numbers as well. Several: any of them
    #[arg(long, value_name = "CLAUSE", value_parser = clause)]
    pub(crate) left_out_where: Vec<String>,
    /// Rows that are nobody, of logins too unless a preset says it; an empty text undoes those of a preset. A clause is COLUMN=VALUE[,VALUE], COLUMN!=VALUE,
    /// COLUMN<NUMBER or COLUMN>now, or several joined by " and "; an empty value is null
    #[arg(long, value_name = "CLAUSE", value_parser = clause)]
    pub(crate) skip_where: Vec<String>,
}

impl LoginArgs {
    /// The flags about columns of logins, and true for those that are given.
    pub(crate) fn of_columns(&self) -> [(&'static str, bool); 6] {
        [
            ("--login-column", self.login_column.is_some()),
            ("--login-user-column", self.login_user_column.is_some()),
            ("--login-tenant-column", self.login_tenant_column.is_some()),
            ("--login-where", !self.login_where.is_empty()),
            ("--token-refresh-where", !self.token_refresh_where.is_empty()),
            ("--signup-where", !self.signup_where.is_empty()),
        ]
    }
}

impl ColumnArgs {
    /// The flags about users alone, and true for those that are given.
    pub(crate) fn of_users_alone(&self) -> [(&'static str, bool); 14] {
        [
            ("--confirmed", self.confirmed.is_some()),
            ("--confirmed-column", self.confirmed_column.is_some()),
            ("--confirmed-at-column", self.confirmed_at_column.is_some()),
            ("--confirmed-where", !self.confirmed_where.is_empty()),
            ("--created", self.created.is_some()),
            ("--created-column", self.created_column.is_some()),
            ("--modified-column", self.modified_column.is_some()),
            ("--deleted-column", self.deleted_column.is_some()),
            ("--deleted-where", !self.deleted_where.is_empty()),
            ("--deleted-since-column", self.deleted_since_column.is_some()),
            ("--observed-column", !self.observed_column.is_empty()),
            ("--estimate-unseen", self.estimate_unseen),
            ("--left-out-column", self.left_out_column.is_some()),
            ("--left-out-where", !self.left_out_where.is_empty()),
        ]
    }
}

/// The names of columns, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Names(pub(crate) Vec<String>);

/// The values of `backfill --confirmed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Everybody {
    /// All users
    All,
    /// Nobody, as long as no login says it
    None,
}

/// The values of `backfill --format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TableFormat {
    /// Fields with a separator between them, in quotes where they need it
    Csv,
    /// Fields with tabs between them and backslash escapes, as COPY of PostgreSQL and mysql -B print them
    Tsv,
    /// A JSON object a line
    Ndjson,
    /// One JSON document, or several: an array of objects, or an object with such an array
    Json,
    /// Columns; a file only
    Parquet,
    /// A sheet of an Excel workbook; a file only
    Xlsx,
    /// A database in a file
    Sqlite,
}

impl TableFormat {
    /// The name in messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Csv => "CSV",
            Self::Tsv => "TSV",
            Self::Ndjson => "NDJSON",
            Self::Json => "JSON",
            Self::Parquet => "Parquet",
            Self::Xlsx => "a workbook (.xlsx)",
            Self::Sqlite => "a database of SQLite",
        }
    }
}
