//! Names under which the server answers, and sites whose pages may ask it. Everybody else is refused before a
//! route is reached. With API keys all names are served, or those of the public URLs: no browser has a key that it
//! would send by itself.
//!
//! Without API keys the server trusts this machine. A web page is not this machine though its reader's
//! browser is: it may have made its own name point here (then `Host` is foreign), or send requests across
//! sites (then the browser says so in `Origin` or `Sec-Fetch-Site`).

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, Uri, Version};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::http::App;
use crate::http::problem::Problem;
use crate::origin::{Host, Origin, host_and_port};

/// Paths of health.
const HEALTH: [&str; 2] = ["/healthz", "/readyz"];

/// A fault of the host of a request (RFC 9112, section 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HostFault {
    /// HTTP/1.1 requires one.
    #[error("expected a Host header")]
    Missing,
    /// Nobody could say which one counts.
    #[error("expected one Host header, found several")]
    Repeated,
    /// It is no host with or without a port.
    #[error("expected a host, and perhaps a port, in Host and in the target of the request")]
    Malformed,
}

/// Refuses requests with a malformed host. Without API keys also those for a foreign host, and those that pages of
/// other sites send; `origins` may.
pub(crate) async fn guard(
    State((app, origins)): State<(Arc<App>, Arc<[Origin]>)>,
    request: Request,
    next: Next,
) -> Response {
    let is_open = app.keys.is_open();
    let is_public =
        |host: Host<'_>| app.public_urls.iter().any(|url| url.host() == Host(&host.0.to_ascii_lowercase()));
    // A probe of health comes by the address of this machine.
    let is_checked = is_open || !(app.public_urls.is_empty() || HEALTH.contains(&request.uri().path()));
    match requested_host(request.version(), request.uri(), request.headers()) {
        Err(fault) => return Problem::invalid_host(fault).into_response(),
        Ok(Some(host)) if is_checked && !is_served(host) && !is_public(host) => {
            return Problem::foreign_host(host.0).into_response();
        }
        Ok(_) => {}
    }
    let allowed = || origins.iter().chain(&app.public_urls);
    if is_open && is_cross_site(request.headers(), allowed) {
        let detail = "without API keys, pages of other sites may not use this server through a browser; \
                      --cors-origin allows a site";
        return Problem::cross_site(detail).into_response();
    }
    next.run(request).await
}

/// Returns the host that a request is for: that of its target if it is a whole URL, else that of its `Host`
/// header. `None` before HTTP/1.1, where a request may have neither.
///
/// # Errors
/// [`HostFault`]. The `Host` header is checked also where it does not count.
pub(crate) fn requested_host<'a>(
    version: Version,
    target: &'a Uri,
    headers: &'a HeaderMap,
) -> Result<Option<Host<'a>>, HostFault> {
    let mut lines = headers.get_all(HOST).iter();
    let header = match (lines.next(), lines.next()) {
        (None, _) => None,
        (Some(_), Some(_)) => return Err(HostFault::Repeated),
        (Some(line), None) => {
            let text = line.to_str().map_err(|_| HostFault::Malformed)?;
            Some(host_and_port(text).ok_or(HostFault::Malformed)?.0)
        }
    };
    // In HTTP/2 the target has it.
    if header.is_none() && version == Version::HTTP_11 {
        return Err(HostFault::Missing);
    }
    let of_target = match target.authority() {
        None => None,
        Some(authority) => Some(host_and_port(authority.as_str()).ok_or(HostFault::Malformed)?.0),
    };
    Ok(of_target.or(header).map(Host))
}

/// True if the server answers under this name.
///
/// It does as `localhost` and as anything below, which RFC 6761 reserves for this machine, and as loopback
/// addresses.
pub(crate) fn is_served(Host(host): Host<'_>) -> bool {
    let address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    if let Ok(address) = address.parse::<IpAddr>() {
        return address.to_canonical().is_loopback();
    }
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let below = name.strip_suffix(".localhost");
    name == "localhost" || below.is_some_and(|below| below.split('.').all(|label| !label.is_empty()))
}

