//! The page of all tenants, and that of one.

use lastseen_event::UtcInstant;
use lastseen_projections::{Calendar, Day};
use maud::{Markup, html};

use super::days::people_of;
use super::layout::{Contents, Place};
use super::parts::{
    COMPARED_MAX, Panel, Rows, absent, asked_before, csv_link, curl_button, delta, json_link, minute,
    rests_on_estimates, type_name, with_words,
};
use super::view::View;
use super::{everyone, lists, message, retention, tenants};
use crate::http::answer::counts::Counts;
use crate::http::dashboard::answered::{Answered, Events, Missing, ShownEvent};
use crate::http::dashboard::asked::segment;
use crate::http::dashboard::charts::Widths;
use crate::http::dashboard::charts::active::{ActiveDay, active};
use crate::http::dashboard::charts::columns::{CountedDay, columns};
use crate::http::dashboard::charts::dates::Dates;
use crate::http::dashboard::charts::decay::decay;
use crate::http::dashboard::charts::known::{KnownDay, Names, known};
use crate::http::dashboard::charts::lifecycle::{LifecyclePeriod, lifecycle};
use crate::http::handlers::active_users::{ActiveUsers, Row};
use crate::http::handlers::decay::DecayAnswer;
use crate::http::handlers::event_counts::EventCounts;
use crate::http::handlers::retention::Retention;
use crate::http::handlers::summary::Summary;
use crate::http::handlers::tenants::TenantsAnswer;
use crate::http::handlers::users::UsersAnswer;
use crate::http::params::value::Of;

/// All answers of the page.
pub(in crate::http::dashboard) struct Overview {
    /// `None`: it is about all tenants.
    pub(in crate::http::dashboard) tenant_id: Option<String>,
    /// Of 30 days, 7 days and 24 hours, each with the one before.
    pub(in crate::http::dashboard) windows: [Answered<Summary>; 3],
    pub(in crate::http::dashboard) days: Answered<ActiveUsers>,
    pub(in crate::http::dashboard) periods: Answered<ActiveUsers>,
    pub(in crate::http::dashboard) retention: Answered<Retention>,
    pub(in crate::http::dashboard) decay: Answered<DecayAnswer>,
    pub(in crate::http::dashboard) logins: Answered<EventCounts>,
    /// `None`: the key may not read events, or the page is about the past.
    pub(in crate::http::dashboard) latest: Option<Answered<Events>>,
    /// Of all tenants: the first of them.
    pub(in crate::http::dashboard) tenants: Option<Answered<TenantsAnswer>>,
    /// Of one tenant: its row among all tenants. `None`: the page is about the past.
    pub(in crate::http::dashboard) own_row: Option<Answered<TenantsAnswer>>,
    /// Of one tenant: the users seen last.
    pub(in crate::http::dashboard) users: Option<Answered<UsersAnswer>>,
    /// Adds those who came back from the period before to the bars.
    pub(in crate::http::dashboard) with_returning: bool,
}

impl Overview {
    /// True if nobody was ever seen, or is waited for.
    fn is_empty(&self) -> bool {
        let users = self.windows[0].ok().map(|summary| summary.counts.users);
        self.tenant_id.is_none()
            && users.is_some_and(|it| it.total_users + it.deleted_users + it.left_out_users == 0)
    }

    /// The page with the people of a status, in a window; whom the page counts, or others.
    fn list(&self, view: &View<'_>, window: &str, status: &str) -> String {
        self.list_of(view, (window, status), view.asked.of)
    }

    fn list_of(&self, view: &View<'_>, (window, status): (&str, &str), of: Of) -> String {
        let own = [("window", window), ("status", status), ("of", of.as_str())];
        let is_said = |(name, value): &(&str, &str)| match *name {
            "window" => *value != "30d",
            "of" => of != view.asked.of,
            _ => true,
        };
        let own: Vec<_> = own.into_iter().filter(is_said).collect();
        match &self.tenant_id {
            Some(tenant_id) => view.asked.to(&format!("/tenants/{}/users", segment(tenant_id)), &own),
            None => view.asked.to("/users", &own),
        }
    }
}

