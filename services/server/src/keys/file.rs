//! The keys file: `keys.json` in the data directory, or wherever `--keys` says. It holds hashes, never a key.
//!
//! It is written as a whole: aside, synced, and renamed over the one before, by one writer at a time, which a lock
//! file beside it sees to. Whoever reads it sees the file before a change or the one after.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use lastseen_event::{TenantId, UtcInstant};
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::limits::KeyLimits;
use super::scope::Scope;
use super::secret::{ID_CHARS, Secret, SecretHash, bytes_of_hex, hex};
use crate::files::make_private;

/// The one version of the form.
const VERSION: u32 = 1;
/// Most keys of a file, revoked ones included.
const KEYS_MAX: usize = 10_000;
/// Most tenants that a key can be bound to.
const TENANTS_MAX: usize = 1_000;
/// A longer file is no keys file.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// Most bytes of a name of a key.
const NAME_BYTES_MAX: usize = 128;

/// The keys file as a whole.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeysFile {
    version: u32,
    /// Seals what a key that is bound to tenants may not read, such as positions.
    pub(super) seal: SealKey,
    keys: Vec<KeyRecord>,
}

/// A key as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRecord {
    /// Names the key in lists, logs and the key itself. Unique.
    pub id: String,
    /// A name for people. Unique among the keys that are in force.
    pub name: String,
    pub(super) hash: SecretHash,
    /// At least one, ascending.
    pub scopes: Vec<Scope>,
    /// The tenants that the key is bound to. `None`: it is for all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenants: Option<Vec<String>>,
    /// Its limits.
    #[serde(default, skip_serializing_if = "KeyLimits::is_none")]
    pub limits: KeyLimits,
    /// When it was made.
    pub created_at: UtcInstant,
    /// From this instant on it is not accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<UtcInstant>,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<UtcInstant>,
}

/// The state of a key at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// It is accepted.
    Active,
    /// Its time is over.
    Expired,
    /// It was taken back.
    Revoked,
}

/// The properties of a new key.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// A name for people.
    pub name: String,
    /// At least one.
    pub scopes: Vec<Scope>,
    /// The tenants that it is bound to; empty: all.
    pub tenants: Vec<String>,
    /// Its limits.
    pub limits: KeyLimits,
    /// From this instant on it is not accepted.
    pub expires_at: Option<UtcInstant>,
}

/// A keys file that cannot be read or written. The file before is in place.
#[derive(Debug, thiserror::Error)]
pub enum KeysFileError {
    /// The operating system refused a step.
    #[error("cannot {step} {}", path.display())]
    Io {
        /// The step, such as `read`.
        step: &'static str,
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        #[source]
        source: io::Error,
    },
    /// It is not the JSON of a keys file, or its keys contradict each other.
    #[error("{} is no keys file: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The difference, in words.
        reason: String,
    },
    /// A key cannot be made like this.
    #[error("{0}")]
    Refused(&'static str),
    /// Another key in force has the name.
    #[error("there is a key with the name {0:?} already; revoke it first, or take another name")]
    NameTaken(String),
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    NoRandomness,
}

/// A key that was not revoked.
#[derive(Debug, thiserror::Error)]
pub enum RevokeError {
    /// No key has this id or name, or it is revoked already.
    #[error("no key in force has the id or the name {0:?}; `lastseen keys list` names them")]
    Unknown(String),
    /// The file was not changed.
    #[error(transparent)]
    File(#[from] KeysFileError),
}

impl KeyRecord {
    /// The state at `now`.
    pub fn state(&self, now: UtcInstant) -> KeyState {
        if self.revoked_at.is_some() {
            KeyState::Revoked
        } else if self.expires_at.is_some_and(|at| at <= now) {
            KeyState::Expired
        } else {
            KeyState::Active
        }
    }

