//! The pages of one user and of one person.

use std::collections::BTreeMap;

use lastseen_event::UtcInstant;
use lastseen_projections::{Day, Period};
use maud::{Markup, html};

use super::layout::{Contents, Place};
use super::lists::position;
use super::parts::{Panel, absent, ago, curl_button, json_link, minute, number, second, status, type_name};
use super::view::View;
use crate::http::dashboard::answered::{Answered, ShownEvent};
use crate::http::dashboard::asked::segment;
use crate::http::dashboard::charts::timeline::{Lane, Seen, timeline};
use crate::http::handlers::person::PersonAnswer;
use crate::http::handlers::user::UserAnswer;
use crate::http::handlers::user_events::UserEvents;
use crate::http::handlers::why::WhyAnswer;

/// All answers of the page of one user.
pub(in crate::http::dashboard) struct OneUser {
    pub(in crate::http::dashboard) tenant_id: String,
    pub(in crate::http::dashboard) user_id: String,
    pub(in crate::http::dashboard) user: Answered<UserAnswer>,
    pub(in crate::http::dashboard) why: Answered<WhyAnswer>,
    pub(in crate::http::dashboard) events: Answered<UserEvents>,
}

/// Events of one user that are read.
pub(in crate::http::dashboard) const EVENTS_MAX: u64 = 500;

/// The window of both pages, as long as that of the counts.
const WINDOW_US: i64 = 30 * 86_400_000_000;

/// The page of one user.
pub(in crate::http::dashboard) fn user(view: &View<'_>, one: &OneUser) -> Contents {
    let events = one.events.ok().map(shown_events).unwrap_or_default();
    let main = html! {
        (user_title(view, one))
        @match &one.user.answer {
            Ok(user) => {
                (facts(view, user, one))
                (lanes_panel(view, one, user, &events))
            },
            Err(missing) => { section.panel { (absent(missing)) } },
        }
        div.row { (sessions_panel(view, one, &events)) (why_panel(view, one)) }
    };
    Contents {
        title: one.user_id.clone(),
        place: Some(Place::Users),
        live: None,
        has_persons: false,
        has_range: false,
        main,
        position: one.user.ok().map(|user| user.reflected.position.to_string()),
    }
}

/// The events as they occurred, the latest first.
fn shown_events(events: &UserEvents) -> Vec<ShownEvent> {
    let mut shown: Vec<ShownEvent> =
        events.events.iter().filter_map(|event| serde_json::from_str(event.get()).ok()).collect();
    shown.sort_by_key(|event| std::cmp::Reverse(event.at()));
    shown
}

fn user_title(view: &View<'_>, one: &OneUser) -> Markup {
    let tenant = format!("/tenants/{}", segment(&one.tenant_id));
    let others = one.user.ok().and_then(|user| user.memberships.as_ref()).map_or(0, Vec::len);
    html! {
        div.title {
            div {
                p.path {
                    a href=(view.asked.to("/tenants", &[])) { "Tenants" } " / "
                    a.id href=(view.asked.to(&tenant, &[])) { (one.tenant_id) } " / "
                    a href=(view.asked.to(&format!("{tenant}/users"), &[])) { "Users" } " /"
                }
                h1.id { (one.user_id) }
                @if let Some(user) = one.user.ok() {
                    p {
                        (status(user.user.status)) " in tenant " span.id { (one.tenant_id) }
                        @if let Some(at) = view.asked.as_of { ", as of " (minute(view, at)) }
                        "."
                        @if others > 0 { " The same person is in " (view.format.number(others as u64)) " other tenants." }
                    }
                }
            }
            div.actions {
                @if others > 0 {
                    a.button href=(view.asked.to(&format!("/persons/{}", segment(&one.user_id)), &[])) { "Person in " (view.format.number(others as u64 + 1)) " tenants" }
                }
                (curl_button(&one.user.api))
            }
        }
    }
}

/// An instant as a large fact.
fn fact_at(view: &View<'_>, at: Option<UtcInstant>, is_estimate: bool, none: &str) -> Markup {
    html! {
        span.big {
            @match at {
                Some(at) if is_estimate => { "≈ " (minute(view, at)) },
                Some(at) => (second(view, at)),
                None => (none),
            }
        }
    }
}

