//! Connections over real TCP, each with a router of its own.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::routing::{get, post};
use serde_json::Value;
use tokio::sync::{Semaphore, oneshot};

use super::*;

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_mins(1);
/// A limit that is meant to be met.
const SHORT: Duration = Duration::from_millis(150);

struct Running {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    ended: Option<oneshot::Receiver<usize>>,
}

fn limits() -> ConnectionLimits {
    ConnectionLimits {
        head_timeout: PATIENCE,
        idle_timeout: PATIENCE,
        stall_timeout: PATIENCE,
        drain_timeout: PATIENCE,
        connections_max: 100,
    }
}

async fn start(router: Router, limits: ConnectionLimits) -> Running {
    let listener = Listener::on_address("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let BoundAddress::Tcp(address) = listener.address().unwrap() else { panic!("a TCP listener") };
    let (stop, stopped) = oneshot::channel();
    let (ending, ended) = oneshot::channel();
    tasks::task(async move {
        let stopped = async {
            let _ = stopped.await;
        };
        let _ = ending.send(serve(vec![listener], (router, None, Arc::default()), limits, stopped).await);
    });
    Running { address, stop: Some(stop), ended: Some(ended) }
}

impl Running {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends `bytes`; all that comes back until the server closes.
    fn ask(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        // The server may have heard enough before the end.
        let _ = stream.write_all(bytes);
        rest(&mut stream)
    }

    /// Stops; how many connections were cut off.
    async fn stop(&mut self) -> usize {
        self.stop.take().unwrap().send(()).unwrap();
        self.ended.take().unwrap().await.unwrap()
    }
}

/// All that comes until the server closes, or resets after it has answered.
fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut part = vec![0; 65_536];
    loop {
        match stream.read(&mut part) {
            Ok(0) => break,
            Ok(read) => bytes.extend_from_slice(&part[..read]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&bytes)),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// One answer whose body is `ok`.
fn ok(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\nok") {
        let mut byte = [0];
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&bytes));
        bytes.push(byte[0]);
    }
    String::from_utf8(bytes).unwrap()
}

