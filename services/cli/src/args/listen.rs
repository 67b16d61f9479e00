//! The arguments of `lastseen listen`.

use std::path::PathBuf;

use lastseen_server::ListenAddress;

use super::values::size;
use super::{LogArgs, PublishArgs};

#[derive(Debug, clap::Args)]
pub(crate) struct ListenArgs {
    /// A TOML file with a table [[source]] for each provider
    #[arg(value_name = "SOURCES", env = "LASTSEEN_LISTEN_SOURCES")]
    pub(crate) sources: PathBuf,
    /// Address for deliveries; may be given several times. Providers on the internet need TLS, here or before it
    #[arg(
        long,
        value_name = "HOST:PORT",
        env = "LASTSEEN_LISTEN_LISTEN",
        value_delimiter = ',',
        default_value = "127.0.0.1:8082"
    )]
    pub(crate) listen: Vec<ListenAddress>,
    /// A file with the certificate chain as PEM, for TLS; read again when it changes
    #[arg(long, value_name = "FILE", env = "LASTSEEN_TLS_CERT", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// A file with the private key of the certificate as PEM
    #[arg(long, value_name = "FILE", env = "LASTSEEN_TLS_KEY", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Address for /metrics, as Prometheus reads them, such as 127.0.0.1:9188
    #[arg(long, value_name = "HOST:PORT", env = "LASTSEEN_LISTEN_METRICS_LISTEN", value_delimiter = ',')]
    pub(crate) metrics_listen: Vec<ListenAddress>,
    /// Directory for events that wait while the server is away; without it a delivery is answered once it is stored
    #[arg(long, value_name = "DIR", env = "LASTSEEN_LISTEN_OUTBOX")]
    pub(crate) outbox: Option<PathBuf>,
    /// Largest size of the outbox
    #[arg(long, value_name = "SIZE", env = "LASTSEEN_LISTEN_OUTBOX_SIZE", default_value = "256MiB", value_parser = size)]
    pub(crate) outbox_size: usize,
    #[command(flatten)]
    pub(crate) to: PublishArgs,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}