/// Everything of the page but its frame.
pub(in crate::http::dashboard) fn contents(view: &View<'_>, overview: &Overview) -> Contents {
    let position = overview.windows[0].ok().map(|summary| summary.reflected.position.to_string());
    let is_empty = overview.is_empty() && !view.asked.is_past();
    let live = match &overview.tenant_id {
        Some(tenant_id) => {
            crate::http::dashboard::asked::address("/v1/live", [("tenant_id", tenant_id.as_str())])
        }
        None => "/v1/live".to_owned(),
    };
    Contents {
        title: overview.tenant_id.clone().unwrap_or_else(|| "All tenants".to_owned()),
        place: Some(if overview.tenant_id.is_some() { Place::Tenants } else { Place::Overview }),
        live: Some(live),
        has_persons: overview.tenant_id.is_none(),
        has_range: true,
        main: if is_empty { message::empty(view) } else { main(view, overview) },
        position,
    }
}

fn main(view: &View<'_>, overview: &Overview) -> Markup {
    let has_estimates =
        overview.days.ok().is_some_and(|days| days.rows.iter().any(|row| row.mau_estimated.unwrap_or(0) > 0));
    html! {
        (title(view, overview))
        (tiles(view, overview))
        // One grid: on a screen for one column, two of the narrow parts stand side by side.
        div.row {
            @if has_estimates {
                (known_panel(view, overview))
                (everyone_panel(view, overview))
                (active_panel(view, overview, "only", Widths::FULL))
            } @else {
                (active_panel(view, overview, "span", Widths::WIDE))
                (everyone_panel(view, overview))
            }
            (lifecycle_panel(view, overview))
            (decay_panel(view, overview))
            @if let Some(users) = &overview.users {
                (lists::latest_panel(view, users, overview.tenant_id.as_deref()))
                (retention::panel(view, "", &overview.retention))
            } @else {
                (retention::panel(view, if overview.latest.is_some() { "span" } else { "only" }, &overview.retention))
                (latest_panel(view, overview))
            }
            @if let Some(tenants) = &overview.tenants { (tenants::ranked(view, tenants)) }
            (logins_panel(view, overview))
            (growth_panel(view, overview))
            @if overview.users.is_some() { (latest_panel(view, overview)) }
        }
    }
}

fn title(view: &View<'_>, overview: &Overview) -> Markup {
    let (asked, format) = (view.asked, &view.format);
    html! {
        div.title {
            div {
                @if overview.tenant_id.is_some() {
                    p.path { a href=(asked.to("/tenants", &[])) { "Tenants" } " /" }
                }
                h1 {
                    @match &overview.tenant_id { Some(tenant_id) => span.id { (tenant_id) }, None => "All tenants" }
                    @if let Some(at) = asked.as_of { ", as of " (minute(view, at)) }
                }
                p {
                    @if let Some(at) = asked.as_of {
                        @if let Some(ago) = format.ago(at, asked.now) { (ago) ", in " } @else { "In " }
                        (asked.zone.name()) ". Every number counts only what had happened by then."
                    } @else {
                        (format.weekday(format.day(asked.now))) ", " (format.time(asked.now)) " in " (asked.zone.name()) "."
                        @if let Some(row) = &overview.own_row { (own_row(view, row)) }
                    }
                }
            }
            @if overview.tenant_id.is_some() {
                div.actions {
                    @if let Some(summary) = overview.windows[0].ok() {
                        a.button href=(overview.list(view, "30d", "active,inactive,never_seen")) { "All " (format.number(summary.counts.users.total_users)) " users" }
                    }
                    (curl_button(&overview.windows[0].api))
                }
            }
        }
    }
}

