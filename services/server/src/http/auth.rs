//! Access: the permission that each route asks for, as a type, and the caller that has it.
//!
//! The table of routes names the access of each route. A handler names it as well, in its [`Ask`](super::ask::Ask): a
//! route and a handler that differ do not compile, and neither does a handler that reaches for more than its access
//! allows. Each access says what a key that is bound to tenants may reach with it, so a route without that rule does
//! not compile either.
//!
//! 1. [`authenticate`] finds the key of a request and checks its scope, before anything else of it is read;
//! 2. [`Caller::grant`] checks the tenant that the request is about; only it makes a [`Granted`].
//!
//! For a bound key another tenant does not exist: the answer is that to a tenant that nobody knows, and nothing is
//! looked up to make it.

use std::marker::PhantomData;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use axum::http::header::{AUTHORIZATION, COOKIE};
use axum::http::{HeaderMap, Method};
use ipnet::IpNet;
use lastseen_event::FaultCode;

use super::App;
use super::problem::Problem;
use crate::asker::Asker;
use crate::keys::live::{KeyFault, LiveKey, LiveKeys, Remembered};
use crate::keys::seal::Positions;
use crate::keys::sessions::{SessionId, Sessions};
use crate::keys::{Scope, Secret};

/// The permission that a route asks for.
pub(super) trait Access: Copy + Send + Sync + 'static {
    /// The scope of a key that has it. `None`: no key is needed.
    const SCOPE: Option<Scope>;
    /// The reach of a key that is bound to tenants.
    const BOUND: Bound;
    /// True if its requests read or write the log, so that they may say which log they are about.
    const USES_LOG: bool;
}

/// The reach of a key that is bound to tenants, through a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bound {
    /// The same as everybody's.
    Everything,
    /// The events of its tenants: each is checked when it is decoded.
    ItsEvents,
    /// One tenant, which the request names: one of its own.
    OneTenant,
    /// Nothing: the access spans all tenants, and no bound key has its scope.
    Nothing,
}

/// Access to numbers, users or history.
pub(super) trait Asks: Access {}

/// Access to what changes the store.
pub(super) trait Changes: Access {}

macro_rules! access {
    ($($(#[$doc:meta])* $name:ident: $scope:expr, $bound:ident $(, $allows:ident)*;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub(super) struct $name;

        impl Access for $name {
            const SCOPE: Option<Scope> = $scope;
            const BOUND: Bound = Bound::$bound;
            const USES_LOG: bool = !<[&str]>::is_empty(&[$(stringify!($allows)),*]);
        }

        $(impl $allows for $name {})*
    )+};
}

access! {
    /// Nothing: health.
    Open: None, Everything;
    /// To look at a page. It has no numbers of its own: each answer on it is granted on its own.
    Look: Some(Scope::Query), Everything;
    /// To append events.
    Publish: Some(Scope::Publish), ItsEvents, Changes;
    /// To ask for numbers and users.
    Query: Some(Scope::Query), OneTenant, Asks;
    /// To read history.
    Replay: Some(Scope::Replay), OneTenant, Asks;
    /// To see how the server is. It tells of all tenants at once.
    Admin: Some(Scope::Admin), Nothing;
    /// To see and retract batches.
    Backfill: Some(Scope::Backfill), Nothing, Asks, Changes;
}

/// The address at the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClientAddress(pub(super) IpAddr);

impl ClientAddress {
    /// The address of the client of a request: that of the connection, or that which the nearest proxy tells that is not
    /// trusted itself.
    ///
    /// Each proxy adds the address that it sees to the end of `X-Forwarded-For`, so everything before the last address that
    /// is not of a trusted proxy may be invented.
    pub(super) fn of(self, headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(&address));
        if !is_trusted(self.0.to_canonical()) {
            return self;
        }
        let mut nearest = self;
        for line in headers.get_all("x-forwarded-for").iter().rev() {
            let Ok(line) = line.to_str() else { return nearest };
            for told in line.rsplit(',') {
                let Ok(address) = told.trim().parse::<IpAddr>() else { return nearest };
                nearest = Self(address.to_canonical());
                if !is_trusted(nearest.0) {
                    return nearest;
                }
            }
        }
        nearest
    }
}

