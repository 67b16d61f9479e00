//! The arguments of `lastseen relay`.

use std::time::Duration;

use lastseen_server::ListenAddress;

use super::values::{batch_events, span, table_name};
use super::{LogArgs, PublishArgs};

#[derive(Debug, clap::Args)]
pub(crate) struct RelayArgs {
    /// The database: `postgres://USER@HOST/DATABASE`; with several hosts, the one that takes writes
    #[arg(
        value_name = "SOURCE",
        env = "LASTSEEN_RELAY_SOURCE",
        hide_env_values = true,
        required_unless_present = "print_ddl"
    )]
    pub(crate) source: Option<String>,
    /// The table, as SQL has it: `activity_outbox`, `app.outbox`, or '"Outbox"' where capitals count
    #[arg(long, value_name = "NAME", env = "LASTSEEN_RELAY_TABLE", default_value = "activity_outbox", value_parser = table_name)]
    pub(crate) table: String,
    /// Set the column `published_at` of a row that was published, in place of deleting it
    #[arg(long)]
    pub(crate) mark: bool,
    /// Print the SQL that makes the table, its index and its trigger, and end
    #[arg(long)]
    pub(crate) print_ddl: bool,
    /// Publish the rows that are there and end; exit code 3 if some were set aside
    #[arg(long)]
    pub(crate) once: bool,
    /// Time between two looks at the table where no trigger tells of new rows, such as 1s or 25ms
    #[arg(long, value_name = "SPAN", env = "LASTSEEN_RELAY_POLL", default_value = "1s", value_parser = span)]
    pub(crate) poll: Duration,
    /// Most rows that are read at once, and most events in one request
    #[arg(long, value_name = "N", env = "LASTSEEN_BATCH_EVENTS", default_value = "5000", value_parser = batch_events())]
    pub(crate) batch_events: usize,
    /// Address for /metrics, as Prometheus reads them, such as 127.0.0.1:9187
    #[arg(long, value_name = "HOST:PORT", env = "LASTSEEN_RELAY_METRICS_LISTEN", value_delimiter = ',')]
    pub(crate) metrics_listen: Vec<ListenAddress>,
    /// The password of the database, where its URL has none
    #[arg(long, value_name = "PASSWORD", env = "PGPASSWORD", hide_env_values = true)]
    pub(crate) postgres_password: Option<String>,
    #[command(flatten)]
    pub(crate) to: PublishArgs,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}
