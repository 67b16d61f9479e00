//! Lists of users, of persons and of events.

use lastseen_event::{EventType, Provenance, UtcInstant};
use maud::{Markup, html};

use super::days::days_of;
use super::layout::{Contents, Place};
use super::parts::{
    Panel, absent, ago, asked_before, curl_button, minute, number, second, status, type_name,
};
use super::tenants::pages;
use super::view::View;
use crate::http::answer::counts::Counts;
use crate::http::answer::person::PersonRow;
use crate::http::answer::user::UserRow;
use crate::http::dashboard::answered::{Answered, Events, Missing, ShownEvent};
use crate::http::dashboard::asked::{address, segment};
use crate::http::handlers::summary::Summary;
use crate::http::handlers::users::UsersAnswer;

/// The users of one tenant that were seen last, on its page.
pub(in crate::http::dashboard) fn latest_panel(
    view: &View<'_>,
    users: &Answered<UsersAnswer>,
    tenant_id: Option<&str>,
) -> Markup {
    let list = format!("/tenants/{}/users", segment(tenant_id.unwrap_or_default()));
    let total = users.ok().map(|answer| view.format.number(answer.tail.total));
    let panel = Panel {
        id: "users",
        class: "span",
        title: "Users seen last",
        about: html! { "Whoever was never seen comes at the end." },
        links: html! {
            a href=(view.asked.to(&list, &[])) { "All" @if let Some(total) = &total { " " (total) } " users" }
            @for (name, format) in [("CSV", "csv"), ("Excel", "excel")] {
                a href=(view.asked.question(&format!("/v1{list}"), &[("format", format)])) download { (name) }
            }
        },
        api: &users.api,
    };
    panel.of(view, users, |answer| {
        let now = view.asked.at();
        html! {
            div.scroll { table {
                caption.hidden { "Users seen last" }
                thead { tr {
                    th scope="col" { "User" }
                    th scope="col" { "Last seen" }
                    th.wide-only scope="col" { span.hidden { "Ago" } }
                    th.wide-only scope="col" { "By" }
                    th.wide-only.num scope="col" { "Active until" }
                } }
                tbody { @for row in &answer.users {
                    tr {
                        td { (user_link(view, row)) }
                        td { (seen_at(view, row.last_seen_at, row.last_seen_provenance.map(Provenance::as_str))) }
                        td.wide-only.quiet-text { @if let Some(at) = row.last_seen_at { (ago(view, at)) } }
                        td.wide-only { @if let Some(of) = row.last_seen_type { (type_name(of.as_str())) } }
                        td.wide-only.num { @if let Some(until) = row.active_until.filter(|until| *until >= now) { (minute(view, until)) } }
                    }
                } }
            } }
        }
    })
}

fn user_link(view: &View<'_>, row: &UserRow) -> Markup {
    let path = format!("/tenants/{}/users/{}", segment(&row.tenant_id), segment(&row.user_id));
    html! { a.id.short.whole href=(view.asked.to(&path, &[])) title=(row.user_id) { (row.user_id) } }
}

/// An instant of last seen, with the sign of an estimate in the margin.
fn seen_at(view: &View<'_>, at: Option<UtcInstant>, provenance: Option<&str>) -> Markup {
    html! {
        @match at {
            Some(at) if provenance == Some("estimated") => { span.about aria-label="about" { "≈" } (minute(view, at)) }
            Some(at) => (second(view, at)),
            None => "Never",
        }
    }
}

/// One page of a list of people, with the summary whose counts its filters show.
pub(in crate::http::dashboard) struct People<'a> {
    /// `None`: of all tenants.
    pub(in crate::http::dashboard) tenant_id: Option<&'a str>,
    pub(in crate::http::dashboard) summary: &'a Answered<Summary>,
    /// The statuses that are asked for, empty for all.
    pub(in crate::http::dashboard) statuses: Vec<&'a str>,
    pub(in crate::http::dashboard) window: &'a str,
    pub(in crate::http::dashboard) prefix: Option<&'a str>,
    pub(in crate::http::dashboard) sort: &'a str,
    pub(in crate::http::dashboard) page: u64,
    /// The request for the list.
    pub(in crate::http::dashboard) api: &'a str,
    /// The time of the list, where it is of a while ago.
    pub(in crate::http::dashboard) before: Markup,
    /// The request for all of it, as CSV and for spreadsheets.
    pub(in crate::http::dashboard) whole: [String; 2],
    pub(in crate::http::dashboard) rows: Result<PeopleRows<'a>, &'a Missing>,
}

/// Rows of users, or of persons.
pub(in crate::http::dashboard) struct PeopleRows<'a> {
    pub(in crate::http::dashboard) rows: Vec<PeopleRow<'a>>,
    pub(in crate::http::dashboard) total: u64,
    pub(in crate::http::dashboard) next_cursor: Option<&'a str>,
    pub(in crate::http::dashboard) position: String,
}

