//! Connections to PostgreSQL: the URL, TLS, and what the database says beside its answers.

use std::future::poll_fn;
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{AsyncMessage, Client, Config, Connection, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

/// Reads a URL. `password` is that of a URL without one.
///
/// # Errors
/// If it is no URL of a database, or a password in it is cut by an `@`.
pub(crate) fn config(url: &str, password: Option<&str>) -> anyhow::Result<Config> {
    const EXPECTED: &str = "expected a URL such as postgres://user@host/database; \
                            what is special in a password is written as %40 for @ and %2F for /";
    // Certificates and names are verified wherever TLS is spoken.
    let url =
        url.replace("sslmode=verify-full", "sslmode=require").replace("sslmode=verify-ca", "sslmode=require");
    let mut config: Config = url.parse().context(EXPECTED)?;
    let is_cut = |part: &str| part.contains('@');
    if config.get_hosts().iter().any(|host| matches!(host, Host::Tcp(host) if is_cut(host)))
        || config.get_dbname().is_some_and(is_cut)
    {
        bail!("the URL of the database has several @: those of its password are written as %40");
    }
    if let (None, Some(password)) = (config.get_password(), password) {
        config.password(password);
    }
    if config.get_application_name().is_none() {
        config.application_name("lastseen");
    }
    Ok(config)
}

/// Host and database, without a password.
pub(crate) fn name_of(config: &Config) -> String {
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(host)) => host.clone(),
        #[cfg(unix)]
        Some(Host::Unix(path)) => path.display().to_string(),
        None => String::new(),
    };
    format!("{} on {host}", config.get_dbname().or(config.get_user()).unwrap_or_default())
}

/// An identifier as it stands, whatever is in it.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Connects, with TLS unless the database is on this machine or the URL says otherwise. `told` is notified of each
/// notification, and of the end of the connection.
///
/// # Errors
/// The database's error.
pub(crate) async fn connect(config: &Config, told: &Arc<Notify>) -> anyhow::Result<Client> {
    let is_plain = match config.get_ssl_mode() {
        SslMode::Disable => true,
        SslMode::Prefer => config.get_hostaddrs().is_empty() && config.get_hosts().iter().all(is_here),
        _ => false,
    };
    if is_plain {
        let (client, connection) = config.connect(NoTls).await?;
        listen(connection, told.clone());
        return Ok(client);
    }
    let trusted = MakeRustlsConnect::with_native_certs();
    // Of those of this machine that cannot be read it is enough that others can.
    let (connect, _) = trusted.map_err(|errors| anyhow!("no certificates to trust: {errors:?}"))?;
    // A server that offers none is refused, not talked to in plain text.
    let mut config = config.clone();
    let (client, connection) = config.ssl_mode(SslMode::Require).connect(connect).await?;
    listen(connection, told.clone());
    Ok(client)
}

fn is_here(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => {
            name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
        #[cfg(unix)]
        Host::Unix(_) => true,
    }
}

/// Drives a connection until it ends: with its client, or by a failure. The client is told of failures.
fn listen<S, T>(mut connection: Connection<S, T>, told: Arc<Notify>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let drive = async move {
        while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
            if matches!(message, AsyncMessage::Notification(_)) {
                told.notify_one();
            }
        }
        told.notify_one();
    };
    drop(Handle::current().spawn(drive));
}
