//! The right answers, counted naively: every question walks over all events of every member. It knows the
//! rules of the documentation and none of the code under test.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::instant::{micros, rfc3339};

/// Everything that was published, once for each id.
#[derive(Debug, Default)]
pub struct Model {
    /// By tenant and user.
    pub(crate) members: BTreeMap<(String, String), Vec<Fact>>,
    ids: BTreeSet<String>,
}

#[derive(Debug)]
pub(crate) struct Fact {
    pub(crate) id: String,
    pub(crate) event_type: String,
    pub(crate) at: i64,
    confirmed: bool,
    pub(crate) counts: Option<bool>,
}

/// A question; instants and spans in microseconds.
#[derive(Clone, Debug)]
pub struct Question {
    /// The instant that `as_of` names, or the present one.
    pub at: i64,
    /// True if only events up to `at` count (`as_of`); false if all count.
    pub as_of: bool,
    /// The rolling window.
    pub window: i64,
    /// The activity types that count; estimates do not count then.
    pub types: Option<Vec<String>>,
    /// True if estimates do not count.
    pub observed_only: bool,
    /// True if nobody is left out.
    pub everyone: bool,
}

/// Types that count as observed, by rank. Among activity of the same instant, the first is reported.
const OBSERVED: [&str; 4] = ["login", "token_refresh", "tenant_switch", "signup_complete"];
pub(crate) const ESTIMATED: &str = "estimated_activity";

impl Model {
    /// Adds published events; those with a known id add nothing.
    pub fn publish<'a>(&mut self, events: impl IntoIterator<Item = &'a Value>) {
        for event in events {
            let text = |field: &str| event[field].as_str().expect("a published event is complete").to_owned();
            if self.ids.insert(text("id")) {
                let confirmed = event["confirmed"] == true;
                let (id, event_type, at) = (text("id"), text("type"), micros(&text("occurred_at")));
                let counts = event["counts"].as_bool();
                let fact = Fact { id, event_type, at, confirmed, counts };
                self.members.entry((text("tenant_id"), text("user_id"))).or_default().push(fact);
            }
        }
    }

    /// Number of events.
    pub fn events(&self) -> usize {
        self.ids.len()
    }

    /// The tenants, ascending.
    pub fn tenants(&self) -> Vec<String> {
        let tenants: BTreeSet<_> = self.members.keys().map(|(tenant, _)| tenant.clone()).collect();
        tenants.into_iter().collect()
    }

    /// Every member of `tenant` (or of all) that exists, ascending by tenant and user, as the API answers it but
    /// for `last_seen_position`. Instants have 6 fraction digits here.
    pub fn users(&self, tenant: Option<&str>, question: &Question) -> Vec<Value> {
        let of_tenant = |of: &str| tenant.is_none_or(|tenant| tenant == of);
        let members = self.members.iter().filter(|((of, _), _)| of_tenant(of));
        members.filter_map(|(key, facts)| user(key, facts, question)).collect()
    }

    /// The counts of `tenant`, or of all, which has four more.
    pub fn summary(&self, tenant: Option<&str>, question: &Question) -> Map<String, Value> {
        let users = self.users(tenant, question);
        let absent = ["deleted", "left_out"];
        let is_present = |user: &&Value| !absent.contains(&user["status"].as_str().unwrap_or_default());
        let present: Vec<_> = users.iter().filter(is_present).collect();
        let with_status = |status: &str| users.iter().filter(|user| user["status"] == status).count();
        let active: Vec<_> = users.iter().filter(|user| user["status"] == "active").collect();
        let provenance =
            |word: &str| active.iter().filter(|user| user["last_seen_provenance"] == word).count();
        let distinct = |users: &[&Value], field: &str| {
            users.iter().map(|user| user[field].as_str()).collect::<BTreeSet<_>>().len()
        };
        let mut counts = vec![
            ("total_users", present.len()),
            ("pending_users", with_status("pending")),
            ("never_seen_users", present.iter().filter(|user| user["last_seen_at"].is_null()).count()),
            ("active_users", active.len()),
            ("observed_users", provenance("observed")),
            ("estimated_users", provenance("estimated")),
            ("inactive_users", with_status("inactive")),
            ("deleted_users", with_status("deleted")),
            ("left_out_users", with_status("left_out")),
        ];
        if tenant.is_none() {
            counts.push(("tenants", distinct(&present, "tenant_id")));
            counts.push(("active_tenants", distinct(&active, "tenant_id")));
            counts.push(("total_persons", distinct(&present, "user_id")));
            counts.push(("active_persons", distinct(&active, "user_id")));
        }
        counts.into_iter().map(|(name, count)| (name.to_owned(), json!(count))).collect()
    }
}