/// One of them.
pub(in crate::http::dashboard) enum PeopleRow<'a> {
    User(&'a UserRow),
    Person(&'a PersonRow),
}

/// The statuses, each with its count in a summary.
const STATUSES: [(&str, &str); 6] = [
    ("active", "Active"),
    ("inactive", "Inactive"),
    ("never_seen", "Never seen"),
    ("pending", "Pending"),
    ("deleted", "Deleted"),
    ("left_out", "Left out"),
];

fn count_of(counts: &Counts, status: &str) -> u64 {
    let users = &counts.users;
    match status {
        "active" => users.active_users,
        "inactive" => users.inactive_users,
        "never_seen" => users.never_seen_users,
        "pending" => users.pending_users,
        "deleted" => users.deleted_users,
        "left_out" => users.left_out_users,
        _ => users.total_users,
    }
}

/// The whole page.
pub(in crate::http::dashboard) fn people(view: &View<'_>, people: &People<'_>) -> Contents {
    let rows = people.rows.as_ref().ok();
    let main = html! {
        (people_title(view, people))
        (chips(view, people))
        section #list.panel.list data-api=(people.api) {
            @match &people.rows {
                Ok(rows) => { (people.before.clone()) div.scroll { (people_table(view, people, rows)) } },
                Err(missing) => (absent(missing)),
            }
        }
        @if let Some(rows) = rows { (pages(view, rows.next_cursor, people.page)) }
    };
    Contents {
        title: "Users".to_owned(),
        place: Some(Place::Users),
        live: None,
        has_persons: people.tenant_id.is_none(),
        has_range: false,
        main,
        position: rows.map(|rows| rows.position.clone()),
    }
}

fn people_title(view: &View<'_>, people: &People<'_>) -> Markup {
    let is_one = people.rows.as_ref().is_ok_and(|rows| rows.total == 1);
    let noun = match (view.asked.is_of_persons() && people.tenant_id.is_none(), is_one) {
        (true, true) => "person",
        (true, false) => "persons",
        (false, true) => "user",
        (false, false) => "users",
    };
    let words: Vec<String> =
        people.statuses.iter().map(|status| super::parts::status_name(status).to_lowercase()).collect();
    let window = window_name(view, people.window);
    html! {
        div.title {
            div {
                @if let Some(tenant_id) = people.tenant_id {
                    p.path {
                        a href=(view.asked.to("/tenants", &[])) { "Tenants" } " / "
                        a.id href=(view.asked.to(&format!("/tenants/{}", segment(tenant_id)), &[])) { (tenant_id) } " /"
                    }
                }
                h1 {
                    @if let Ok(rows) = &people.rows { data value=(rows.total) data-field="/total" data-from="#list" { (view.format.number(rows.total)) } " " }
                    (noun)
                    @if words == ["active"] { " active " (window) } @else if !words.is_empty() { ", " (words.join(" or ")) }
                    @if let Some(prefix) = people.prefix { ", id begins with " span.id { (prefix) } }
                }
                p {
                    "Active: last seen " (window) "."
                    @if let Some(at) = view.asked.as_of { " As of " (minute(view, at)) "." }
                }
            }
            div.actions {
                @for (name, url) in ["CSV", "Excel"].into_iter().zip(&people.whole) { a.button href=(url) download { (name) } }
                (curl_button(people.api))
            }
        }
    }
}

fn window_name(view: &View<'_>, window: &str) -> String {
    if let Some(days) = days_of(view, window) {
        let [first, last] = [*days.start(), *days.end()].map(|day| view.format.weekday(day));
        return if first == last { format!("on {last}") } else { format!("from {first} to {last}") };
    }
    match window {
        "24h" => "in the last 24 hours".to_owned(),
        "7d" => "in the last 7 days".to_owned(),
        "30d" => "in the last 30 days".to_owned(),
        other => format!("in the last {other}"),
    }
}

/// The windows that the page offers.
const WINDOWS: [(&str, &str); 4] =
    [("24h", "24 hours"), ("7d", "7 days"), ("30d", "30 days"), ("90d", "90 days")];

