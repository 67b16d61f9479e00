//! The flags of `lastseen keys`.

use std::path::PathBuf;

use clap::Subcommand;
use lastseen_server::keys::{InvalidScope, Scope};

use super::Format;
use super::values::{Expiry, expiry};

#[derive(Debug, clap::Args)]
pub(crate) struct KeysArgs {
    #[command(subcommand)]
    pub(crate) command: KeysCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Make a key and print it, this once: only a hash of it is kept
    ///
    /// The key goes to stdout, all else to stderr: `KEY=$(lastseen keys create --name api --scope publish)`.
    /// The first key closes the server: from then on each request needs one.
    Create(CreateKeyArgs),
    /// List the keys: never the secrets
    List(ListKeysArgs),
    /// Take a key back: within a second it is refused
    Revoke(RevokeKeyArgs),
}

/// The place of the keys.
#[derive(Debug, clap::Args)]
pub(crate) struct KeysFileArgs {
    /// Directory of the event log, which has the keys in `keys.json`
    #[arg(long, value_name = "DIR", env = "LASTSEEN_DATA", default_value = "./data")]
    pub(crate) data: PathBuf,
    /// Another file for the keys, as the server's --keys says
    #[arg(long, value_name = "FILE", env = "LASTSEEN_KEYS")]
    pub(crate) keys: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CreateKeyArgs {
    /// A name for people, such as the name of the service that will use the key
    #[arg(long, value_name = "NAME")]
    pub(crate) name: String,
    /// Permissions, one or several: publish (append events), query (numbers and users), replay (history), backfill
    /// (publish and retract batches), admin (how the server is)
    #[arg(long = "scope", value_name = "SCOPE", required = true, value_delimiter = ',', value_parser = scope)]
    pub(crate) scopes: Vec<Scope>,
    /// A tenant that the key is bound to; may be given several times. Others do not exist for it. Default: all tenants
    #[arg(long = "tenant", value_name = "TENANT")]
    pub(crate) tenants: Vec<String>,
    /// Most requests a second; more get 429. Default: no limit
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) requests_per_second: Option<u32>,
    /// Most events a second; more get 429. A larger batch passes, and is paid back before the next one. Default: no limit
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) events_per_second: Option<u32>,
    /// Most costly questions under way at once, waiting ones and downloads included; more get 429. Default: no limit
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) costly_at_once: Option<u32>,
    /// End of the key: a time from now such as 90d, a date such as 2027-01-31, or an instant. Default: none
    #[arg(long, value_name = "WHEN", value_parser = expiry)]
    pub(crate) expires: Option<Expiry>,
    /// Write the key to this new file, which only its owner may read, and not to stdout
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Make none, and succeed, if a key in force has the name
    #[arg(long)]
    pub(crate) if_absent: bool,
    #[command(flatten)]
    pub(crate) file: KeysFileArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ListKeysArgs {
    /// Form of the list
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) format: Format,
    #[command(flatten)]
    pub(crate) file: KeysFileArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RevokeKeyArgs {
    /// The id of the key, or its name
    #[arg(value_name = "KEY")]
    pub(crate) key: String,
    #[command(flatten)]
    pub(crate) file: KeysFileArgs,
}

fn scope(text: &str) -> Result<Scope, InvalidScope> {
    text.parse()
}
