//! Look-ups on disk that are slower than the recent window: ids leave it while a request still looks for them elsewhere.
//! Nothing is stored twice, and no publisher starves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use lastseen_log::{FaultDisk, Log, LogOptions};
use lastseen_store::{EventStore, OnRefused};
use parking_lot::Mutex;

use crate::history::{Item, batch, check_verified};
use crate::support::{WatchedDisk, clock, options, wait};

/// Lets one read of a look-up through for each word.
struct Gate {
    is_shut: AtomicBool,
    waiting: Mutex<Sender<()>>,
    go_on: Mutex<Receiver<()>>,
    reads: AtomicU64,
}

impl Gate {
    fn pass(&self) {
        // Look-ups read on threads of the runtime; sealing and merging do not wait.
        let looks_up = std::thread::current().name().is_some_and(|name| name.starts_with("tokio"));
        if !looks_up || !self.is_shut.load(Ordering::Acquire) {
            return;
        }
        self.reads.fetch_add(1, Ordering::AcqRel);
        // Both ends live as long as the test.
        self.waiting.lock().send(()).expect("somebody looks");
        self.go_on.lock().recv().expect("somebody lets it go on");
    }
}

const WINDOW: u64 = 8;

/// Events of the present, each later than all before it, so that none of them is looked for on disk.
fn live(numbers: std::ops::Range<u64>) -> Vec<Item> {
    numbers
        .map(|number| Item { number, shift_us: i64::try_from(number).expect("small") * 2_000_000_000 })
        .collect()
}

/// Appends live events, and seals, until the whole window is of them.
fn move_the_window(log: &Log, next: &mut u64) {
    for _ in 0..4 {
        let items = live(*next..*next + WINDOW);
        *next += WINDOW;
        let appended = wait(log.append(batch(&items), OnRefused::RefuseBatch)).expect("appends");
        assert_eq!(appended.stored, items.len());
        log.seal().expect("seals");
    }
}

#[test]
fn a_look_up_that_is_overtaken_stores_nothing_twice_and_does_not_starve() {
    let (waiting, waits) = channel();
    let (lets_go_on, go_on) = channel();
    let gate = Arc::new(Gate {
        is_shut: AtomicBool::new(false),
        waiting: Mutex::new(waiting),
        go_on: Mutex::new(go_on),
        reads: AtomicU64::new(0),
    });
    let disk = FaultDisk::default();
    let passed = gate.clone();
    let slow = Arc::new(WatchedDisk::new(disk.clone(), move |path| {
        if path.starts_with("ids/") {
            passed.pass();
        }
    }));
    let options = LogOptions { recent_ids: 8, filter_bytes: 0, ..options(4_000) };
    let log = Log::open(slow, options, clock(1)).expect("opens");
    let mut next = 0;
    move_the_window(&log, &mut next);
    // Known, and in the window still: the look-up need not look for them.
    let recent = live(next - WINDOW..next);
    // Known, and on disk since long.
    let old = live(0..2);
    // Not there yet, of a member that is not there yet; somebody else stores it while the look-up waits.
    let coming = live(next + WINDOW..next + WINDOW + 1);
    let again: Vec<Item> = old.iter().chain(&recent).chain(&coming).copied().collect();
    gate.is_shut.store(true, Ordering::Release);
    let (rounds, appended) = std::thread::scope(|scope| {
        let publisher = scope.spawn(|| wait(log.append(batch(&again), OnRefused::RefuseBatch)));
        // Each time that the publisher reads, the window moves on: what it looked for in the window has left it.
        let mut rounds = 0;
        while !publisher.is_finished() {
            if waits.recv_timeout(std::time::Duration::from_millis(20)).is_ok() {
                rounds += 1;
                assert!(rounds < 1_000, "it starves");
                move_the_window(&log, &mut next);
                lets_go_on.send(()).expect("it waits");
            }
        }
        (rounds, publisher.join().expect("does not panic").expect("all are known"))
    });
    gate.is_shut.store(false, Ordering::Release);
    println!(
        "the window moved on {rounds} times while {} reads of ids waited",
        gate.reads.load(Ordering::Acquire)
    );
    assert!(rounds > 2, "it was overtaken more than once");
    assert_eq!((appended.stored, appended.duplicates), (0, again.len()));
    assert_eq!(log.tail().position().get(), next, "nothing was stored twice");
    log.close();
    check_verified(&disk, None).expect("is sound");
}
