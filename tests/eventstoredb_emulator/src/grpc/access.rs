//! Callers, and their rights. Without TLS and without users of its own a cluster asks nobody, as a server that
//! was started insecure.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tonic::Status;
use tonic::metadata::MetadataMap;

use super::status::access_denied;
use crate::options::{Options, User};
use crate::record::METADATA_PREFIX;
use crate::store::Store;

/// The caller of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// May do everything.
    Administrator,
    /// A user by name.
    User(String),
}

const ADMINISTRATOR: &str = "admin";
const ADMINISTRATOR_PASSWORD: &str = "changeit";

/// The group of all users, and the name of the stream of all events.
const EVERYBODY: &str = "$all";

/// The caller by the credentials of a request.
///
/// # Errors
/// Access is denied: no credentials where they are needed, or wrong ones.
pub(crate) fn caller(metadata: &MetadataMap, options: &Options) -> Result<Caller, Status> {
    if options.users.is_empty() && options.tls.is_none() {
        return Ok(Caller::Administrator);
    }
    let header = metadata.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (name, password) = credentials(header).ok_or_else(access_denied)?;
    if name == ADMINISTRATOR {
        return if password == ADMINISTRATOR_PASSWORD {
            Ok(Caller::Administrator)
        } else {
            Err(access_denied())
        };
    }
    let is_known = |user: &User| user.name == name && user.password == password;
    if options.users.iter().any(is_known) { Ok(Caller::User(name)) } else { Err(access_denied()) }
}

fn credentials(header: &str) -> Option<(String, String)> {
    let encoded = header.strip_prefix("Basic ")?;
    let decoded = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    let (name, password) = decoded.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}

impl Caller {
    fn is_among(&self, names: Option<Vec<String>>, by_default: bool) -> Result<(), Status> {
        let is_allowed = match (self, names) {
            (Self::Administrator, _) => true,
            (Self::User(_), None) => by_default,
            (Self::User(user), Some(names)) => names.iter().any(|name| name == user || name == EVERYBODY),
        };
        if is_allowed { Ok(()) } else { Err(access_denied()) }
    }

    /// Lets the caller read `$all`: an administrator must have said so in its metadata.
    ///
    /// # Errors
    /// Access is denied.
    pub(crate) fn may_read_all(&self, store: &Store) -> Result<(), Status> {
        self.is_among(store.metadata(EVERYBODY).readers, false)
    }

    /// Lets the caller read a stream.
    ///
    /// # Errors
    /// Access is denied.
    pub(crate) fn may_read(&self, stream: &str, store: &Store) -> Result<(), Status> {
        let of = stream.strip_prefix(METADATA_PREFIX).unwrap_or(stream);
        self.is_among(store.metadata(of).readers, !of.starts_with('$'))
    }

    /// Lets the caller append to a stream, and delete it.
    ///
    /// # Errors
    /// Access is denied.
    pub(crate) fn may_write(&self, stream: &str, store: &Store) -> Result<(), Status> {
        let of = stream.strip_prefix(METADATA_PREFIX).unwrap_or(stream);
        self.is_among(store.metadata(of).writers, !of.starts_with('$'))
    }
}