/// The life of a tenant, and its place among all.
fn own_row(view: &View<'_>, answered: &Answered<TenantsAnswer>) -> Markup {
    let Some((answer, row)) = answered.ok().and_then(|answer| Some((answer, answer.tenants.first()?))) else {
        let is_pending = matches!(answered.answer, Err(Missing::Pending));
        return html! { @if is_pending { span data-pending {} } };
    };
    html! {
        span data-api=(answered.api) {
            @if let Some(at) = row.created_at { " Tenant since " time datetime=(at) { (view.format.date(view.format.day(at))) } "." }
            @if let Some(rank) = row.rank {
                " Number " data value=(rank) data-field="/tenants/0/rank" { (view.format.number(rank)) }
                " of " data value=(answer.total) data-field="/total" { (view.format.number(answer.total)) } " by active users."
            }
            @if let Some(at) = row.last_seen_at { " Last seen " (minute(view, at)) "." }
        }
    }
}

/// The number of active users, or persons, with the field that it is.
fn active_of(view: &View<'_>, counts: &Counts) -> (&'static str, u64) {
    match &counts.persons {
        Some(persons) if view.asked.is_of_persons() => ("active_persons", persons.active_persons),
        _ => ("active_users", counts.users.active_users),
    }
}

fn total_of(view: &View<'_>, counts: &Counts) -> u64 {
    match &counts.persons {
        Some(persons) if view.asked.is_of_persons() => persons.total_persons,
        _ => counts.users.total_users,
    }
}

fn tiles(view: &View<'_>, overview: &Overview) -> Markup {
    let [month, week, day] = &overview.windows;
    let names = [
        (month, "Active in the last 30 days", "the 30 days before", "30d"),
        (week, "Last 7 days", "the 7 days before", "7d"),
        (day, "Last 24 hours", "the 24 h before", "24h"),
    ];
    html! {
        section.tiles aria-label="Active users" {
            @for (at, (answered, name, before, window)) in names.into_iter().enumerate() {
                (tile(view, overview, (at, answered), (name, before, window)))
            }
            (stickiness(view, overview))
        }
    }
}

fn tile(
    view: &View<'_>,
    overview: &Overview,
    (at, answered): (usize, &Answered<Summary>),
    (name, before, window): (&str, &str, &str),
) -> Markup {
    let noun = if view.asked.is_of_persons() { "persons" } else { "users" };
    html! {
        div.tile data-api=(answered.api) {
            h2 { a href=(overview.list(view, window, "active")) { (name) } }
            @match &answered.answer {
                Ok(summary) => {
                    @let (field, count) = active_of(view, &summary.counts);
                    @let live = (!view.asked.is_filtered()).then(|| format!("{window}/{field}"));
                    data.big value=(count) data-field={ "/" (field) } data-live=[live] { (view.format.number(count)) }
                    (asked_before(view, answered))
                    p { (comparison(view, summary, before)) }
                    @if at == 2 { p { (so_far(view, overview)) } } @else {
                        p {
                            (view.format.percent(count, total_of(view, &summary.counts))) " of " (view.format.number(total_of(view, &summary.counts))) " " (noun) "."
                            @if at == 0 { " " (observed(view, summary)) }
                        }
                    }
                }
                Err(missing) => {
                    span.big { "—" }
                    @match missing {
                        Missing::Refused(problem) => p { (problem.code()) ": " (problem.detail()) },
                        Missing::Pending => p data-pending { "Being counted" },
                    }
                }
            }
        }
    }
}

/// The change against the window before, where both rest on what was seen.
fn comparison(view: &View<'_>, summary: &Summary, before: &str) -> Markup {
    let Some(previous) = &summary.previous else { return html! {} };
    let rests = |counts: &Counts| rests_on_estimates(&counts.users);
    let ((_, now), (_, then)) = (active_of(view, &summary.counts), active_of(view, previous));
    html! {
        @if rests(previous) { "Not compared: " (before) " are estimates" }
        @else if rests(&summary.counts) { "Not compared: too much of it is estimates" }
        @else { (delta(view, now, then)) " on " (before) }
    }
}

fn observed(view: &View<'_>, summary: &Summary) -> Markup {
    let users = summary.counts.users;
    html! {
        @if users.estimated_users == 0 { "All were observed." } @else {
            span.swatch.guess aria-hidden="true" {} " " (view.format.number(users.estimated_users)) " rest on an estimate ("
            (view.format.percent(users.estimated_users, users.active_users)) ")"
        }
    }
}

