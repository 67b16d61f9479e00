//! Requests for the load generator: written before the clock runs; while it runs, only ids and instants change.
//!
//! Users and tenants are those that `lastseen simulate` makes: tenants by Zipf's law, names like those of an application.
//! The users of each request are chosen here, by a flatter law: nobody sleeps.

use std::ops::Range;
use std::sync::Arc;
use std::sync::OnceLock;

use lastseen::population::{Occurrence, Population as Simulated};
use lastseen_event::{EventType, UtcInstant};
use lastseen_tests::Seeded;
use lastseen_tests::instant::{now, rfc3339};

const HEX: &[u8; 16] = b"0123456789abcdef";
/// A request of this many bytes is enough for one event and its head.
pub(crate) const LINE_BYTES: usize = 200;

/// Few: one batch is written while others are decoded.
pub(crate) const BATCH_CONNECTIONS: usize = 4;
pub(crate) const BATCH_EVENTS: usize = 1_000;

/// The users that there are.
#[derive(Debug)]
pub(crate) struct Population(Arc<Simulated>);

/// The requests of one connection, one after the other.
pub(crate) trait Requests: Send {
    /// The next request, whole; `None` once there is none.
    fn next(&mut self) -> Option<&[u8]>;
}

/// New events again and again, from a pool of requests.
pub(crate) struct Posts {
    pool: Vec<Patched>,
    sent: usize,
    ids: Ids,
}

/// The shape of the requests of a pool.
pub(crate) struct Shape {
    pub(crate) pool: usize,
    pub(crate) content_type: &'static str,
    /// Events a request.
    pub(crate) events: usize,
}

/// A request and the places in it that change: where each event has its id and its instant.
struct Patched {
    bytes: Vec<u8>,
    places: Vec<(usize, usize)>,
}

/// Ids that no other stream of the run has: `SSSSSSSS-0000-7000-8000-CCCCCCCCCCCC`.
pub(crate) struct Ids {
    stream: u32,
    count: u64,
}

impl Population {
    pub(crate) fn new(simulated: Arc<Simulated>) -> Self {
        Self(simulated)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.plan().users as usize
    }

    /// A member by a law with exponent 0.6: the first ones are the busiest.
    fn busy(&self, random: &mut Seeded) -> usize {
        let uniform = (random.bits() >> 11) as f64 / (1_u64 << 53) as f64;
        let rank = (self.len() as f64 * uniform.powf(2.5)) as usize;
        // Spread over all tenants: neighbours in rank are no neighbours in the array.
        rank.min(self.len() - 1) * 7_368_787 % self.len()
    }

    /// Writes an event without a line end; returns where its id and its instant stand.
    pub(crate) fn write(
        &self,
        out: &mut Vec<u8>,
        member: usize,
        event_type: EventType,
        at: i64,
    ) -> (usize, usize) {
        const ID: &[u8] = b"\"id\":\"";
        const INSTANT: &[u8] = b"\"occurred_at\":\"";
        let start = out.len();
        let user = u32::try_from(member).expect("users have numbers of 32 bits");
        self.0.encode(&Occurrence::visit(event_type, user, UtcInstant::from_micros(at)), out);
        out.pop();
        let behind = |name: &[u8]| {
            let at = out[start..].windows(name.len()).position(|found| found == name);
            start + at.expect("every event has it") + name.len()
        };
        (behind(ID), behind(INSTANT))
    }

    /// An event of now: a token refresh three times of four; the second is filled in when it is sent.
    fn write_recent(&self, out: &mut Vec<u8>, random: &mut Seeded) -> (usize, usize) {
        let event_type = if random.below(4) == 0 { EventType::Login } else { EventType::TokenRefresh };
        let member = self.busy(random);
        self.write(out, member, event_type, now())
    }
}

impl Posts {
    /// `stream` must differ from that of all others in the run.
    pub(crate) fn new(population: &Population, stream: u32, shape: &Shape) -> Self {
        let mut random = Seeded::new(u64::from(stream));
        let pool = (0..shape.pool).map(|_| {
            let mut body = Vec::with_capacity(shape.events * LINE_BYTES);
            let mut places = Vec::with_capacity(shape.events);
            for _ in 0..shape.events {
                places.push(population.write_recent(&mut body, &mut random));
                body.push(b'\n');
            }
            let mut bytes = post(shape.content_type, &body);
            let head = bytes.len() - body.len();
            for (id, instant) in &mut places {
                (*id, *instant) = (*id + head, *instant + head);
            }
            bytes.shrink_to_fit();
            Patched { bytes, places }
        });
        Self { pool: pool.collect(), sent: 0, ids: Ids::new(stream) }
    }
}

impl Requests for Posts {
    fn next(&mut self) -> Option<&[u8]> {
        let at = self.sent % self.pool.len();
        self.sent += 1;
        let Patched { bytes, places } = &mut self.pool[at];
        // As it is sent, so that events come in their time and move their user's last seen.
        let now = rfc3339(now());
        let second = &now.as_bytes()[.."2026-01-01T00:00:00".len()];
        for (id, instant) in places {
            self.ids.patch(bytes, *id);
            bytes[*instant..*instant + second.len()].copy_from_slice(second);
        }
        Some(bytes)
    }
}

impl Ids {
    pub(crate) fn new(stream: u32) -> Self {
        Self { stream, count: 0 }
    }

    /// Writes the next id over the 36 characters at `at`.
    pub(crate) fn patch(&mut self, bytes: &mut [u8], at: usize) {
        // Odd, so this is a permutation of the 48 bits: the ids do not come in order.
        let scrambled = self.count.wrapping_mul(0x9e37_79b9_7f4b) & 0xffff_ffff_ffff;
        self.count += 1;
        hex(&mut bytes[at..at + 8], u64::from(self.stream));
        hex(&mut bytes[at + 24..at + 36], scrambled);
    }
}

/// The last digits of `number` in base 16.
fn hex(out: &mut [u8], mut number: u64) {
    for digit in out.iter_mut().rev() {
        *digit = HEX[(number & 0xf) as usize];
        number >>= 4;
    }
}

/// The API key that all requests bring. Set before the first one is made, if at all.
pub(crate) static KEY: OnceLock<String> = OnceLock::new();

fn authorization() -> String {
    KEY.get().map(|key| format!("authorization: Bearer {key}\r\n")).unwrap_or_default()
}

/// A whole POST of events.
pub(crate) fn post(content_type: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nhost: localhost\r\n{}content-type: {content_type}\r\ncontent-length: {}\r\n\r\n",
        authorization(),
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// A whole GET.
pub(crate) fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{}\r\n", authorization()).into_bytes()
}

/// Streams of the phases of a run, each with room for its connections.
pub(crate) fn streams(phase: u32, connections: usize) -> Range<u32> {
    const ROOM: u32 = 1_000;
    phase * ROOM..phase * ROOM + u32::try_from(connections).expect("connections are few")
}

/// The requests of each connection that publishes in batches.
pub(crate) fn batches(population: &Population, phase: u32) -> impl Iterator<Item = Posts> {
    let shape = Shape { pool: 100, content_type: "application/x-ndjson", events: BATCH_EVENTS };
    streams(phase, BATCH_CONNECTIONS).map(move |stream| Posts::new(population, stream, &shape))
}
