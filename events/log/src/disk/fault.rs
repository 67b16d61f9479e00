//! A disk in memory that behaves as badly as a real one may: the power goes at any operation, what was not synced
//! is lost, reordered or torn, and any operation fails on command. For tests; the log opens it like any other.

mod medium;
mod plan;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use self::medium::{Dice, Medium, Node};
pub use self::plan::{Fault, Operation};
use self::plan::{Plan, Step};
use super::{Access, Disk, DiskFile, Folder, SyncSite};

/// The disk. Clones are the same disk; [`FaultDisk::after_power_cut`] and [`FaultDisk::after_kill`] make another.
#[derive(Clone, Default)]
pub struct FaultDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    medium: Medium,
    plan: Plan,
    locked: bool,
    harms_neighbours: bool,
    /// The space for all files together, in bytes.
    capacity: Option<u64>,
}

impl FaultDisk {
    /// A disk on which these files are, by path, durable.
    pub fn holding(files: &BTreeMap<String, Vec<u8>>) -> Self {
        let disk = Self::default();
        for (path, content) in files {
            disk.put(path, content);
        }
        disk
    }

    /// Puts a file there, durable, in place of whatever had that path.
    pub fn put(&self, path: &str, content: &[u8]) {
        self.lock_state().medium.put(path, content);
    }

    /// Changes the content of a file in place, durably: also for whoever has it open.
    pub fn overwrite(&self, path: &str, content: &[u8]) {
        self.lock_state().medium.overwrite(path, content);
    }

    /// Every file by path as the running system sees it.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        self.lock_state().medium.files()
    }

    /// Operations so far that change something or make it durable.
    pub fn operations(&self) -> u64 {
        self.lock_state().plan.operations()
    }

    /// Number of times the log has synced there.
    pub fn syncs(&self, site: SyncSite) -> u64 {
        self.lock_state().plan.syncs(site)
    }

    /// Takes the power away in the middle of operation `number` (0: the first): it may take effect in whole, in
    /// part or not at all, and it and everything later fails.
    pub fn cut_power_at(&self, number: u64) {
        self.lock_state().plan.cut_at(number);
    }

    /// From now on, syncs there succeed and do nothing.
    pub fn leave_out(&self, site: SyncSite) {
        self.lock_state().plan.leave_out(site);
    }

    /// From now on, a power cut that tears a write also destroys what stands in front of it in its sector, though that is durable:
    /// a disk that does not write a sector whole or not at all.
    pub fn harm_neighbours(&self) {
        self.lock_state().harms_neighbours = true;
    }

    /// Makes the `nth` operation of this kind from now on (0: the next) and the `times - 1` after it fail. A
    /// failing write writes `written` of its bytes; a failing sync loses what it should have made durable, though
    /// reads still show it, as Linux does.
    pub fn fail(&self, operation: Operation, nth: u64, times: u64, (fault, written): (Fault, usize)) {
        self.lock_state().plan.fail(operation, nth, times, (fault, written));
    }

    /// Number of operations that failed as ordered.
    pub fn failures(&self) -> u64 {
        self.lock_state().plan.failed()
    }

    /// Takes all faults back that were ordered.
    pub fn heal(&self) {
        self.lock_state().plan.heal();
    }

    /// Limits what all files together may hold, in bytes; beyond it there is no space.
    pub fn limit(&self, bytes: Option<u64>) {
        self.lock_state().capacity = bytes;
    }

    /// The disk as it may be found once the power is back, one possibility a seed: everything that was synced,
    /// and of the rest any part, by sectors of 512 or 4,096 bytes. Seed 0 loses all of it, 1 keeps all.
    #[must_use]
    pub fn after_power_cut(&self, seed: u64) -> Self {
        let state = self.lock_state();
        let mut medium = state.medium.clone();
        medium.cut_power(&mut Dice::new(seed), state.harms_neighbours);
        Self::with(medium, &state)
    }

    /// The disk as the next process finds it if this one is killed now: everything that was written is there to
    /// read, and what was not synced still is not. A copy, with no fault ordered.
    #[must_use]
    pub fn after_kill(&self) -> Self {
        let state = self.lock_state();
        Self::with(state.medium.clone(), &state)
    }

    fn with(medium: Medium, before: &State) -> Self {
        let mut plan = Plan::default();
        if let Some(site) = before.plan.left_out() {
            plan.leave_out(site);
        }
        let harms_neighbours = before.harms_neighbours;
        let state = State { medium, plan, locked: false, harms_neighbours, capacity: before.capacity };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    fn lock_state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    fn file(&self, file: usize) -> Box<dyn DiskFile> {
        Box::new(FaultFile { state: self.state.clone(), file })
    }
}

impl State {
    /// Carries out an operation that is not a sync, or what is left of it.
    fn change<T>(
        &mut self,
        operation: Operation,
        change: impl FnOnce(&mut Medium) -> io::Result<T>,
    ) -> io::Result<T> {
        match self.plan.step(operation) {
            Step::Go => change(&mut self.medium),
            Step::PowerCut(error) => {
                // In flight: the medium has it among what is not synced.
                let _ = change(&mut self.medium);
                Err(error)
            }
            Step::Fail(error, _) => Err(error),
        }
    }

