//! API keys: made and revoked by `lastseen keys`, checked by the server at each request.
//!
//! 1. `secret` is the text of a key and the hash of it that is stored;
//! 2. `file` is the keys file: read as a whole, written as a whole, one writer at a time;
//! 3. `live` has the keys that the server goes by, follows the file, and knows when each was last used.
//!
//! Without a keys file the server is open, on loopback only. It never becomes open while it runs.

pub(crate) mod attempts;
mod file;
pub(crate) mod limits;
pub(crate) mod live;
mod scope;
pub(crate) mod seal;
mod secret;
pub(crate) mod sessions;
mod usage;

pub use self::file::{KeyRecord, KeyState, KeysFile, KeysFileError, NewKey, RevokeError};
pub use self::limits::KeyLimits;
pub use self::scope::{InvalidScope, Scope};
pub use self::secret::Secret;
pub use self::usage::{KeyUse, KeyUses};
