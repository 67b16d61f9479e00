//! The command line: flags first, then `LASTSEEN_*` variables, then defaults. Nothing else reads the
//! environment.

mod keys;
mod listen;
mod relay;
mod serve;
mod values;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use lastseen_event::{Position, UtcInstant};
use lastseen_projections::{TypeSet, Window};

pub(crate) use self::keys::{
    CreateKeyArgs, KeysArgs, KeysCommand, KeysFileArgs, ListKeysArgs, RevokeKeyArgs,
};
pub(crate) use self::listen::ListenArgs;
pub(crate) use self::relay::RelayArgs;
pub(crate) use self::serve::{LimitArgs, LogArgs, LogFormat, Persons, ServeArgs, StoreArgs};
use self::values::{batch_events, batch_name, column_name, delimiter, position, server_url, span};

/// Who was last seen when, and how many users are active.
#[derive(Debug, Parser)]
#[command(name = "lastseen", version, arg_required_else_help = true)]
#[command(
    after_help = "Exit codes: 0 done, 1 failed, 2 bad usage, 3 findings or refused rows, 130 stopped by a signal."
)]
pub(crate) struct Args {
    /// No progress and no notices; results and errors only
    #[arg(long, short, global = true, env = "LASTSEEN_QUIET")]
    pub(crate) quiet: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Keep events and answer questions over HTTP, until SIGTERM or ^C
    Serve(Box<ServeArgs>),
    /// Send events from NDJSON files to a running server
    ///
    /// One event a line, plain or gzipped, in the format of POST /v1/events. Every batch is stored as a whole
    /// before the next one is sent. Events that are stored already count as duplicates, so the same command
    /// can be run again at any time and goes on where it stopped. Refused lines are printed as
    /// `FILE:LINE: code field: detail`, and the others are stored (exit code 3).
    Import(ImportArgs),
    /// Bring in the users that an application had before it published events
    ///
    /// Reads a users table and sends for each row: that the user was created; if it is confirmed, an estimate that it was last seen
    /// when the row was modified; if it has them, its real last login and its deletion. All events bear the name of the batch. An
    /// observation always beats an estimate, so it does not matter whether real events came before or come after.
    ///
    /// Event ids follow from the rows: the same command can be run again at any time, goes on where it stopped, and adds what has
    /// changed in the table. A row without a deletion whose user this batch had deleted comes back. Rows that are refused are
    /// written to a file with their reasons, and the others are stored (exit code 3).
    ///
    /// A PostgreSQL database is read in one snapshot of it, with --table or --query; the command asks for TLS unless the database is on
    /// this machine or the URL says ?sslmode=disable, and trusts whom this machine trusts (the variable `SSL_CERT_FILE` names others).
    ///
    /// Instants are RFC 3339, or as databases print them (2026-01-06 16:00:00+00); without an offset they are UTC. In CSV an empty
    /// field and \N are null.
    Backfill(Box<BackfillArgs>),
    /// Publish the rows of a table in PostgreSQL, which an application fills in its own transactions
    ///
    /// The application inserts a row beside each login, in the transaction of the login: both are there, or none is. This command
    /// publishes the rows in the order of their numbers, and deletes each once the server has answered. A row is published again
    /// after a crash of either side, under the same id, which adds nothing. Rows that the server refuses stay in the table, with
    /// the reason in their column fault; clear it to try again.
    ///
    /// Several relays of one table are safe: one has the table, the others stand by. `lastseen relay --print-ddl | psql` makes the
    /// table. The database is connected to directly or through a proxy of sessions, not through one of transactions.
    Relay(Box<RelayArgs>),
    /// Take the webhooks and log streams of Auth0, Clerk, Entra, Keycloak, Okta and Supabase, and publish the activity in them
    ///
    /// Each delivery proves that it comes from its provider, by a signature or a secret. Successful logins, refreshes and sign-ups
    /// are published; failures, steps of a login and acts of administrators never are; kinds that are not known are counted. A
    /// delivery is answered once its events are stored, or kept in the outbox: until then its provider sends it again, under the
    /// same ids, which adds nothing.
    Listen(Box<ListenArgs>),
    /// Publish the activity of made-up users to a running server, past and present
    ///
    /// Tenants of very different sizes, invitations and sign-ups, sessions in working hours, quiet weekends, users of several
    /// tenants, some who leave and some who return. First their past as fast as the server takes it, then what they do as
    /// they do it, until ^C. The same seed, numbers and --until give the same events with the same ids: run again, the
    /// command adds only what has happened since.
    Simulate(SimulateArgs),
    /// Look at it: a server with made-up users, past and present, until ^C; nothing is left of it
    Demo(DemoArgs),
    /// Check every byte of a log and change nothing
    ///
    /// Segments, frames, checksums, the order of positions, and ids that stand twice within the recent window. Everything
    /// that is wrong is listed with its file and offset (exit code 3). The log may be in use by a server.
    ///
    /// With --projections, what the snapshot of the views and the events behind it say is compared with views rebuilt from
    /// all of the log, and every difference is named.
    Verify(VerifyArgs),
    /// Fold history up to a position or an instant and print the numbers
    ///
    /// Reads a data directory and changes nothing: that of a running server, or a backup. Without --until and --as-of, all
    /// of it up to now.
    Replay(ReplayArgs),
    /// Make, list and revoke API keys
    ///
    /// Without keys the server is open, to this machine only. Changes count within a second, also for a server that runs.
    Keys(KeysArgs),
    /// Set up a cluster of EventStoreDB or KurrentDB for `serve --store`
    Cluster(ClusterArgs),
    /// Copy a log, also while a server writes to it
    ///
    /// The copy is a log of its own: all that was acknowledged when the command began, and nothing that is not
    /// durable in the original. `lastseen serve --data DIR` opens it. Sealed segments never change: on the same file system
    /// they become hard links and take no space.
    Backup(BackupArgs),
    /// Make a data directory of a backup
    ///
    /// Checks every byte of the backup first; of a damaged one nothing is restored (exit code 3). The keys of API and the audit
    /// log are not in a backup.
    Restore(RestoreArgs),
    /// Ask a server how it is: health, lag, sizes, rates
    ///
    /// Exit code 0 means that the server is ready, 1 that it is not, or is not there. Without a key, or with one that has not the
    /// scope admin, only the health is told. With --quiet nothing is told but what is wrong.
    Status(StatusArgs),
    /// Print completions for a shell: `lastseen completions bash > /etc/bash_completion.d/lastseen`
    Completions(CompletionsArgs),
    /// Write a manual page for each command
    Man(ManArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct ClusterArgs {
    #[command(subcommand)]
    pub(crate) command: ClusterCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// Let a user read the events of all streams ($all), which only administrators may by default and Lastseen needs
    ///
    /// --store-user names an administrator. The rights of others stay as they are; once more does nothing. Waits for the cluster for
    /// up to a minute.
    Grant(GrantArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct GrantArgs {
    /// The user that Lastseen is to the cluster
    #[arg(value_name = "NAME")]
    pub(crate) user: String,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ImportArgs {
    /// NDJSON files, plain or gzipped; - is stdin
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) send: SendArgs,
}

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct BackfillArgs {
    #[command(subcommand)]
    pub(crate) command: Option<BackfillCommand>,
    /// The users table: a file as CSV with a header, NDJSON or Parquet, - for stdin, or `postgres://USER@HOST/DATABASE`
    #[arg(value_name = "SOURCE", required_unless_present = "logins")]
    pub(crate) source: Option<PathBuf>,
    /// The name of this run: all of its events bear it
    #[arg(long, value_name = "NAME", value_parser = batch_name, required = true)]
    pub(crate) batch: Option<String>,
    #[command(flatten)]
    pub(crate) table: TableArgs,
    /// A file with a table of logins or sessions, each a row: real activity
    #[arg(long, value_name = "FILE")]
    pub(crate) logins: Vec<PathBuf>,
    /// The table of logins in the database that SOURCE names
    #[arg(long, value_name = "NAME", conflicts_with = "logins_query")]
    pub(crate) logins_table: Option<String>,
    /// A SELECT whose rows are the table of logins
    #[arg(long, value_name = "SQL", allow_hyphen_values = true)]
    pub(crate) logins_query: Option<String>,
    /// The column of the instant in a table of logins
    #[arg(long, value_name = "NAME", default_value = "occurred_at", value_parser = column_name)]
    pub(crate) login_column: String,
    /// Send nothing; say what would be sent, and of how many users the server knows better already
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// File for the rows that are refused; default: BATCH.rejects.csv, and nowhere in a dry run
    #[arg(long, value_name = "FILE")]
    pub(crate) rejects: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) send: SendArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BackfillCommand {
    /// Compare a users table with what the server says of its users
    ///
    /// Prints every difference with its cause. Those that the rules explain, such as an observation that beats an estimate, are no
    /// findings; of the others (exit code 3) the cause says what mends them: mostly the same backfill once more.
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
    /// List also the users who were really seen, which beats any estimate: mostly many
    #[arg(long)]
    pub(crate) all: bool,
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

/// The place of a users table and the names of its columns.
#[derive(Debug, clap::Args)]
pub(crate) struct TableArgs {
    /// The users table in the database that SOURCE names, as SQL has it: users, app.users, or '"user"' where a word is taken
    #[arg(long, value_name = "NAME", conflicts_with = "query")]
    pub(crate) table: Option<String>,
    /// A SELECT whose rows are the users table
    #[arg(long, value_name = "SQL", allow_hyphen_values = true)]
    pub(crate) query: Option<String>,
    /// The password of the database, where its URL has none
    #[arg(long, value_name = "PASSWORD", env = "PGPASSWORD", hide_env_values = true)]
    pub(crate) postgres_password: Option<String>,
    /// Format of the files, if their names do not say it (.csv, .ndjson, .jsonl, each also with .gz; .parquet)
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<TableFormat>,
    /// Separator of the fields of CSV: one character, or \t for a tab
    #[arg(long, value_name = "CHAR", default_value = ",", value_parser = delimiter)]
    pub(crate) delimiter: u8,
    #[command(flatten)]
    pub(crate) columns: ColumnArgs,
}

/// The names of the columns of a users table.
#[derive(Debug, clap::Args)]
pub(crate) struct ColumnArgs {
    /// The column of the tenant
    #[arg(long = "tenant-column", value_name = "NAME", default_value = "tenant_id", value_parser = column_name)]
    pub(crate) tenant: String,
    /// The column of the user
    #[arg(long = "user-column", value_name = "NAME", default_value = "user_id", value_parser = column_name)]
    pub(crate) user: String,
    /// The column that says whether the user is confirmed: true or false, t or f, 1 or 0, yes or no
    #[arg(long = "confirmed-column", value_name = "NAME", default_value = "email_confirmed", value_parser = column_name)]
    pub(crate) confirmed: String,
    /// The column of the instant of creation
    #[arg(long = "created-column", value_name = "NAME", default_value = "created_at", value_parser = column_name)]
    pub(crate) created: String,
    /// The column of the instant of the last change; empty: there is none
    #[arg(long = "modified-column", value_name = "NAME", default_value = "modified_at")]
    pub(crate) modified: String,
    /// The column of the instant of deletion; empty: there is none
    #[arg(long = "deleted-column", value_name = "NAME", default_value = "deleted_at")]
    pub(crate) deleted: String,
    /// The column of the last real login, if there is one, such as `last_login_at`
    #[arg(long = "observed-column", value_name = "NAME", value_parser = column_name)]
    pub(crate) observed: Option<String>,
    /// The column that says whether the user is left out of all numbers, if there is one, such as `is_bot`: true or false as
    /// above, null is false
    #[arg(long = "left-out-column", value_name = "NAME", value_parser = column_name)]
    pub(crate) left_out: Option<String>,
}

/// The values of `backfill --format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TableFormat {
    /// A header and rows
    Csv,
    /// A JSON object a line
    Ndjson,
    /// Columns; a file only
    Parquet,
}

/// The server that a command talks to.
#[derive(Debug, clap::Args)]
pub(crate) struct ServerArgs {
    /// The server to talk to
    #[arg(long, value_name = "URL", env = "LASTSEEN_SERVER", default_value = "http://127.0.0.1:8080", value_parser = server_url)]
    pub(crate) server: String,
    /// API key, where the server asks for one. Others on this machine can read it here; better set the variable, or give a
    /// file
    #[arg(long, value_name = "KEY", env = "LASTSEEN_KEY", hide_env_values = true)]
    pub(crate) key: Option<String>,
    /// A file with the API key; it goes before --key
    #[arg(long, value_name = "FILE", env = "LASTSEEN_KEY_FILE")]
    pub(crate) key_file: Option<PathBuf>,
    /// Time to go on trying while the server is away, busy or not ready, such as 30s or 5m
    #[arg(long, value_name = "SPAN", env = "LASTSEEN_RETRY_FOR", default_value = "30s", value_parser = span)]
    pub(crate) retry_for: Duration,
}

/// The server that a command publishes to, for as long as it runs.
#[derive(Debug, clap::Args)]
pub(crate) struct PublishArgs {
    /// The server to publish to; it is tried until it answers
    #[arg(long, value_name = "URL", env = "LASTSEEN_SERVER", default_value = "http://127.0.0.1:8080", value_parser = server_url)]
    pub(crate) server: String,
    /// API key with the scope publish, where the server asks for one. Others on this machine can read it here; better set
    /// the variable, or give a file
    #[arg(long, value_name = "KEY", env = "LASTSEEN_KEY", hide_env_values = true)]
    pub(crate) key: Option<String>,
    /// A file with the API key; it goes before --key
    #[arg(long, value_name = "FILE", env = "LASTSEEN_KEY_FILE")]
    pub(crate) key_file: Option<PathBuf>,
}

/// The server that events are sent to, and the way they are sent.
#[derive(Debug, clap::Args)]
pub(crate) struct SendArgs {
    #[command(flatten)]
    pub(crate) to: ServerArgs,
    /// Most events in one request
    #[arg(long, value_name = "N", env = "LASTSEEN_BATCH_EVENTS", default_value = "5000", value_parser = batch_events())]
    pub(crate) batch_events: usize,
}

#[derive(Debug, clap::Args)]
pub(crate) struct SimulateArgs {
    /// Number of people when the past ends; those who are in several tenants count as a user in each of them
    #[arg(long, value_name = "N", default_value = "10000")]
    pub(crate) users: u32,
    /// Number of tenants they are in, by Zipf's law; default: one for a hundred people
    #[arg(long, value_name = "N")]
    pub(crate) tenants: Option<u32>,
    /// Another seed gives other users with other lives
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) seed: u64,
    /// Length of their past
    #[arg(long, value_name = "DAYS", default_value = "90")]
    pub(crate) days: u32,
    /// End of the past, such as 2026-01-06T16:00:00Z; default: now
    #[arg(long, value_name = "INSTANT", value_parser = UtcInstant::parse)]
    pub(crate) until: Option<UtcInstant>,
    /// Only the past, without what happens after it
    #[arg(long)]
    pub(crate) no_live: bool,
    /// After the past, this many more visits at any hour by each user who would come on a workday: nights and weekends are
    /// not quiet then
    #[arg(long, value_name = "N", default_value = "0", conflicts_with = "no_live")]
    pub(crate) visits_at_any_hour: u32,
    #[command(flatten)]
    pub(crate) send: SendArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// Number of people; those who are in several tenants count as a user in each of them
    #[arg(long, value_name = "N", default_value = "2000")]
    pub(crate) users: u32,
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    pub(crate) listen: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct VerifyArgs {
    /// Directory of the event log
    #[arg(long, value_name = "DIR", env = "LASTSEEN_DATA", default_value = "./data")]
    pub(crate) data: PathBuf,
    /// Compare the snapshot of the views with views rebuilt from the log as well
    #[arg(long)]
    pub(crate) projections: bool,
    /// Form of the result
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) format: Format,
}

/// The values of `--format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Lines for people
    Text,
    /// One JSON object
    Json,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ReplayArgs {
    /// Directory of the event log
    #[arg(long, value_name = "DIR", env = "LASTSEEN_DATA", default_value = "./data")]
    pub(crate) data: PathBuf,
    /// Only the events up to this position, inclusive: what was on record then
    #[arg(long, value_name = "POSITION", value_parser = position, conflicts_with = "as_of")]
    pub(crate) until: Option<Position>,
    /// The state at this instant, such as 2026-01-06T16:00:00Z: of the events that had occurred by then
    #[arg(long, value_name = "INSTANT", value_parser = UtcInstant::parse)]
    pub(crate) as_of: Option<UtcInstant>,
    /// Only this tenant
    #[arg(long, value_name = "TENANT")]
    pub(crate) tenant: Option<String>,
    /// Activity that counts as being seen: a comma list of `login`, `token_refresh`, `tenant_switch`, `signup_complete`
    #[arg(long, value_name = "TYPES")]
    pub(crate) types: Option<TypeSet>,
    /// Length of the window before that instant, or before now, in which an active user was seen, such as 30d or 24h
    #[arg(long, value_name = "SPAN", default_value = "30d")]
    pub(crate) window: Window,
    /// Form of the numbers
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) format: Format,
}

#[derive(Debug, clap::Args)]
pub(crate) struct BackupArgs {
    /// Directory to copy to; created if it does not exist, refused if it holds a log
    #[arg(value_name = "DIR")]
    pub(crate) to: PathBuf,
    /// Directory of the event log
    #[arg(long, value_name = "DIR", env = "LASTSEEN_DATA", default_value = "./data")]
    pub(crate) data: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RestoreArgs {
    /// The backup
    #[arg(value_name = "BACKUP")]
    pub(crate) from: PathBuf,
    /// Directory to restore to; created if it does not exist, refused if it holds a log
    #[arg(long, value_name = "DIR", env = "LASTSEEN_DATA", default_value = "./data")]
    pub(crate) data: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ManArgs {
    /// Directory for the pages; created if it does not exist
    #[arg(value_name = "DIR")]
    pub(crate) to: PathBuf,
}

/// Ends the process as any other bad usage of `command` does: for arguments that only together make no sense.
pub(crate) fn refuse(command: &str, reason: impl fmt::Display) -> ! {
    let mut all = Args::command();
    all.build();
    let command = all.find_subcommand_mut(command).expect("the command was just parsed");
    command.error(ErrorKind::ValueValidation, reason).exit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }
}
