//! The audit log: key changes, retractions, refused accesses. `audit.ndjson` in the data directory, one JSON object a line.
//!
//! The server and `lastseen keys` write it, one at a time, which a lock file beside it sees to. It is rotated by size, so
//! its disk space is bounded. Refused accesses come from outside: they have files of their own, `refused.ndjson`, so that nobody
//! can push the other lines out, and are counted together, a line for each address, reason and key every few seconds.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use lastseen_event::UtcInstant;
use lastseen_store::{Clock, SystemClock};
use parking_lot::Mutex;
use serde::Serialize;

use crate::files::make_private;
use crate::keys::{KeyRecord, Scope};
use crate::tasks;

/// Bytes after which a file is put aside.
const FILE_BYTES_MAX: u64 = 8 << 20;
/// Files that are kept beside the one that is written: `audit.1.ndjson` is the newest of them.
const FILES_KEPT: usize = 7;
/// Time between two writes of the refused accesses.
const REFUSALS_EVERY: Duration = Duration::from_secs(5);
/// Addresses, reasons and keys that are told apart between two writes.
const REFUSALS_MAX: usize = 256;

/// Something that was done, or refused.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum AuditAction {
    /// A key was made.
    KeyCreated {
        /// Its id.
        key_id: String,
        /// Its name.
        key_name: String,
        /// Its scopes.
        scopes: Vec<Scope>,
        /// The tenants that it is bound to; null: none.
        tenants: Option<Vec<String>>,
        /// Its expiry; null: none.
        expires_at: Option<UtcInstant>,
        /// Number of the user of the system who made it.
        uid: u32,
    },
    /// A key was revoked.
    KeyRevoked {
        /// Its id.
        key_id: String,
        /// Its name.
        key_name: String,
        /// Number of the user of the system who revoked it.
        uid: u32,
    },
    /// A batch was retracted, or was so before.
    BatchRetracted {
        /// Its name.
        batch: String,
        /// The number of its events, as the caller gave it.
        events: u64,
        /// The key of the caller; null without keys.
        key_id: Option<String>,
        /// The address of the caller.
        address: Option<IpAddr>,
    },
    /// Requests were refused for want of a key, a scope or a tenant.
    AccessRefused {
        /// The reason.
        reason: &'static str,
        /// The key, as far as it was known.
        key_id: Option<String>,
        /// The address; null: several, more than are told apart.
        address: Option<IpAddr>,
        /// The number of requests.
        count: u64,
    },
}

impl AuditAction {
    /// The user of this process made a key.
    pub fn created(key: &KeyRecord) -> Self {
        Self::KeyCreated {
            key_id: key.id.clone(),
            key_name: key.name.clone(),
            scopes: key.scopes.clone(),
            tenants: key.tenants.clone(),
            expires_at: key.expires_at,
            uid: rustix::process::getuid().as_raw(),
        }
    }

    /// The user of this process revoked a key.
    pub fn revoked(key: &KeyRecord) -> Self {
        let uid = rustix::process::getuid().as_raw();
        Self::KeyRevoked { key_id: key.id.clone(), key_name: key.name.clone(), uid }
    }
}

#[derive(Serialize)]
struct Line<'a> {
    at: UtcInstant,
    #[serde(flatten)]
    action: &'a AuditAction,
}

/// The audit log of a data directory.
#[derive(Clone, Debug)]
pub struct AuditLog {
    data: PathBuf,
    /// The beginning of the names of its files.
    name: &'static str,
    file_bytes_max: u64,
}

impl AuditLog {
    /// The audit log of the directory `data`, which must be there when it is written.
    pub fn of(data: &Path) -> Self {
        Self { data: data.to_owned(), name: "audit", file_bytes_max: FILE_BYTES_MAX }
    }

    /// The same directory's log of refused accesses.
    fn of_refused(&self) -> Self {
        Self { name: "refused", ..self.clone() }
    }

