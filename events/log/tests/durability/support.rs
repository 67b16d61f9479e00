//! The helpers of all of these tests: chance by seed, a runtime, a log over a disk, many seeds on all cores.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lastseen_event::UtcInstant;
use lastseen_log::{
    Access, Disk, DiskFile, DiskState, FaultDisk, Folder, Log, LogOptions, OpenError, Sealing, SyncSite,
};
use lastseen_store::{Clock, ManualClock};

/// Chance by seed, the same on every machine (`SplitMix64`).
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    pub(crate) fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }

    pub(crate) fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).expect("below a usize")
    }
}

/// Waits for a future on this thread.
pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    thread_local! {
        static RUNTIME: RefCell<tokio::runtime::Runtime> = RefCell::new(
            tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime"),
        );
    }
    RUNTIME.with_borrow(|runtime| runtime.block_on(future))
}

pub(crate) fn clock(micros: i64) -> Arc<ManualClock> {
    Arc::new(ManualClock::new(UtcInstant::from_micros(micros)))
}

pub(crate) fn open(disk: &FaultDisk, options: &LogOptions, clock: Arc<dyn Clock>) -> Result<Log, OpenError> {
    Log::open(Arc::new(disk.clone()), options.clone(), clock)
}

/// Small files and a small window, so that a short test rolls and forgets; the dictionary is written as often as it can be.
pub(crate) fn options(wal_file_bytes: u64) -> LogOptions {
    LogOptions {
        wal_file_bytes,
        recent_ids: 1_000,
        queue_requests: 16,
        group_events: 64,
        dictionary_members: 1,
        sealing: Sealing::OnDemand,
        ..LogOptions::default()
    }
}

/// True if the long forms of the tests are wanted.
#[expect(clippy::disallowed_methods, reason = "how long a test runs is for the caller to say")]
pub(crate) fn is_long() -> bool {
    std::env::var("LASTSEEN_LONG_TESTS").is_ok_and(|value| value == "1")
}

/// Multiplies the number of seeds where the long forms are wanted.
pub(crate) fn multiplier() -> u64 {
    if is_long() { 4 } else { 1 }
}

/// True if this point of many is visited: in the long form each of them, else one in `one_in` by chance.
pub(crate) fn is_visited(chance: &mut Chance, one_in: u64) -> bool {
    is_long() || chance.one_in(one_in)
}

/// Runs `case` for the seeds on all cores and adds up what it counts.
pub(crate) fn on_all_cores(seeds: std::ops::Range<u64>, case: impl Fn(u64) -> u64 + Sync) -> u64 {
    let (next, total) = (AtomicU64::new(seeds.start), AtomicU64::new(0));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    total.fetch_add(case(seed), Ordering::Relaxed);
                }
            });
        }
    });
    total.into_inner()
}

/// Told the path of each file that is read from.
type OnRead = Arc<dyn Fn(&str) + Send + Sync>;

/// A disk that tells what is read from it, before it is.
pub(crate) struct WatchedDisk {
    disk: FaultDisk,
    on_read: OnRead,
}

impl WatchedDisk {
    pub(crate) fn new(disk: FaultDisk, on_read: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self { disk, on_read: Arc::new(on_read) }
    }
}

struct WatchedFile {
    file: Box<dyn DiskFile>,
    path: String,
    on_read: OnRead,
}

impl DiskFile for WatchedFile {
    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        (self.on_read)(&self.path);
        self.file.read_at(buffer, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.file.allocate(len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self, site: SyncSite) -> io::Result<()> {
        self.file.sync_data(site)
    }

    fn sync_all(&self, site: SyncSite) -> io::Result<()> {
        self.file.sync_all(site)
    }
}

impl Disk for WatchedDisk {
    fn lock(&self) -> io::Result<Option<Box<dyn Send + Sync>>> {
        self.disk.lock()
    }

    fn create_dir(&self, dir: &str) -> io::Result<()> {
        self.disk.create_dir(dir)
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.disk.list(dir)
    }

    fn create(&self, path: &str) -> io::Result<Box<dyn DiskFile>> {
        self.disk.create(path)
    }

    fn open(&self, path: &str, access: Access) -> io::Result<Box<dyn DiskFile>> {
        let file = self.disk.open(path, access)?;
        Ok(Box::new(WatchedFile { file, path: path.to_owned(), on_read: self.on_read.clone() }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn folder(&self, dir: &str) -> io::Result<Box<dyn Folder>> {
        self.disk.folder(dir)
    }

    fn state(&self) -> io::Result<DiskState> {
        self.disk.state()
    }
}