/// The number of the day that is not over.
fn so_far(view: &View<'_>, overview: &Overview) -> Markup {
    let rows = overview.days.ok().and_then(|days| days.rows.last()).filter(|row| row.partial);
    html! {
        @if let Some(row) = rows {
            b { (view.format.number(row.active)) } " so far "
            @if view.asked.as_of.is_some() { "on that day" } @else { "today" }
        }
    }
}

fn stickiness(view: &View<'_>, overview: &Overview) -> Markup {
    html! {
        div.tile data-api=(overview.days.api) {
            h2 { "Stickiness" }
            @if let Some(days) = overview.days.ok() {
                @let over = days.rows.iter().rev().find(|row| !row.partial);
                @let mau = over.and_then(|row| row.mau).unwrap_or(0);
                @let guessed = over.and_then(|row| row.mau_estimated).unwrap_or(0);
                @match days.stickiness.filter(|_| guessed * 100 <= mau * COMPARED_MAX) {
                    Some(ratio) => {
                        data.big value=(ratio) data-field="/stickiness" { (view.format.percent_of(ratio)) }
                        p { "on an average day, of " b { (view.format.number(mau)) } }
                        p { "in 30 full days (DAU ÷ MAU)" }
                    }
                    None => {
                        span.big { "—" }
                        p { "Needs 30 days of observed activity" }
                    }
                }
            } @else { span.big { "—" } }
        }
    }
}

fn day_of(text: &str) -> Day {
    text.parse().unwrap_or(Day::new(0))
}

/// The dates of a chart that ends with the day of the page.
fn with_dates<T>(view: &View<'_>, is_running: bool, draw: impl FnOnce(&Dates<'_>) -> T) -> T {
    let last = match view.asked.as_of {
        Some(at) => Some(view.format.minute(at)),
        None => is_running.then(|| "Today".to_owned()),
    };
    draw(&Dates { short: &|day| view.format.short(day), last, is_past: view.asked.as_of.is_some() })
}

/// The columns of a series of days.
const DAY_COLUMNS: [(&str, &str); 9] = [
    ("Day", "from"),
    ("DAU", "active"),
    ("WAU", "wau"),
    ("MAU", "mau"),
    ("New", "new"),
    ("Returning", "returning"),
    ("Resurrected", "resurrected"),
    ("Dormant", "dormant"),
    ("Everybody", "total"),
];

fn active_panel(view: &View<'_>, overview: &Overview, class: &str, widths: Widths) -> Markup {
    let noun = if view.asked.is_of_persons() { "persons" } else { "users" };
    let panel = Panel {
        id: "active",
        class,
        title: &format!("Active {noun} per day"),
        about: html! { "Bars: one day (DAU). Lines: the 7 and 30 days up to it (WAU, MAU)." (not_over(overview)) },
        links: json_link(&overview.days.api),
        api: &overview.days.api,
    };
    panel.of(view, &overview.days, |days| {
        let points: Vec<ActiveDay> = days.rows.iter().map(active_day).collect();
        let sentence = days.rows.last().map_or_else(String::new, |row| {
            format!(
                "{} days. On the last, {}: {} active, {} in 7 days, {} in 30 days.",
                view.format.number(days.rows.len() as u64),
                view.format.date(day_of(&row.from)),
                view.format.number(row.active),
                view.format.number(row.wau.unwrap_or(0)),
                view.format.number(row.mau.unwrap_or(0)),
            )
        });
        let is_running = days.rows.last().is_some_and(|row| row.partial);
        let (calendar, tenant_id) = (Calendar::of_zone(view.asked.zone), overview.tenant_id.as_deref());
        let rows = days.rows.iter().map(|row| {
            let values = [row.active, row.wau.unwrap_or(0), row.mau.unwrap_or(0), row.new, row.returning, row.resurrected, row.dormant, row.total];
            let day = day_of(&row.from);
            let people = people_of(view, &calendar, (tenant_id, day));
            (html! { @if let Some(people) = people { a href=(people) { (view.format.weekday(day)) } } @else { (view.format.weekday(day)) } }, values.to_vec())
        });
        html! {
            (with_words(view, sentence, |words| with_dates(view, is_running, |dates| active(&points, widths, (words, dates)))))
            (Rows { caption: "Active users per day", api: &overview.days.api, pointer: "/rows", columns: &DAY_COLUMNS, lines: rows.collect() }.show(view))
        }
    })
}