/// The other end of a connection, which each of its requests brings along.
#[derive(Clone, Default)]
pub(super) struct Peer {
    pub(super) address: Option<ClientAddress>,
    pub(super) key: Remembered,
}

/// Whoever sent a request that has the access `A`.
#[derive(Clone)]
pub(super) struct Caller<A> {
    /// `None`: the server is open, or the route is.
    key: Option<Arc<LiveKey>>,
    /// The session that the key came by.
    session: Option<SessionId>,
    /// The caller as questions know it, where several of them are of one request.
    asker: OnceLock<Asker>,
    address: Option<ClientAddress>,
    positions: Positions,
    access: PhantomData<A>,
}

/// Proof that a request may use a route of this access, for the tenant that it names. Only [`Caller::grant`] makes it.
pub(super) struct Granted<A>(Caller<A>);

/// The key of an answer that goes on, and the session that it came by.
pub(super) struct Standing {
    keys: Arc<LiveKeys>,
    sessions: Arc<Sessions>,
    /// `None`: the server is open.
    key: Option<Arc<LiveKey>>,
    session: Option<SessionId>,
}

impl Standing {
    /// True if the key is still in force, or none is needed yet, and the session is not over.
    pub(super) fn holds(&self) -> bool {
        let goes_on = |session: SessionId| self.sessions.goes_on(session, Instant::now());
        self.session.is_none_or(goes_on)
            && match &self.key {
                Some(key) => self.keys.is_in_force(key),
                None => self.keys.is_open(),
            }
    }
}

/// Finds the key of a request and checks its scope.
///
/// # Errors
/// `key_missing`, `key_invalid`, `key_expired`, `scope_missing`, `rate_limited`, `too_many_attempts`.
pub(super) async fn authenticate<A: Access>(
    app: &App,
    (method, headers): (&Method, &HeaderMap),
    peer: &Peer,
) -> Result<Caller<A>, Problem> {
    let address = peer.address.map(|address| address.of(headers, &app.trusted_proxies));
    let Some(scope) = A::SCOPE.filter(|_| !app.keys.is_open()) else {
        let (positions, asker) = (Positions::default(), OnceLock::new());
        return Ok(Caller { key: None, session: None, asker, address, positions, access: PhantomData });
    };
    match find(app, (method, headers), (scope, &peer.key)) {
        Ok((key, session)) => {
            let positions = Positions::of(key.seal().zip(key.tenants()));
            let asker = OnceLock::new();
            Ok(Caller { key: Some(key), session, asker, address, positions, access: PhantomData })
        }
        Err((problem, key_id)) => {
            let address = address.map(|ClientAddress(address)| address);
            if problem.is_limit() {
                return Err(problem);
            }
            app.audit.refused(problem.code(), key_id.as_deref(), address);
            if problem.is_forbidden() {
                return Err(problem);
            }
            app.metrics.access_refused();
            let held_back = app.attempts.refused(address, problem.code()).await;
            Err(held_back.map_or_else(|_| Problem::too_many_attempts(), |()| problem))
        }
    }
}

/// The problem, and the id of the key as far as there is one.
type Unfound = (Problem, Option<String>);

/// The key of a request, if it has the scope, and the session that it came by.
fn find(
    app: &App,
    (method, headers): (&Method, &HeaderMap),
    (scope, remembered): (Scope, &Remembered),
) -> Result<(Arc<LiveKey>, Option<SessionId>), Unfound> {
    // A browser sends the cookie by itself, so it may only read.
    if method.is_safe()
        && !headers.contains_key(AUTHORIZATION)
        && let Some(token) = session_token(headers)
    {
        let session = app.sessions.find(token, Instant::now()).ok_or(KeyFault::Unknown);
        let known = session.and_then(|(session, id)| Ok((session, app.keys.find_known(&id)?)));
        let (session, key) = known.map_err(|_| (Problem::session_over(), None))?;
        return Ok((usable(key, scope)?, Some(session)));
    }
    let text = bearer(headers).map_err(|problem| (problem, None))?;
    // Only of a key whose secret was right: anybody can write an id.
    let of_key = |problem| (problem, Secret::parse(text).map(|secret| secret.id().to_owned()));
    let key = app.keys.find_again(text, remembered).map_err(|fault| match fault {
        KeyFault::Unknown => (Problem::key_invalid(fault), None),
        KeyFault::Revoked => of_key(Problem::key_invalid(fault)),
        KeyFault::Expired(_) => of_key(Problem::key_expired(fault)),
    })?;
    Ok((usable(key, scope)?, None))
}