    /// Adds lines, and makes them durable. Blocks.
    ///
    /// # Errors
    /// The operating system's error.
    pub fn write(&self, actions: &[AuditAction]) -> io::Result<()> {
        let mut text = Vec::new();
        let at = SystemClock.now();
        for action in actions {
            serde_json::to_writer(&mut text, &Line { at, action })?;
            text.push(b'\n');
        }
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o600);
        let lock = options.open(self.data.join("audit.lock"))?;
        // A file of root that the server cannot open would be worse than one of another owner.
        let _ = make_private(&lock, &self.data);
        lock.lock()?;
        let path = self.path(0);
        if fs::metadata(&path).is_ok_and(|found| found.len() >= self.file_bytes_max) {
            self.rotate()?;
        }
        let mut file: File = options.open(&path)?;
        let _ = make_private(&file, &self.data);
        file.write_all(&text)?;
        file.sync_data()
    }

    fn rotate(&self) -> io::Result<()> {
        for number in (0..FILES_KEPT).rev() {
            match fs::rename(self.path(number), self.path(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn path(&self, number: usize) -> PathBuf {
        match number {
            0 => self.data.join(format!("{}.ndjson", self.name)),
            number => self.data.join(format!("{}.{number}.ndjson", self.name)),
        }
    }
}

/// The audit log of a running server.
pub(crate) struct Audit {
    log: AuditLog,
    refusals: Mutex<HashMap<Refusal, u64>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Refusal {
    reason: &'static str,
    key_id: Option<String>,
    address: Option<IpAddr>,
}

impl Audit {
    pub(crate) fn new(log: AuditLog) -> Self {
        Self { log, refusals: Mutex::default() }
    }

    /// Adds a line, and makes it durable.
    pub(crate) async fn note(self: &Arc<Self>, action: AuditAction) {
        let audit = self.clone();
        tasks::blocking(move || write(&audit.log, &[action])).await;
    }

    /// Counts a refused access.
    pub(crate) fn refused(&self, reason: &'static str, key_id: Option<&str>, address: Option<IpAddr>) {
        let mut refusals = self.refusals.lock();
        let mut refusal = Refusal { reason, key_id: key_id.map(str::to_owned), address };
        if refusals.len() >= REFUSALS_MAX && !refusals.contains_key(&refusal) {
            refusal = Refusal { reason, key_id: None, address: None };
        }
        *refusals.entry(refusal).or_default() += 1;
    }

    /// Writes the refused accesses every few seconds until this log is gone.
    pub(crate) async fn follow(audit: Weak<Self>) {
        loop {
            tokio::time::sleep(REFUSALS_EVERY).await;
            let Some(audit) = audit.upgrade() else { return };
            tasks::blocking(move || audit.write_refusals()).await;
        }
    }

    /// Writes the refused accesses that were counted. Blocks.
    pub(crate) fn write_refusals(&self) {
        let refusals = std::mem::take(&mut *self.refusals.lock());
        let action = |(Refusal { reason, key_id, address }, count)| AuditAction::AccessRefused {
            reason,
            key_id,
            address,
            count,
        };
        let actions: Vec<_> = refusals.into_iter().map(action).collect();
        if !actions.is_empty() {
            write(&self.log.of_refused(), &actions);
        }
    }
}

fn write(log: &AuditLog, actions: &[AuditAction]) {
    if let Err(error) = log.write(actions) {
        tracing::error!(%error, ?actions, "the audit log cannot be written");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_put_aside_by_size_and_the_oldest_goes() {
        let data = tempfile::tempdir().unwrap();
        let log = AuditLog { file_bytes_max: 100, ..AuditLog::of(data.path()) };
        let action = |events| AuditAction::BatchRetracted {
            batch: "run".to_owned(),
            events,
            key_id: None,
            address: None,
        };
        for events in 0..20 {
            log.write(&[action(events)]).unwrap();
        }
        let count = fs::read_dir(data.path()).unwrap().count();
        assert_eq!(count, 1 + 1 + FILES_KEPT, "the lock, the file and those before");
        let newest = fs::read_to_string(log.path(0)).unwrap();
        let line: serde_json::Value = serde_json::from_str(newest.lines().last().unwrap()).unwrap();
        assert_eq!((&line["action"], &line["events"]), (&"batch_retracted".into(), &19.into()));
        assert!(fs::read_to_string(log.path(FILES_KEPT)).unwrap().contains("batch_retracted"));
    }

    #[test]
    fn refusals_are_counted_together_and_bounded() {
        let data = tempfile::tempdir().unwrap();
        let audit = Audit::new(AuditLog::of(data.path()));
        for host in 0..2_000_u32 {
            audit.refused("key_missing", None, Some(IpAddr::V4(host.into())));
            audit.refused("scope_missing", Some("0123456789"), Some([192, 0, 2, 1].into()));
        }
        audit.write_refusals();
        let text = fs::read_to_string(data.path().join("refused.ndjson")).unwrap();
        assert!(text.lines().count() <= REFUSALS_MAX + 2, "{}", text.lines().count());
        let counts = text.lines().map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["count"].as_u64().unwrap()
        });
        assert_eq!(counts.sum::<u64>(), 4_000);
        audit.write_refusals();
        assert_eq!(fs::read_to_string(data.path().join("refused.ndjson")).unwrap(), text, "nothing new");
    }
}
