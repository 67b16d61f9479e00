//! HTTP/2, where TLS has agreed on it: many requests on one connection, and peers that misuse it.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{Request, Response};
use lastseen_tests::instant::now;
use lastseen_tests::{Authority, Events, Server, Signal, eventually};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::tls::{directory, port, secured};

const WITHIN: Duration = Duration::from_mins(1);

struct Scene {
    server: Server,
    authority: Authority,
    directory: TempDir,
}

fn scene(options: &[&str]) -> Scene {
    let authority = Authority::new("ours");
    let directory = directory(&authority.certify(&["127.0.0.1"]));
    let server = secured(&directory, &authority, options);
    Scene { server, authority, directory }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// One connection.
struct Peer {
    send: SendRequest<Bytes>,
    closed: oneshot::Receiver<Result<(), h2::Error>>,
}

impl Scene {
    /// Opens a connection that says it speaks these protocols. Returns the one that was agreed on as well.
    async fn secure(
        &self,
        protocols: &[&str],
    ) -> (tokio_rustls::client::TlsStream<TcpStream>, Option<Vec<u8>>) {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.authority.pem().as_bytes()).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let stream = TcpStream::connect(format!("127.0.0.1:{}", port(&self.server))).await.unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let secured = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
        let agreed = secured.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        (secured, agreed)
    }

    async fn connect(&self) -> Peer {
        let (stream, agreed) = self.secure(&["h2", "http/1.1"]).await;
        assert_eq!(agreed.as_deref(), Some(&b"h2"[..]));
        let (send, connection) = Builder::new().handshake::<_, Bytes>(stream).await.unwrap();
        let (ended, closed) = oneshot::channel();
        drive(async move {
            let _ = ended.send(connection.await);
        });
        Peer { send, closed }
    }
}

#[expect(clippy::disallowed_methods, reason = "a client of the tests has no part in the server's tasks")]
fn drive(connection: impl Future<Output = ()> + Send + 'static) {
    drop(tokio::spawn(connection));
}

/// An answer with all of its body.
async fn whole(answer: ResponseFuture) -> Result<Response<Vec<u8>>, h2::Error> {
    let (head, mut body) = answer.await?.into_parts();
    let mut bytes = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        bytes.extend_from_slice(&piece);
    }
    Ok(Response::from_parts(head, bytes))
}

fn get(path: &str) -> Request<()> {
    Request::get(format!("https://127.0.0.1{path}")).body(()).unwrap()
}

impl Peer {
    async fn begin(&self, request: Request<()>, ends: bool) -> (ResponseFuture, SendStream<Bytes>) {
        let mut ready = self.send.clone().ready().await.unwrap();
        ready.send_request(request, ends).unwrap()
    }

    async fn ask(&self, path: &str) -> Response<Vec<u8>> {
        let (answer, _) = self.begin(get(path), true).await;
        whole(answer).await.unwrap()
    }

    async fn json(&self, path: &str) -> Value {
        let answer = self.ask(path).await;
        assert_eq!(answer.status(), 200, "{path}: {}", String::from_utf8_lossy(answer.body()));
        serde_json::from_slice(answer.body()).unwrap()
    }
}

/// Sends a body as far as the peer has room for it.
async fn upload(body: &mut SendStream<Bytes>, mut bytes: Bytes) {
    while !bytes.is_empty() {
        body.reserve_capacity(bytes.len());
        let room = poll_fn(|context| body.poll_capacity(context)).await.unwrap().unwrap();
        let piece = bytes.split_to(room.min(bytes.len()));
        body.send_data(piece, bytes.is_empty()).unwrap();
    }
}

/// Events of so many users, as the body of a request.
fn logins(users: usize) -> Bytes {
    let mut events = Events::seeded(4501);
    let lines: Vec<_> =
        (0..users).map(|user| events.login(("acme", &format!("u{user}")), now()).to_string()).collect();
    lines.join("\n").into()
}

fn post() -> Request<()> {
    let request = Request::post("https://127.0.0.1/v1/events");
    request.header("content-type", "application/x-ndjson").body(()).unwrap()
}

