//! The triangle of cohorts: of those who were new in a period, how many were active in each one after.

use lastseen_projections::Day;
use maud::{Markup, html};

use super::parts::{Panel, csv_link};
use super::view::View;
use crate::http::dashboard::answered::Answered;
use crate::http::handlers::retention::{Retention, Row};

/// Smaller cohorts show counts: a per cent of so few says nothing.
pub(in crate::http::dashboard) const SMALL: u64 = 20;
/// Steps of the colour.
const STEPS: u64 = 10;
/// Columns that fit beside a narrower panel.
const COLUMNS_MAX: usize = 11;
/// Columns of the narrower panel.
const COLUMNS_SIDE_MAX: usize = 6;

/// The panel. `class`: its place in the grid.
pub(in crate::http::dashboard) fn panel(
    view: &View<'_>,
    class: &str,
    retention: &Answered<Retention>,
) -> Markup {
    let period = retention.ok().map_or("week", |retention| retention.head.period);
    let is_small = |row: &Row| row.size > 0 && row.size < SMALL;
    let has_small = retention.ok().is_some_and(|retention| retention.rows.iter().any(is_small));
    let panel = Panel {
        id: "retention",
        class,
        title: "Retention of new users",
        about: html! { "Per cent of new users who were active again, by " (period) ". Dashed: not over."
            @if has_small { " Cohorts below " (SMALL) ": counts." }
        },
        links: html! {
            @if class == "span" || class == "only" { (scale()) }
            (csv_link(&retention.api))
        },
        api: &retention.api,
    };
    panel.of(view, retention, |retention| body(view, retention, !class.is_empty()))
}

/// The steps of the colour.
fn scale() -> Markup {
    html! { span.scale aria-hidden="true" { "0%" span { @for step in 0..STEPS { i class={ "h" (step) } {} } } "100%" } }
}

fn body(view: &View<'_>, retention: &Retention, is_wide: bool) -> Markup {
    let rows: Vec<&Row> =
        retention.rows.iter().filter(|row| row.active.first().is_some_and(Option::is_some)).collect();
    // The last period may go on.
    let is_open = retention.rows.last().is_some_and(|row| row.partial);
    let columns = rows.iter().map(|row| shown(row)).max().unwrap_or(0).min(if is_wide {
        COLUMNS_MAX
    } else {
        COLUMNS_SIDE_MAX
    });
    let unit = if retention.head.period == "week" { "wk" } else { "mo" };
    html! {
        @if rows.iter().all(|row| row.size == 0) {
            p.note { "Nobody was new in this time." }
        } @else {
            div.scroll tabindex="0" role="region" aria-label="Cohorts" {
                table.heat {
                    caption.hidden { "New users by " (retention.head.period) ", and how many of them were active after" }
                    thead { tr {
                        th scope="col" { "First seen in" }
                        th.num scope="col" { "Users" }
                        @for column in 1..=columns {
                            th scope="col" { (column) @if column == 1 { " " (unit) } }
                        }
                    } }
                    tbody { @for (at, row) in rows.iter().enumerate() { (cohort(view, retention, (at, row), (columns, is_open))) } }
                }
            }
            (example(view, retention, &rows))
            @if !is_wide { (scale()) }
        }
    }
}

/// The number of periods after that of the cohort which have begun.
fn shown(row: &Row) -> usize {
    if row.size == 0 {
        return 0;
    }
    row.active.iter().skip(1).filter(|active| active.is_some()).count().min(COLUMNS_MAX)
}

fn cohort(
    view: &View<'_>,
    retention: &Retention,
    (at, row): (usize, &Row),
    (columns, is_open): (usize, bool),
) -> Markup {
    let begun = row.active.iter().filter(|active| active.is_some()).count();
    html! {
        tr {
            th scope="row" { (label(view, retention, row)) }
            td.size data-field={ "/rows/" (at) "/size" } { (view.format.number(row.size)) }
            @for (period, active) in row.active.iter().enumerate().skip(1).take(shown(row).min(columns)) {
                @if let Some(active) = active {
                    (cell(view, row, (at, period, *active), is_open && period + 1 == begun))
                }
            }
            @if shown(row) == 0 { td.blank colspan="2" { @if row.size > 0 { span.note { "not over" } } } }
        }
    }
}

fn cell(view: &View<'_>, row: &Row, (at, period, active): (usize, usize, u64), is_running: bool) -> Markup {
    let step = (active * STEPS).checked_div(row.size).unwrap_or(0).min(STEPS - 1);
    let title = format!("{} of {} users", view.format.number(active), view.format.number(row.size));
    html! {
        td class={ "h" (step) @if is_running { " is-running" } } title=(title) data-value=(active) data-field={ "/rows/" (at) "/active/" (period) } {
            @if row.size < SMALL { (view.format.number(active)) } @else { (percent(active, row.size)) }
        }
    }
}

/// Per cent without decimals; halves go up.
fn percent(part: u64, whole: u64) -> u64 {
    (200 * part + whole).checked_div(2 * whole).unwrap_or(0)
}

fn label(view: &View<'_>, retention: &Retention, row: &Row) -> String {
    match row.from.parse::<Day>() {
        Ok(day) if retention.head.period == "week" => view.format.short(day),
        Ok(day) => view.format.month(day),
        Err(_) => row.from.clone(),
    }
}

/// One cell in words.
fn example(view: &View<'_>, retention: &Retention, rows: &[&Row]) -> Markup {
    let over = rows.iter().find(|row| row.size >= SMALL && shown(row) > 1);
    html! {
        @if let Some((row, Some(active))) = over.map(|row| (row, row.active[1])) {
            p.note {
                "For example: of the " (view.format.number(row.size)) " users first seen in the " (retention.head.period) " of "
                (label(view, retention, row)) ", " (view.format.number(active)) " were active again in the one after ("
                (percent(active, row.size)) "%)."
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::percent;

    #[test]
    fn per_cents_are_rounded_to_the_nearest() {
        assert_eq!([percent(74, 106), percent(1, 8), percent(1, 200), percent(0, 0)], [70, 13, 1, 0]);
    }
}