fn active_day(row: &Row) -> ActiveDay {
    ActiveDay {
        day: day_of(&row.from),
        dau: row.active,
        wau: row.wau.unwrap_or(0),
        mau: row.mau.unwrap_or(0),
        is_guessed: row.active > 0 && row.estimated == row.active,
        is_month_guessed: row.mau.is_some_and(|mau| mau > 0 && row.mau_estimated == Some(mau)),
        is_running: row.partial,
    }
}

fn not_over(overview: &Overview) -> &'static str {
    let is_running = overview.days.ok().and_then(|days| days.rows.last()).is_some_and(|row| row.partial);
    if is_running { " The last day is not over." } else { "" }
}

fn known_panel(view: &View<'_>, overview: &Overview) -> Markup {
    let panel = Panel {
        id: "known",
        class: "span",
        title: "How much of it is known",
        about: html! { "Active in 30 days. An estimate counts until its user is seen, or for 30 days." },
        links: json_link(&overview.days.api),
        api: &overview.days.api,
    };
    let names = Names { total: "active", observed: "observed", estimated: "estimated" };
    panel.of(view, &overview.days, |days| {
        let points: Vec<KnownDay> = days.rows.iter().map(known_day).collect();
        let sentence = points.last().map_or_else(String::new, |last| {
            format!(
                "On the last day {} were active by an observation and {} by an estimate alone.",
                view.format.number(last.observed),
                view.format.number(last.estimated)
            )
        });
        let is_running = days.rows.last().is_some_and(|row| row.partial);
        let rows = days.rows.iter().map(|row| {
            let mau = row.mau.unwrap_or(0);
            (html! { (view.format.weekday(day_of(&row.from))) }, vec![mau, row.mau_estimated.unwrap_or(0)])
        });
        let columns = [("Day", "from"), ("Active in 30 days", "mau"), ("By estimate only", "mau_estimated")];
        html! {
            (with_words(view, sentence, |words| with_dates(view, is_running, |dates| known(&points, Widths::WIDE, names, (words, dates)))))
            div.legend {
                span { span.swatch.observed aria-hidden="true" {} "Observed" }
                span { span.swatch.guess aria-hidden="true" {} "Estimated" }
            }
            (Rows { caption: "Observed and estimated", api: &overview.days.api, pointer: "/rows", columns: &columns, lines: rows.collect() }.show(view))
        }
    })
}

fn known_day(row: &Row) -> KnownDay {
    let (mau, estimated) = (row.mau.unwrap_or(0), row.mau_estimated.unwrap_or(0));
    KnownDay { day: day_of(&row.from), observed: mau - estimated, estimated }
}

fn everyone_panel(view: &View<'_>, overview: &Overview) -> Markup {
    everyone::panel(view, &overview.windows[0], &|status| {
        overview.list_of(view, ("30d", status), Of::Members)
    })
}