/// The key, if it has the scope and a request left.
fn usable(key: Arc<LiveKey>, scope: Scope) -> Result<Arc<LiveKey>, Unfound> {
    let of_key = |problem| (problem, Some(key.id().to_owned()));
    if !key.has(scope) {
        return Err(of_key(Problem::scope_missing(scope)));
    }
    key.count_request().map_err(|reached| of_key(Problem::rate_limited("requests", reached)))?;
    Ok(key)
}

/// The cookie with the token of a session. Browsers keep one of this prefix only if it came over a connection that nobody can
/// read or change, and for this host alone.
pub(super) const SESSION_COOKIE: &str = "__Host-lastseen";

/// The token of the session that a request belongs to.
pub(super) fn session_token(headers: &HeaderMap) -> Option<&str> {
    cookie(headers, SESSION_COOKIE)
}

/// The value of a cookie.
pub(super) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut cookies =
        lines.flat_map(|line| line.split(';')).filter_map(|cookie| cookie.trim().split_once('='));
    cookies.find(|(found, _)| *found == name).map(|(_, value)| value)
}

/// The text of the key that a request brings.
fn bearer(headers: &HeaderMap) -> Result<&str, Problem> {
    let mut lines = headers.get_all(AUTHORIZATION).iter();
    let line = match (lines.next(), lines.next()) {
        (None, _) => return Err(Problem::key_missing()),
        (Some(_), Some(_)) => return Err(Problem::key_malformed()),
        (Some(line), None) => line.to_str().map_err(|_| Problem::key_malformed())?,
    };
    let (scheme, text) = line.split_once(' ').ok_or_else(Problem::key_malformed)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Problem::key_malformed());
    }
    Ok(text.trim())
}

impl<A: Access> Caller<A> {
    /// The form in which the caller reads and writes positions.
    pub(super) fn positions(&self) -> &Positions {
        &self.positions
    }

    /// Grants the access for a request about `tenant_id`. `None`: it is about all tenants.
    ///
    /// # Errors
    /// `unknown_tenant` for a tenant that the key is not bound to, `tenant_required`.
    pub(super) fn grant(self, app: &App, tenant_id: Option<&str>) -> Result<Granted<A>, Problem> {
        let Some(own) = self.tenants() else { return Ok(Granted(self)) };
        let is_own = |tenant_id: &str| own.binary_search_by(|one| one.as_str().cmp(tenant_id)).is_ok();
        match (A::BOUND, tenant_id) {
            (Bound::Everything | Bound::ItsEvents, _) => Ok(Granted(self)),
            (Bound::OneTenant, Some(tenant_id)) if is_own(tenant_id) => Ok(Granted(self)),
            (Bound::OneTenant, Some(_)) => {
                self.note_refused(app, FaultCode::TenantNotAllowed.as_str());
                Err(Problem::unknown_tenant())
            }
            (Bound::OneTenant | Bound::Nothing, _) => {
                let problem = Problem::tenant_required();
                self.note_refused(app, problem.code());
                Err(problem)
            }
        }
    }

    fn note_refused(&self, app: &App, reason: &'static str) {
        app.audit.refused(reason, self.key_id(), self.address());
    }

    fn key_id(&self) -> Option<&str> {
        self.key.as_deref().map(LiveKey::id)
    }