fn facts(view: &View<'_>, answer: &UserAnswer, one: &OneUser) -> Markup {
    let user = &answer.user;
    let is_estimate = user.last_seen_provenance.is_some_and(|it| it.as_str() == "estimated");
    let at = view.asked.at();
    html! {
        section.tiles.facts aria-label="Facts" data-api=(one.user.api) {
            div.tile {
                h2 { "Last seen" }
                (fact_at(view, user.last_seen_at, is_estimate, "Never"))
                @if let Some(seen) = user.last_seen_at {
                    p { b { (ago(view, seen)) } @if let Some(of) = user.last_seen_type { ", by: " (type_name(of.as_str()).to_lowercase()) } }
                    p {
                        @if is_estimate { "Estimated" @if let Some(batch) = &answer.last_seen_batch { ", from backfill " (batch) } }
                        @else { "Observed" @if let Some(of) = &user.last_seen_position { ", position " (position(view, &of.to_string())) } }
                    }
                }
            }
            div.tile {
                h2 { "Counts as active until" }
                (fact_at(view, user.active_until, false, "Not active"))
                @if let Some(until) = user.active_until.filter(|until| *until >= at) {
                    p { b { (left(view, until, at)) } " from then" }
                    p { "Last seen + 30 days, inclusive" }
                }
            }
            div.tile {
                h2 { "First seen" }
                (fact_at(view, user.first_seen_at, false, "Never"))
                p { (number(view, "/total_events", u64::from(answer.total_events))) " events" }
            }
            div.tile {
                h2 { "Member since" }
                (fact_at(view, Some(user.created_at), false, "Unknown"))
                p { @if let Some(at) = user.confirmed_at { "Confirmed " (minute(view, at)) } @else { "Not confirmed" } }
                p { @if let Some(at) = user.deleted_at { "Deleted " (minute(view, at)) } @else { "Not deleted" } }
            }
        }
    }
}

/// The time from an instant to a later one, in days and hours.
fn left(view: &View<'_>, until: UtcInstant, at: UtcInstant) -> String {
    let hours = until.as_micros().saturating_sub(at.as_micros()).max(0) / 3_600_000_000;
    format!("{} d {} h", view.format.number(hours / 24), view.format.number(hours % 24))
}

/// Instants at which somebody was seen, by the events of one membership.
fn seen_by(events: &[ShownEvent], until: UtcInstant) -> Vec<Seen> {
    let activity = events.iter().filter(|event| {
        ["login", "token_refresh", "tenant_switch", "signup_complete", "estimated_activity"]
            .contains(&event.event_type.as_str())
            && !event.retracted
    });
    let mut seen: Vec<Seen> = activity
        .filter_map(|event| {
            Some(Seen { at: event.at()?, is_guessed: event.event_type == "estimated_activity" })
        })
        .filter(|seen| seen.at <= until)
        .collect();
    seen.sort_by_key(|seen| seen.at);
    seen
}

/// The first instant of each month around the lanes.
fn months(view: &View<'_>, first: UtcInstant) -> Vec<(UtcInstant, String)> {
    /// Months that are named at most: twenty years.
    const REACH: std::time::Duration = std::time::Duration::from_hours(20 * 366 * 24);
    let (calendar, first) = (view.format.calendar(), first.max(view.asked.at().saturating_sub(REACH)));
    let last = calendar.date(view.asked.at().saturating_add(std::time::Duration::from_hours(24 * 31)));
    let span = calendar.date(first)..=last;
    let months = Period::Month.covering(&span).into_iter().map(|month| *month.start());
    months.map(|day: Day| (calendar.start(day), view.format.month(day))).collect()
}