fn lifecycle_panel(view: &View<'_>, overview: &Overview) -> Markup {
    let period = view.asked.range.period();
    let toggle = (!overview.with_returning).then_some("returning");
    let panel = Panel {
        id: "lifecycle",
        class: "span",
        title: "Who joined, came back and went quiet",
        about: html! { "By " (period) ". New + resurrected − dormant = net change. In brackets: not over yet." },
        links: html! {
            a href=(view.asked.url(&[("stack", toggle)])) { @if overview.with_returning { "Without returning" } @else { "Stack returning" } }
            (json_link(&overview.periods.api))
        },
        api: &overview.periods.api,
    };
    panel.of(view, &overview.periods, |series| {
        let points: Vec<LifecyclePeriod> = series.rows.iter().map(|row| lifecycle_period(view, row, period)).collect();
        let sentence = points.last().map_or_else(String::new, |last| {
            format!(
                "In the last {period}: {} new, {} resurrected, {} dormant.",
                view.format.number(last.new),
                view.format.number(last.resurrected),
                view.format.number(last.dormant)
            )
        });
        let rows = series.rows.iter().map(|row| {
            let values = vec![row.active, row.new, row.returning, row.resurrected, row.dormant];
            (html! { (period_name(view, row, period)) }, values)
        });
        let columns = [
            ("Begins", "from"),
            ("Active", "active"),
            ("New", "new"),
            ("Returning", "returning"),
            ("Resurrected", "resurrected"),
            ("Dormant", "dormant"),
        ];
        html! {
            div.legend {
                span { span.swatch.new aria-hidden="true" {} "New" }
                span { span.swatch.resurrected aria-hidden="true" {} "Resurrected" }
                @if overview.with_returning { span { span.swatch.observed aria-hidden="true" {} "Returning" } }
                span { span.swatch.dormant aria-hidden="true" {} "Dormant" }
            }
            (with_words(view, sentence, |words| lifecycle(&points, Widths::WIDE, overview.with_returning, words)))
            (Rows { caption: "Who joined, came back and went quiet", api: &overview.periods.api, pointer: "/rows", columns: &columns, lines: rows.collect() }.show(view))
        }
    })
}

fn lifecycle_period(view: &View<'_>, row: &Row, period: &str) -> LifecyclePeriod {
    LifecyclePeriod {
        label: period_name(view, row, period),
        new: row.new,
        resurrected: row.resurrected,
        dormant: row.dormant,
        returning: row.returning,
        is_running: row.partial,
    }
}

fn period_name(view: &View<'_>, row: &Row, period: &str) -> String {
    let day = day_of(&row.from);
    if period == "month" { view.format.month(day) } else { view.format.short(day) }
}

fn decay_panel(view: &View<'_>, overview: &Overview) -> Markup {
    let panel = Panel {
        id: "decay",
        class: "",
        title: "If nobody came back",
        about: html! {
            "How many " @if view.asked.is_of_persons() { "members " } "would still be active. Exact, from last seen and 30 days."
        },
        links: json_link(&overview.decay.api),
        api: &overview.decay.api,
    };
    panel.of(view, &overview.decay, |answer| {
        let later = answer.rows.iter().map(|row| row.active);
        let draw = |now: u64, sentence| {
            let points: Vec<u64> = std::iter::once(now).chain(later.clone()).collect();
            with_words(view, sentence, |words| decay(&points, Widths::SIDE, words))
        };
        let sentence = "Those who are active now leave the count one by one, the last after 30 days.".to_owned();
        let rows = answer.rows.iter().map(|row| (html! { (minute(view, row.at)) }, vec![row.active, row.observed, row.estimated]));
        let columns = [("After", "at"), ("Active", "active"), ("Observed", "observed"), ("Estimated", "estimated")];
        html! {
            // The line begins with those who are active now.
            @match &overview.windows[0].answer {
                Ok(summary) => (draw(summary.counts.users.active_users, sentence)),
                Err(missing) => (absent(missing)),
            }
            (Rows { caption: "Still active, if nobody came back", api: &overview.decay.api, pointer: "/rows", columns: &columns, lines: rows.collect() }.show(view))
        }
    })
}

