//! Requests that reach an open server through a browser: names that were made to point here, pages of other
//! sites, and those of sites that are allowed.

use lastseen_tests::Server;

use crate::BINARY;
use crate::answers::empty_server;
use crate::slow_peers::raw;

const CLOSE: &str = "connection: close\r\n";

#[test]
fn a_request_has_one_host_and_that_is_this_machine() {
    let (server, _data) = empty_server();
    for (request, status, code) in [
        ("GET /healthz HTTP/1.1\r\nhost: localhost\r\n", 200, ""),
        ("GET /healthz HTTP/1.1\r\nhost: LOCALHOST.:1\r\n", 200, ""),
        ("GET /healthz HTTP/1.1\r\nhost: app.localhost\r\n", 200, ""),
        ("GET /healthz HTTP/1.1\r\nhost: [::ffff:127.0.0.1]:8080\r\n", 200, ""),
        ("GET /healthz HTTP/1.0\r\n", 200, ""),
        ("GET http://localhost/healthz HTTP/1.1\r\nhost: evil.example\r\n", 200, ""),
        ("GET http://evil.example/healthz HTTP/1.1\r\nhost: localhost\r\n", 421, "foreign_host"),
        ("GET /healthz HTTP/1.1\r\nhost: evil.example\r\n", 421, "foreign_host"),
        ("GET /healthz HTTP/1.1\r\n", 400, "invalid_host"),
        ("GET /healthz HTTP/1.1\r\nhost: localhost\r\nhost: localhost\r\n", 400, "invalid_host"),
        ("GET /healthz HTTP/1.1\r\nhost: localhost\r\nhost: evil.example\r\n", 400, "invalid_host"),
        ("GET /healthz HTTP/1.1\r\nhost: \r\n", 400, "invalid_host"),
        ("GET /healthz HTTP/1.1\r\nhost: local host\r\n", 400, "invalid_host"),
        ("GET /v1/nothing HTTP/1.1\r\nhost: evil.example\r\n", 421, "foreign_host"),
    ] {
        let (found, body) = raw(&server, &format!("{request}{CLOSE}\r\n"));
        assert_eq!((found, body["code"].as_str().unwrap_or_default()), (status, code), "{request}: {body}");
    }
}

#[test]
fn pages_of_other_sites_are_refused_before_anything_else() {
    let (server, _data) = empty_server();
    let ask = |path: &str, headers: &[(&str, &str)]| server.client().send("GET", path, headers, b"").unwrap();
    for headers in [
        [("sec-fetch-site", "cross-site")].as_slice(),
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
        &[("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")],
    ] {
        for path in ["/v1/summary", "/v1/nothing", "/healthz", "/v1/summary?nonsense=1"] {
            ask(path, headers).problem(403, "cross_site", path);
        }
    }
    for headers in [
        [("sec-fetch-site", "none")].as_slice(),
        &[("sec-fetch-site", "same-origin")],
        &[("origin", "http://localhost:3000"), ("sec-fetch-site", "same-site")],
        &[("origin", "http://127.0.0.1:3000"), ("sec-fetch-site", "cross-site")],
    ] {
        let answer = ask("/v1/summary", headers);
        answer.ok("/v1/summary");
        assert_eq!(answer.header("access-control-allow-origin"), "", "no site is allowed to read it");
    }
}

#[test]
fn pages_of_allowed_sites_ask_and_read() {
    let data = tempfile::tempdir().unwrap();
    let allowed = ["--cors-origin", "https://app.example", "--cors-origin", "http://localhost:3000"];
    let server = Server::start_with(BINARY, data.path(), &allowed);
    let send = |method: &str, headers: &[(&str, &str)]| {
        server.client().send(method, "/v1/summary", headers, b"").unwrap()
    };
    for origin in ["https://app.example", "http://localhost:3000"] {
        let asked = [
            ("origin", origin),
            ("access-control-request-method", "GET"),
            ("access-control-request-headers", "authorization"),
            ("sec-fetch-site", "cross-site"),
        ];
        let preflight = send("OPTIONS", &asked);
        assert_eq!((preflight.status, preflight.header("access-control-allow-origin")), (204, origin));
        for method in ["GET", "POST", "DELETE"] {
            assert!(preflight.header("access-control-allow-methods").contains(method));
        }
        for name in ["content-type", "authorization", "content-encoding", "if-none-match", "last-event-id"] {
            assert!(preflight.header("access-control-allow-headers").contains(name), "{name}");
        }
        assert_eq!(preflight.header("access-control-max-age"), "7200");
        let answer = send("GET", &[("origin", origin), ("sec-fetch-site", "cross-site")]);
        answer.ok("/v1/summary");
        assert_eq!(answer.header("access-control-allow-origin"), origin);
        assert_eq!(answer.all("vary"), ["accept-encoding", "origin"]);
        assert!(answer.header("access-control-expose-headers").contains("etag"));
    }
    let foreign = [("origin", "https://evil.example"), ("access-control-request-method", "GET")];
    let refused = send("OPTIONS", &foreign);
    refused.problem(403, "cross_site", "a preflight of a site that is not allowed");
    assert_eq!(refused.header("access-control-allow-origin"), "");
    // Without an origin there is nobody to share with; caches still learn that it matters.
    let plain = send("GET", &[]);
    assert_eq!(plain.header("access-control-allow-origin"), "");
    assert_eq!(plain.all("vary"), ["accept-encoding", "origin"]);
    // A problem can be read as well.
    let headers = [("origin", "https://app.example")];
    let missing = server.client().send("GET", "/v1/nothing", &headers, b"").unwrap();
    assert_eq!((missing.status, missing.header("access-control-allow-origin")), (404, "https://app.example"));
}
