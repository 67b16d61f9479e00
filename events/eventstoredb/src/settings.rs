//! Settings of the connection, checked before the client sees them: it panics, or warns and goes on, where one is wrong.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use eventstore::{Authentication, ClientSettings};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::names::Names;

/// The way to a cluster.
#[derive(Clone, Debug)]
pub struct ClusterSettings {
    pub(crate) client: ClientSettings,
    pub(crate) credentials: Option<Credentials>,
    /// Times and bounds.
    pub timing: Timing,
    /// Names of streams.
    pub(crate) names: Names,
    /// Hosts and ports, for messages.
    hosts: String,
}

/// A user of the cluster and its password, each with any character.
#[derive(Clone)]
pub struct Credentials {
    /// The name.
    pub user: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for Credentials {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

impl Credentials {
    pub(crate) fn authentication(&self) -> Authentication {
        Authentication::basic(self.user.clone(), self.password.clone())
    }
}

/// Times after which something counts as failed, and bounds on what is under way.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// A call without an answer after this counts as failed, and its client with it.
    pub call: Duration,
    /// The outcome of an append is unknown after this, unless all of it was answered.
    pub outcome: Duration,
    /// A success waits so long for this node's own copy.
    pub visible: Duration,
    /// A node is asked for a sign of life so often.
    pub pulse: Duration,
    /// A node may look so long through the events of others for the next one of Lastseen.
    pub search: Duration,
    /// A start that has a copy waits so long for the cluster before it goes on with the copy alone.
    pub contact: Duration,
    /// A cluster that seems to have another history is asked for so long before it is refused: a node that led before it was frozen
    /// seems so too, until it hears of the others.
    pub doubt: Duration,
    /// Appends in one session at once.
    pub appends_in_flight: usize,
    /// Bytes of appends in one session at once.
    pub bytes_in_flight: usize,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            call: Duration::from_secs(3),
            outcome: Duration::from_secs(20),
            visible: Duration::from_secs(5),
            pulse: Duration::from_secs(1),
            search: Duration::from_mins(1),
            contact: Duration::from_secs(10),
            doubt: Duration::from_secs(10),
            appends_in_flight: 1024,
            bytes_in_flight: 32 << 20,
        }
    }
}

/// Settings that are none.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The address is not of the form that the client reads.
    #[error("expected an address such as esdb://host1:2113,host2:2113,host3:2113?tls=true: {0}")]
    Address(String),
    /// The address has a user or a password.
    #[error(
        "expected an address without user and password: an address is seen by others, and special characters in it are read in \
         several ways; name the user and the file of its password beside it"
    )]
    Credentials,
    /// The address has a parameter that nobody reads.
    #[error("the address has an unknown parameter {found}; known are {}", PARAMETERS.join(", "))]
    Parameter {
        /// Its name.
        found: String,
    },
    /// The name of an installation has other characters, or too many.
    #[error("expected a name of 1 to 32 small letters, digits and underscores, found {0}")]
    Installation(String),
    /// A file of certificates or of a key cannot be used.
    #[error("{parameter}: cannot use {}: {cause}", path.display())]
    File {
        /// The parameter that names it.
        parameter: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        cause: String,
    },
}

const CA_FILE: &str = "tlsCaFile";
const CERTIFICATE_FILE: &str = "userCertFile";
const KEY_FILE: &str = "userKeyFile";

/// The parameters of an address. The client compares them without regard to case. It has others, which are not for Lastseen: events
/// are read from the node that leads, since a node that is behind would look like a cluster that was restored.
const PARAMETERS: [&str; 8] = [
    "tls",
    "tlsVerifyCert",
    CA_FILE,
    CERTIFICATE_FILE,
    KEY_FILE,
    "discoveryInterval",
    "gossipTimeout",
    "connectionName",
];

/// Values of parameters that an address does not say, in milliseconds where they are times: a first call of the client takes at
/// least the interval, and a node that is frozen takes the time-out.
const DEFAULTS: [(&str, &str); 4] = [
    ("maxDiscoverAttempts", "4"),
    ("discoveryInterval", "100"),
    ("gossipTimeout", "1000"),
    ("connectionName", "lastseen"),
];

