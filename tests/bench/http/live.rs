//! (9): readers of live numbers, beside a trickle of events and beside all that the server takes.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lastseen_tests::{Server, raise_descriptors};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::Bench;
use crate::harness::figures::{memory_bytes, mib, print_row, processor_time, whole};
use crate::harness::load::{drive, lasting};
use crate::harness::workload::{BATCH_EVENTS, Population, Posts, Requests, Shape, batches, get};

/// Readers that stay.
const READERS: usize = 1_000;
/// Events a second of the trickle.
const TRICKLE: u32 = 10;

impl Bench {
    /// The cost of readers: in turns without and with them.
    pub(crate) fn live(&self, server: &Server, population: &Population) {
        raise_descriptors();
        print_row("(9) live numbers", ["events/s", "of a core", "messages/s"]);
        for (turn, readers) in [0, READERS, 0, READERS].into_iter().enumerate() {
            let stream = u32::try_from(turn).expect("there are four") * 8 + 100;
            let name = format!("    {TRICKLE} events/s, {readers} readers");
            self.measure(server, (readers, &name), || self.trickle(population, stream));
            let name = format!("    batches of 1,000, {readers} readers");
            self.measure(server, (readers, &name), || {
                let requests = batches(population, stream + 1).collect();
                drive(&self.address, requests, lasting(self.span)).rate() * BATCH_EVENTS as f64
            });
        }
        println!("    memory of the server: {} MiB", mib(memory_bytes(server.id(), "VmRSS")));
    }

    fn measure(&self, server: &Server, (readers, name): (usize, &str), load: impl FnOnce() -> f64) {
        let readers = Readers::start(&self.address, readers);
        let (began, before) = (Instant::now(), processor_time(server.id()));
        let rate = load();
        let (spent, elapsed) = (processor_time(server.id()).saturating_sub(before), began.elapsed());
        let messages = readers.stop() as f64 / elapsed.as_secs_f64();
        let of_a_core = format!("{:.1} %", 100.0 * spent.as_secs_f64() / elapsed.as_secs_f64());
        print_row(name, [whole(rate), of_a_core, whole(messages)]);
    }

    /// A few events, evenly over the time.
    fn trickle(&self, population: &Population, stream: u32) -> f64 {
        let shape = Shape { pool: 100, content_type: "application/json", events: 1 };
        let posts = Paced { posts: Posts::new(population, stream, &shape), next: Instant::now() };
        drive(&self.address, vec![posts], lasting(self.span)).rate()
    }
}

/// Requests at a steady rate.
struct Paced {
    posts: Posts,
    next: Instant,
}

impl Requests for Paced {
    fn next(&mut self) -> Option<&[u8]> {
        // The load generator has a thread of its own, and nothing else to do.
        std::thread::sleep(self.next.saturating_duration_since(Instant::now()));
        self.next += Duration::from_secs(1) / TRICKLE;
        self.posts.next()
    }
}

/// Readers on a thread of their own.
struct Readers {
    messages: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Readers {
    /// Connects so many, and waits until each has an answer.
    fn start(address: &str, count: usize) -> Self {
        let [told_to, messages] = [(); 2].map(|()| Arc::new(AtomicU64::new(0)));
        let stop = Arc::new(AtomicBool::new(false));
        let counted = [told_to.clone(), messages.clone()];
        let (stopping, address) = (stop.clone(), address.to_owned());
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let mut readers = JoinSet::new();
                for _ in 0..count {
                    readers.spawn(read(address.clone(), counted.clone()));
                }
                while !stopping.load(Ordering::Relaxed) {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            });
        });
        while told_to.load(Ordering::Relaxed) < count as u64 {
            std::thread::sleep(Duration::from_millis(10));
        }
        messages.store(0, Ordering::Relaxed);
        Self { messages, stop, thread }
    }

    /// The messages that all were told since they were connected.
    fn stop(self) -> u64 {
        let messages = self.messages.load(Ordering::Relaxed);
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("readers do not panic");
        messages
    }
}

async fn read(address: String, [told_to, messages]: [Arc<AtomicU64>; 2]) -> io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(&get("/v1/live")).await?;
    let mut buffer = vec![0; 64 * 1024];
    let mut is_first = true;
    loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        let head = std::mem::replace(&mut is_first, false).then_some(&buffer[..read]);
        assert!(head.is_none_or(|head| head.starts_with(b"HTTP/1.1 200")), "a reader is refused");
        told_to.fetch_add(u64::from(head.is_some()), Ordering::Relaxed);
        let told = memchr::memmem::find_iter(&buffer[..read], b"event: now").count();
        messages.fetch_add(told as u64, Ordering::Relaxed);
    }
}
