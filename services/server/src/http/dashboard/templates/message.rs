//! Pages that say more than they count: an empty server, a key that sees other tenants, a request that was refused.

use maud::{Markup, html};
use uuid::Uuid;

use super::layout::{Contents, Place};
use super::view::View;
use crate::http::dashboard::asked::segment;
use crate::http::problem::Problem;

/// A server that nobody published to: the next moves, with lines that work when they are pasted.
pub(in crate::http::dashboard) fn empty(view: &View<'_>) -> Markup {
    let authorization =
        if view.asked.reader.key_id.is_some() { " -H \"Authorization: Bearer $LASTSEEN_KEY\"" } else { "" };
    let event = format!(
        "curl -s {}/v1/events{authorization} -H 'Content-Type: application/json' -d '{{\n  \"id\": \"{}\", \"type\": \"login\",\n  \
         \"tenant_id\": \"acme\", \"user_id\": \"usr_1\", \"occurred_at\": \"{}\"}}'",
        view.asked.reader.origin,
        Uuid::new_v4(),
        view.asked.now,
    );
    html! {
        div.title { div {
            h1 { "Nobody has been seen yet" }
            p { "The server runs and its log is empty. This page fills by itself as soon as an event arrives; there is nothing to reload." }
        } }
        ol.steps {
            (step(1, "Send the first event", "Paste this into a terminal. It says that one user of one tenant logged in just now.", &event))
            (step(2, "Bring in the users you have", "A users table as CSV, NDJSON, Parquet or from PostgreSQL. An estimate is marked as such, and the whole run can be taken back.", "lastseen backfill users.csv --batch users-2026 --dry-run"))
            (step(3, "Or look around first", "Opens this page on ninety days of invented users, in a directory of their own. Nothing is added to this server.", "lastseen demo"))
        }
        section.tiles.facts aria-label="Counts" {
            @for name in ["Active in the last 30 days", "Last 7 days", "Last 24 hours", "Everyone"] {
                div.tile { h2 { (name) } data.big value="0" { "0" } }
            }
        }
    }
}

fn step(number: u8, title: &str, about: &str, line: &str) -> Markup {
    html! {
        li.panel { div.step {
            b { (number) }
            div { h2 { (title) } p.note { (about) } }
            div.copied {
                pre tabindex="0" { code { (line) } }
                button.button.needs-script type="button" data-copy-text { "Copy" }
            }
        } }
    }
}

/// A page over all tenants, for a key that is bound to some.
pub(in crate::http::dashboard) fn bound(view: &View<'_>, tenants: &[String], place: Place) -> Contents {
    let main = html! {
        div.title { div {
            h1 { "Not for this key" }
            p { "This key sees " (view.format.number(tenants.len() as u64)) " tenants. Totals over all tenants need a key that is not bound." }
        } }
        section.panel {
            ul { @for tenant_id in tenants {
                li { a.id.quiet href=(view.asked.to(&format!("/tenants/{}", segment(tenant_id)), &[])) { (tenant_id) } }
            } }
        }
    };
    Contents {
        title: "Tenants".to_owned(),
        place: Some(place),
        live: None,
        has_persons: false,
        has_range: false,
        main,
        position: None,
    }
}

/// The page in place of one that was refused.
pub(in crate::http::dashboard) fn refused(problem: &Problem) -> Markup {
    html! {
        div.title { div { h1 { (problem.title()) } } }
        section.panel {
            p { (problem.detail()) "." }
            @if let Some(field) = problem.field_name() { p.note { "Parameter or name: " span.id { (field) } } }
            p.note { "Code " span.id { (problem.code()) } ", request " span.id { (problem.request_id()) } }
            div.links { a href="/" { "To the overview" } a href="/sign-in" { "Use another key" } }
        }
    }
}
