//! TLS in process: who is trusted, who is told what, and a certificate that is replaced while requests come.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lastseen_tests::instant::now;
use lastseen_tests::{Authority, Certified, Client, Events, Process, Server, eventually};
use tempfile::TempDir;

use crate::BINARY;
use crate::answers::{text, write};

const WITHIN: Duration = Duration::from_mins(1);

/// A directory with a certificate and its key.
pub(crate) fn directory(certified: &Certified) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    put(&directory, certified);
    directory
}

fn put(directory: &TempDir, certified: &Certified) {
    write(directory, "server.pem", &certified.certificate);
    write(directory, "server.key", &certified.key);
}

/// A server with the certificate of `directory`, and these further options.
pub(crate) fn secured(directory: &TempDir, authority: &Authority, options: &[&str]) -> Server {
    let [certificate, key] = ["server.pem", "server.key"].map(|name| directory.path().join(name));
    let files = ["--tls-cert", text(&certificate), "--tls-key", text(&key)];
    let data = directory.path().join("data");
    Server::start_secured(BINARY, &data, &[&files[..], options].concat(), &authority.pem())
}

pub(crate) fn port(server: &Server) -> &str {
    server.url().rsplit(':').next().unwrap()
}

#[test]
fn requests_and_commands_speak_tls_with_whom_they_trust() {
    let authority = Authority::new("ours");
    let directory = directory(&authority.certify(&["localhost", "127.0.0.1"]));
    let server = secured(&directory, &authority, &[]);
    assert!(server.url().starts_with("https://127.0.0.1:"), "{}", server.url());
    server.client().publish(&[Events::seeded(4201).login(("acme", "ada"), now())]);
    assert_eq!(server.client().ask("/v1/summary")["total_users"], 1);
    // Large answers and large bodies too.
    let mut events = Events::seeded(4202);
    let many: Vec<_> = (0..9_000).map(|user| events.login(("acme", &format!("u{user}")), now())).collect();
    server.client().publish(&many);
    assert_eq!(server.client().get("/v1/events").text().lines().count(), 9_001);

    let events = write(&directory, "events.ndjson", events.login(("acme", "bob"), now()).to_string());
    let pem = write(&directory, "authority.pem", authority.pem());
    let import = |variable: &str| {
        let mut shell = Command::new("/bin/sh");
        let url = format!("https://localhost:{}", port(&server));
        let script = format!("{variable} exec \"$@\"");
        shell.args([
            "-c",
            &script,
            "sh",
            BINARY,
            "import",
            text(&events),
            "--server",
            &url,
            "--retry-for",
            "0s",
        ]);
        Process::start(shell).wait(WITHIN)
    };
    let ended = import("");
    assert_eq!(ended.code, Some(1), "an authority that nobody knows: {}", ended.stderr);
    assert!(ended.stderr.contains("UnknownIssuer"), "{}", ended.stderr);
    let ended = import(&format!("SSL_CERT_FILE={}", text(&pem)));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

#[test]
fn a_wrong_name_an_expired_certificate_and_a_foreign_authority_are_refused_by_the_client() {
    let authority = Authority::new("ours");
    let foreign = Authority::new("foreign");
    let ours = directory(&authority.certify(&["127.0.0.1"]));
    let server = secured(&ours, &authority, &[]);
    let refused = |client: &Client, expected: &str| {
        let error = client.send("GET", "/healthz", &[], &[]).unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
    };
    let by_name = format!("https://localhost:{}", port(&server));
    refused(&Client::with_authority(&by_name, &authority.pem()), "not valid for name");
    refused(&Client::with_authority(server.url(), &foreign.pem()), "UnknownIssuer");
    refused(&Client::new(server.url()), "UnknownIssuer");
    assert_eq!(server.client().get("/healthz").status, 200, "the server goes on");

    // A certificate that expires is replaced by nobody: its clients refuse it.
    put(&ours, &authority.certify_expired(&["127.0.0.1"]));
    let expired = eventually(WITHIN, || {
        let client = Client::with_authority(server.url(), &authority.pem());
        client.send("GET", "/healthz", &[], &[]).err().map(|error| error.to_string())
    });
    assert!(expired.as_ref().is_some_and(|error| error.contains("expired")), "{expired:?}");
}

#[test]
fn clear_text_on_a_port_of_tls_is_told_so_and_noise_is_not_answered() {
    let authority = Authority::new("ours");
    let directory = directory(&authority.certify(&["127.0.0.1"]));
    let server = secured(&directory, &authority, &["--head-timeout", "2s"]);
    let clear = Client::new(&server.url().replace("https", "http"));
    clear.get("/v1/summary").problem(400, "tls_required", "clear text");
    clear.post("/v1/events", "application/json", b"{}").problem(400, "tls_required", "clear text");
    for noise in [&b"\0"[..], b"\x80\x2e\x01", b"\x16\x03\x01\0\x05hello", b"\x16", b"get / HTTP/1.1\r\n\r\n"]
    {
        let mut stream = TcpStream::connect(("127.0.0.1", port(&server).parse().unwrap())).unwrap();
        stream.set_read_timeout(Some(WITHIN)).unwrap();
        stream.write_all(noise).unwrap();
        let mut answer = Vec::new();
        // It ends: by an alert, by nothing, or by a reset.
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.len() < 16, "{noise:?}: {answer:?}");
    }
    assert_eq!(server.client().get("/healthz").status, 200);
}

