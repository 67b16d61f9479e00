//! A process that has as many open files as it may. The limit is the process's, so this is the only test of
//! its process.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use lastseen_event::Position;
use lastseen_log::{Log, LogOptions, OsDisk, SealError, Sealing};
use lastseen_store::contract::Source;
use lastseen_store::{AppendError, Detail, EventReader, EventStore, OnRefused, SystemClock};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Lets no file be opened beyond those that are open, until the result is dropped.
struct NoMoreFiles(Rlimit);

impl NoMoreFiles {
    fn new() -> Self {
        let before = getrlimit(Resource::Nofile);
        let free = File::open("/dev/null").expect("one more").as_raw_fd();
        let current = Some(u64::try_from(free).expect("a descriptor"));
        setrlimit(Resource::Nofile, Rlimit { current, ..before }).expect("is lowered");
        Self(before)
    }
}

impl Drop for NoMoreFiles {
    fn drop(&mut self) {
        setrlimit(Resource::Nofile, self.0).expect("is raised");
    }
}

#[tokio::test]
async fn a_log_without_descriptors_refuses_and_goes_on_when_there_are_some() {
    const SOURCE: Source = Source { series: 0 };
    let dir = tempfile::TempDir::new().expect("a directory");
    let disk = OsDisk::new(dir.path()).expect("a directory");
    // A file holds one frame, so each append makes one.
    let options = LogOptions { wal_file_bytes: 1, sealing: Sealing::OnDemand, ..LogOptions::default() };
    let log = Log::open(Arc::new(disk), options, Arc::new(SystemClock)).expect("opens");
    let append = |start: u64| log.append(SOURCE.batch(start..start + 5), OnRefused::RefuseBatch);
    append(0).await.expect("appends");
    // Blocks, which a task may not.
    let seal = || std::thread::scope(|scope| scope.spawn(|| log.seal()).join().expect("it answers"));
    for start in [5, 10] {
        let full = NoMoreFiles::new();
        for _ in 0..3 {
            let refused = append(start).await;
            assert!(matches!(refused, Err(AppendError::Unavailable(_))), "{refused:?}");
            assert!(!log.health().needs_restart() && !log.health().standstills.is_empty());
        }
        let sealed = seal();
        assert!(matches!(sealed, Err(SealError::Io { .. })), "{sealed:?}");
        drop(full);
        assert_eq!(append(start).await.expect("appends again").stored, 5);
    }
    seal().expect("seals");
    assert_eq!((log.health().standstills, log.health().unsealed_events), (Vec::new(), 0));
    let mut reader = log.read(Position::START, Detail::Events);
    let (expected, mut read) = (SOURCE.batch(0..15), 0);
    while let Some(batch) = reader.next_batch().expect("readable") {
        for event in batch.events.iter() {
            assert_eq!(event, expected.get(read));
            read += 1;
        }
    }
    assert_eq!(read, 15);
}
