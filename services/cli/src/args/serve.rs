//! The flags of `lastseen serve`.

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use clap::builder::RangedU64ValueParser;
use ipnet::IpNet;
use lastseen_server::{ClusterConfig, ListenAddress, Origin};
use tracing_subscriber::filter::Targets;

use super::values::{at_least_one, log_filter, network, segment_events, size, span, time_limit};

#[derive(Debug, clap::Args)]
pub(crate) struct ServeArgs {
    /// Directory of the event log; created if it does not exist
    #[arg(long, value_name = "DIR", env = "LASTSEEN_DATA", default_value = "./data")]
    pub(crate) data: PathBuf,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    /// The file of the API keys, which must be there; default: `keys.json` in the data directory, if it is there
    #[arg(long, value_name = "FILE", env = "LASTSEEN_KEYS")]
    pub(crate) keys: Option<PathBuf>,
    /// Address to listen on, such as 127.0.0.1:8080, `[::1]:8080` or localhost:8080, where port 0 takes a free one, or a Unix
    /// socket such as `unix:/run/lastseen.sock`, for its owner and its group; may be given several times
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "LASTSEEN_LISTEN",
        default_value = "127.0.0.1:8080",
        value_delimiter = ','
    )]
    pub(crate) listen: Vec<ListenAddress>,
    /// Address for /healthz, /readyz and /metrics alone, without keys and TLS: one that only operators reach; may be given
    /// several times
    #[arg(long, value_name = "HOST:PORT", env = "LASTSEEN_METRICS_LISTEN", value_delimiter = ',')]
    pub(crate) metrics_listen: Vec<ListenAddress>,
    /// The certificate of the server and those up to its authority, as PEM: then it speaks TLS. Read again when it changes
    #[arg(long, value_name = "FILE", env = "LASTSEEN_TLS_CERT", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The private key of the certificate, as PEM. Read again when it changes
    #[arg(long, value_name = "FILE", env = "LASTSEEN_TLS_KEY", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// A URL under which others reach the server, such as `https://activity.example`; may be given several times
    ///
    /// The server then answers under these hosts, and not under others, except for /healthz and /readyz. Behind a proxy that
    /// passes on the host of a request, give its URL.
    #[arg(long = "public-url", value_name = "URL", env = "LASTSEEN_PUBLIC_URL", value_delimiter = ',')]
    pub(crate) public_urls: Vec<Origin>,
    /// The network of a proxy whose `X-Forwarded-For` is believed, such as 10.0.0.0/8; may be given several times
    #[arg(long = "trusted-proxy", value_name = "NETWORK", env = "LASTSEEN_TRUSTED_PROXY", value_delimiter = ',', value_parser = network)]
    pub(crate) trusted_proxies: Vec<IpNet>,
    /// Rule for persons: is the same `user_id` in several tenants one person?
    #[arg(long, value_name = "RULE", env = "LASTSEEN_PERSONS", default_value = "user_id")]
    pub(crate) persons: Persons,
    /// Longest time that an event may be ahead of the server's clock, such as 5m or 30s
    #[arg(long, value_name = "SPAN", env = "LASTSEEN_FUTURE_TOLERANCE", default_value = "5m", value_parser = span)]
    pub(crate) future_tolerance: Duration,
    /// Events of a segment of sealed history, a Parquet file that any tool reads
    #[arg(long, value_name = "N", env = "LASTSEEN_SEGMENT_EVENTS", default_value = "1000000", value_parser = segment_events())]
    pub(crate) segment_events: u64,
    /// When events are sealed at the latest, however few there are, such as 24h or 30m
    #[arg(long, value_name = "SPAN", env = "LASTSEEN_SEGMENT_AGE", default_value = "24h", value_parser = span)]
    pub(crate) segment_age: Duration,
    /// Names of backfill batches that the log takes, those of retracted ones included: it keeps them for ever
    #[arg(long, value_name = "N", env = "LASTSEEN_BATCHES_MAX", default_value = "10000", value_parser = at_least_one())]
    pub(crate) batches_max: usize,
    /// Memory for filters over the ids of sealed events, about 1.5 bytes an event; ids beyond it are looked up on disk
    #[arg(long, value_name = "SIZE", env = "LASTSEEN_ID_FILTER_MEMORY", default_value = "256MiB", value_parser = size)]
    pub(crate) id_filter_memory: usize,
    /// Events after which a new snapshot of the views is due; the next start goes on from it
    #[arg(long, value_name = "N", env = "LASTSEEN_SNAPSHOT_EVENTS", default_value = "10000000", value_parser = RangedU64ValueParser::<u64>::new().range(1..))]
    pub(crate) snapshot_events: u64,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
    #[command(flatten)]
    pub(crate) connections: ConnectionArgs,
    /// A site whose pages may use the API through a browser, such as `https://app.example`; may be given several times
    ///
    /// Pages of other sites are refused, because any page on the web could otherwise ask through its reader's browser.
    #[arg(long = "cors-origin", value_name = "ORIGIN", env = "LASTSEEN_CORS_ORIGIN", value_delimiter = ',')]
    pub(crate) cors_origins: Vec<Origin>,
    /// A TOML file with settings: the names of these flags with _ in place of -, such as `segment_events = 1000000`. A flag
    /// beats its variable, a variable beats the file
    #[arg(long, value_name = "FILE", env = "LASTSEEN_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Print the settings as a configuration file, with their sources, and end
    #[arg(long)]
    pub(crate) print_config: bool,
    #[command(flatten)]
    pub(crate) log: LogArgs,
    /// Collector of OpenTelemetry that gets a span of each request, over HTTP, such as <http://127.0.0.1:4318>
    #[cfg(feature = "otlp")]
    #[arg(long, value_name = "URL", env = "LASTSEEN_OTLP_ENDPOINT")]
    pub(crate) otlp_endpoint: Option<String>,
}

