//! The keys that the server goes by. It looks at the keys file every second: a key that was made or revoked counts from
//! then on.
//!
//! A file that cannot be read, or that is gone, changes nothing: the keys before stay, and the log says so. So a server that
//! had a keys file once never becomes open while it runs.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use lastseen_event::UtcInstant;
use lastseen_store::{Clock, SystemClock};
use parking_lot::{Mutex, RwLock};

use super::file::{KeyRecord, KeyState, KeysFile, KeysFileError};
use super::limits::{Counters, LimitReached};
use super::scope::Scope;
use super::seal::Seal;
use super::secret::{Secret, SecretHash};
use super::usage::{KeyUse, KeyUses};
use crate::asker::Asker;
use crate::files::{self, FileVersion};
use crate::tasks;

/// Time between two writes of the uses.
const WRITE_EVERY: Duration = Duration::from_mins(1);

/// The keys of a running server.
pub(crate) struct LiveKeys {
    path: PathBuf,
    uses_path: PathBuf,
    /// `None`: there was no file yet, and the server is open.
    current: RwLock<Option<Arc<KeySet>>>,
    /// Grows with each change of `current`.
    generation: AtomicU64,
    /// The file as it was read last.
    read: Mutex<Option<FileVersion>>,
    /// The uses as they were written last.
    written: Mutex<KeyUses>,
}

/// The key that a connection brought last, found again without a hash or a lock that others want.
#[derive(Clone, Default)]
pub(crate) struct Remembered(Arc<Mutex<Option<Known>>>);

struct Known {
    secret: Secret,
    key: Arc<LiveKey>,
    /// The generation of the keys that it was found in.
    generation: u64,
}

/// The keys of one version of the file.
struct KeySet {
    by_id: HashMap<String, Arc<LiveKey>>,
}

/// A key that the server knows.
pub(crate) struct LiveKey {
    record: KeyRecord,
    /// Microseconds since 1970 of the last use; `i64::MIN`: none.
    last_used_us: Arc<AtomicI64>,
    counters: Arc<Counters>,
    /// Seals the positions that a bound key sees.
    seal: Option<Arc<Seal>>,
}

/// A key that is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeyFault {
    /// No key has this text.
    #[error("no key has this text")]
    Unknown,
    /// It was taken back.
    #[error("the key was revoked")]
    Revoked,
    /// Its time is over.
    #[error("the key expired at {0}")]
    Expired(UtcInstant),
}

impl LiveKeys {
    /// Reads the keys file. Without one the server is open, unless a file was `asked` for.
    ///
    /// # Errors
    /// [`KeysFileError`].
    pub(crate) fn open(data: &Path, asked: Option<&Path>) -> Result<Self, KeysFileError> {
        let path = asked.map_or_else(|| KeysFile::path_in(data), Path::to_owned);
        let uses_path = KeyUses::path_in(data);
        let written = KeyUses::read(&uses_path).unwrap_or_else(|error| {
            tracing::warn!(path = %uses_path.display(), %error, "the last uses of keys cannot be read");
            KeyUses::default()
        });
        let keys = Self {
            path,
            uses_path,
            current: RwLock::default(),
            generation: AtomicU64::new(0),
            read: Mutex::default(),
            written: Mutex::new(written),
        };
        keys.read_file()?;
        if asked.is_some() && keys.current.read().is_none() {
            let source = io::ErrorKind::NotFound.into();
            return Err(KeysFileError::Io { step: "read", path: keys.path, source });
        }
        Ok(keys)
    }

    /// True if there is no keys file: whoever reaches the server has every access.
    pub(crate) fn is_open(&self) -> bool {
        self.current.read().is_none()
    }

