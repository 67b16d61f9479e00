//! Hosts as they stand in a URL, addresses to listen on, and origins: the sites that a browser names as the source of a
//! request (RFC 6454).

use std::fmt;
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::str::FromStr;

/// A site: `scheme://host[:port]`, compared by its parts, the host without regard to case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    scheme: Scheme,
    host: String,
    port: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
}

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// `host:port`, where the host is an address or a name.
    Tcp {
        /// An address or a name, an IPv6 address without brackets.
        host: String,
        /// 0 takes a free one.
        port: u16,
    },
    /// `unix:` and a path: a Unix socket.
    Unix(PathBuf),
}

/// A text that is no address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a host and a port such as 127.0.0.1:8080, [::1]:8080 or localhost:8080, where port 0 takes a free one, \
     or a Unix socket such as unix:/run/lastseen/http.sock"
)]
pub struct InvalidListenAddress;

impl FromStr for ListenAddress {
    type Err = InvalidListenAddress;

    fn from_str(text: &str) -> Result<Self, InvalidListenAddress> {
        if let Some(path) = text.strip_prefix(UNIX) {
            return if path.is_empty() { Err(InvalidListenAddress) } else { Ok(Self::Unix(path.into())) };
        }
        let (host, port) = host_and_port(text).ok_or(InvalidListenAddress)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self::Tcp { host, port: port.ok_or(InvalidListenAddress)? })
    }
}

/// The beginning of the address of a Unix socket.
const UNIX: &str = "unix:";

impl fmt::Display for ListenAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(formatter, "{UNIX}{}", path.display()),
            Self::Tcp { host, port } if host.contains(':') => write!(formatter, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(formatter, "{host}:{port}"),
        }
    }
}

/// A text that is not an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected an origin such as https://app.example or http://localhost:3000, without a path; * is not possible"
)]
pub struct InvalidOrigin;

impl FromStr for Origin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        let (scheme, rest) = text.split_once("://").ok_or(InvalidOrigin)?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return Err(InvalidOrigin),
        };
        let (host, port) = host_and_port(rest).ok_or(InvalidOrigin)?;
        if host.contains('*') {
            return Err(InvalidOrigin);
        }
        Ok(Self { scheme, host: host.to_ascii_lowercase(), port: port.unwrap_or(scheme.port()) })
    }
}

impl Origin {
    /// The host of the site.
    pub(crate) fn host(&self) -> Host<'_> {
        Host(&self.host)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.scheme == Scheme::Http { "http" } else { "https" };
        write!(formatter, "{scheme}://{}", self.host)?;
        if self.port == self.scheme.port() { Ok(()) } else { write!(formatter, ":{}", self.port) }
    }
}

impl Scheme {
    fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// A host as it stands in a URL: a name or an address, IPv6 in brackets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Host<'a>(pub(crate) &'a str);

/// Splits `host[:port]`. `None` if it is malformed: user names, an empty host, a port that is no number.
pub(crate) fn host_and_port(text: &str) -> Option<(&str, Option<u16>)> {
    let end = match text.strip_prefix('[') {
        Some(rest) => {
            let end = rest.find(']')?;
            rest[..end].parse::<Ipv6Addr>().ok()?;
            end + 2
        }
        None => text.find(':').unwrap_or(text.len()),
    };
    let (host, rest) = text.split_at(end);
    let is_of_a_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&byte);
    if host.is_empty() || !(host.starts_with('[') || host.bytes().all(is_of_a_name)) {
        return None;
    }
    match rest.strip_prefix(':') {
        None => rest.is_empty().then_some((host, None)),
        // RFC 3986 allows a colon without a port.
        Some("") => Some((host, None)),
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some((host, Some(port.parse().ok()?)))
        }
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_to_listen_on_has_a_host_and_a_port() {
        for good in [
            "127.0.0.1:8080",
            "[::1]:0",
            "localhost:80",
            "activity.example:443",
            "unix:/run/lastseen.sock",
            "unix:a b",
        ] {
            assert_eq!(good.parse::<ListenAddress>().map(|it| it.to_string()).as_deref(), Ok(good));
        }
        for bad in [
            "",
            "unix:",
            "localhost",
            "127.0.0.1",
            ":80",
            "::1:80",
            "[::1]",
            "localhost:",
            "a:65536",
            "a b:1",
        ] {
            assert_eq!(bad.parse::<ListenAddress>(), Err(InvalidListenAddress), "{bad}");
        }
    }

    #[test]
    fn an_origin_is_a_scheme_a_host_and_perhaps_a_port() {
        for (text, printed) in [
            ("https://app.example", "https://app.example"),
            ("HTTPS://App.Example:443", "https://app.example"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("http://[::1]:80", "http://[::1]"),
        ] {
            assert_eq!(text.parse::<Origin>().map(|origin| origin.to_string()).as_deref(), Ok(printed));
        }
        for bad in [
            "",
            "*",
            "null",
            "app.example",
            "//app.example",
            "https://",
            "https://*.app.example",
            "https://app.example/",
            "https://app.example?x",
            "https://ada@app.example",
            "https://app.example:x",
            "https://app.example:65536",
            "ftp://app.example",
            "https://app.example https://b.example",
        ] {
            assert_eq!(bad.parse::<Origin>(), Err(InvalidOrigin), "{bad}");
        }
    }
}