#[test]
fn slow_and_many_handshakes_leave_the_others_served() {
    let authority = Authority::new("ours");
    let directory = directory(&authority.certify(&["127.0.0.1"]));
    let server = secured(&directory, &authority, &["--head-timeout", "3s"]);
    let address: std::net::SocketAddr = format!("127.0.0.1:{}", port(&server)).parse().unwrap();
    // Half a handshake each; the server waits for the rest.
    let began = Instant::now();
    let mut slow: Vec<_> = (0..200)
        .map(|_| {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(b"\x16\x03\x01\x02\0\x01").unwrap();
            stream.set_read_timeout(Some(WITHIN)).unwrap();
            stream
        })
        .collect();
    // A connection for each request, from several threads.
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let client = Client::with_authority(server.url(), &authority.pem());
                    assert_eq!(client.get("/healthz").status, 200);
                }
            });
        }
    });
    for stream in &mut slow {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
    }
    assert!(began.elapsed() >= Duration::from_secs(3), "they were given their time");
    assert_eq!(server.client().get("/healthz").status, 200);
    assert_eq!(server.terminate().code, Some(0));
}

#[test]
fn a_certificate_is_replaced_under_load() {
    let [old, new] = ["old", "new"].map(Authority::new);
    let directory = directory(&old.certify(&["127.0.0.1"]));
    let server = secured(&directory, &old, &[]);
    let (done, asked) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        // One connection that is kept, and new ones all the time: one of both authorities is right.
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                assert_eq!(server.client().get("/healthz").status, 200, "a connection that is there goes on");
                asked.fetch_add(1, Ordering::Relaxed);
            }
        });
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let answered = [&old, &new].iter().any(|authority| {
                    let client = Client::with_authority(server.url(), &authority.pem());
                    client.send("GET", "/healthz", &[], &[]).is_ok_and(|answer| answer.status == 200)
                });
                assert!(answered, "neither certificate");
                asked.fetch_add(1, Ordering::Relaxed);
            }
        });
        let certified = new.certify(&["127.0.0.1"]);
        let is_new = || {
            let client = Client::with_authority(server.url(), &new.pem());
            client.send("GET", "/healthz", &[], &[]).is_ok().then_some(())
        };
        // Half of a pair does not count, and is told.
        fs::write(directory.path().join("server.pem"), &certified.certificate).unwrap();
        let told =
            eventually(WITHIN, || server.stderr().contains("the one before stays in use").then_some(()));
        assert!(told.is_some() && is_new().is_none(), "{}", server.stderr());
        fs::write(directory.path().join("server.key"), &certified.key).unwrap();
        let replaced = eventually(WITHIN, is_new);
        let before = asked.load(Ordering::Relaxed);
        let went_on = eventually(WITHIN, || (asked.load(Ordering::Relaxed) > before + 50).then_some(()));
        done.store(true, Ordering::Relaxed);
        assert!(replaced.is_some() && went_on.is_some(), "{}", server.stderr());
    });
}

#[test]
fn a_server_does_not_start_with_a_certificate_that_it_cannot_use() {
    let authority = Authority::new("ours");
    let directory = directory(&authority.certify(&["127.0.0.1"]));
    let other = authority.certify(&["127.0.0.1"]);
    let start = |certificate: &str, key: &str| {
        let [certificate, key] = [certificate, key].map(|name| directory.path().join(name));
        let data = directory.path().join("data");
        let arguments = [
            "--data",
            text(&data),
            "--listen",
            "127.0.0.1:0",
            "--tls-cert",
            text(&certificate),
            "--tls-key",
            text(&key),
        ];
        let arguments = arguments.map(std::ffi::OsStr::new);
        Server::launch(BINARY, &arguments).wait(WITHIN)
    };
    write(&directory, "other.key", other.key);
    write(&directory, "empty.pem", "");
    for (certificate, key, told) in [
        ("server.pem", "other.key", "cannot be used together"),
        ("server.pem", "absent.key", "absent.key"),
        ("absent.pem", "server.key", "absent.pem"),
        ("empty.pem", "server.key", "empty.pem has no certificate"),
        ("server.pem", "empty.pem", "empty.pem has no private key"),
        ("server.key", "server.key", "has no certificate"),
    ] {
        let ended = start(certificate, key);
        assert_eq!(ended.code, Some(1), "{certificate} {key}: {}", ended.stderr);
        assert!(ended.stderr.contains(told), "{told}: {}", ended.stderr);
    }
}