fn chips(view: &View<'_>, people: &People<'_>) -> Markup {
    let toggled = |status: &str| -> Option<String> {
        let chosen = people.statuses.contains(&status);
        let rest = people.statuses.iter().copied().filter(|one| *one != status);
        let all: Vec<&str> = rest.chain((!chosen).then_some(status)).collect();
        (!all.is_empty()).then(|| all.join(","))
    };
    // Persons of each status, and those whose ids begin so, are not counted there.
    let of_persons = view.asked.is_of_persons() && people.tenant_id.is_none();
    let summary = people.summary.ok().filter(|_| !of_persons && people.prefix.is_none());
    let counts = summary.map(|summary| &summary.counts);
    let fresh = |changes: &[(&str, Option<&str>)]| {
        view.asked.url(&[changes, &[("cursor", None), ("page_number", None)]].concat())
    };
    html! {
        div.chips data-api=(people.summary.api) {
            a.button href=(fresh(&[("status", None)])) aria-current=[people.statuses.is_empty().then_some("true")] {
                "All" @if let Some(counts) = counts { b { (number(view, "/total_users", counts.users.total_users)) } }
            }
            @for (status, name) in STATUSES {
                @let count = counts.map(|counts| count_of(counts, status));
                @let is_chosen = people.statuses.contains(&status);
                @if status != "left_out" || is_chosen || count.is_some_and(|count| count > 0) {
                    a.button href=(fresh(&[("status", toggled(status).as_deref())])) aria-current=[is_chosen.then_some("true")] {
                        (name) @if let Some(count) = count { b { (number(view, &format!("/{status}_users"), count)) } }
                    }
                }
            }
            form method="get" action=(view.asked.path()) role="search" {
                @for (name, value) in view.asked.kept(&["prefix", "window", "cursor", "page_number"]) {
                    input type="hidden" name=(name) value=(value);
                }
                input type="search" name="prefix" value=[people.prefix] placeholder="User id begins with" aria-label="User id begins with" maxlength="128" spellcheck="false" autocomplete="off";
                select name="window" aria-label="Window" {
                    @for (value, name) in WINDOWS { option value=(value) selected[value == people.window] { (name) } }
                    @if WINDOWS.iter().all(|(value, _)| *value != people.window) { option value=(people.window) selected { @if days_of(view, people.window).is_some() { "These days" } @else { (people.window) } } }
                }
                button.button type="submit" { "Search" }
            }
        }
    }
}

fn people_table(view: &View<'_>, people: &People<'_>, rows: &PeopleRows<'_>) -> Markup {
    let is_of_tenant = people.tenant_id.is_some();
    let of_persons = view.asked.is_of_persons() && !is_of_tenant;
    let never = |row: &PeopleRow<'_>| match row {
        PeopleRow::User(row) => row.last_seen_at.is_none(),
        PeopleRow::Person(row) => row.last_seen_at.is_none(),
    };
    let by_last_seen = people.sort.ends_with("last_seen_at");
    // The band stands before the first one, where somebody was seen before.
    let band = rows.rows.iter().position(never).filter(|_| by_last_seen);
    html! {
        table {
            caption.hidden { @if of_persons { "Persons" } @else { "Users" } }
            thead { tr {
                (sorted(view, people, "user_id", "User"))
                @if !is_of_tenant && !of_persons { th.wide-only scope="col" { "Tenant" } }
                th scope="col" { "Status" }
                (sorted(view, people, "last_seen_at", "Last seen"))
                th.wide-only scope="col" { span.hidden { "Ago" } }
                th.wide-only scope="col" { "Seen by" }
                @if of_persons { th.num.wide-only scope="col" { "Tenants" } }
                th.desk-only scope="col" { "Active until" }
                (sorted(view, people, "created_at", "Exists since"))
            } }
            tbody {
                @for (at, row) in rows.rows.iter().enumerate() {
                    @if band == Some(at) {
                        tr.band { td colspan="8" { b { "Never seen" } "  Always at the end, whichever way the list is sorted: nobody knows how long they have been away." } }
                    }
                    @match row {
                        PeopleRow::User(row) => (user_line(view, row, is_of_tenant)),
                        PeopleRow::Person(row) => (person_line(view, row)),
                    }
                }
            }
        }
        @if rows.rows.is_empty() { p.note { "Nobody. " a href=(view.asked.url(&[("status", None), ("prefix", None), ("cursor", None), ("page_number", None)])) { "Show everybody" } } }
    }
}

/// The head of a column by which the list can be sorted.
fn sorted(view: &View<'_>, people: &People<'_>, column: &str, name: &str) -> Markup {
    let descending = format!("-{column}");
    let (is_up, is_down) = (people.sort == column, people.sort == descending);
    let next = if is_down || column == "user_id" { column.to_owned() } else { descending };
    let state = if is_up { Some("ascending") } else { is_down.then_some("descending") };
    html! {
        th scope="col" aria-sort=[state] class=[(column == "created_at").then_some("wide-only num")] {
            a href=(view.asked.url(&[("sort", Some(&next)), ("cursor", None), ("page_number", None)])) {
                (name) @if is_down { " ↓" } @else if is_up { " ↑" }
            }
        }
    }
}

