//! Questions to the server, and typed answers.
//!
//! A question blocks until its answer is there: in asynchronous code ask with `spawn_blocking`.

use std::fmt::Write as _;
use std::time::Duration;

use lastseen_event::UtcInstant;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::transport::{Outcome, Problem, Transport};

/// The longest time for a question.
const TIMEOUT: Duration = Duration::from_mins(1);

/// A server that is asked.
#[derive(Clone, Debug)]
pub struct Queries {
    transport: Transport,
}

/// The server has no answer to a question.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct QueryError {
    /// The problem that it answered.
    pub problem: Problem,
    /// The time after which it is worth asking again. `None`: the same question has the same answer, or the server is not
    /// reached.
    pub retry_after: Option<Duration>,
}

/// The instant, the window and the events that a question is about. Without anything: the last 30 days, now, all events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// An integer with one of `us ms s m h d w`, such as `7d`.
    pub window: Option<String>,
    /// Counts only what had happened by then, inclusive.
    pub as_of: Option<UtcInstant>,
    /// Waits until the answer reflects this position, which an acknowledgement told.
    pub min_position: Option<u64>,
}

/// Counts of users, of one tenant or of all.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Summary {
    /// Everybody who is not deleted.
    pub total_users: u64,
    /// Not confirmed.
    pub pending_users: u64,
    /// Nobody ever saw them.
    pub never_seen_users: u64,
    /// Seen in the window.
    pub active_users: u64,
    /// Seen before the window.
    pub inactive_users: u64,
    /// Deleted.
    pub deleted_users: u64,
    /// The instant for which the counts hold.
    pub at: UtcInstant,
}

/// One user of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct User {
    /// The tenant.
    pub tenant_id: String,
    /// The user within it.
    pub user_id: String,
    /// The first that holds of `left_out`, `deleted`, `pending`, `never_seen`, `active`, `inactive`.
    pub status: String,
    /// `None`: never.
    pub last_seen_at: Option<UtcInstant>,
    /// The type of the event that decided that.
    pub last_seen_type: Option<String>,
    /// `observed` or `estimated`.
    pub last_seen_provenance: Option<String>,
    /// The user exists from this instant.
    pub created_at: UtcInstant,
    /// The last instant at which the user is active, if nothing more happens. `None`: not active.
    pub active_until: Option<UtcInstant>,
}

/// A page of users, those seen last first.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Users {
    /// In order.
    pub users: Vec<User>,
    /// Users of the whole list.
    pub total: u64,
    /// The next page. `None`: this is the last one.
    pub next_cursor: Option<String>,
}

/// Active users by day.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Series {
    /// One a day, the earliest first.
    pub rows: Vec<Day>,
    /// An average day beside 30 days. `None`: nobody was active.
    pub stickiness: Option<f64>,
}

/// One day.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Day {
    /// The date, such as `2026-01-31`.
    #[serde(rename = "from")]
    pub date: String,
    /// Active on the day.
    pub active: u64,
    /// Active on the day or in the six before it.
    pub wau: u64,
    /// Active on the day or in the 29 before it.
    pub mau: u64,
    /// Active for the first time.
    pub new: u64,
    /// Everybody at its end.
    pub total: u64,
    /// True if the day is not over.
    pub partial: bool,
}

impl Queries {
    /// Questions to a server, such as `http://127.0.0.1:8080`. The key needs the scope `query`.
    pub fn to(server: &str, key: Option<&str>) -> Self {
        Self { transport: Transport::new(server, key, TIMEOUT) }
    }

    /// Counts the users of a tenant, or of all.
    ///
    /// # Errors
    /// [`QueryError`]; its code is `unknown_tenant` for a tenant without an event.
    pub fn summary(&self, tenant_id: Option<&str>, about: &About) -> Result<Summary, QueryError> {
        self.ask(&scoped(tenant_id, "summary"), &about.pairs())
    }

    /// Finds a user of a tenant.
    ///
    /// # Errors
    /// [`QueryError`]; its code is `unknown_tenant` or `unknown_user` where there is none.
    pub fn user(&self, (tenant_id, user_id): (&str, &str), about: &About) -> Result<User, QueryError> {
        self.ask(&format!("/v1/tenants/{}/users/{}", encoded(tenant_id), encoded(user_id)), &about.pairs())
    }

    /// Lists the users of a tenant, or of all; of some statuses, such as `active,inactive`. `cursor` is that of the page
    /// before.
    ///
    /// # Errors
    /// [`QueryError`].
    pub fn users(
        &self,
        tenant_id: Option<&str>,
        about: &About,
        (status, cursor): (Option<&str>, Option<&str>),
    ) -> Result<Users, QueryError> {
        let own = [("status", status), ("cursor", cursor)];
        let own = own.into_iter().filter_map(|(name, value)| Some((name, value?.to_owned())));
        // A cursor has all that its list was asked with.
        let about = if cursor.is_some() { Vec::new() } else { about.pairs() };
        let pairs: Vec<_> = about.into_iter().chain(own).collect();
        self.ask(&scoped(tenant_id, "users"), &pairs)
    }

    /// Counts the active users of each day from one date to another, both inclusive and such as `2026-01-31`, in a time zone
    /// such as `Europe/Berlin`.
    ///
    /// # Errors
    /// [`QueryError`].
    pub fn active_users(
        &self,
        tenant_id: Option<&str>,
        (from, to): (&str, &str),
        zone: &str,
    ) -> Result<Series, QueryError> {
        let pairs = [("from", from), ("to", to), ("tz", zone)];
        self.ask(&scoped(tenant_id, "active-users"), &pairs.map(|(name, value)| (name, value.to_owned())))
    }

    fn ask<T: DeserializeOwned>(&self, path: &str, pairs: &[(&str, String)]) -> Result<T, QueryError> {
        let mut target = path.to_owned();
        for (at, (name, value)) in pairs.iter().enumerate() {
            let _ = write!(target, "{}{name}={}", if at == 0 { '?' } else { '&' }, encoded(value));
        }
        match self.transport.get(&target) {
            Outcome::Answered(answer) => Ok(answer),
            Outcome::Refused(problem) => Err(QueryError { problem, retry_after: None }),
            Outcome::Later(problem, retry_after) => Err(QueryError { problem, retry_after }),
        }
    }
}

impl About {
    fn pairs(&self) -> Vec<(&'static str, String)> {
        let window = self.window.as_ref().map(|window| ("window", window.clone()));
        let as_of = self.as_of.map(|at| ("as_of", at.to_string()));
        let position = self.min_position.map(|position| ("min_position", position.to_string()));
        [window, as_of, position].into_iter().flatten().collect()
    }
}

fn scoped(tenant_id: Option<&str>, of: &str) -> String {
    match tenant_id {
        Some(tenant_id) => format!("/v1/tenants/{}/{of}", encoded(tenant_id)),
        None => format!("/v1/{of}"),
    }
}

/// Text as a part of a path or a query.
fn encoded(text: &str) -> PercentEncode<'_> {
    /// All but the unreserved characters of RFC 3986, section 2.3.
    const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    utf8_percent_encode(text, ENCODED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_encoded_whatever_they_have() {
        assert_eq!(encoded("a/b c%é?&=").to_string(), "a%2Fb%20c%25%C3%A9%3F%26%3D");
        assert_eq!(scoped(Some("a/b"), "users"), "/v1/tenants/a%2Fb/users");
        assert_eq!(scoped(None, "users"), "/v1/users");
    }
}
