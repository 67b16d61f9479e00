//! `GET /v1/tenants/{tenant_id}/users/{user_id}/why`: the numbers that a user is in, the events that decide, until when
//! that holds, and what would change it.

use lastseen_event::{Fact, UtcInstant};
use lastseen_projections::{Condition, MemberState, Status};
use schemars::JsonSchema;
use serde::Serialize;

use crate::http::answer::{Answer, DEFINITION, Json};
use crate::http::ask::Ask;
use crate::http::auth::Query;
use crate::http::params::question::QuestionParams;
use crate::http::problem::Problem;
use crate::http::reflected::Reflected;
use crate::http::schema;
use crate::keys::seal::{Positions, ShownPosition};
use crate::questions::why::{Deciding, Why};

/// A user explained.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "Why")]
pub(in crate::http) struct WhyAnswer {
    pub(in crate::http) tenant_id: String,
    pub(in crate::http) user_id: String,
    #[schemars(with = "schema::UserStatus")]
    pub(in crate::http) status: &'static str,
    /// The numbers of a summary that the user is in.
    pub(in crate::http) numbers: Vec<Number>,
    /// The events that decide.
    pub(in crate::http) deciding: DecidingEvents,
    /// All that would change the numbers that the user is in.
    pub(in crate::http) changes: Vec<Change>,
    /// The window that was asked for.
    pub(in crate::http) window: String,
    /// The instant that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Instant>")]
    pub(in crate::http) as_of: Option<UtcInstant>,
    /// The instant for which the answer holds.
    #[schemars(with = "schema::Instant")]
    pub(in crate::http) at: UtcInstant,
    #[serde(flatten)]
    pub(in crate::http) reflected: Reflected,
    /// The version of the definitions of the numbers.
    pub(in crate::http) definition: u32,
}

impl Answer for WhyAnswer {
    const NAME: &'static str = "Why";
    const EXAMPLE: &'static str = include_str!("../description/examples/Why.json");
}

/// A number that the user is in.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "WhyNumber")]
pub(in crate::http) struct Number {
    /// Its name in a summary.
    pub(in crate::http) name: &'static str,
    /// The deciding events by their names in `deciding`.
    pub(in crate::http) because: Vec<&'static str>,
    /// The last instant at which that holds without a new event. Null: it ends by an event only.
    #[schemars(with = "Option<schema::Instant>")]
    pub(in crate::http) until: Option<UtcInstant>,
}

/// The deciding events; null where there is none.
#[derive(JsonSchema, Serialize)]
pub(in crate::http) struct DecidingEvents {
    /// The user exists from it on.
    pub(in crate::http) created: Option<DecidingEvent>,
    /// The user is confirmed from it on.
    pub(in crate::http) confirmed: Option<DecidingEvent>,
    /// The latest deletion or restoration.
    pub(in crate::http) deletion: Option<DecidingEvent>,
    /// The latest that says whether the user counts.
    pub(in crate::http) counting: Option<DecidingEvent>,
    pub(in crate::http) last_seen: Option<DecidingEvent>,
}

/// An event that decides.
#[derive(JsonSchema, Serialize)]
pub(in crate::http) struct DecidingEvent {
    pub(in crate::http) position: ShownPosition,
    pub(in crate::http) id: String,
    #[serde(rename = "type")]
    #[schemars(with = "schema::TypeName")]
    pub(in crate::http) event_type: &'static str,
    #[schemars(with = "schema::Instant")]
    pub(in crate::http) occurred_at: UtcInstant,
}

impl DecidingEvent {
    fn of(fact: Option<&Fact>, positions: &Positions) -> Option<Self> {
        fact.map(|fact| Self {
            position: positions.show(fact.position),
            id: fact.id.to_string(),
            event_type: fact.event_type.as_str(),
            occurred_at: fact.occurred_at,
        })
    }
}

/// A thing that would change the numbers that the user is in.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "WhyChange")]
pub(in crate::http) struct Change {
    /// It happens by itself right after this instant. Null: it takes an event.
    #[schemars(with = "Option<schema::Instant>")]
    pub(in crate::http) after: Option<UtcInstant>,
    /// The event that it takes, in words. Null: it happens by itself.
    pub(in crate::http) event: Option<String>,
    /// The outcome, in words.
    pub(in crate::http) then: &'static str,
}