/// The cluster that has the events.
#[derive(Debug, clap::Args)]
pub(crate) struct StoreArgs {
    /// A cluster of EventStoreDB or KurrentDB that keeps the events, such as `esdb://a:2113,b:2113,c:2113?tls=true`; default: this
    /// server keeps them
    ///
    /// Then the data directory has a copy, which may be deleted at any time, and any number of servers have the same events. The
    /// address says also tls, tlsCaFile, userCertFile and userKeyFile. Needs a build with the feature eventstoredb.
    #[arg(long, value_name = "ADDRESS", env = "LASTSEEN_STORE")]
    pub(crate) store: Option<String>,
    /// The user of the cluster
    #[arg(
        long,
        value_name = "NAME",
        env = "LASTSEEN_STORE_USER",
        requires = "store_password_file",
        requires = "store"
    )]
    pub(crate) store_user: Option<String>,
    /// The file of the user's password: all of it, but a line end at its end
    #[arg(long, value_name = "FILE", env = "LASTSEEN_STORE_PASSWORD_FILE", requires = "store_user")]
    pub(crate) store_password_file: Option<PathBuf>,
}

impl StoreArgs {
    /// The settings, if there is a cluster.
    pub(crate) fn config(&self) -> Option<ClusterConfig> {
        let user = self.store_user.clone().zip(self.store_password_file.clone());
        self.store.clone().map(|address| ClusterConfig { address, user })
    }
}