    /// Carries out a sync: `sync(medium, true)` makes durable, `sync(medium, false)` loses.
    fn sync(
        &mut self,
        operation: Operation,
        site: SyncSite,
        sync: impl FnOnce(&mut Medium, bool),
    ) -> io::Result<()> {
        match self.plan.step(operation) {
            Step::Go => {
                if self.plan.counts_sync(site) {
                    sync(&mut self.medium, true);
                }
                Ok(())
            }
            Step::PowerCut(error) => Err(error),
            Step::Fail(error, _) => {
                sync(&mut self.medium, false);
                Err(error)
            }
        }
    }

    fn check_space(&self, file: usize, len: usize) -> io::Result<()> {
        let more = len.saturating_sub(self.medium.content(file).cached().len());
        match self.capacity {
            Some(capacity) if more > 0 && self.medium.used() + more as u64 > capacity => {
                Err(Fault::NoSpace.error())
            }
            _ => Ok(()),
        }
    }
}

/// Gives the lock back.
struct Held(Arc<Mutex<State>>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.lock().locked = false;
    }
}

impl Disk for FaultDisk {
    fn lock(&self) -> io::Result<Option<Box<dyn Send + Sync>>> {
        let mut state = self.lock_state();
        state.plan.check_power()?;
        if std::mem::replace(&mut state.locked, true) {
            return Ok(None);
        }
        Ok(Some(Box::new(Held(self.state.clone()))))
    }

    fn create_dir(&self, dir: &str) -> io::Result<()> {
        self.lock_state().change(Operation::CreateDir, |medium| {
            medium.create_dir(dir);
            Ok(())
        })
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let state = self.lock_state();
        state.plan.check_power()?;
        state.medium.list(dir)
    }

    fn create(&self, path: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = self.lock_state().change(Operation::Create, |medium| medium.create(path))?;
        Ok(self.file(file))
    }

    fn open(&self, path: &str, _access: Access) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.lock_state();
        let file = state.change(Operation::Open, |medium| match medium.find(path)? {
            Node::File(file) => Ok(file),
            Node::Folder => Err(io::ErrorKind::IsADirectory.into()),
        })?;
        Ok(self.file(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.lock_state().change(Operation::Rename, |medium| medium.rename(from, to))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.lock_state().change(Operation::Remove, |medium| medium.remove(path))
    }

    fn folder(&self, dir: &str) -> io::Result<Box<dyn Folder>> {
        self.lock_state().change(Operation::OpenDir, |medium| medium.list(dir).map(drop))?;
        Ok(Box::new(FaultFolder { state: self.state.clone(), dir: dir.to_owned() }))
    }
}

struct FaultFolder {
    state: Arc<Mutex<State>>,
    dir: String,
}

impl Folder for FaultFolder {
    fn sync(&self, site: SyncSite) -> io::Result<()> {
        self.state.lock().sync(Operation::SyncDir, site, |medium, made_durable| {
            // Names go through the journal of the file system: a sync that fails leaves them to the next.
            if made_durable {
                medium.sync_names(&self.dir);
            }
        })
    }
}

struct FaultFile {
    state: Arc<Mutex<State>>,
    file: usize,
}

impl FaultFile {
    fn sync(&self, operation: Operation, site: SyncSite) -> io::Result<()> {
        self.state.lock().sync(operation, site, |medium, made_durable| {
            let content = medium.content_mut(self.file);
            match (made_durable, operation) {
                (false, _) => content.forget(),
                (true, Operation::SyncData) => content.sync_data(),
                (true, _) => content.sync_all(),
            }
        })
    }

    fn resize(&self, operation: Operation, len: u64, change: impl FnOnce(usize) -> usize) -> io::Result<()> {
        let mut state = self.state.lock();
        let len = change(usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?);
        state.check_space(self.file, len)?;
        state.change(operation, |medium| {
            medium.content_mut(self.file).set_len(len);
            Ok(())
        })
    }
}

impl DiskFile for FaultFile {
    fn size(&self) -> io::Result<u64> {
        let state = self.state.lock();
        state.plan.check_power()?;
        Ok(state.medium.content(self.file).cached().len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.state.lock().change(Operation::Read, |medium| {
            let cached = medium.content(self.file).cached();
            let start = usize::try_from(offset).unwrap_or(usize::MAX).min(cached.len());
            let found = &cached[start..cached.len().min(start.saturating_add(buffer.len()))];
            buffer[..found.len()].copy_from_slice(found);
            Ok(found.len())
        })
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        let at = usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
        state.check_space(self.file, at + bytes.len())?;
        let (written, result) = match state.plan.step(Operation::Write) {
            Step::Go => (bytes.len(), Ok(())),
            Step::PowerCut(error) => (bytes.len(), Err(error)),
            // Whoever has written everything has had the space.
            Step::Fail(error, written) if error.kind() == io::ErrorKind::StorageFull => {
                (written.min(bytes.len().saturating_sub(1)), Err(error))
            }
            Step::Fail(error, written) => (written.min(bytes.len()), Err(error)),
        };
        state.medium.content_mut(self.file).write(at, &bytes[..written]);
        result
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let present = self.state.lock().medium.content(self.file).cached().len();
        self.resize(Operation::Allocate, len, |len| len.max(present))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.resize(Operation::SetLen, len, |len| len)
    }

    fn sync_data(&self, site: SyncSite) -> io::Result<()> {
        self.sync(Operation::SyncData, site)
    }

    fn sync_all(&self, site: SyncSite) -> io::Result<()> {
        self.sync(Operation::SyncAll, site)
    }
}