fn logins_panel(view: &View<'_>, overview: &Overview) -> Markup {
    let period = view.asked.range.counted();
    let panel = Panel {
        id: "logins",
        class: "span",
        title: &format!("Logins a {period}"),
        about: html! { "Events, not users. Strokes: the " (period) " in the same place of the time before." },
        links: json_link(&overview.logins.api),
        api: &overview.logins.api,
    };
    panel.of(view, &overview.logins, |counts| {
        let before = counts.previous.as_deref().unwrap_or_default();
        let of = |row: &crate::http::handlers::event_counts::Row| row.counts.get("login").copied().unwrap_or(0);
        let points: Vec<CountedDay> = (counts.rows.iter().enumerate())
            .map(|(at, row)| CountedDay {
                day: day_of(&row.from),
                count: of(row),
                before: before.get(at).map(of),
                is_running: row.partial,
            })
            .collect();
        let over = || points.iter().filter(|point| !point.is_running);
        let sum: u64 = over().map(|point| point.count).sum();
        let sum_before: u64 = over().filter_map(|point| point.before).sum();
        let sentence = format!("{} logins in the {period}s that are over.", view.format.number(sum));
        let is_running = points.last().is_some_and(|point| point.is_running);
        let rows = counts.rows.iter().map(|row| (html! { (view.format.weekday(day_of(&row.from))) }, vec![of(row)]));
        let names = [("Begins", "from"), ("Logins", "counts/login")];
        html! {
            p.note { b { (view.format.number(sum)) } " in the " (period) "s that are over. " (delta(view, sum, sum_before)) " on those before." }
            (with_words(view, sentence, |words| {
                // The day of an instant of the past is left out.
                let last = is_running.then(|| "Today".to_owned());
                columns(&points, Widths::WIDE, (words, &Dates { short: &|day| view.format.short(day), last, is_past: false }))
            }))
            (Rows { caption: "Logins", api: &overview.logins.api, pointer: "/rows", columns: &names, lines: rows.collect() }.show(view))
        }
    })
}

fn growth_panel(view: &View<'_>, overview: &Overview) -> Markup {
    let noun = if view.asked.is_of_persons() { "persons" } else { "users" };
    let panel = Panel {
        id: "growth",
        class: "",
        title: "Growth",
        about: html! { "All " (noun) " by the end of each day, active or not." },
        links: html! { (json_link(&overview.days.api)) (csv_link(&overview.days.api)) },
        api: &overview.days.api,
    };
    let names = Names { total: "everybody", observed: "", estimated: "" };
    panel.of(view, &overview.days, |days| {
        let points: Vec<KnownDay> = (days.rows.iter())
            .map(|row| KnownDay { day: day_of(&row.from), observed: row.total, estimated: 0 })
            .collect();
        let (first, last) = (points.first().map_or(0, |it| it.observed), points.last().map_or(0, |it| it.observed));
        let sentence = format!("From {} to {}.", view.format.number(first), view.format.number(last));
        let is_running = days.rows.last().is_some_and(|row| row.partial);
        html! {
            p.note { (delta(view, last, first)) " in " (view.format.number(points.len() as u64)) " days" }
            (with_words(view, sentence, |words| with_dates(view, is_running, |dates| known(&points, Widths::SIDE, names, (words, dates)))))
        }
    })
}

fn latest_panel(view: &View<'_>, overview: &Overview) -> Markup {
    let Some(latest) = &overview.latest else { return html! {} };
    let panel = Panel {
        id: "latest",
        class: if overview.users.is_some() { "only" } else { "" },
        title: "Just now",
        about: html! { "Events as they arrive, newest first." },
        links: html! { (json_link(&latest.api)) button.quiet.needs-script type="button" data-pause { "Pause" } },
        api: &latest.api,
    };
    panel.of(view, latest, |events| {
        html! {
            ol.tail data-tail data-zone=(view.asked.zone.name()) {
                @for event in &events.0 { (tail_line(view, event)) }
            }
            @if events.0.is_empty() { p.note { "No event yet." } }
        }
    })
}

/// One event in the list of the latest.
fn tail_line(view: &View<'_>, event: &ShownEvent) -> Markup {
    let at: Option<UtcInstant> = event.at();
    let user = view
        .asked
        .to(&format!("/tenants/{}/users/{}", segment(&event.tenant_id), segment(&event.user_id)), &[]);
    html! {
        li data-id={ (event.tenant_id) " " (event.id) } {
            @if let Some(at) = at { time datetime=(at) title=(view.format.second(at)) { (view.format.time_second(at)) } }
            span { (type_name(&event.event_type)) }
            a.id href=(user) title={ (event.user_id) " of " (event.tenant_id) } { (event.user_id) }
        }
    }
}