impl Question {
    fn counts(&self, fact: &Fact) -> bool {
        match &self.types {
            Some(types) => types.contains(&fact.event_type),
            None => is_observed(fact) || (fact.event_type == ESTIMATED && !self.observed_only),
        }
    }
}

pub(crate) fn is_observed(fact: &Fact) -> bool {
    OBSERVED.contains(&fact.event_type.as_str())
}

/// The latest of `facts`; of several at once, that of the type listed first.
fn latest<'a>(facts: impl Iterator<Item = &'a &'a Fact>) -> Option<&'a Fact> {
    let rank = |fact: &Fact| OBSERVED.iter().position(|name| *name == fact.event_type);
    facts.copied().max_by_key(|fact| (fact.at, std::cmp::Reverse(rank(fact))))
}

fn user((tenant, user): &(String, String), facts: &[Fact], question: &Question) -> Option<Value> {
    let known: Vec<_> = facts.iter().filter(|fact| !question.as_of || fact.at <= question.at).collect();
    let created_at = known.iter().map(|fact| fact.at).min()?;
    let confirms = |fact: &Fact| {
        is_observed(fact)
            || [ESTIMATED, "user_confirmed"].contains(&fact.event_type.as_str())
            || (fact.event_type == "user_created" && fact.confirmed)
    };
    let confirmed_at = known.iter().filter(|fact| confirms(fact)).map(|fact| fact.at).min();
    let deletion =
        known.iter().filter(|fact| ["user_deleted", "user_restored"].contains(&fact.event_type.as_str()));
    let deciding = deletion.max_by_key(|fact| (fact.at, &fact.id));
    let deleted_at = deciding.filter(|fact| fact.event_type == "user_deleted").map(|fact| fact.at);

    let counted: Vec<_> = known.iter().copied().filter(|fact| question.counts(fact)).collect();
    let observed = latest(counted.iter().filter(|fact| is_observed(fact)));
    let seen = observed.or_else(|| latest(counted.iter()));
    let active = seen.is_some_and(|seen| seen.at >= question.at - question.window);
    let counting = known.iter().filter(|fact| fact.counts.is_some() && !question.everyone);
    let left_out =
        counting.max_by_key(|fact| (fact.at, &fact.id)).is_some_and(|fact| fact.counts == Some(false));
    let status = match (deleted_at, confirmed_at, seen) {
        _ if left_out => "left_out",
        (Some(_), _, _) => "deleted",
        (None, None, _) => "pending",
        (None, Some(_), None) => "never_seen",
        (None, Some(_), Some(_)) if active => "active",
        (None, Some(_), Some(_)) => "inactive",
    };
    let at = |micros: Option<i64>| micros.map(rfc3339);
    Some(json!({
        "tenant_id": tenant,
        "user_id": user,
        "status": status,
        "last_seen_at": at(seen.map(|seen| seen.at)),
        "last_seen_type": seen.map(|seen| &seen.event_type),
        "last_seen_provenance": seen.map(|seen| if is_observed(seen) { "observed" } else { "estimated" }),
        "first_seen_at": at(counted.iter().map(|fact| fact.at).min()),
        "created_at": at(Some(created_at)),
        "confirmed": confirmed_at.is_some(),
        "confirmed_at": at(confirmed_at),
        "deleted_at": at(deleted_at),
        "active_until": at(seen.filter(|_| status == "active").map(|seen| seen.at + question.window)),
    }))
}
