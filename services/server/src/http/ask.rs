//! A request on its way to its handler: parameters and names that are read, and the service behind the access that
//! its route asks for.

use std::sync::Arc;

use axum::body::Body;
use axum::http::header::HOST;
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Version};
use lastseen_event::wire::{Accept, FaultsKept};
use lastseen_event::{FaultCode, Position, UtcInstant};
use lastseen_projections::Persons;
use lastseen_store::{AppendError, LogId};
use parking_lot::Mutex;
use percent_encoding::percent_decode_str;
use tokio::sync::oneshot;

use super::App;
use super::auth::{Access, Asks, Caller, Changes, Granted, Look, Open, Standing};
use super::params::{LogParams, ParamSpec, Params, Query};
use super::problem::Problem;
use super::reflected::{Reflected, ThisLog};
use crate::audit::AuditAction;
use crate::keys::Scope;
use crate::keys::live::{LiveKey, Remembered};
use crate::keys::seal::{Positions, ShownPosition};
use crate::origin::Origin;
use crate::publishing::{Publishing, RetractError};
use crate::questions::Questions;
use crate::questions::live::LiveNumbers;
use crate::read_model::health::Standstill;
use crate::read_model::{ReadModel, Reading};
use crate::tasks;

/// A request that has the access `A` and the parameters `P`.
pub(super) struct Ask<A, P> {
    app: Arc<App>,
    granted: Granted<A>,
    pub(super) params: P,
    log_id: Option<LogId>,
    /// The parameters as text.
    pub(super) query: Query,
    path: String,
    /// The host and the port that the caller named.
    host: Option<String>,
    names: Names,
    pub(super) headers: HeaderMap,
    version: Version,
    /// Behind a lock only because a body cannot be shared between threads.
    body: Mutex<Body>,
}

/// The names in a path, decoded, by the name of their place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Names(Vec<(&'static str, String)>);

impl Names {
    /// Reads the names of `path` where `pattern` has `{name}`. Both have as many segments.
    ///
    /// # Errors
    /// `invalid_path` for bytes that are not UTF-8.
    pub(super) fn of(pattern: &'static str, path: &str) -> Result<Self, Problem> {
        let mut names = Vec::new();
        for (place, segment) in pattern.split('/').zip(path.split('/')) {
            let Some(name) = place.strip_prefix('{').and_then(|place| place.strip_suffix('}')) else {
                continue;
            };
            let decoded = percent_decode_str(segment).decode_utf8();
            let decoded = decoded.map_err(|_| Problem::invalid_path(name))?;
            names.push((name, decoded.into_owned()));
        }
        Ok(Self(names))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(found, _)| *found == name).map(|(_, value)| value.as_str())
    }
}

/// The parameters of a route: its own, and those of all routes with its access.
pub(super) fn specs<A: Access, P: Params>() -> Vec<ParamSpec> {
    let mut specs = Vec::new();
    P::specs(&mut specs);
    if A::USES_LOG {
        LogParams::specs(&mut specs);
    }
    specs
}

/// The log that a request is about: a precondition.
pub(super) struct ExpectedLog {
    app: Arc<App>,
    /// `None`: any log.
    log_id: Option<LogId>,
    positions: Positions,
}

impl ExpectedLog {
    /// # Errors
    /// `other_log` with the lineage of the server's log; `not_ready` while the server is starting.
    pub(super) fn check(&self) -> Result<(), Problem> {
        let Some(log_id) = self.log_id else { return Ok(()) };
        let log = self.app.service()?.model.log();
        if log.lineage().log_id() == log_id {
            Ok(())
        } else {
            Err(Problem::other_log(ThisLog::of(log, &self.positions)))
        }
    }
}

impl<A: Access, P: Params> Ask<A, P> {
    /// Reads the parameters and the names of a request of a caller that has the scope of its route. The tenant is that of
    /// the path, or that of the parameter `tenant_id`.
    ///
    /// # Errors
    /// `unknown_parameter`, `invalid_parameter`, `invalid_path`, and those of [`Caller::grant`].
    pub(super) fn read(
        app: Arc<App>,
        caller: Caller<A>,
        pattern: &'static str,
        (parts, body): (Parts, Body),
    ) -> Result<Self, Problem> {
        let (path, query) = (parts.uri.path(), parts.uri.query());
        let ask = Self::read_target(app, caller, pattern, (path, query))?;
        // In HTTP/2 the target has it.
        let of_header = || parts.headers.get(HOST).and_then(|host| host.to_str().ok());
        let host = parts.uri.authority().map(Authority::as_str).or_else(of_header).map(str::to_owned);
        Ok(Self { headers: parts.headers, version: parts.version, body: Mutex::new(body), host, ..ask })
    }

