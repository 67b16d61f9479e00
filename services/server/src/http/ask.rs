//! A request on its way to its handler: parameters and names that are read, and the service behind the access that
//! its route asks for.

use std::sync::Arc;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use lastseen_event::{Position, UtcInstant};
use parking_lot::Mutex;
use percent_encoding::percent_decode_str;

use super::App;
use super::auth::{Access, Asks, Changes, Granted};
use super::params::{Params, Query};
use super::problem::Problem;
use crate::publishing::Publishing;
use crate::questions::Questions;
use crate::read_model::{ReadModel, Reading};

/// A request that has the access `A` and the parameters `P`.
pub(super) struct Ask<A, P> {
    app: Arc<App>,
    _access: Granted<A>,
    pub(super) params: P,
    /// The parameters as text.
    pub(super) query: Query,
    names: Names,
    pub(super) headers: HeaderMap,
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

impl<A: Access, P: Params> Ask<A, P> {
    /// Reads the parameters and the names of a request that may use its route.
    ///
    /// # Errors
    /// `unknown_parameter`, `invalid_parameter`, `invalid_path`.
    pub(super) fn read(
        app: Arc<App>,
        access: Granted<A>,
        pattern: &'static str,
        (parts, body): (Parts, Body),
    ) -> Result<Self, Problem> {
        let names = Names::of(pattern, parts.uri.path())?;
        let query = Query::parse::<P>(parts.uri.query())?;
        Ok(Self {
            app,
            _access: access,
            params: P::take(&query)?,
            query,
            names,
            headers: parts.headers,
            body: Mutex::new(body),
        })
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

    /// The batch that the path names; empty if it names none.
    pub(super) fn batch(&self) -> &str {
        self.names.get("batch").unwrap_or_default()
    }

    /// Takes the body out; an empty one stays.
    pub(super) fn take_body(&self) -> Body {
        std::mem::take(&mut self.body.lock())
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

    /// A reading of the views once they reflect `min_position`.
    ///
    /// # Errors
    /// `not_ready`, `position_not_reached`.
    pub(super) async fn reading(&self, min_position: Option<Position>) -> Result<Reading, Problem> {
        Ok(self.questions()?.reading(min_position).await?)
    }
}

impl<A: Changes, P> Ask<A, P> {
    /// # Errors
    /// `not_ready` while the server is starting.
    pub(super) fn publishing(&self) -> Result<&Publishing, Problem> {
        Ok(&self.app.service()?.publishing)
    }

    /// The latest `occurred_at` that is accepted.
    ///
    /// # Errors
    /// `not_ready` while the server is starting.
    pub(super) fn latest(&self) -> Result<UtcInstant, Problem> {
        Ok(self.publishing()?.now().saturating_add(self.app.future_tolerance))
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