    /// The key in force with this text, which is noted as used. The text may be that which its connection brought last.
    ///
    /// # Errors
    /// [`KeyFault`]; `Unknown` for a text that cannot be a key.
    pub(crate) fn find_again(&self, text: &str, remembered: &Remembered) -> Result<Arc<LiveKey>, KeyFault> {
        // Before the look: a change meanwhile makes what is found here old.
        let generation = self.generation.load(Ordering::Acquire);
        let mut known = remembered.0.lock();
        if let Some(Known { secret, key, .. }) = known.as_ref().filter(|known| known.generation == generation)
            && secret.is(text)
        {
            return key.clone().used();
        }
        let secret = Secret::parse(text).ok_or(KeyFault::Unknown)?;
        let key = self.find(&secret)?;
        *known = Some(Known { secret, key: key.clone(), generation });
        Ok(key)
    }

    /// True if a key that was found before is still in force.
    pub(crate) fn is_in_force(&self, key: &LiveKey) -> bool {
        let current = self.current.read().clone();
        let now = current.as_ref().and_then(|keys| keys.by_id.get(key.id()));
        now.is_some_and(|now| now.record.state(SystemClock.now()) == KeyState::Active)
    }

    /// The key in force with this text, which is noted as used.
    ///
    /// # Errors
    /// [`KeyFault`].
    fn find(&self, secret: &Secret) -> Result<Arc<LiveKey>, KeyFault> {
        let found = self.current.read().as_ref().and_then(|keys| keys.by_id.get(secret.id()).cloned());
        let hash = found.as_ref().map_or(SecretHash::NONE, |key| key.record.hash);
        // Always compared: an unknown id takes as long as a known one.
        let is_it = hash.is_of(secret);
        let Some(key) = found.filter(|_| is_it) else { return Err(KeyFault::Unknown) };
        key.used()
    }

    /// The key in force with this id, which is noted as used. Only for whoever brought its text before.
    ///
    /// # Errors
    /// [`KeyFault`].
    pub(crate) fn find_known(&self, id: &str) -> Result<Arc<LiveKey>, KeyFault> {
        let found = self.current.read().as_ref().and_then(|keys| keys.by_id.get(id).cloned());
        found.ok_or(KeyFault::Unknown)?.used()
    }

    /// Follows the file until these keys are gone.
    pub(crate) async fn follow(keys: Weak<Self>) {
        let kept = "the keys file cannot be read; the keys before stay in force";
        files::follow(keys, kept, Self::read_file).await;
    }

    /// Writes the uses every minute until these keys are gone.
    pub(crate) async fn keep_uses(keys: Weak<Self>) {
        loop {
            tokio::time::sleep(WRITE_EVERY).await;
            let Some(keys) = keys.upgrade() else { return };
            tasks::blocking(move || keys.write_uses()).await;
        }
    }

    /// Reads the file again if it has changed.
    fn read_file(&self) -> Result<(), KeysFileError> {
        let io = |source| KeysFileError::Io { step: "look at", path: self.path.clone(), source };
        let version = FileVersion::of(&self.path).map_err(io)?;
        let mut read = self.read.lock();
        if *read == version {
            return Ok(());
        }
        let Some(file) = KeysFile::read(&self.path)? else { return Err(io(io::ErrorKind::NotFound.into())) };
        let set = self.set(&file);
        let keys = set.by_id.len();
        let before = self.current.write().replace(Arc::new(set));
        self.generation.fetch_add(1, Ordering::Release);
        *read = version;
        tracing::info!(keys, path = %self.path.display(), first = before.is_none(), "the keys file was read");
        Ok(())
    }