/// Bounds on costly work and on memory. The defaults fit a container of 1 GiB.
#[derive(Debug, clap::Args)]
pub(crate) struct LimitArgs {
    /// Memory of all request bodies and answers under way, such as 256MiB; beyond it requests get 503
    #[arg(long, value_name = "SIZE", env = "LASTSEEN_MEMORY", default_value = "256MiB", value_parser = size)]
    pub(crate) memory: usize,
    /// Scans of history at once: one takes both cores of a small machine
    #[arg(long, value_name = "N", env = "LASTSEEN_SCANS", default_value = "1", value_parser = at_least_one())]
    pub(crate) scans: usize,
    /// Series and numbers of the past counted at once, a core each; cohorts may take half of these places
    #[arg(long, value_name = "N", env = "LASTSEEN_COUNTS", default_value = "2", value_parser = at_least_one())]
    pub(crate) counts: usize,
    /// Pages of large lists put together at once, a core each
    #[arg(long, value_name = "N", env = "LASTSEEN_LISTS", default_value = "2", value_parser = at_least_one())]
    pub(crate) lists: usize,
    /// Replays and whole lists (CSV) sent at once, 4 MiB each
    #[arg(long, value_name = "N", env = "LASTSEEN_DOWNLOADS", default_value = "16", value_parser = at_least_one())]
    pub(crate) downloads: usize,
    /// Large bodies decoded at once
    #[arg(long, value_name = "N", env = "LASTSEEN_DECODES", default_value = "8", value_parser = at_least_one())]
    pub(crate) decodes: usize,
    /// Costly questions of one kind that may wait for a place; one more gets 503
    #[arg(long, value_name = "N", env = "LASTSEEN_WAITING", default_value = "256", value_parser = at_least_one())]
    pub(crate) waiting: usize,
    /// Longest wait of a costly question for a place; then it gets 503
    #[arg(long, value_name = "SPAN", env = "LASTSEEN_QUESTION_WAIT", default_value = "5s", value_parser = time_limit)]
    pub(crate) question_wait: Duration,
    /// Longest work on one question; then it is broken off with 503
    #[arg(long, value_name = "SPAN", env = "LASTSEEN_QUESTION_DEADLINE", default_value = "2m", value_parser = time_limit)]
    pub(crate) question_deadline: Duration,
    /// Definitions of activity (a zone, the types that count) whose days are kept up besides that of UTC
    #[arg(long, value_name = "N", env = "LASTSEEN_DEFINITIONS", default_value = "16")]
    pub(crate) definitions: usize,
    /// Most memory of their days, and of the past that is kept from question to question, such as 2GiB each; by default
    /// 64 MiB and 256 bytes a member
    #[arg(long, value_name = "SIZE", env = "LASTSEEN_KEPT_MEMORY", value_parser = size)]
    pub(crate) kept_memory: Option<usize>,
    /// Longest time for a request body to arrive
    #[arg(long, value_name = "SPAN", env = "LASTSEEN_BODY_TIMEOUT", default_value = "30s", value_parser = time_limit)]
    pub(crate) body_timeout: Duration,
}

/// Limits of connections.
#[derive(Debug, clap::Args)]
pub(crate) struct ConnectionArgs {
    /// Connections at once; at the cap, whichever has been idle longest makes room. Each may hold a few 100 KiB
    #[arg(long, value_name = "N", env = "LASTSEEN_CONNECTIONS_MAX", default_value = "1024", value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    pub(crate) connections_max: usize,
    /// Longest time for the head of a request; an honest one comes in one piece
    #[arg(long, value_name = "SPAN", env = "LASTSEEN_HEAD_TIMEOUT", default_value = "10s", value_parser = time_limit)]
    pub(crate) head_timeout: Duration,
    /// Longest wait for a connection's next request; proxies mostly keep theirs for 60s and should be the first to close
    #[arg(long, value_name = "SPAN", env = "LASTSEEN_IDLE_TIMEOUT", default_value = "75s", value_parser = time_limit)]
    pub(crate) idle_timeout: Duration,
    /// Longest time for which a client may take nothing of its answer; slow ones that take something are served
    #[arg(long, value_name = "SPAN", env = "LASTSEEN_STALL_TIMEOUT", default_value = "60s", value_parser = time_limit)]
    pub(crate) stall_timeout: Duration,
}

/// The log of a command that goes on until it is stopped.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct LogArgs {
    /// Form of the log: lines for people, or a JSON object a line
    #[arg(long, value_name = "FORMAT", env = "LASTSEEN_LOG_FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,
    /// Log to stderr from this level on: error, warn, info, debug, trace or off, also per module: `info,lastseen_log=debug`
    #[arg(long = "log", value_name = "LEVEL", env = "LASTSEEN_LOG", default_value = "info", value_parser = log_filter)]
    pub(crate) filter: Targets,
}

/// The values of `--log-format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people
    Text,
    /// A JSON object a line
    Json,
}

/// The values of `--persons`.
#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Persons {
    /// The same `user_id` in several tenants is one person
    UserId,
    /// User ids are per tenant; person counts are omitted
    Off,
}