fn is_closed(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0]) {
        Ok(read) => read == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

fn plain() -> Router {
    Router::new().route("/", get(async || "ok")).route("/healthz", get(async || "ok"))
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";

fn problem(answer: &str, status: u16, code: &str) -> Value {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    for line in
        ["content-type: application/problem+json", "connection: close", "x-content-type-options: nosniff"]
    {
        assert_eq!(head.matches(line).count(), 1, "{line} in {answer}");
    }
    assert!(head.contains(&format!("content-length: {}", body.len())), "{answer}");
    let problem: Value = serde_json::from_str(body).unwrap();
    assert_eq!((&problem["code"], &problem["status"]), (&code.into(), &status.into()), "{answer}");
    problem
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_hyper_refuses_by_itself_is_a_problem() {
    let server = start(plain(), limits()).await;
    let long = "x".repeat(70_000);
    for (head, status, code) in [
        ("nonsense\r\n\r\n".to_owned(), 400, "invalid_request"),
        ("GET / HTTP/1.1\r\nbad header\r\n\r\n".to_owned(), 400, "invalid_request"),
        ("G\x01T / HTTP/1.1\r\n\r\n".to_owned(), 400, "invalid_request"),
        ("GET / HTTP/3.7\r\n\r\n".to_owned(), 400, "invalid_request"),
        ("GET / HTTP/1.1\r\ncontent-length: x\r\n\r\n".to_owned(), 400, "invalid_request"),
        (
            "GET / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n".to_owned(),
            400,
            "invalid_request",
        ),
        ("GET / HTTP/1.1\r\ntransfer-encoding: gzip\r\n\r\n".to_owned(), 400, "invalid_request"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), 505, "unsupported_version"),
        (format!("GET /{long} HTTP/1.1\r\nhost: localhost\r\n\r\n"), 414, "uri_too_long"),
        (format!("GET / HTTP/1.1\r\nhost: localhost\r\nx: {long}\r\n\r\n"), 431, "head_too_large"),
        (format!("GET / HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(101)), 431, "head_too_large"),
    ] {
        problem(&server.ask(head.as_bytes()), status, code);
        // The same behind an answer that is sent as it is.
        let behind = server.ask(&[GET, head.as_bytes()].concat());
        let (first, second) = behind.split_once("ok").unwrap();
        assert!(first.starts_with("HTTP/1.1 200 OK\r\n") && first.contains("content-length: 2"), "{first}");
        if code != "uri_too_long" {
            problem(second, status, code);
        }
    }
    let dated = server.ask(b"nonsense\r\n\r\n");
    assert_eq!(dated.matches("\r\ndate: ").count(), 1, "{dated}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_says_that_its_type_is_not_to_be_guessed() {
    let server = start(plain(), limits()).await;
    let mut stream = server.connect();
    for _ in 0..3 {
        stream.write_all(GET).unwrap();
        let answer = ok(&mut stream);
        assert!(answer.contains("\r\nx-content-type-options: nosniff\r\n"), "{answer}");
        assert!(!answer.contains("connection: close"), "{answer}");
    }
    assert!(server.ask(b"GET /x HTTP/1.0\r\n\r\n").contains("nosniff"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_head_is_cut_after_its_limit_and_told_and_silence_is_cut_without_a_word() {
    let short = ConnectionLimits { head_timeout: SHORT, ..limits() };
    let server = start(plain(), short).await;
    let begun = Instant::now();
    problem(&server.ask(b"GET / HTTP/1.1\r\nhost: local"), 408, "request_timeout");
    assert_eq!(server.ask(b""), "");
    assert!(begun.elapsed() >= 2 * SHORT);
    // Each byte more gives no more time, also after an answer.
    let mut stream = server.connect();
    stream.write_all(GET).unwrap();
    ok(&mut stream);
    let (begun, mut writer) = (Instant::now(), stream.try_clone().unwrap());
    stream.write_all(b"GET / HTTP/1.1\r\nx: ").unwrap();
    let trickle = std::thread::spawn(move || {
        while begun.elapsed() < PATIENCE && writer.write_all(b"y").is_ok() {
            std::thread::sleep(SHORT / 20);
        }
    });
    problem(&rest(&mut stream), 408, "request_timeout");
    assert!((SHORT..PATIENCE).contains(&begun.elapsed()));
    trickle.join().unwrap();
    // The rest of a read is half a head as well.
    let answers = server.ask(&[GET, b"GE"].concat());
    problem(answers.split_once("ok").unwrap().1, 408, "request_timeout");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_connection_is_closed_after_its_own_limit() {
    let short = ConnectionLimits { idle_timeout: SHORT, ..limits() };
    let server = start(plain(), short).await;
    let mut stream = server.connect();
    stream.write_all(GET).unwrap();
    ok(&mut stream);
    let begun = Instant::now();
    assert_eq!(rest(&mut stream), "", "without a word");
    assert!(begun.elapsed() >= SHORT / 2);
    // With the limits the other way round an idle connection outlives that of heads.
    let short = ConnectionLimits { head_timeout: SHORT, ..limits() };
    let server = start(plain(), short).await;
    let mut stream = server.connect();
    stream.write_all(GET).unwrap();
    ok(&mut stream);
    stream.set_read_timeout(Some(2 * SHORT)).unwrap();
    let silent = stream.read(&mut [0]).unwrap_err();
    assert!(matches!(silent.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{silent}");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(GET).unwrap();
    ok(&mut stream);
}

/// Counts how many of it there are.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A body in one piece.
struct Large(Vec<u8>, #[expect(dead_code, reason = "it counts as long as it is there")] Counted);

impl AsRef<[u8]> for Large {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

async fn until(what: impl Fn() -> bool) {
    let begun = Instant::now();
    while !what() {
        assert!(begun.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// `/slow` waits for `release` and counts how many do; `/large` and `/stream` are more than any buffer holds.
fn slow(waiting: &Arc<AtomicUsize>, release: &Arc<Semaphore>) -> Router {
    let (waiting, release) = (waiting.clone(), release.clone());
    let large = vec![b'x'; 64 << 20];
    let (streamed, large_count) = (waiting.clone(), waiting.clone());
    plain()
        .route(
            "/slow",
            get(move || {
                let (counted, release) = (Counted::new(&waiting), release.clone());
                async move {
                    release.acquire().await.unwrap().forget();
                    drop(counted);
                    "ok"
                }
            }),
        )
        .route(
            "/large",
            get(async move || {
                Body::from(Bytes::from_owner(Large(large.clone(), Counted::new(&large_count))))
            }),
        )
        .route(
            "/stream",
            get(async move || {
                let counted = Counted::new(&streamed);
                Body::from_stream(futures_util::stream::repeat_with(move || {
                    let _ = &counted;
                    Ok::<_, std::io::Error>(vec![b'x'; 10_000])
                }))
            }),
        )
        .route(
            "/body",
            post(async |body: Body| {
                use http_body_util::BodyExt;
                match body.collect().await {
                    Ok(_) => "ok".to_owned(),
                    Err(error) => format!("{:?}", crate::http::body_fault::body_fault(&error)),
                }
            }),
        )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_nothing_of_an_answer_is_cut_off_whether_it_is_buffered_or_streamed() {
    let waiting = Arc::new(AtomicUsize::new(0));
    let short = ConnectionLimits { stall_timeout: SHORT, ..limits() };
    let server = start(slow(&waiting, &Arc::new(Semaphore::new(0))), short).await;
    let mut streams = [server.connect(), server.connect()];
    for (stream, path) in streams.iter_mut().zip(["/stream", "/large"]) {
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes()).unwrap();
        until(|| waiting.load(Ordering::SeqCst) == 1).await;
        until(|| waiting.load(Ordering::SeqCst) == 0).await;
    }
    for stream in &mut streams {
        let came = rest(stream).len();
        assert!(came > 10_000 && came < 64 << 20, "{came}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_an_answer_slowly_gets_all_of_it() {
    let short = ConnectionLimits { stall_timeout: SHORT, ..limits() };
    let server = start(slow(&Arc::default(), &Arc::new(Semaphore::new(0))), short).await;
    let mut stream = server.connect();
    stream.write_all(b"GET /large HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let (begun, mut came, mut part) = (Instant::now(), 0, vec![0; 2 << 20]);
    loop {
        match stream.read(&mut part).unwrap() {
            0 => break,
            read => came += read,
        }
        tokio::time::sleep(SHORT / 10).await;
    }
    assert!(came > 64 << 20, "{came}");
    assert!(begun.elapsed() > SHORT, "slower than the limit");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_for_a_peer_that_has_gone_is_dropped_with_pipelined_requests_waiting() {
    let waiting = Arc::new(AtomicUsize::new(0));
    let server = start(slow(&waiting, &Arc::new(Semaphore::new(0))), limits()).await;
    let one = b"GET /slow HTTP/1.1\r\nhost: localhost\r\n\r\n";
    for requests in [1, 2, 50] {
        let mut stream = server.connect();
        stream.write_all(&one.repeat(requests)).unwrap();
        until(|| waiting.load(Ordering::SeqCst) == 1).await;
        drop(stream);
        until(|| waiting.load(Ordering::SeqCst) == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_ends_a_body_early_is_told_and_a_malformed_chunk_is_another_thing() {
    let server = start(slow(&Arc::default(), &Arc::new(Semaphore::new(0))), limits()).await;
    let head = "POST /body HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n";
    // A whole body, whose sender has not gone.
    let whole = format!("{head}transfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n");
    assert!(server.ask(whole.as_bytes()).ends_with("\r\n\r\nok"));
    for (rest_of_it, said) in [
        ("transfer-encoding: chunked\r\n\r\nzz\r\n", "Malformed"),
        ("transfer-encoding: chunked\r\n\r\n2\r\nabc\r\n", "Malformed"),
        ("transfer-encoding: chunked\r\n\r\n2\r\nab\r\n5\r\nab", "Interrupted"),
        ("content-length: 5\r\n\r\nab", "Interrupted"),
    ] {
        let mut stream = server.connect();
        stream.write_all(format!("{head}{rest_of_it}").as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let answer = rest(&mut stream);
        assert!(answer.ends_with(&format!("\r\n\r\n{said}")), "{rest_of_it:?}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_the_cap_the_longest_idle_makes_room_and_health_is_told_when_all_are_at_work() {
    let (waiting, release) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
    let server = start(slow(&waiting, &release), ConnectionLimits { connections_max: 3, ..limits() }).await;
    let mut idle: Vec<_> = (0..3)
        .map(|_| {
            let mut stream = server.connect();
            stream.write_all(GET).unwrap();
            ok(&mut stream);
            stream
        })
        .collect();
    // The first one is used again: the second is the longest idle now.
    idle[0].write_all(GET).unwrap();
    ok(&mut idle[0]);
    let mut fourth = server.connect();
    fourth.write_all(GET).unwrap();
    ok(&mut fourth);
    assert!(is_closed(&mut idle[1]));
    for stream in [&mut idle[0], &mut fourth] {
        stream.write_all(GET).unwrap();
        ok(stream);
    }
    drop(idle.remove(1));
    idle.push(fourth);
    // All at work: nobody is closed, health is told, all else is refused with a word.
    for (count, stream) in idle.iter_mut().enumerate() {
        stream.write_all(b"GET /slow HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
        until(|| waiting.load(Ordering::SeqCst) == count + 1).await;
    }
    assert!(server.ask(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").ends_with("ok"));
    problem(&server.ask(GET), 503, "too_many_connections");
    release.add_permits(10);
    for stream in &mut idle {
        assert!(ok(stream).starts_with("HTTP/1.1 200 "));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_closes_at_once_what_waits_and_finishes_what_runs() {
    let (waiting, release) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
    let mut server = start(slow(&waiting, &release), limits()).await;
    let mut fresh = server.connect();
    let mut idle = server.connect();
    idle.write_all(GET).unwrap();
    ok(&mut idle);
    let mut half = server.connect();
    half.write_all(b"GET / HTTP/1.1\r\nhost").unwrap();
    let mut running = server.connect();
    running.write_all(b"GET /slow HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    until(|| waiting.load(Ordering::SeqCst) == 1).await;
    server.stop.take().unwrap().send(()).unwrap();
    // All of these are closed while the request is still running.
    assert!(is_closed(&mut fresh) && is_closed(&mut idle) && is_closed(&mut half));
    assert_eq!(waiting.load(Ordering::SeqCst), 1);
    release.add_permits(10);
    let answer = ok(&mut running);
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    assert!(is_closed(&mut running));
    drop(running);
    assert_eq!(server.ended.take().unwrap().await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_end_in_time_is_cut_off_and_counted() {
    let waiting = Arc::new(AtomicUsize::new(0));
    let short = ConnectionLimits { drain_timeout: SHORT, ..limits() };
    let mut server = start(slow(&waiting, &Arc::new(Semaphore::new(0))), short).await;
    let mut streams = [server.connect(), server.connect()];
    for stream in &mut streams {
        stream.write_all(b"GET /slow HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    }
    until(|| waiting.load(Ordering::SeqCst) == 2).await;
    assert_eq!(server.stop().await, 2);
    assert_eq!(waiting.load(Ordering::SeqCst), 0, "their handlers are dropped");
}
