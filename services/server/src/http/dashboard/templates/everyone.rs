//! Everybody, in parts that add up, and how much of it is known.

use maud::{Markup, html};

use super::parts::{Panel, json_link, minute, number};
use super::view::View;
use crate::http::answer::counts::UserCounts;
use crate::http::dashboard::answered::Answered;
use crate::http::dashboard::charts::Widths;
use crate::http::dashboard::charts::everyone::{Part, everyone};
use crate::http::handlers::summary::Summary;

/// The panel of the counts of one window. `list` is the page with the people of a status.
pub(in crate::http::dashboard) fn panel(
    view: &View<'_>,
    summary: &Answered<Summary>,
    list: &dyn Fn(&str) -> String,
) -> Markup {
    let of_persons = view.asked.is_of_persons() && summary.ok().is_some_and(|it| it.counts.persons.is_some());
    let panel = Panel {
        id: "everyone",
        class: "everyone",
        title: "Everyone",
        about: html! {
            @if of_persons { "All users that are not deleted, as members of tenants. The parts add up." }
            @else { "All users that are not deleted. The parts add up." }
        },
        links: json_link(&summary.api),
        api: &summary.api,
    };
    panel.of(view, summary, |summary| body(view, summary, list))
}

fn body(view: &View<'_>, summary: &Summary, list: &dyn Fn(&str) -> String) -> Markup {
    let UserCounts {
        total_users,
        pending_users,
        never_seen_users,
        active_users,
        observed_users,
        estimated_users,
        inactive_users,
        ..
    } = summary.counts.users;
    let bar = [
        Part { name: "active", count: observed_users },
        Part { name: "guess", count: estimated_users },
        Part { name: "inactive", count: inactive_users },
        Part { name: "never", count: never_seen_users },
    ];
    let share = |count: u64| view.format.percent(count, total_users);
    let row = |class: &str, swatch: &str, name: &str, status: &str, (field, count): (&str, u64)| {
        html! {
            div class=(class) {
                dt {
                    @if !swatch.is_empty() { span class={ "swatch " (swatch) } aria-hidden="true" {} }
                    a href=(list(status)) { (name) }
                }
                dd { (number(view, field, count)) }
                dd { (share(count)) }
            }
        }
    };
    let detail = |name: &str, (field, count): (&str, u64)| {
        html! { div.sub { dt { (name) } dd { (number(view, field, count)) } dd { (share(count)) } } }
    };
    html! {
        p.all { (number(view, "/total_users", total_users)) }
        (everyone(&bar, Widths::SIDE))
        dl.counts {
            (row("", "active", "Active in 30 days", "active", ("/active_users", active_users)))
            @if estimated_users > 0 {
                (detail("of these, observed", ("/observed_users", observed_users)))
                (detail("of these, by estimate only", ("/estimated_users", estimated_users)))
            }
            (row("", "inactive", "Inactive for 30 days", "inactive", ("/inactive_users", inactive_users)))
            (row("", "never", "Never seen", "never_seen", ("/never_seen_users", never_seen_users)))
            (row("sub", "", "of these, pending", "pending", ("/pending_users", pending_users)))
        }
        div.foot { (known(view, summary)) (others(view, summary, list)) }
    }
}

/// One sentence on the part that rests on estimates.
fn known(view: &View<'_>, summary: &Summary) -> Markup {
    let UserCounts { active_users, estimated_users, .. } = summary.counts.users;
    html! {
        div {
            @if estimated_users == 0 {
                h3 { "Observed, not estimated" }
                p.note { "All " (view.format.number(active_users)) " active users were seen." }
            } @else {
                h3 { (number(view, "/estimated_users", estimated_users)) " rest on an estimate" }
                p.note {
                    "Each counts until its user is seen, or for 30 days"
                    @if let Some(until) = summary.estimates_until { ": the last at most until " (minute(view, until)) }
                    "."
                }
            }
        }
    }
}

/// Persons, and whoever is not counted above.
fn others(view: &View<'_>, summary: &Summary, list: &dyn Fn(&str) -> String) -> Markup {
    let UserCounts { deleted_users, left_out_users, .. } = summary.counts.users;
    html! {
        div {
            @if let Some(persons) = &summary.counts.persons {
                h3 { (number(view, "/total_persons", persons.total_persons)) " persons" }
                p.note {
                    "Some are in several tenants. " (number(view, "/active_persons", persons.active_persons)) " of them are active."
                }
            }
            p.note {
                "Not counted: " a.quiet href=(list("deleted")) { (number(view, "/deleted_users", deleted_users)) " deleted" }
                @if left_out_users > 0 {
                    " and " a.quiet href=(list("left_out")) { (number(view, "/left_out_users", left_out_users)) " left out" }
                }
                " users."
            }
        }
    }
}