    /// The same for a request that has a path and a query alone.
    fn read_target(
        app: Arc<App>,
        caller: Caller<A>,
        pattern: &'static str,
        (path, query): (&str, Option<&str>),
    ) -> Result<Self, Problem> {
        let names = Names::of(pattern, path)?;
        let query = Query::parse_known(&specs::<A, P>(), query, caller.positions().clone())?;
        let params = P::take(&query)?;
        let log_id = LogParams::take(&query)?.log_id;
        let granted = caller.grant(&app, names.get("tenant_id").or_else(|| query.text("tenant_id")))?;
        let ask = Self {
            app,
            granted,
            params,
            log_id,
            query,
            path: path.to_owned(),
            host: None,
            names,
            headers: HeaderMap::new(),
            version: Version::HTTP_11,
            body: Mutex::default(),
        };
        ask.expected_log().check()?;
        Ok(ask)
    }
}

impl<P> Ask<Look, P> {
    /// A request of the same caller to the API: a part of a page is the answer to it.
    ///
    /// # Errors
    /// Those of [`read`](Ask::read); `scope_missing`.
    pub(super) fn aside<A: Asks, Q: Params>(
        &self,
        pattern: &'static str,
        target: &str,
    ) -> Result<Ask<A, Q>, Problem> {
        let (path, query) =
            target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        Ask::read_target(self.app.clone(), self.granted.aside()?, pattern, (path, query))
    }

    /// The tenants that the caller's key is bound to, ascending. `None`: all.
    pub(super) fn tenants(&self) -> Option<&[String]> {
        self.granted.tenants()
    }

    /// True if the server counts persons.
    pub(super) fn has_persons(&self) -> bool {
        self.app.persons != Persons::Off
    }

    /// Callers of one reach get the same answers: those of keys without bounds and limits. Others have their own.
    pub(super) fn reach(&self) -> &str {
        if self.granted.is_limited() || self.granted.tenants().is_some() {
            self.granted.key_id().unwrap_or_default()
        } else {
            ""
        }
    }

    /// The id of the caller's key. `None`: the server is open.
    pub(super) fn key_id(&self) -> Option<&str> {
        self.granted.key_id()
    }

    /// The durable events that no number reflects yet, and the parts of the server that stand still.
    ///
    /// # Errors
    /// `not_ready` while the server is starting.
    pub(super) fn health(&self) -> Result<(u64, Vec<Standstill>), Problem> {
        let model = &self.app.service()?.model;
        Ok((model.lag(), model.standstills()))
    }

    /// The origin under which the caller reaches the server: the public one, or the host that it named.
    pub(super) fn origin(&self) -> String {
        let host = self.host().unwrap_or("localhost:8080");
        let scheme = if self.app.has_tls { "https" } else { "http" };
        self.app.public_urls.first().map_or_else(|| format!("{scheme}://{host}"), ToString::to_string)
    }

    /// The server's clock.
    ///
    /// # Errors
    /// `not_ready` while the server is starting.
    pub(super) fn now(&self) -> Result<UtcInstant, Problem> {
        Ok(self.app.service()?.publishing.now())
    }
}

impl<P> Ask<Open, P> {
    /// The key in force with a text that somebody typed. `None`: there is none, which takes the longer the more were tried.
    ///
    /// # Errors
    /// `too_many_attempts`, `rate_limited`.
    pub(super) async fn sign_in(&self, text: &str) -> Result<Option<Arc<LiveKey>>, Problem> {
        let Ok(key) = self.app.keys.find_again(text, &Remembered::default()) else {
            let code = Problem::key_invalid("").code();
            self.app.audit.refused(code, None, self.granted.address());
            self.app.metrics.access_refused();
            let held_back = self.app.attempts.refused(self.granted.address(), code).await;
            return held_back.map(|()| None).map_err(|_| Problem::too_many_attempts());
        };
        key.count_request().map_err(|reached| Problem::rate_limited("requests", reached))?;
        Ok(Some(key))
    }
}

impl<A: Access, P> Ask<A, P> {
    /// The tenant that the path names. `None`: the route is about all tenants.
    pub(super) fn tenant_id(&self) -> Option<&str> {
        self.names.get("tenant_id")
    }

    /// The tenant and the user that the path names; empty if it names none.
    pub(super) fn user(&self) -> (&str, &str) {
        (self.tenant_id().unwrap_or_default(), self.names.get("user_id").unwrap_or_default())
    }

    /// The path as it was asked for.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The host and the port that the caller named.
    pub(super) fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// The addresses under which the server is reached from outside.
    pub(super) fn public_urls(&self) -> &[Origin] {
        &self.app.public_urls
    }

    /// The file that the path names; empty if it names none.
    pub(super) fn asset(&self) -> &str {
        self.names.get("asset").unwrap_or_default()
    }

    /// The batch that the path names; empty if it names none.
    pub(super) fn batch(&self) -> &str {
        self.names.get("batch").unwrap_or_default()
    }

    /// Takes the body out; an empty one stays. Tells the version that it came with.
    pub(super) fn take_body(&self) -> (Body, Version) {
        (std::mem::take(&mut self.body.lock()), self.version)
    }

    /// The form in which the caller reads and writes positions.
    pub(super) fn positions(&self) -> &Positions {
        self.granted.positions()
    }