    fn check(&self) -> Result<(), &'static str> {
        let is_name =
            |name: &str| (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control);
        if self.id.len() != ID_CHARS || !self.id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err("expected an id of 10 hexadecimal digits");
        }
        if !is_name(&self.name) {
            return Err("expected a name of 1 to 128 bytes without control characters");
        }
        if self.scopes.is_empty() {
            return Err("expected at least one scope");
        }
        if self.limits.is_zero() {
            return Err("expected limits of at least 1 a second");
        }
        let Some(tenants) = &self.tenants else { return Ok(()) };
        if tenants.is_empty() || tenants.len() > TENANTS_MAX {
            return Err("expected 1 to 1000 tenants that a key is bound to");
        }
        if tenants.iter().any(|tenant| TenantId::new(tenant).is_err()) {
            return Err("expected ids of tenants: 1 to 128 bytes, printable, no placeholders");
        }
        if self.scopes.iter().any(|scope| scope.spans_tenants()) {
            return Err(
                "the scopes backfill and admin span all tenants: a key with them cannot be bound to tenants",
            );
        }
        Ok(())
    }
}

impl KeysFile {
    /// The place of the file of a data directory.
    pub fn path_in(data: &Path) -> PathBuf {
        data.join("keys.json")
    }

    /// Reads the file. `None`: it is not there.
    ///
    /// # Errors
    /// [`KeysFileError`].
    pub fn read(path: &Path) -> Result<Option<Self>, KeysFileError> {
        let io = |source| KeysFileError::Io { step: "read", path: path.to_owned(), source };
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io(error)),
        };
        let mut text = Vec::new();
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut text).map_err(io)?;
        let malformed = |reason: String| KeysFileError::Malformed { path: path.to_owned(), reason };
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(malformed(format!("it is longer than {FILE_BYTES_MAX} bytes")));
        }
        let keys: Self = serde_json::from_slice(&text).map_err(|error| malformed(error.to_string()))?;
        keys.check().map_err(malformed)?;
        Ok(Some(keys))
    }

    /// All keys, in the order in which they were made.
    pub fn keys(&self) -> &[KeyRecord] {
        &self.keys
    }

    /// Makes a key and stores it, and the file where there is none. The secret is not stored.
    ///
    /// # Errors
    /// [`KeysFileError`]; then there is no new key.
    pub fn create(path: &Path, new: NewKey, now: UtcInstant) -> Result<(KeyRecord, Secret), KeysFileError> {
        let NewKey { name, mut scopes, tenants, limits, expires_at } = new;
        scopes.sort_unstable();
        scopes.dedup();
        let secret = Secret::generate().ok_or(KeysFileError::NoRandomness)?;
        let key = KeyRecord {
            id: secret.id().to_owned(),
            name,
            hash: secret.hash(),
            scopes,
            tenants: (!tenants.is_empty()).then_some(tenants),
            limits,
            created_at: now,
            expires_at,
            revoked_at: None,
        };
        key.check().map_err(KeysFileError::Refused)?;
        if expires_at.is_some_and(|at| at <= now) {
            return Err(KeysFileError::Refused("expected an expiry that is still to come"));
        }
        change(path, |keys| {
            let taken = |other: &&KeyRecord| other.name == key.name && other.state(now) == KeyState::Active;
            if let Some(other) = keys.keys.iter().find(taken) {
                return Err(KeysFileError::NameTaken(other.name.clone()));
            }
            if keys.keys.len() >= KEYS_MAX {
                return Err(KeysFileError::Refused("expected at most 10000 keys in a file"));
            }
            keys.keys.push(key.clone());
            Ok(())
        })?;
        Ok((key, secret))
    }

    /// Revokes the key in force with this id or name.
    ///
    /// # Errors
    /// [`RevokeError`].
    pub fn revoke(path: &Path, id_or_name: &str, now: UtcInstant) -> Result<KeyRecord, RevokeError> {
        if !path.exists() {
            return Err(RevokeError::Unknown(id_or_name.to_owned()));
        }
        change(path, |keys| {
            let is_named = |key: &&mut KeyRecord| {
                key.revoked_at.is_none() && (key.id == id_or_name || key.name == id_or_name)
            };
            // An expired key may have the name of one in force, which is made later.
            let found = keys.keys.iter_mut().rev().find(is_named);
            let key = found.ok_or_else(|| RevokeError::Unknown(id_or_name.to_owned()))?;
            key.revoked_at = Some(now);
            Ok(key.clone())
        })
    }

    fn check(&self) -> Result<(), String> {
        if self.version != VERSION {
            return Err(format!("expected version {VERSION}, found {}", self.version));
        }
        if self.keys.len() > KEYS_MAX {
            return Err(format!("expected at most {KEYS_MAX} keys, found {}", self.keys.len()));
        }
        for key in &self.keys {
            key.check().map_err(|reason| format!("key {:?}: {reason}", key.id))?;
        }
        let mut ids: Vec<_> = self.keys.iter().map(|key| key.id.as_str()).collect();
        ids.sort_unstable();
        match ids.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(format!("the id {:?} stands twice", pair[0])),
            None => Ok(()),
        }
    }
}