fn lanes_panel(view: &View<'_>, one: &OneUser, answer: &UserAnswer, events: &[ShownEvent]) -> Markup {
    let at = view.asked.at();
    let mine = Lane {
        name: "This tenant".to_owned(),
        exists_from: Some(answer.user.created_at),
        seen: seen_by(events, at),
    };
    let others = answer.memberships.iter().flatten().take(8).map(|other| Lane {
        name: other.tenant_id.clone(),
        exists_from: None,
        seen: other.last_seen_at.map(|at| Seen { at, is_guessed: false }).into_iter().collect(),
    });
    let lanes: Vec<Lane> = std::iter::once(mine).chain(others).collect();
    (Panel {
        id: "timeline",
        class: "",
        title: "Why, and until when",
        about: html! {
            "Dark strokes: times of activity. Light bands: the 30 days that each one counts. Hatched: only by an estimate. Dashed: still to come."
            @if lanes.len() > 1 { " Of other tenants: the last time alone." }
            (limits_of(view, one.events.ok().is_some_and(|answer| answer.total > events.len() as u64)))
        },
        links: json_link(&one.events.api),
        api: &one.events.api,
    })
    .show(&html! {
        @if let Err(missing) = &one.events.answer { (absent(missing)) } @else { (lanes_chart(view, &lanes)) }
    })
}

/// The events that lanes are made of, where they are not all that count on the page.
fn limits_of(view: &View<'_>, has_more: bool) -> Markup {
    html! {
        @if has_more { " Only the last " (EVENTS_MAX) " events are drawn." }
        @if view.asked.is_filtered() || view.asked.known_at.is_some() { " Events of all kinds, as they are known now." }
    }
}

fn lanes_chart(view: &View<'_>, lanes: &[Lane]) -> Markup {
    let at = view.asked.at();
    let starts = lanes.iter().filter_map(|lane| lane.exists_from);
    let first =
        starts.chain(lanes.iter().flat_map(|lane| lane.seen.iter().map(|seen| seen.at))).min().unwrap_or(at);
    timeline(
        lanes,
        (at, WINDOW_US),
        &months(view, first),
        "The times of activity of one user, and how long each counts.",
    )
}

/// The events of one session, or one that belongs to none.
struct Group<'a> {
    session_id: Option<&'a str>,
    /// The newest first.
    events: Vec<&'a ShownEvent>,
}

/// Sessions that are shown at once.
const FIRST: usize = 12;

/// The events of one session together, the newest first.
fn groups(events: &[ShownEvent]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    let mut by_session: BTreeMap<&str, usize> = BTreeMap::new();
    for event in events {
        let session_id = event.session_id.as_deref();
        if let Some(place) = session_id.and_then(|id| by_session.get(id)) {
            groups[*place].events.push(event);
            continue;
        }
        if let Some(id) = session_id {
            by_session.insert(id, groups.len());
        }
        groups.push(Group { session_id, events: vec![event] });
    }
    groups
}

fn sessions_panel(view: &View<'_>, one: &OneUser, events: &[ShownEvent]) -> Markup {
    let total = one.events.ok().map_or(0, |answer| answer.total);
    let groups = groups(events);
    let decides =
        one.why.ok().and_then(|why| why.deciding.last_seen.as_ref()).map(|deciding| deciding.id.as_str());
    let title = format!("{} events", view.format.number(total));
    let panel = Panel {
        id: "events",
        class: "span",
        title: &title,
        about: html! {
            "Newest first. A session is one row; open it for its events and their positions in the log."
            @if total > events.len() as u64 { " The last " (view.format.number(events.len() as u64)) " are shown." }
            @if view.asked.is_past() { " All of them, whatever the instant of the page." }
        },
        links: json_link(&one.events.api),
        api: &one.events.api,
    };
    panel.of(view, &one.events, |_| {
        html! {
            div.sessions { @for group in groups.iter().take(FIRST) { (session(view, group, decides)) } }
            @if groups.len() > FIRST {
                details.table {
                    summary { "Show " (view.format.number((groups.len() - FIRST) as u64)) " more" }
                    div.sessions { @for group in groups.iter().skip(FIRST) { (session(view, group, decides)) } }
                }
            }
            @if groups.is_empty() { p.note { "No event." } }
        }
    })
}