#[test]
fn requests_of_one_connection_are_answered_side_by_side() {
    let scene = scene(&[]);
    runtime().block_on(async {
        let peer = scene.connect().await;
        let (answer, mut body) = peer.begin(post(), false).await;
        upload(&mut body, logins(9_000)).await;
        let answer = whole(answer).await.unwrap();
        let published: Value = serde_json::from_slice(answer.body()).unwrap();
        assert_eq!(published["stored"], 9_000);
        // More than the server serves at once: the others wait here.
        let asked = (0..200).map(|number| {
            let peer = &peer;
            async move {
                match number % 4 {
                    0 => assert_eq!(peer.json("/v1/summary").await["active_users"], 9_000),
                    1 => {
                        let user = peer.json(&format!("/v1/tenants/acme/users/u{number}")).await;
                        assert_eq!(user["user_id"], format!("u{number}"));
                    }
                    2 => {
                        let page = peer.json("/v1/tenants/acme/users?limit=1000").await;
                        assert_eq!(page["users"].as_array().unwrap().len(), 1_000);
                    }
                    _ => {
                        let problem = peer.ask("/v1/summary?windows=7d").await;
                        assert_eq!(problem.status(), 400);
                        assert_eq!(problem.headers()["content-type"], "application/problem+json");
                    }
                }
            }
        });
        join_all(asked).await;
        let replay = peer.ask("/v1/events").await;
        assert_eq!(String::from_utf8_lossy(replay.body()).lines().count(), 9_000);
        assert_eq!(replay.headers()["x-content-type-options"], "nosniff");
        assert!(replay.headers().get("connection").is_none(), "{:?}", replay.headers());
        // Who speaks HTTP/1.1 alone, or says nothing, gets that.
        for (protocols, expected) in [(&["http/1.1"][..], Some(&b"http/1.1"[..])), (&[][..], None)] {
            assert_eq!(scene.secure(protocols).await.1.as_deref(), expected);
        }
    });
    assert_eq!(scene.server.client().ask("/v1/summary")["active_users"], 9_000, "over HTTP/1.1");
}

#[test]
fn hosts_and_keys_are_those_of_each_request() {
    let scene = scene(&[]);
    runtime().block_on(async {
        let peer = scene.connect().await;
        let request = Request::get("https://evil.example/v1/summary").body(()).unwrap();
        let (answer, _) = peer.begin(request, true).await;
        let answer = whole(answer).await.unwrap();
        assert_eq!(answer.status(), 421);
        let problem: Value = serde_json::from_slice(answer.body()).unwrap();
        assert_eq!(problem["code"], "foreign_host");
        let data = scene.directory.path().join("data");
        let key = crate::keys::create(&data, &["--name", "q", "--scope", "query"]);
        let bounded =
            eventually(WITHIN, || (scene.server.client().get("/v1/summary").status == 401).then_some(()));
        assert!(bounded.is_some());
        assert_eq!(peer.ask("/v1/summary").await.status(), 401);
        let mut request = get("/v1/summary");
        request.headers_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
        let (answer, _) = peer.begin(request, true).await;
        assert_eq!(whole(answer).await.unwrap().status(), 200);
        assert_eq!(peer.ask("/v1/summary").await.status(), 401, "a key is not that of its connection");
    });
}

#[test]
fn an_answer_that_nobody_takes_costs_its_connection() {
    let scene = scene(&["--stall-timeout", "2s"]);
    scene.server.client().post("/v1/events", "application/x-ndjson", &logins(9_000)).ok("logins");
    runtime().block_on(async {
        for path in ["/v1/tenants/acme/users?limit=1000", "/v1/events", "/v1/tenants/acme/users?format=csv"] {
            let peer = scene.connect().await;
            let (answer, _) = peer.begin(get(path), true).await;
            let (head, body): (_, RecvStream) = answer.await.unwrap().into_parts();
            assert_eq!(head.status, 200, "{path}");
            // Other requests of the connection do not keep it.
            let others = async {
                loop {
                    let Ok(mut ready) = peer.send.clone().ready().await else { break };
                    let Ok((answer, _)) = ready.send_request(get("/healthz"), true) else { break };
                    if whole(answer).await.is_err() {
                        break;
                    }
                }
            };
            tokio::time::timeout(WITHIN, others).await.unwrap_or_else(|_| panic!("{path}: it goes on"));
            assert!(peer.closed.await.unwrap().is_err(), "{path}");
            drop(body);
        }
    });
    assert_eq!(scene.server.client().get("/readyz").status, 200);
}

#[test]
fn streams_that_are_reset_at_once_and_huge_heads_leave_the_others_served() {
    let scene = scene(&[]);
    runtime().block_on(async {
        let peer = scene.connect().await;
        let mut begun = 0;
        for _ in 0..5_000 {
            let Ok(mut ready) = peer.send.clone().ready().await else { break };
            let Ok((_, mut body)) = ready.send_request(get("/v1/summary"), false) else { break };
            body.send_reset(h2::Reason::CANCEL);
            begun += 1;
        }
        assert!(begun > 10, "{begun}");
        let peer = scene.connect().await;
        let mut request = get("/v1/summary");
        request.headers_mut().insert("x-large", "x".repeat(100_000).parse().unwrap());
        let (answer, _) = peer.begin(request, true).await;
        match whole(answer).await {
            Ok(answer) => assert_eq!(answer.status(), 431),
            Err(error) => assert!(error.is_reset() || error.is_go_away(), "{error}"),
        }
        assert_eq!(scene.connect().await.ask("/v1/summary").await.status(), 200);
    });
    assert_eq!(scene.server.client().get("/readyz").status, 200);
}