/// Reads the file, or begins one, lets `change` change it and puts it in place. Nobody else does so meanwhile.
fn change<T, E: From<KeysFileError>>(
    path: &Path,
    change: impl FnOnce(&mut KeysFile) -> Result<T, E>,
) -> Result<T, E> {
    let io = |step, path: &Path| {
        let path = path.to_owned();
        move |source| KeysFileError::Io { step, path, source }
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(io("make", folder))?;
    let lock = path.with_extension("json.lock");
    let held = private().create(true).truncate(false).open(&lock).map_err(io("open", &lock))?;
    make_private(&held, path).map_err(io("open", &lock))?;
    held.lock().map_err(io("lock", &lock))?;
    let mut keys = match KeysFile::read(path)? {
        Some(keys) => keys,
        None => KeysFile { version: VERSION, seal: SealKey::generate()?, keys: Vec::new() },
    };
    let changed = change(&mut keys)?;
    let aside = path.with_extension("json.part");
    let write = || {
        let mut file = private().create(true).truncate(true).open(&aside)?;
        make_private(&file, path)?;
        serde_json::to_writer_pretty(&mut file, &keys)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(&aside, path)?;
        File::open(folder)?.sync_all()
    };
    write().map_err(io("write", path))?;
    Ok(changed)
}

/// A file to write that only its owner may read.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

/// The key of what is sealed; 64 hexadecimal digits in the file. Not printed by `Debug`.
#[derive(Clone)]
pub(super) struct SealKey(pub(super) [u8; 32]);

impl SealKey {
    fn generate() -> Result<Self, KeysFileError> {
        let mut key = [0; 32];
        SystemRandom::new().fill(&mut key).map_err(|_| KeysFileError::NoRandomness)?;
        Ok(Self(key))
    }
}

impl std::fmt::Debug for SealKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("SealKey(...)")
    }
}

impl Serialize for SealKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex(&self.0))
    }
}

