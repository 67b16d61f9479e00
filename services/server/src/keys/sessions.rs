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

/// Sessions of one key at once; beyond it, the one of them that was quiet the longest ends.
const SESSIONS_OF_KEY_MAX: usize = 1_000;

/// The hash of the token of a session: a look-up by it tells nothing about tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SessionId([u8; 32]);

/// The sessions that are open.
#[derive(Default)]
pub(crate) struct Sessions {
    open: Mutex<HashMap<SessionId, Session>>,
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
        // First those of the key itself: nobody ends the sessions of others by beginning many.
        let of_key = open.values().filter(|session| session.key_id == key_id).count();
        let has_many = of_key >= SESSIONS_OF_KEY_MAX;
        if has_many || open.len() >= SESSIONS_MAX {
            let mine = open.iter().filter(|(_, session)| !has_many || session.key_id == key_id);
            let quiet = mine.min_by_key(|(_, session)| session.seen).map(|(id, _)| *id);
            quiet.and_then(|id| open.remove(&id));
        }
        open.insert(id_of(&token), Session { key_id: key_id.to_owned(), began: now, seen: now });
        Some(token)
    }

    /// The id of a session, and that of the key that it began with; it goes on from now. `None`: there is no such session.
    pub(crate) fn find(&self, token: &str, now: Instant) -> Option<(SessionId, String)> {
        let id = id_of(token);
        self.with(id, now, |session| (id, session.key_id.clone()))
    }

    /// True if a session is not over; an answer that goes on keeps it from being quiet.
    pub(crate) fn goes_on(&self, id: SessionId, now: Instant) -> bool {
        self.with(id, now, |_| ()).is_some()
    }

    fn with<T>(&self, id: SessionId, now: Instant, of: impl FnOnce(&Session) -> T) -> Option<T> {
        let mut open = self.open.lock();
        let session = open.get_mut(&id)?;
        if session.is_over(now) {
            open.remove(&id);
            return None;
        }
        session.seen = now;
        Some(of(session))
    }

    /// Ends a session, if there is one.
    pub(crate) fn end(&self, token: &str) {
        self.open.lock().remove(&id_of(token));
    }
}

fn id_of(token: &str) -> SessionId {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    SessionId(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_ends_when_it_is_quiet_or_old_or_told_to() {
        let (sessions, start) = (Sessions::default(), Instant::now());
        let key =
            |token: &str, after: Duration| sessions.find(token, start + after).map(|(_, key_id)| key_id);
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
    fn an_answer_that_goes_on_keeps_its_session_and_ends_with_it() {
        let (sessions, start) = (Sessions::default(), Instant::now());
        let token = sessions.begin("k1", start).unwrap();
        let (id, _) = sessions.find(&token, start).unwrap();
        let mut after = Duration::ZERO;
        while after < SESSION_MAX {
            assert!(sessions.goes_on(id, start + after));
            after += IDLE_MAX / 2;
        }
        assert!(!sessions.goes_on(id, start + SESSION_MAX));
        let token = sessions.begin("k1", start).unwrap();
        let (id, _) = sessions.find(&token, start).unwrap();
        sessions.end(&token);
        assert!(!sessions.goes_on(id, start));
    }

    #[test]
    fn the_quietest_makes_room() {
        let (sessions, start) = (Sessions::default(), Instant::now());
        let key_of = |at: usize| format!("k{}", at % (SESSIONS_MAX / SESSIONS_OF_KEY_MAX));
        let tokens: Vec<String> =
            (0..SESSIONS_MAX).map(|at| sessions.begin(&key_of(at), start).unwrap()).collect();
        let later = start + Duration::from_secs(1);
        for (at, token) in tokens.iter().enumerate() {
            // The first of all, and the first of another key, are quiet.
            assert!(at == 0 || at == 3 || sessions.find(token, later).is_some());
        }
        let key = |token: &str| sessions.find(token, later).map(|(_, key_id)| key_id);
        // A key with as many as it may have makes room among its own.
        let mine = sessions.begin("k3", later).unwrap();
        assert_eq!((key(&tokens[3]), key(&mine).as_deref()), (None, Some("k3")));
        let other = sessions.begin("other", later).unwrap();
        assert_eq!((key(&tokens[0]), key(&other).as_deref()), (None, Some("other")));
        assert_eq!(sessions.open.lock().len(), SESSIONS_MAX);
    }
}