    /// The position that an answer reflects, and the log that it is of. The log may go on under a new id, but only above
    /// the positions that were read before this is called.
    ///
    /// # Errors
    /// `not_ready` while the server is starting.
    pub(super) fn reflected(&self, position: Position) -> Result<Reflected, Problem> {
        Ok(Reflected::new(self.show(position), &self.model()?.log().lineage()))
    }

    /// The log that the request is about.
    pub(super) fn expected_log(&self) -> ExpectedLog {
        ExpectedLog { app: self.app.clone(), log_id: self.log_id, positions: self.positions().clone() }
    }

    /// A position as the caller sees it.
    pub(super) fn show(&self, position: Position) -> ShownPosition {
        self.granted.positions().show(position)
    }

    /// True if the caller may do what needs this scope as well.
    pub(super) fn may(&self, scope: Scope) -> bool {
        self.granted.has(scope)
    }

    /// The key that an answer goes on with as long as it is in force.
    pub(super) fn standing(&self) -> Standing {
        self.granted.standing(&self.app)
    }

    pub(super) fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// # Errors
    /// `not_ready` while the server is starting.
    pub(super) fn model(&self) -> Result<&Arc<ReadModel>, Problem> {
        Ok(&self.app.service()?.model)
    }
}

impl<A: Asks, P> Ask<A, P> {
    /// # Errors
    /// `not_ready` while the server is starting.
    pub(super) fn questions(&self) -> Result<&Arc<Questions>, Problem> {
        Ok(&self.app.service()?.questions)
    }

    /// # Errors
    /// `not_ready` while the server is starting.
    pub(super) fn live(&self) -> Result<&Arc<LiveNumbers>, Problem> {
        Ok(&self.app.service()?.live)
    }

    /// A reading of the views once they reflect `min_position`.
    ///
    /// # Errors
    /// `not_ready`, `position_not_reached`.
    pub(super) async fn reading(&self, min_position: Option<Position>) -> Result<Reading, Problem> {
        Ok(self.questions()?.reading(min_position).await?.for_asker(self.granted.asker()))
    }
}

impl<A: Changes, P> Ask<A, P> {
    /// Retracts the batch that the path names, if it has so many events, and notes that in the audit log. Both are done to
    /// their end, also where the caller leaves.
    ///
    /// # Errors
    /// Those of a retraction; `not_ready`.
    pub(super) async fn retract(&self, events: u64) -> Result<(), Problem> {
        self.app.service()?;
        let (app, batch) = (self.app.clone(), self.batch().to_owned());
        let (key_id, address) = (self.granted.key_id().map(str::to_owned), self.granted.address());
        let (sender, done) = oneshot::channel();
        tasks::task(async move {
            let Ok(service) = app.service() else { return };
            let retracted = service.publishing.retract(&batch, events).await;
            if matches!(retracted, Ok(()) | Err(RetractError::Append(AppendError::Indeterminate(_)))) {
                app.audit.note(AuditAction::BatchRetracted { batch, events, key_id, address }).await;
            }
            // The caller may have gone.
            let _ = sender.send(retracted);
        });
        match done.await {
            Ok(retracted) => Ok(retracted?),
            Err(error) => Err(Problem::internal(&error)),
        }
    }

    /// Counts events that the caller publishes, good and bad.
    ///
    /// # Errors
    /// `rate_limited`.
    pub(super) fn count_events(&self, events: usize) -> Result<(), Problem> {
        self.granted.count_events(events)
    }

    /// Notes in the audit log that events of other tenants than those of the caller were refused.
    pub(super) fn note_foreign_events(&self, events: usize) {
        if events > 0 {
            self.granted.note_refused(&self.app, FaultCode::TenantNotAllowed.as_str());
        }
    }

    /// # Errors
    /// `not_ready` while the server is starting.
    pub(super) fn publishing(&self) -> Result<&Publishing, Problem> {
        Ok(&self.app.service()?.publishing)
    }

    /// The events that the caller may publish.
    ///
    /// # Errors
    /// `not_ready` while the server is starting.
    pub(super) fn accepted(&self, faults: FaultsKept) -> Result<Accept<'_>, Problem> {
        let latest = self.publishing()?.now().saturating_add(self.app.future_tolerance);
        let (tenants, batches) = (self.granted.tenants(), self.granted.has(Scope::Backfill));
        Ok(Accept { latest, faults, tenants, batches })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_decoded_once_and_must_be_utf_8() {
        let pattern = "/v1/tenants/{tenant_id}/users/{user_id}";
        let names = Names::of(pattern, "/v1/tenants/a%2Fb/users/Zo%C3%AB%2525").unwrap();
        assert_eq!(names.get("tenant_id"), Some("a/b"));
        assert_eq!(names.get("user_id"), Some("Zoë%25"));
        assert_eq!(names.get("batch"), None);
        assert!(Names::of(pattern, "/v1/tenants/a/users/%FF").is_err());
    }
}