impl ClusterSettings {
    /// Reads an address, `esdb://host:2113,host:2113?tls=true`, and checks the files that it names. TLS is on unless it says
    /// `tls=false`.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn new(address: &str, credentials: Option<Credentials>) -> Result<Self, SettingsError> {
        let (front, query) = address.split_once('?').unwrap_or((address, ""));
        let hosts = front.split_once("://").map_or(front, |(_, hosts)| hosts);
        if hosts.contains('@') {
            return Err(SettingsError::Credentials);
        }
        let mut said = Vec::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let known = PARAMETERS.iter().find(|known| known.eq_ignore_ascii_case(&name));
            let known = *known.ok_or_else(|| SettingsError::Parameter { found: name.into_owned() })?;
            check_file(known, &value)?;
            said.push((known, value.into_owned()));
        }
        for (name, value) in DEFAULTS {
            if said.iter().all(|(said, _)| *said != name) {
                said.push((name, value.to_owned()));
            }
        }
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(&said).finish();
        let client: ClientSettings =
            format!("{front}?{query}").parse().map_err(|error: eventstore::ClientSettingsParseError| {
                SettingsError::Address(error.to_string())
            })?;
        let hosts = hosts.trim_end_matches('/').to_owned();
        Ok(Self { client, credentials, timing: Timing::default(), names: Names::default(), hosts })
    }

    /// The same for one of several installations of Lastseen on a cluster: its streams are named after it, `user_activity_NAME-...`
    /// and `lastseen_NAME-log`, and it sees no others. Without this they are `user_activity-...` and `lastseen-log`.
    ///
    /// # Errors
    /// [`SettingsError::Installation`].
    pub fn for_installation(self, name: &str) -> Result<Self, SettingsError> {
        let names = Names::of_installation(name);
        let names = names.ok_or_else(|| SettingsError::Installation(name.to_owned()))?;
        Ok(Self { names, ..self })
    }
}

impl fmt::Display for ClusterSettings {
    /// The hosts, without credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hosts)
    }
}

/// Checks a file that the client would panic over.
fn check_file(parameter: &'static str, value: &str) -> Result<(), SettingsError> {
    let path = PathBuf::from(value);
    let error = |cause: String| SettingsError::File { parameter, path: path.clone(), cause };
    match parameter {
        CA_FILE | CERTIFICATE_FILE => {
            let found = CertificateDer::pem_file_iter(&path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
            match found {
                Ok(found) if found.is_empty() => Err(error("it has no certificate in PEM form".to_owned())),
                Ok(_) => Ok(()),
                Err(cause) => Err(error(cause.to_string())),
            }
        }
        KEY_FILE => PrivateKeyDer::from_pem_file(&path).map(drop).map_err(|cause| error(cause.to_string())),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_with_defaults_for_what_it_does_not_say() {
        let read =
            ClusterSettings::new("esdb://a:2111,b:2112,c:2113?TLS=false&gossipTimeout=50", None).unwrap();
        assert_eq!(read.to_string(), "a:2111,b:2112,c:2113");
        assert_eq!(read.client.hosts().len(), 3);
        assert!(!read.client.is_secure_mode_enabled());
        assert_eq!(read.client.gossip_timeout(), Duration::from_millis(50));
        assert_eq!(read.client.discovery_interval(), Duration::from_millis(100));
        let secure = ClusterSettings::new("esdb://localhost:2113", None).unwrap();
        assert!(secure.client.is_secure_mode_enabled());
    }

    #[test]
    fn what_is_wrong_is_told_before_anything_is_tried() {
        let told = |address: &str| ClusterSettings::new(address, None).unwrap_err().to_string();
        assert!(told("esdb://admin:changeit@localhost:2113").contains("without user and password"));
        assert!(told("esdb://localhost?tsl=false").contains("unknown parameter tsl; known are tls, "));
        assert!(told("http://localhost").contains("expected an address such as esdb://"));
        assert!(told("esdb://localhost?tls=maybe").contains("tls"));
        let missing = told("esdb://localhost?tlsCaFile=/nonexistent/ca.crt");
        assert!(missing.starts_with("tlsCaFile: cannot use /nonexistent/ca.crt: "), "{missing}");
        let file = tempfile::NamedTempFile::new().unwrap();
        let empty = told(&format!("esdb://localhost?tlsCaFile={}", file.path().display()));
        assert!(empty.ends_with("it has no certificate in PEM form"), "{empty}");
        let key = told(&format!("esdb://localhost?userKeyFile={}", file.path().display()));
        assert!(key.starts_with("userKeyFile: cannot use "), "{key}");
    }

    #[test]
    fn a_password_is_not_printed() {
        let credentials = Credentials { user: "ops".to_owned(), password: "p%40:ss".to_owned() };
        let settings = ClusterSettings::new("esdb://localhost", Some(credentials)).unwrap();
        assert!(!format!("{settings:?}{settings}").contains("p%40"));
    }
}
