//! The faults that are ordered, and the operations they hit.

use std::collections::HashMap;
use std::io;

use super::SyncSite;

/// The kinds of operation that can be made to fail. All but [`Operation::Open`], [`Operation::OpenDir`] and
/// [`Operation::Read`] are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Making a folder.
    CreateDir,
    /// Opening a folder, to make its names durable.
    OpenDir,
    /// Making names durable.
    SyncDir,
    /// Making a file.
    Create,
    /// Opening a file.
    Open,
    /// Renaming a file.
    Rename,
    /// Removing a file.
    Remove,
    /// Reading from a file.
    Read,
    /// Writing to a file.
    Write,
    /// Reserving space.
    Allocate,
    /// Cutting or extending a file.
    SetLen,
    /// Making content durable.
    SyncData,
    /// Making content and length durable.
    SyncAll,
}

/// The error of an operation that is made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `EIO`: the device does not work.
    Io,
    /// `ENOSPC`: there is no space left.
    NoSpace,
    /// `EACCES`: the file or folder may not be used that way.
    Denied,
    /// `EMFILE`: the process has as many open files as it may.
    NoDescriptors,
    /// `ENOENT`: the file or a folder above it is not there.
    Missing,
}

impl Fault {
    pub(super) fn error(self) -> io::Error {
        match self {
            Self::Io => io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error()),
            Self::NoSpace => io::ErrorKind::StorageFull.into(),
            Self::Denied => io::ErrorKind::PermissionDenied.into(),
            Self::NoDescriptors => io::Error::from_raw_os_error(rustix::io::Errno::MFILE.raw_os_error()),
            Self::Missing => io::ErrorKind::NotFound.into(),
        }
    }
}

/// The fate of one operation.
pub(super) enum Step {
    /// It is carried out.
    Go,
    /// The power goes while it is.
    PowerCut(io::Error),
    /// It fails; a write writes this much before.
    Fail(io::Error, usize),
}

#[derive(Default)]
pub(super) struct Plan {
    operations: u64,
    syncs: HashMap<SyncSite, u64>,
    cut_at: Option<u64>,
    off: bool,
    left_out: Option<SyncSite>,
    failures: Vec<Failure>,
    failed: u64,
}

struct Failure {
    operation: Operation,
    skip: u64,
    times: u64,
    fault: Fault,
    written: usize,
}

impl Plan {
    pub(super) fn operations(&self) -> u64 {
        self.operations
    }

    pub(super) fn syncs(&self, site: SyncSite) -> u64 {
        self.syncs.get(&site).copied().unwrap_or_default()
    }

    pub(super) fn cut_at(&mut self, number: u64) {
        self.cut_at = Some(number);
    }

    pub(super) fn leave_out(&mut self, site: SyncSite) {
        self.left_out = Some(site);
    }

    pub(super) fn left_out(&self) -> Option<SyncSite> {
        self.left_out
    }

    pub(super) fn fail(
        &mut self,
        operation: Operation,
        skip: u64,
        times: u64,
        (fault, written): (Fault, usize),
    ) {
        self.failures.push(Failure { operation, skip, times, fault, written });
    }

    pub(super) fn failed(&self) -> u64 {
        self.failed
    }

    pub(super) fn heal(&mut self) {
        self.failures.clear();
    }

    pub(super) fn check_power(&self) -> io::Result<()> {
        if self.off { Err(power_is_off()) } else { Ok(()) }
    }

    /// Counts a sync; whether it is to have its effect.
    pub(super) fn counts_sync(&mut self, site: SyncSite) -> bool {
        *self.syncs.entry(site).or_default() += 1;
        self.left_out != Some(site)
    }

    pub(super) fn step(&mut self, operation: Operation) -> Step {
        if self.off {
            return Step::Fail(power_is_off(), 0);
        }
        if !matches!(operation, Operation::Open | Operation::OpenDir | Operation::Read) {
            let number = self.operations;
            self.operations += 1;
            if self.cut_at == Some(number) {
                self.off = true;
                return Step::PowerCut(power_is_off());
            }
        }
        let mut result = Step::Go;
        for failure in self.failures.iter_mut().filter(|failure| failure.operation == operation) {
            if failure.skip > 0 {
                failure.skip -= 1;
            } else if failure.times > 0 {
                failure.times -= 1;
                result = Step::Fail(failure.fault.error(), failure.written);
            }
        }
        self.failed += u64::from(matches!(result, Step::Fail(..)));
        result
    }
}

fn power_is_off() -> io::Error {
    io::Error::other("the power is off")
}