    fn address(&self) -> Option<IpAddr> {
        self.address.map(|ClientAddress(address)| address)
    }

    /// The tenants that the caller's key is bound to, ascending. `None`: all.
    fn tenants(&self) -> Option<&[String]> {
        self.key.as_deref().and_then(LiveKey::tenants)
    }
}

impl Granted<Look> {
    /// The same caller with the access to an answer that is a part of a page.
    ///
    /// # Errors
    /// `scope_missing`.
    pub(super) fn aside<A: Asks>(&self) -> Result<Caller<A>, Problem> {
        if let Some(scope) = A::SCOPE.filter(|scope| !self.has(*scope)) {
            return Err(Problem::scope_missing(scope));
        }
        // All parts of a page are one request of its asker.
        self.0.asker.get_or_init(|| self.asker());
        let Caller { key, session, asker, address, positions, access: _ } = self.0.clone();
        Ok(Caller { key, session, asker, address, positions, access: PhantomData })
    }
}

impl<A: Access> Granted<A> {
    /// The form in which the caller reads and writes positions.
    pub(super) fn positions(&self) -> &Positions {
        &self.0.positions
    }

    /// The tenants whose events the caller may publish, ascending. `None`: all.
    pub(super) fn tenants(&self) -> Option<&[String]> {
        self.0.tenants()
    }

    /// Notes in the audit log that a part of the request was refused.
    pub(super) fn note_refused(&self, app: &App, reason: &'static str) {
        self.0.note_refused(app, reason);
    }

    /// The id of the caller's key. `None`: the server is open.
    pub(super) fn key_id(&self) -> Option<&str> {
        self.0.key_id()
    }

    /// The caller's key, for an answer that goes on.
    pub(super) fn standing(&self, app: &Arc<App>) -> Standing {
        let (keys, sessions) = (app.keys.clone(), app.sessions.clone());
        Standing { keys, sessions, key: self.0.key.clone(), session: self.0.session }
    }

    /// The caller as questions know it.
    pub(super) fn asker(&self) -> Asker {
        let shared = self.0.asker.get().cloned();
        shared.or_else(|| self.0.key.as_deref().map(LiveKey::asker)).unwrap_or_default()
    }

    pub(super) fn address(&self) -> Option<IpAddr> {
        self.0.address()
    }

    /// Counts events that the caller publishes.
    ///
    /// # Errors
    /// `rate_limited`.
    pub(super) fn count_events(&self, events: usize) -> Result<(), Problem> {
        let Some(key) = &self.0.key else { return Ok(()) };
        let events = u32::try_from(events).unwrap_or(u32::MAX);
        key.count_events(events).map_err(|reached| Problem::rate_limited("events", reached))
    }

    /// True if the caller's key has limits.
    pub(super) fn is_limited(&self) -> bool {
        self.0.key.as_deref().is_some_and(LiveKey::is_limited)
    }

    /// True if the caller has this scope as well.
    pub(super) fn has(&self, scope: Scope) -> bool {
        self.0.key.as_deref().is_none_or(|key| key.has(scope))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn proxies_that_are_trusted_tell_the_address_of_a_client() {
        let trusted = ["10.0.0.0/8", "::1/128"].map(|network| network.parse().unwrap());
        for (peer, lines, expected) in [
            ("192.0.2.1", &["198.51.100.7"][..], "192.0.2.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.7"], "198.51.100.7"),
            ("::ffff:10.0.0.1", &["198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &["1.2.3.4, 198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &["1.2.3.4", "198.51.100.7,10.0.0.2"], "198.51.100.7"),
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            ("10.0.0.1", &["198.51.100.7, nonsense"], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.9", "\u{e9}"], "10.0.0.1"),
            ("::1", &["2001:db8::7"], "2001:db8::7"),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append("x-forwarded-for", HeaderValue::from_str(line).unwrap());
            }
            let ClientAddress(found) = ClientAddress(peer.parse().unwrap()).of(&headers, &trusted);
            assert_eq!(found, expected.parse::<IpAddr>().unwrap(), "{peer} {lines:?}");
        }
    }
}