/// True if a page of another site sent this, as its browser tells.
///
/// `Origin` decides if there is one. Sites of this machine may ask, on any port, and configured ones; an
/// opaque one (`null`) is foreign. Without `Origin`, as with links and images, `Sec-Fetch-Site` decides;
/// `same-site` is this machine. Programs send neither.
pub(crate) fn is_cross_site<'a, A: Iterator<Item = &'a Origin>>(
    headers: &HeaderMap,
    allowed: impl Fn() -> A,
) -> bool {
    let mut origins = headers.get_all(ORIGIN).iter().peekable();
    if origins.peek().is_none() {
        let says = |value: &[u8]| value.eq_ignore_ascii_case(b"cross-site");
        return headers.get_all("sec-fetch-site").iter().any(|value| says(value.as_bytes()));
    }
    !origins.all(|origin| {
        let origin = origin.to_str().ok().and_then(|origin| origin.parse::<Origin>().ok());
        origin.is_some_and(|origin| is_served(origin.host()) || allowed().any(|one| *one == origin))
    })
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let line = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        lines.iter().map(line).collect()
    }

    #[test]
    fn only_names_of_this_machine_are_served() {
        for host in [
            "localhost",
            "LOCALHOST",
            "localhost.",
            "app.localhost",
            "a.b.LocalHost.",
            "127.0.0.1",
            "127.9.9.9",
            "[::1]",
            "[0:0:0:0:0:0:0:1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
        ] {
            assert!(is_served(Host(host)), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "evillocalhost",
            ".localhost",
            "a..localhost",
            "localhost..",
            ".",
            "10.0.0.1",
            "0.0.0.0",
            "[::]",
            "[::2]",
            "[::ffff:10.0.0.1]",
            "127.0.0.1.evil",
            "127.1",
            "2130706433",
        ] {
            assert!(!is_served(Host(host)), "{host}");
        }
    }

    #[test]
    fn a_host_has_perhaps_a_port_and_nothing_else() {
        for (text, expected) in [
            ("localhost", Some(("localhost", None))),
            ("localhost:8080", Some(("localhost", Some(8080)))),
            ("localhost:", Some(("localhost", None))),
            ("[::1]:80", Some(("[::1]", Some(80)))),
            ("[::1]", Some(("[::1]", None))),
            ("", None),
            (":80", None),
            ("a:b", None),
            ("a:65536", None),
            ("a:-1", None),
            ("a:+1", None),
            ("a:1:2", None),
            ("::1", None),
            ("[::1", None),
            ("[::1]x", None),
            ("[]", None),
            ("[localhost]", None),
            ("ada@localhost", None),
            ("local host", None),
            ("localhost/", None),
            ("localhost#", None),
            ("a, b", None),
        ] {
            assert_eq!(host_and_port(text), expected, "{text}");
        }
    }

    #[test]
    fn the_host_of_a_request_is_that_of_its_target_or_of_its_one_header() {
        use HostFault::{Malformed, Missing, Repeated};
        let (one, two) = (("host", "localhost:1"), ("host", "127.0.0.1"));
        for (version, target, lines, expected) in [
            (Version::HTTP_11, "/", [one].as_slice(), Ok(Some("localhost"))),
            (Version::HTTP_11, "/", &[], Err(Missing)),
            (Version::HTTP_11, "/", &[one, two], Err(Repeated)),
            (Version::HTTP_11, "/", &[one, one], Err(Repeated)),
            (Version::HTTP_11, "/", &[("host", "")], Err(Malformed)),
            (Version::HTTP_11, "/", &[("host", "a b")], Err(Malformed)),
            (Version::HTTP_11, "http://evil.example/x", &[one], Ok(Some("evil.example"))),
            (Version::HTTP_11, "http://localhost/x", &[("host", "evil.example")], Ok(Some("localhost"))),
            (Version::HTTP_11, "http://localhost/x", &[], Err(Missing)),
            (Version::HTTP_11, "http://localhost/x", &[("host", "a b")], Err(Malformed)),
            (Version::HTTP_11, "http://ada@localhost/x", &[one], Err(Malformed)),
            (Version::HTTP_11, "*", &[one], Ok(Some("localhost"))),
            (Version::HTTP_10, "/", &[], Ok(None)),
            (Version::HTTP_10, "/", &[one], Ok(Some("localhost"))),
            (Version::HTTP_10, "http://evil.example/", &[], Ok(Some("evil.example"))),
            (Version::HTTP_10, "/", &[one, two], Err(Repeated)),
            (Version::HTTP_2, "http://localhost/", &[], Ok(Some("localhost"))),
        ] {
            let (target, headers) = (target.parse().unwrap(), headers(lines));
            let host = requested_host(version, &target, &headers);
            assert_eq!(host, expected.map(|host| host.map(Host)), "{version:?} {target} {lines:?}");
        }
    }

    #[test]
    fn browsers_tell_which_site_asks() {
        let allowed = ["https://app.example".parse().unwrap()];
        let site = "sec-fetch-site";
        for lines in [
            [].as_slice(),
            &[(site, "none")],
            &[(site, "same-origin")],
            &[(site, "same-site")],
            &[("origin", "http://localhost:3000")],
            &[("origin", "http://127.0.0.1:8080"), (site, "cross-site")],
            &[("origin", "https://[::1]")],
            &[("origin", "https://app.example"), (site, "cross-site")],
            &[("origin", "HTTPS://APP.example:443")],
        ] {
            assert!(!is_cross_site(&headers(lines), || allowed.iter()), "{lines:?}");
        }
        for lines in [
            [(site, "cross-site")].as_slice(),
            &[(site, "Cross-Site")],
            &[(site, "same-origin"), (site, "cross-site")],
            &[("origin", "null")],
            &[("origin", "null"), (site, "same-origin")],
            &[("origin", "")],
            &[("origin", "https://evil.example")],
            &[("origin", "http://app.example")],
            &[("origin", "https://app.example:8443")],
            &[("origin", "http://localhost.evil.example")],
            &[("origin", "https://app.example"), ("origin", "https://evil.example")],
        ] {
            assert!(is_cross_site(&headers(lines), || allowed.iter()), "{lines:?}");
        }
    }
}
