//! Sessions of people who look at pages. Each began with the text of a key, and is worth as much as that key is now: a key
//! that is revoked or over ends its sessions. They live in memory: a server that starts again knows none.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};

/// A session ends after this time without a request.
const IDLE_MAX: Duration = Duration::from_hours(12);
/// It ends after this time in any case.
pub(crate) const SESSION_MAX: Duration = Duration::from_hours(7 * 24);
/// Sessions at once; beyond it, the one that was quiet the longest ends.
const SESSIONS_MAX: usize = 10_000;
const TOKEN_BYTES: usize = 32;

/// The sessions that are open.
#[derive(Default)]
pub(crate) struct Sessions {
    /// By the hash of the token: a look-up tells nothing about tokens.
    open: Mutex<HashMap<[u8; 32], Session>>,
}

struct Session {
    key_id: String,
    began: Instant,
    seen: Instant,
}

impl Session {
    fn is_over(&self, now: Instant) -> bool {
        now.duration_since(self.seen) >= IDLE_MAX || now.duration_since(self.began) >= SESSION_MAX
    }
}

impl Sessions {
    /// Begins a session of a key and returns its token. `None`: the system has no random numbers.
    pub(crate) fn begin(&self, key_id: &str, now: Instant) -> Option<String> {
        let mut random = [0; TOKEN_BYTES];
        SystemRandom::new().fill(&mut random).ok()?;
        let token = URL_SAFE_NO_PAD.encode(random);
        let mut open = self.open.lock();
        if open.len() >= SESSIONS_MAX {
            open.retain(|_, session| !session.is_over(now));
        }
        if open.len() >= SESSIONS_MAX {
            let quiet = open.iter().min_by_key(|(_, session)| session.seen).map(|(hash, _)| *hash);
            quiet.and_then(|hash| open.remove(&hash));
        }
        open.insert(hash(&token), Session { key_id: key_id.to_owned(), began: now, seen: now });
        Some(token)
    }

    /// The id of the key that a session began with, which goes on from now. `None`: there is no such session.
    pub(crate) fn key_id(&self, token: &str, now: Instant) -> Option<String> {
        let (hash, mut open) = (hash(token), self.open.lock());
        let session = open.get_mut(&hash)?;
        if session.is_over(now) {
            open.remove(&hash);
            return None;
        }
        session.seen = now;
        Some(session.key_id.clone())
    }

    /// Ends a session, if there is one.
    pub(crate) fn end(&self, token: &str) {
        self.open.lock().remove(&hash(token));
    }
}

fn hash(token: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_ends_when_it_is_quiet_or_old_or_told_to() {
        let (sessions, start) = (Sessions::default(), Instant::now());
        let key = |token: &str, after: Duration| sessions.key_id(token, start + after);
        let [quiet, lively, ended] = [(); 3].map(|()| sessions.begin("k1", start).unwrap());
        sessions.end(&ended);
        assert_eq!(key(&ended, Duration::ZERO), None);
        assert_eq!(key("nonsense", Duration::ZERO), None);
        let mut after = Duration::ZERO;
        while after < SESSION_MAX {
            assert_eq!(key(&lively, after).as_deref(), Some("k1"));
            after += IDLE_MAX / 2;
        }
        assert_eq!(key(&lively, SESSION_MAX), None, "old");
        assert_eq!(key(&quiet, IDLE_MAX), None, "quiet");
    }

    #[test]
    fn the_quietest_makes_room() {
        let (sessions, start) = (Sessions::default(), Instant::now());
        let tokens: Vec<String> = (0..SESSIONS_MAX).map(|_| sessions.begin("k1", start).unwrap()).collect();
        let later = start + Duration::from_secs(1);
        for token in tokens.iter().skip(1) {
            assert!(sessions.key_id(token, later).is_some());
        }
        let last = sessions.begin("k2", later).unwrap();
        assert_eq!(sessions.key_id(&tokens[0], later), None);
        assert_eq!(sessions.key_id(&tokens[1], later).as_deref(), Some("k1"));
        assert_eq!(sessions.key_id(&last, later).as_deref(), Some("k2"));
        assert_eq!(sessions.open.lock().len(), SESSIONS_MAX);
    }
}
