//! Tenants by their active users: the first of them on the overview, and the whole list.

use maud::{Markup, html};

use super::layout::{Contents, Place};
use super::parts::{
    Panel, absent, ago, asked_before, curl_button, delta, json_link, number, rests_on_estimates,
};
use super::view::View;
use crate::http::dashboard::answered::Answered;
use crate::http::dashboard::asked::segment;
use crate::http::dashboard::charts::spark::spark;
use crate::http::handlers::tenants::{Row, TenantsAnswer};

/// The panel on the overview.
pub(in crate::http::dashboard) fn ranked(view: &View<'_>, tenants: &Answered<TenantsAnswer>) -> Markup {
    let total = tenants.ok().map(|answer| view.format.number(answer.total));
    let panel = Panel {
        id: "tenants",
        class: "only",
        title: "Tenants by active users",
        about: html! { "The first of all tenants. Each small chart has its own scale." },
        links: html! {
            a href=(view.asked.to("/tenants", &[])) { "All" @if let Some(total) = &total { " " (total) } " tenants" }
            (json_link(&tenants.api))
        },
        api: &tenants.api,
    };
    panel.of(view, tenants, |answer| table(view, answer))
}

/// The whole list, a page of it.
pub(in crate::http::dashboard) fn contents(
    view: &View<'_>,
    tenants: &Answered<TenantsAnswer>,
    (page, sort): (u64, &str),
) -> Contents {
    let total = tenants.ok().map(|answer| answer.total);
    let main = html! {
        div.title {
            div {
                h1 {
                    @if let Some(total) = total {
                        data value=(total) data-field="/total" data-from="#list" { (view.format.number(total)) }
                        @if total == 1 { " tenant" } @else { " tenants" }
                    } @else { "Tenants" }
                }
                p { "By " (sort_name(sort)) "." }
            }
            div.actions { (curl_button(&tenants.api)) }
        }
        nav.chips aria-label="Order" {
            @for (value, name) in SORTS {
                @let chosen = (value == sort).then_some("true");
                a.button href=(view.asked.url(&[("sort", Some(value)), ("cursor", None), ("page_number", None)])) aria-current=[chosen] { (name) }
            }
        }
        section #list.panel.list data-api=(tenants.api) {
            @match &tenants.answer {
                Ok(answer) => { (asked_before(view, tenants)) div.scroll { (table(view, answer)) } },
                Err(missing) => (absent(missing)),
            }
        }
        @if let Some(answer) = tenants.ok() { (pages(view, answer.next_cursor.as_deref(), page)) }
    };
    Contents {
        title: "Tenants".to_owned(),
        place: Some(Place::Tenants),
        live: None,
        has_persons: false,
        has_range: false,
        main,
        position: tenants.ok().map(|answer| answer.reflected.position.to_string()),
    }
}

/// The orders that the page offers, as the API calls them.
pub(in crate::http::dashboard) const SORTS: [(&str, &str); 5] = [
    ("-active_users", "Active"),
    ("-total_users", "Users"),
    ("-inactive_users", "Inactive"),
    ("-never_seen_users", "Never seen"),
    ("tenant_id", "Name"),
];

fn sort_name(sort: &str) -> &'static str {
    match sort {
        "-total_users" => "users",
        "-inactive_users" => "inactive users",
        "-never_seen_users" => "users who were never seen",
        "tenant_id" => "name",
        _ => "active users",
    }
}

/// Links to the next page, and back to the first.
pub(in crate::http::dashboard) fn pages(view: &View<'_>, next: Option<&str>, page: u64) -> Markup {
    let following = (page + 1).to_string();
    html! {
        nav.pages aria-label="Pages of the list" {
            @if page > 1 { a.button href=(view.asked.url(&[("cursor", None), ("page_number", None)])) { "First page" } }
            @if let Some(cursor) = next {
                a.button rel="next" href=(view.asked.url(&[("cursor", Some(cursor)), ("page_number", Some(&following))])) { "Next page" }
            }
            @if page > 1 || next.is_some() { span.note { "Page " (view.format.number(page)) } }
        }
    }
}

fn table(view: &View<'_>, answer: &TenantsAnswer) -> Markup {
    let most = answer.tenants.iter().map(|row| row.counts.active_users).max().unwrap_or(0).max(1);
    let has_estimates = answer.tenants.iter().any(|row| row.counts.estimated_users > 0);
    let days = answer.tenants.iter().find_map(|row| row.trend.as_ref()).map_or(0, Vec::len);
    html! {
        table {
            caption.hidden { "Tenants by active users" }
            thead { tr {
                th.wide-only.num scope="col" { "#" }
                th scope="col" { "Tenant" }
                th scope="col" { "Active in 30 days" }
                th.num.wide-only scope="col" { "On the 30 days before" }
                th.trend scope="col" { "A day, last " (days) " days" @if view.asked.zone != chrono_tz::Tz::UTC { " in UTC" } }
                @if has_estimates { th.num.wide-only scope="col" { "Estimated" } }
                th.num.wide-only scope="col" { "Users" }
                th.num.desk-only scope="col" { "Never seen" }
                th.num.desk-only scope="col" { "Last seen" }
            } }
            tbody {
                @for (at, row) in answer.tenants.iter().enumerate() { (line(view, (at, row), most, has_estimates)) }
            }
        }
        @if answer.tenants.is_empty() { p.note { "No tenant yet." } }
    }
}

fn line(view: &View<'_>, (at, row): (usize, &Row), most: u64, has_estimates: bool) -> Markup {
    let field = |name: &str| format!("/tenants/{at}/{name}");
    let counts = &row.counts;
    html! {
        tr {
            td.wide-only.num.quiet-text { @if let Some(rank) = row.rank { (number(view, &field("rank"), rank)) } }
            td { a.id.short href=(view.asked.to(&format!("/tenants/{}", segment(&row.tenant_id)), &[])) title=(row.tenant_id) { (row.tenant_id) } }
            td {
                div.ranked {
                    b { (number(view, &field("active_users"), counts.active_users)) }
                    svg.wide-only viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true" {
                        @let observed = counts.observed_users * 1_000 / most;
                        @let estimated = counts.estimated_users * 1_000 / most;
                        rect.active width=(tenths(observed)) height="6" {}
                        @if estimated > 0 { rect.guess x=(tenths(observed)) width=(tenths(estimated)) height="6" fill="url(#hatch)" {} }
                    }
                }
            }
            td.num.change.wide-only { @if let Some(previous) = &row.previous {
                @if rests_on_estimates(counts) || rests_on_estimates(previous) { "Estimates" } @else { (delta(view, counts.active_users, previous.active_users)) }
            } }
            td.trend { @if let Some(trend) = &row.trend { (spark(trend)) } }
            @if has_estimates { td.num.wide-only { (number(view, &field("estimated_users"), counts.estimated_users)) } }
            td.num.wide-only { (number(view, &field("total_users"), counts.total_users)) }
            td.num.desk-only { (number(view, &field("never_seen_users"), counts.never_seen_users)) }
            td.num.desk-only.quiet-text { @if let Some(at) = row.last_seen_at { (ago(view, at)) } @else { "Never" } }
        }
    }
}

/// A number of tenths as text.
fn tenths(value: u64) -> String {
    format!("{}.{}", value / 10, value % 10)
}