fn session(view: &View<'_>, group: &Group<'_>, decides: Option<&str>) -> Markup {
    let times: Vec<UtcInstant> = group.events.iter().filter_map(|event| event.at()).collect();
    let mut kinds: Vec<(&str, u64)> = Vec::new();
    for event in group.events.iter().rev() {
        match kinds.iter_mut().find(|(kind, _)| *kind == event.event_type) {
            Some((_, count)) => *count += 1,
            None => kinds.push((&event.event_type, 1)),
        }
    }
    let kinds: Vec<String> = kinds
        .iter()
        .map(|(kind, count)| {
            if *count == 1 {
                type_name(kind).to_owned()
            } else {
                format!("{} × {}", type_name(kind), view.format.number(*count))
            }
        })
        .collect();
    let is_guess = group.events.iter().any(|event| event.event_type == "estimated_activity");
    let is_open = group.events.iter().any(|event| decides == Some(event.id.as_str()));
    html! {
        details.session open[is_open] {
            summary {
                span {
                    @if let (Some(first), Some(last)) = (times.iter().min(), times.iter().max()) {
                        (minute(view, *first))
                        @if view.format.time(*first) != view.format.time(*last) { " – " (view.format.time(*last)) }
                    }
                }
                span { (kinds.join(", ")) }
                span.id.wide-only { (group.session_id.map(|id| id.chars().take(8).collect::<String>()).unwrap_or_default()) }
                span.wide-only { @if is_guess { span.swatch.guess aria-hidden="true" {} " Estimated" } @else { span.mark.active aria-hidden="true" {} "Observed" } }
            }
            table {
                caption.hidden { "The events of the session" }
                thead.hidden { tr { th scope="col" { "When" } th scope="col" { "What" } th scope="col" { "Position" } } }
                tbody { @for event in &group.events {
                    tr {
                        td { @if let Some(at) = event.at() { (second(view, at)) } }
                        td { (type_name(&event.event_type)) @if event.retracted { ", taken back: does not count" } @if decides == Some(event.id.as_str()) { " " b { "decides last seen" } } }
                        td.num { (position(view, &event.position)) }
                    }
                } }
            }
        }
    }
}

fn why_panel(view: &View<'_>, one: &OneUser) -> Markup {
    let panel = Panel {
        id: "why",
        class: "",
        title: "In these numbers",
        about: html! { "And all that would change that." },
        links: json_link(&one.why.api),
        api: &one.why.api,
    };
    panel.of(view, &one.why, |why| {
        html! {
            ul.plain { @for number in &why.numbers {
                li {
                    b { (number.name.replace('_', " ")) }
                    @if let Some(until) = number.until { ", until " (minute(view, until)) }
                    p.note { "because of: " (number.because.iter().map(|name| name.replace('_', " ")).collect::<Vec<_>>().join(", ")) }
                }
            } }
            @if why.numbers.is_empty() { p.note { "In none." } }
            div.foot.near { @for change in &why.changes {
                div {
                    h3 {
                        @if let Some(after) = change.after { "After " (minute(view, after)) }
                        @if let Some(event) = &change.event { (event) }
                    }
                    p.note { (change.then) }
                }
            } }
        }
    })
}

/// All answers of the page of one person.
pub(in crate::http::dashboard) struct OnePerson {
    pub(in crate::http::dashboard) user_id: String,
    pub(in crate::http::dashboard) person: Answered<PersonAnswer>,
    /// Of the first memberships: their events.
    pub(in crate::http::dashboard) events: Vec<(String, Answered<UserEvents>)>,
}

/// The page of one person.
pub(in crate::http::dashboard) fn person(view: &View<'_>, one: &OnePerson) -> Contents {
    let main = html! {
        div.title { div {
            p.path { a href=(view.asked.to("/users", &[("of", "persons")])) { "Persons" } " /" }
            h1.id { (one.user_id) }
            @if let Some(person) = one.person.ok() {
                p {
                    (status(person.person.status)) " in " (view.format.number(person.memberships.len() as u64)) " tenants."
                    @if let Some(at) = person.person.last_seen_at { " Last seen " (second(view, at)) "." }
                }
            }
        } }
        @match &one.person.answer {
            Ok(person) => {
                (person_lanes(view, one, person))
                (memberships(view, one, person))
            },
            Err(missing) => { section.panel { (absent(missing)) } },
        }
    };
    Contents {
        title: one.user_id.clone(),
        place: Some(Place::Users),
        live: None,
        has_persons: false,
        has_range: false,
        main,
        position: one.person.ok().map(|person| person.reflected.position.to_string()),
    }
}