    fn set(&self, file: &KeysFile) -> KeySet {
        let seal = Arc::new(Seal::new(file.seal.0));
        let (current, written) = (self.current.read().clone(), self.written.lock());
        let live = |record: &KeyRecord| {
            let before = current.as_ref().and_then(|before| before.by_id.get(&record.id));
            let last_used_us = if let Some(before) = before {
                before.last_used_us.clone()
            } else {
                let used = written.0.get(&record.id);
                Arc::new(AtomicI64::new(used.map_or(i64::MIN, |used| used.last_used_at.as_micros())))
            };
            let seal = record.tenants.is_some().then(|| seal.clone());
            let same = before.filter(|before| before.record.limits == record.limits);
            let counters = same.map(|before| before.counters.clone());
            let counters = counters.unwrap_or_else(|| Arc::new(Counters::new(record.limits)));
            let mut record = record.clone();
            record.tenants.iter_mut().for_each(|tenants| tenants.sort_unstable());
            (record.id.clone(), Arc::new(LiveKey { record, last_used_us, counters, seal }))
        };
        KeySet { by_id: file.keys().iter().map(live).collect() }
    }

    /// Writes when each key was last used, if that has changed. Blocks.
    pub(crate) fn write_uses(&self) {
        let Some(keys) = self.current.read().clone() else { return };
        let of_key = |key: &Arc<LiveKey>| {
            let at = key.last_used_us.load(Ordering::Relaxed);
            let last_used_at = UtcInstant::from_micros(at);
            (at != i64::MIN).then(|| (key.record.id.clone(), KeyUse { last_used_at }))
        };
        let uses = KeyUses(keys.by_id.values().filter_map(of_key).collect());
        let mut written = self.written.lock();
        if *written == uses {
            return;
        }
        match uses.write(&self.uses_path) {
            Ok(()) => *written = uses,
            Err(error) => {
                let path = self.uses_path.display();
                tracing::warn!(%path, %error, "the last uses of keys cannot be written");
            }
        }
    }
}

impl LiveKey {
    /// Notes a use, if the key is in force.
    fn used(self: Arc<Self>) -> Result<Arc<Self>, KeyFault> {
        /// A use is noted so long after the one before: all threads read the instant, and few write it.
        const NOTED_EVERY_US: i64 = 1_000_000;
        let now = SystemClock.now();
        match (self.record.state(now), self.record.expires_at) {
            (KeyState::Active, _) => {
                let noted = self.last_used_us.load(Ordering::Relaxed);
                if now.as_micros().saturating_sub(noted) >= NOTED_EVERY_US {
                    self.last_used_us.store(now.as_micros(), Ordering::Relaxed);
                }
                Ok(self)
            }
            (KeyState::Expired, Some(at)) => Err(KeyFault::Expired(at)),
            (KeyState::Expired | KeyState::Revoked, _) => Err(KeyFault::Revoked),
        }
    }

    pub(crate) fn id(&self) -> &str {
        &self.record.id
    }

    /// Counts a request.
    ///
    /// # Errors
    /// [`LimitReached`].
    pub(crate) fn count_request(&self) -> Result<(), LimitReached> {
        self.counters.requests.as_ref().map_or(Ok(()), |requests| requests.take(1))
    }

    /// Counts events of a request.
    ///
    /// # Errors
    /// [`LimitReached`]; they do not count.
    pub(crate) fn count_events(&self, events: u32) -> Result<(), LimitReached> {
        self.counters.events.as_ref().map_or(Ok(()), |counted| counted.take(events))
    }

    /// The holder of the key with one more request, as questions know it.
    pub(crate) fn asker(&self) -> Asker {
        self.counters.askers.asker()
    }

    pub(crate) fn is_limited(&self) -> bool {
        !self.record.limits.is_none()
    }

    pub(crate) fn has(&self, scope: Scope) -> bool {
        self.record.scopes.contains(&scope)
    }

    /// The tenants that it is bound to, ascending. `None`: all.
    pub(crate) fn tenants(&self) -> Option<&[String]> {
        self.record.tenants.as_deref()
    }