/// `GET /v1/tenants/{tenant_id}/users/{user_id}/why`
pub(in crate::http) async fn why(ask: Ask<Query, QuestionParams>) -> Result<Json<WhyAnswer>, Problem> {
    let reading = ask.reading(ask.params.min_position).await?;
    let (question, window) = (ask.params.question(reading.at), ask.params.window());
    let Why { state, deciding, position } = ask.questions()?.why(&reading, ask.user(), &question).await?;
    let at = question.at(reading.at);
    let since = question.since(at);
    let active_until = state
        .last_seen
        .filter(|_| state.status(since) == Status::Active)
        .map(|seen| seen.at.saturating_add(window.span));
    let shown = |fact: &Option<Fact>| DecidingEvent::of(fact.as_ref(), ask.positions());
    let (tenant_id, user_id) = ask.user();
    Ok(Json::new(WhyAnswer {
        tenant_id: tenant_id.to_owned(),
        user_id: user_id.to_owned(),
        status: state.status(since).as_str(),
        numbers: numbers(&state, since, active_until),
        changes: changes(&state, &deciding, active_until),
        deciding: DecidingEvents {
            created: shown(&deciding.created),
            confirmed: shown(&deciding.confirmed),
            deletion: shown(&deciding.deletion),
            counting: shown(&deciding.counting),
            last_seen: shown(&deciding.last_seen),
        },
        window: window.text,
        as_of: question.as_of,
        at,
        reflected: ask.reflected(position)?,
        definition: DEFINITION,
    }))
}

/// The numbers that a user of this state is in, by the conditions that they count.
fn numbers(state: &MemberState, since: UtcInstant, active_until: Option<UtcInstant>) -> Vec<Number> {
    let is_estimated = state.last_seen.is_some_and(|seen| seen.is_estimated());
    let is_active = state.meets(Condition::Active, since);
    let all: [(bool, &'static str, &[&'static str]); 9] = [
        (state.is_present(), "total_users", &["created", "deletion", "counting"]),
        (state.meets(Condition::Pending, since), "pending_users", &["created"]),
        (state.meets(Condition::NeverSeen, since), "never_seen_users", &["created"]),
        (is_active, "active_users", &["confirmed", "last_seen"]),
        (is_active && !is_estimated, "observed_users", &["last_seen"]),
        (is_active && is_estimated, "estimated_users", &["last_seen"]),
        (state.meets(Condition::Inactive, since), "inactive_users", &["last_seen"]),
        (state.meets(Condition::Deleted, since), "deleted_users", &["deletion"]),
        (state.meets(Condition::LeftOut, since), "left_out_users", &["counting"]),
    ];
    let ends = ["active_users", "observed_users", "estimated_users"];
    let held = all.into_iter().filter(|(holds, ..)| *holds);
    held.map(|(_, name, because)| Number {
        name,
        because: because.to_vec(),
        until: active_until.filter(|_| ends.contains(&name)),
    })
    .collect()
}

/// All that would change the numbers that a user of this state is in.
fn changes(state: &MemberState, deciding: &Deciding, active_until: Option<UtcInstant>) -> Vec<Change> {
    let by = |event: String, then| Change { after: None, event: Some(event), then };
    let later = |fact: &Option<Fact>| {
        let at = Deciding::since(fact.as_ref());
        at.map_or_else(String::new, |at| format!(" that occurred after {at}"))
    };
    let mut changes = Vec::new();
    if state.left_out_at.is_some() {
        let event = format!("user_changed with counts: true{}", later(&deciding.counting));
        changes.push(by(event, "the user counts again"));
        return changes;
    }
    if state.deleted_at.is_some() {
        let event = format!("user_restored{}", later(&deciding.deletion));
        changes.push(by(event, "the user is back in total_users"));
        return changes;
    }
    if let Some(after) = active_until {
        let then = "the user leaves active_users for inactive_users";
        changes.push(Change { after: Some(after), event: None, then });
    }
    if state.confirmed_from.is_none() {
        changes.push(by("user_confirmed, or any activity".to_owned(), "the user is pending no longer"));
    }
    match state.last_seen {
        None => changes.push(by(
            "login, token_refresh, tenant_switch, signup_complete or estimated_activity".to_owned(),
            "the user was seen, and is active for the window from then on",
        )),
        Some(seen) if seen.is_estimated() => changes.push(by(
            "login, token_refresh, tenant_switch or signup_complete, also one that occurred earlier"
                .to_owned(),
            "last seen is that observation: it beats the estimate",
        )),
        Some(seen) => changes.push(by(
            format!("login, token_refresh, tenant_switch or signup_complete that occurred after {}", seen.at),
            "last seen moves there, and the user is active for the window from then on",
        )),
    }
    let gone = "the user leaves all numbers for deleted_users";
    changes.push(by(format!("user_deleted{}", later(&deciding.deletion)), gone));
    let event = format!("user_changed with counts: false{}", later(&deciding.counting));
    changes.push(by(event, "the user leaves all numbers for left_out_users"));
    changes
}