fn person_lanes(view: &View<'_>, one: &OnePerson, person: &PersonAnswer) -> Markup {
    let at = view.asked.at();
    let lane = |(tenant_id, events): &(String, Answered<UserEvents>)| {
        let row = person.memberships.iter().find(|row| row.tenant_id == *tenant_id);
        let events = events.ok().map(shown_events).unwrap_or_default();
        Lane {
            name: tenant_id.clone(),
            exists_from: row.map(|row| row.created_at),
            seen: seen_by(&events, at),
        }
    };
    let lanes: Vec<Lane> = one.events.iter().map(lane).collect();
    let hidden = person.memberships.len() - lanes.len();
    let missing = one.events.iter().find_map(|(_, events)| events.answer.as_ref().err());
    let has_more =
        one.events.iter().filter_map(|(_, events)| events.ok()).any(|it| it.total > it.events.len() as u64);
    (Panel {
        id: "timeline",
        class: "",
        title: "One lane a tenant",
        about: html! {
            "Dark strokes: times of activity. Light bands: the 30 days that each one counts."
            @if hidden > 0 { " " (view.format.number(hidden as u64)) " more tenants stand below." }
            (limits_of(view, has_more))
        },
        links: json_link(&one.person.api),
        api: &one.person.api,
    })
    .show(&html! { @if let Some(missing) = missing { (absent(missing)) } @else { (lanes_chart(view, &lanes)) } })
}

fn memberships(view: &View<'_>, one: &OnePerson, person: &PersonAnswer) -> Markup {
    (Panel {
        id: "memberships",
        class: "",
        title: "Memberships",
        about: html! { "Also those that are deleted or left out." },
        links: json_link(&one.person.api),
        api: &one.person.api,
    })
    .show(&html! {
        div.scroll { table {
            caption.hidden { "Memberships" }
            thead { tr {
                th scope="col" { "Tenant" } th scope="col" { "Status" } th scope="col" { "Last seen" }
                th.wide-only scope="col" { "By" } th.wide-only.num scope="col" { "Active until" } th.wide-only.num scope="col" { "Exists since" }
            } }
            tbody { @for row in &person.memberships {
                @let path = format!("/tenants/{}/users/{}", segment(&row.tenant_id), segment(&row.user_id));
                tr {
                    td { a.id.short href=(view.asked.to(&path, &[])) { (row.tenant_id) } }
                    td { (status(row.status)) }
                    td { @if let Some(at) = row.last_seen_at { (second(view, at)) } @else { "Never" } }
                    td.wide-only { @if let Some(of) = row.last_seen_type { (type_name(of.as_str())) } }
                    td.wide-only.num { @if let Some(until) = row.active_until { (minute(view, until)) } }
                    td.wide-only.num { (minute(view, row.created_at)) }
                }
            } }
        } }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: u32, session: Option<&str>) -> ShownEvent {
        ShownEvent {
            position: id.to_string(),
            id: id.to_string(),
            event_type: "login".to_owned(),
            tenant_id: "acme".to_owned(),
            user_id: "u".to_owned(),
            occurred_at: "2026-11-26T18:40:00Z".to_owned(),
            session_id: session.map(str::to_owned),
            batch: None,
            retracted: false,
        }
    }

    #[test]
    fn a_session_is_one_group_at_its_newest_event() {
        let events =
            [event(5, Some("b")), event(4, None), event(3, Some("a")), event(2, Some("b")), event(1, None)];
        let ids = |group: &Group<'_>| {
            group.events.iter().map(|event| event.id.clone()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(groups(&events).iter().map(ids).collect::<Vec<_>>(), ["5 2", "4", "3", "1"]);
    }
}