#[test]
fn idle_connections_end_and_make_room() {
    let idle = scene(&["--idle-timeout", "1s"]);
    let full = scene(&["--connections-max", "4"]);
    runtime().block_on(async {
        let peer = idle.connect().await;
        assert_eq!(peer.ask("/healthz").await.status(), 200);
        let ended = tokio::time::timeout(WITHIN, peer.closed).await;
        assert!(ended.is_ok(), "an idle connection goes on");
        let mut peers = Vec::new();
        for _ in 0..12 {
            let peer = full.connect().await;
            assert_eq!(peer.ask("/v1/summary").await.status(), 200);
            peers.push(peer);
        }
        let first = peers.swap_remove(0);
        assert!(tokio::time::timeout(WITHIN, first.closed).await.is_ok(), "the first one keeps its seat");
    });
}

#[test]
fn a_request_under_way_is_finished_when_the_server_stops() {
    let scene = scene(&[]);
    let body = logins(100);
    runtime().block_on(async {
        let peer = scene.connect().await;
        let idle = scene.connect().await;
        assert_eq!(idle.ask("/healthz").await.status(), 200);
        let (answer, mut sending) = peer.begin(post(), false).await;
        // The handler has begun: half of the body is there.
        let (first, second) = (body.slice(..body.len() / 2), body.slice(body.len() / 2..));
        sending.reserve_capacity(first.len());
        poll_fn(|context| sending.poll_capacity(context)).await.unwrap().unwrap();
        sending.send_data(first, false).unwrap();
        assert_eq!(peer.json("/healthz").await, json!({"status": "ok"}));
        scene.server.signal(Signal::TERM);
        assert!(tokio::time::timeout(WITHIN, idle.closed).await.is_ok(), "an idle connection goes on");
        upload(&mut sending, second).await;
        let answer = whole(answer).await.unwrap();
        let published: Value = serde_json::from_slice(answer.body()).unwrap();
        assert_eq!(published["stored"], 100);
    });
    let ended = scene.server.wait();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

#[test]
fn an_answer_under_way_is_sent_to_its_end_when_the_server_stops() {
    let scene = scene(&[]);
    scene.server.client().post("/v1/events", "application/x-ndjson", &logins(9_000)).ok("logins");
    runtime().block_on(async {
        for path in ["/v1/tenants/acme/users?limit=1000", "/v1/events"] {
            let peer = scene.connect().await;
            let (answer, _) = peer.begin(get(path), true).await;
            let (head, mut body) = answer.await.unwrap().into_parts();
            assert_eq!(head.status, 200, "{path}");
            if path == "/v1/events" {
                scene.server.signal(Signal::TERM);
            }
            // Slowly: the window is full nearly all the time.
            let mut bytes = Vec::new();
            while let Some(piece) = body.data().await {
                let piece = piece.unwrap();
                tokio::task::yield_now().await;
                body.flow_control().release_capacity(piece.len()).unwrap();
                bytes.extend_from_slice(&piece);
            }
            let text = String::from_utf8(bytes).unwrap();
            if path == "/v1/events" {
                assert_eq!(text.lines().count(), 9_000, "the answer ends too early");
                assert!(peer.closed.await.unwrap().is_ok(), "the connection ends in order");
            } else {
                assert!(serde_json::from_str::<Value>(&text).is_ok(), "{text}");
            }
        }
    });
    assert_eq!(scene.server.wait().code, Some(0));
}

#[test]
fn bodies_that_never_end_hold_no_seat_once_they_are_refused() {
    let scene = scene(&["--connections-max", "4"]);
    let data = scene.directory.path().join("data");
    let key = crate::keys::create(&data, &["--name", "q", "--scope", "query"]);
    assert!(
        eventually(WITHIN, || (scene.server.client().get("/v1/summary").status == 401).then_some(()))
            .is_some()
    );
    runtime().block_on(async {
        let mut held = Vec::new();
        for _ in 0..8 {
            let peer = scene.connect().await;
            let (answer, body) = peer.begin(post(), false).await;
            assert_eq!(whole(answer).await.unwrap().status(), 401);
            held.push((peer, body));
        }
        let mut request = get("/v1/summary");
        request.headers_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
        let peer = scene.connect().await;
        let (answer, _) = peer.begin(request, true).await;
        assert_eq!(whole(answer).await.unwrap().status(), 200);
    });
}