fn user_line(view: &View<'_>, row: &UserRow, is_of_tenant: bool) -> Markup {
    html! {
        tr {
            td { (user_link(view, row)) }
            @if !is_of_tenant { td.wide-only { a.id href=(view.asked.to(&format!("/tenants/{}", segment(&row.tenant_id)), &[])) { (row.tenant_id) } } }
            td { (status(row.status)) }
            td { (seen_at(view, row.last_seen_at, row.last_seen_provenance.map(Provenance::as_str))) }
            td.wide-only.quiet-text { @if let Some(at) = row.last_seen_at { (ago(view, at)) } }
            td.wide-only { @if let Some(of) = row.last_seen_type { (seen_by(of.as_str())) } }
            td.desk-only { @if let Some(until) = row.active_until { (minute(view, until)) } }
            td.wide-only.num { (minute(view, row.created_at)) }
        }
    }
}

fn person_line(view: &View<'_>, row: &PersonRow) -> Markup {
    let path = format!("/persons/{}", segment(&row.user_id));
    html! {
        tr {
            td { a.id.short.whole href=(view.asked.to(&path, &[])) title=(row.user_id) { (row.user_id) } }
            td { (status(row.status)) }
            td { (seen_at(view, row.last_seen_at, row.last_seen_provenance.map(Provenance::as_str))) }
            td.wide-only.quiet-text { @if let Some(at) = row.last_seen_at { (ago(view, at)) } }
            td.wide-only { @if let Some(of) = row.last_seen_type { (seen_by(of.as_str())) } }
            td.num.wide-only { (view.format.number(row.tenants as u64)) }
            td.desk-only { @if let Some(until) = row.active_until { (minute(view, until)) } }
            td.wide-only.num { (minute(view, row.created_at)) }
        }
    }
}

fn seen_by(name: &str) -> Markup {
    html! {
        @if name == "estimated_activity" { span.swatch.guess aria-hidden="true" {} " Estimate" } @else { (type_name(name)) }
    }
}

/// The request for the latest events about users.
pub(in crate::http::dashboard) fn latest_request(limit: &str, tenant_id: Option<&str>) -> String {
    let types: Vec<&str> = EventType::PUBLISHABLE.iter().map(|event_type| event_type.as_str()).collect();
    let types = types.join(",");
    let own = [("order", "newest"), ("limit", limit), ("types", &types)];
    address("/v1/events", own.into_iter().chain(tenant_id.map(|tenant_id| ("tenant_id", tenant_id))))
}

/// The page of the latest events.
pub(in crate::http::dashboard) fn events(view: &View<'_>, latest: &Answered<Events>) -> Contents {
    let main = html! {
        div.title { div {
            h1 { "Latest events" }
            @match latest.ok() {
                Some(events) => p { "The last " (view.format.number(events.0.len() as u64)) ", by their position in the log." },
                None => p { "By their position in the log." },
            }
            }
            div.actions { (curl_button(&latest.api)) }
        }
        section #list.panel.list data-api=(latest.api) {
            @match &latest.answer {
                Ok(events) => { (asked_before(view, latest)) div.scroll { (events_table(view, &events.0)) } },
                Err(missing) => (absent(missing)),
            }
        }
    };
    Contents {
        title: "Events".to_owned(),
        place: Some(Place::Events),
        live: None,
        has_persons: false,
        has_range: false,
        main,
        position: latest.ok().and_then(|events| events.0.first()).map(|event| event.position.clone()),
    }
}

fn events_table(view: &View<'_>, events: &[ShownEvent]) -> Markup {
    html! {
        table {
            caption.hidden { "The latest events" }
            thead { tr {
                th scope="col" { "Occurred" } th scope="col" { "What" } th scope="col" { "User" }
                th.wide-only scope="col" { "Tenant" } th.wide-only scope="col" { "Session or batch" } th.num.wide-only scope="col" { "Position" }
            } }
            tbody { @for event in events {
                @let user = format!("/tenants/{}/users/{}", segment(&event.tenant_id), segment(&event.user_id));
                @let tenant = format!("/tenants/{}", segment(&event.tenant_id));
                tr {
                    td { @if let Some(at) = event.at() { (second(view, at)) } }
                    td { (type_name(&event.event_type)) }
                    td { a.id.short href=(view.asked.to(&user, &[])) { (event.user_id) } }
                    td.wide-only { a.id href=(view.asked.to(&tenant, &[])) { (event.tenant_id) } }
                    td.wide-only { span.id { (event.session_id.as_deref().or(event.batch.as_deref()).unwrap_or_default()) } }
                    td.num.wide-only { (position(view, &event.position)) }
                }
            } }
        }
        @if events.is_empty() { p.note { "No event yet." } }
    }
}

/// A position as people read it: a number, or the beginning of a sealed one.
pub(in crate::http::dashboard) fn position(view: &View<'_>, text: &str) -> String {
    match text.parse::<u64>() {
        Ok(position) => view.format.number(position),
        Err(_) => format!("{}…", text.chars().take(8).collect::<String>()),
    }
}