impl<'de> Deserialize<'de> for SealKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let expected = || serde::de::Error::custom("expected 64 hexadecimal digits");
        bytes_of_hex(&text).map(Self).ok_or_else(expected)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn at(seconds: i64) -> UtcInstant {
        UtcInstant::from_micros(1_767_715_200_000_000 + seconds * 1_000_000)
    }

    fn new(name: &str, scopes: &[Scope], tenants: &[&str]) -> NewKey {
        let tenants = tenants.iter().map(|&tenant| tenant.to_owned()).collect();
        let limits = KeyLimits::default();
        NewKey { name: name.to_owned(), scopes: scopes.to_vec(), tenants, limits, expires_at: None }
    }

    #[test]
    fn keys_are_stored_as_hashes_that_only_their_owner_reads() {
        let folder = tempfile::tempdir().unwrap();
        let path = KeysFile::path_in(&folder.path().join("new"));
        assert!(KeysFile::read(&path).unwrap().is_none());
        let (key, secret) = KeysFile::create(
            &path,
            new("api", &[Scope::Query, Scope::Publish, Scope::Query], &["acme"]),
            at(0),
        )
        .unwrap();
        assert_eq!(key.scopes, [Scope::Publish, Scope::Query]);
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains(&secret.as_str()[14..]), "{text}");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let read = KeysFile::read(&path).unwrap().unwrap();
        assert!(read.keys()[0].hash.is_of(&secret));
        assert_eq!(read.keys()[0].state(at(0)), KeyState::Active);
    }

    #[test]
    fn a_key_is_revoked_once_and_its_name_is_free_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = KeysFile::path_in(folder.path());
        assert!(matches!(KeysFile::revoke(&path, "api", at(0)), Err(RevokeError::Unknown(_))));
        let (first, _) = KeysFile::create(&path, new("api", &[Scope::Query], &[]), at(0)).unwrap();
        let taken = KeysFile::create(&path, new("api", &[Scope::Query], &[]), at(1));
        assert!(matches!(taken, Err(KeysFileError::NameTaken(_))), "{taken:?}");
        assert_eq!(KeysFile::revoke(&path, "api", at(2)).unwrap().id, first.id);
        assert!(matches!(KeysFile::revoke(&path, &first.id, at(3)), Err(RevokeError::Unknown(_))));
        KeysFile::create(&path, new("api", &[Scope::Query], &[]), at(4)).unwrap();
        let states: Vec<_> =
            KeysFile::read(&path).unwrap().unwrap().keys().iter().map(|key| key.state(at(5))).collect();
        assert_eq!(states, [KeyState::Revoked, KeyState::Active]);
    }

    #[test]
    fn keys_that_make_no_sense_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = KeysFile::path_in(folder.path());
        for bad in [
            new("", &[Scope::Query], &[]),
            new("a\nb", &[Scope::Query], &[]),
            new("none", &[], &[]),
            new("bound", &[Scope::Query, Scope::Backfill], &["acme"]),
            new("bound", &[Scope::Admin], &["acme"]),
            new("nobody", &[Scope::Query], &["null"]),
            NewKey {
                limits: KeyLimits { events_per_second: Some(0), ..KeyLimits::default() },
                ..new("zero", &[Scope::Query], &[])
            },
            NewKey { expires_at: Some(at(0)), ..new("late", &[Scope::Query], &[]) },
        ] {
            let refused = KeysFile::create(&path, bad, at(0));
            assert!(matches!(refused, Err(KeysFileError::Refused(_))), "{refused:?}");
        }
        assert!(!path.exists(), "nothing is written");
    }

    #[test]
    fn another_file_is_refused_with_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = KeysFile::path_in(folder.path());
        KeysFile::create(&path, new("api", &[Scope::Query], &[]), at(0)).unwrap();
        let good = fs::read_to_string(&path).unwrap();
        for bad in [
            String::new(),
            "[]".to_owned(),
            good.replace("\"version\": 1", "\"version\": 2"),
            good.replace("query", "quary"),
            good.replace("\"name\"", "\"names\""),
            good.replace("sha256:", "sha1:"),
        ] {
            fs::write(&path, &bad).unwrap();
            let refused = KeysFile::read(&path).unwrap_err();
            assert!(matches!(refused, KeysFileError::Malformed { .. }), "{bad}");
            assert!(refused.to_string().contains("keys.json"), "{refused}");
        }
    }

    #[test]
    fn keys_made_at_the_same_time_are_all_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = KeysFile::path_in(folder.path());
        std::thread::scope(|scope| {
            for name in 0..8 {
                let path = &path;
                scope.spawn(move || {
                    KeysFile::create(path, new(&format!("key {name}"), &[Scope::Query], &[]), at(0)).unwrap();
                });
            }
        });
        assert_eq!(KeysFile::read(&path).unwrap().unwrap().keys().len(), 8);
    }
}