    /// Seals what a bound key may not read. `None`: it may read everything.
    pub(crate) fn seal(&self) -> Option<&Arc<Seal>> {
        self.seal.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::keys::NewKey;

    fn create(path: &Path, name: &str) -> (KeyRecord, Secret) {
        let new = NewKey {
            name: name.to_owned(),
            scopes: vec![Scope::Query],
            tenants: vec!["acme".to_owned()],
            limits: crate::keys::KeyLimits::default(),
            expires_at: None,
        };
        KeysFile::create(path, new, SystemClock.now()).unwrap()
    }

    #[test]
    fn keys_are_followed_and_the_server_never_becomes_open() {
        let data = tempfile::tempdir().unwrap();
        let path = KeysFile::path_in(data.path());
        let keys = LiveKeys::open(data.path(), None).unwrap();
        assert!(keys.is_open());
        let (first, first_secret) = create(&path, "first");
        assert!(keys.read_file().is_ok() && !keys.is_open());
        assert_eq!(keys.find(&first_secret).unwrap().id(), first.id);
        let (_, second_secret) = create(&path, "second");
        assert_eq!(keys.find(&second_secret).err(), Some(KeyFault::Unknown), "not looked at yet");
        assert!(keys.read_file().is_ok());
        assert!(keys.find(&second_secret).is_ok());
        KeysFile::revoke(&path, "first", SystemClock.now()).unwrap();
        assert!(keys.read_file().is_ok());
        assert_eq!(keys.find(&first_secret).err(), Some(KeyFault::Revoked));
        // Damage and absence leave what was.
        fs::write(&path, "{").unwrap();
        assert!(keys.read_file().is_err() && keys.read_file().is_err());
        fs::remove_file(&path).unwrap();
        assert!(keys.read_file().is_err() && !keys.is_open());
        assert!(keys.find(&second_secret).is_ok());
    }

    #[test]
    fn a_connection_that_is_known_sees_each_change() {
        let data = tempfile::tempdir().unwrap();
        let path = KeysFile::path_in(data.path());
        let (_, secret) = create(&path, "first");
        let (_, other) = create(&path, "other");
        let keys = LiveKeys::open(data.path(), None).unwrap();
        let connection = Remembered::default();
        let find =
            |secret: &Secret| keys.find_again(secret.as_str(), &connection).map(|key| key.id().to_owned());
        for _ in 0..3 {
            assert_eq!(find(&secret), Ok(secret.id().to_owned()));
        }
        assert_eq!(find(&other), Ok(other.id().to_owned()), "another key on the same connection");
        assert_eq!(find(&secret), Ok(secret.id().to_owned()));
        assert_eq!(keys.find_again("nonsense", &connection).err(), Some(KeyFault::Unknown));
        KeysFile::revoke(&path, "first", SystemClock.now()).unwrap();
        assert!(keys.read_file().is_ok());
        assert_eq!(find(&secret), Err(KeyFault::Revoked));
        assert_eq!(find(&other), Ok(other.id().to_owned()));
    }

    #[test]
    fn last_uses_are_kept() {
        let data = tempfile::tempdir().unwrap();
        let (key, secret) = create(&KeysFile::path_in(data.path()), "api");
        let uses = KeyUses::path_in(data.path());
        let keys = LiveKeys::open(data.path(), None).unwrap();
        keys.write_uses();
        assert!(!uses.exists(), "nothing was used");
        let before = SystemClock.now();
        keys.find(&secret).unwrap();
        keys.write_uses();
        let first = KeyUses::read(&uses).unwrap().0[&key.id];
        assert!(first.last_used_at >= before);
        // Another server goes on with them.
        let keys = LiveKeys::open(data.path(), None).unwrap();
        create(&KeysFile::path_in(data.path()), "other");
        assert!(keys.read_file().is_ok());
        keys.write_uses();
        assert_eq!(KeyUses::read(&uses).unwrap().0[&key.id], first);
    }

    #[test]
    fn a_file_that_was_asked_for_must_be_there() {
        let data = tempfile::tempdir().unwrap();
        let asked = data.path().join("elsewhere.json");
        assert!(matches!(LiveKeys::open(data.path(), Some(&asked)), Err(KeysFileError::Io { .. })));
    }
}
