//! The command line: flags first, then `LASTSEEN_*` variables, then defaults. Nothing else reads the
//! environment.

mod backfill;
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

pub(crate) use self::backfill::{
    BackfillArgs, BackfillCommand, BackfillVerifyArgs, Everybody, LoginArgs, RetractArgs, SourceArgs,
    TableArgs, TableFormat,
};
pub(crate) use self::keys::{
    CreateKeyArgs, KeysArgs, KeysCommand, KeysFileArgs, ListKeysArgs, RevokeKeyArgs,
};
pub(crate) use self::listen::ListenArgs;
pub(crate) use self::relay::RelayArgs;
pub(crate) use self::serve::{LimitArgs, LogArgs, LogFormat, Persons, ServeArgs, StoreArgs};
use self::values::{batch_events, position, server_url, span};

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
