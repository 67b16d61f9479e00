//! The parts that pages are made of: numbers, changes, instants, panels, tables, and the message where an answer was refused.

use lastseen_event::{EventType, UtcInstant};
use maud::{Markup, html};

use super::view::View;
use crate::http::answer::counts::UserCounts;
use crate::http::dashboard::answered::{Answered, Missing};
use crate::http::dashboard::charts::Words;
use crate::http::problem::Problem;

/// A number with the field of the answer that it is.
pub(in crate::http::dashboard) fn number(view: &View<'_>, field: &str, value: u64) -> Markup {
    html! { data value=(value) data-field=(field) { (view.format.number(value)) } }
}

/// An instant, written in the zone of the page to the minute.
pub(in crate::http::dashboard) fn minute(view: &View<'_>, at: UtcInstant) -> Markup {
    html! { time datetime=(at) { (view.format.minute(at)) } }
}

/// The same to the second.
pub(in crate::http::dashboard) fn second(view: &View<'_>, at: UtcInstant) -> Markup {
    html! { time datetime=(at) { (view.format.second(at)) } }
}

/// The time from an instant to that of the page.
pub(in crate::http::dashboard) fn ago(view: &View<'_>, at: UtcInstant) -> Markup {
    html! {
        @if let Some(ago) = view.format.ago(at, view.asked.at()) {
            time datetime=(at) title=(view.format.second(at)) { (ago) }
        }
    }
}

/// The change from `before` to `now`: a sign, the difference, per cent.
pub(in crate::http::dashboard) fn delta(view: &View<'_>, now: u64, before: u64) -> Markup {
    let change = i128::from(now) - i128::from(before);
    html! {
        @if change == 0 { "No change" } @else {
            span.arrow { (if change > 0 { "▲" } else { "▼" }) } " " b { (view.format.signed(change)) }
            @if before > 0 { " (" (if change > 0 { "+" } else { "" }) (view.format.percent(change, before)) ")" }
        }
    }
}

/// Part of a page with a title, a sentence that says what it counts, and links.
pub(in crate::http::dashboard) struct Panel<'a> {
    pub(in crate::http::dashboard) id: &'a str,
    /// Its place in the grid, as a class.
    pub(in crate::http::dashboard) class: &'a str,
    pub(in crate::http::dashboard) title: &'a str,
    pub(in crate::http::dashboard) about: Markup,
    pub(in crate::http::dashboard) links: Markup,
    /// The request whose answer it shows.
    pub(in crate::http::dashboard) api: &'a str,
}

impl Panel<'_> {
    /// The panel with something of another answer.
    pub(in crate::http::dashboard) fn show(&self, body: &Markup) -> Markup {
        self.with(body, None)
    }

    fn with(&self, body: &Markup, made: Option<&str>) -> Markup {
        let title_id = format!("{}-title", self.id);
        html! {
            section id=(self.id) class={ "panel " (self.class) } aria-labelledby=(title_id) data-api=(self.api) {
                header {
                    h2 id=(title_id) { (self.title) }
                    div.links { (self.links) }
                    p { (self.about) @if let Some(made) = made { " " span.made { "As of " (made) "." } } }
                }
                (body)
            }
        }
    }

    /// The panel with an answer, or with the problem in its place.
    pub(in crate::http::dashboard) fn of<T>(
        &self,
        view: &View<'_>,
        answered: &Answered<T>,
        body: impl FnOnce(&T) -> Markup,
    ) -> Markup {
        let made = answered.made.map(|made| view.format.time_second(made));
        match &answered.answer {
            Ok(answer) => {
                let body =
                    html! { @if let Some(problem) = &answered.refused { (refused(problem)) } (body(answer)) };
                self.with(&body, made.as_deref())
            }
            Err(missing) => self.show(&absent(missing)),
        }
    }
}

/// The largest share of estimates, in per cent, with which numbers are compared.
pub(in crate::http::dashboard) const COMPARED_MAX: u64 = 5;

/// True if so many of the active are estimates that a comparison would be of guesses.
pub(in crate::http::dashboard) fn rests_on_estimates(counts: &UserCounts) -> bool {
    counts.estimated_users * 100 > counts.active_users * COMPARED_MAX
}

/// The time of an answer of a while ago, and the reason why there is no newer one.
pub(in crate::http::dashboard) fn asked_before<T>(view: &View<'_>, answered: &Answered<T>) -> Markup {
    html! {
        @if let Some(made) = answered.made {
            p.note { span.made { "As of " (view.format.time_second(made)) "." }
                @if let Some(problem) = &answered.refused { " " (problem.code()) ": " (problem.detail()) "." }
            }
        }
    }
}

/// The place of an answer that is not there.
pub(in crate::http::dashboard) fn absent(missing: &Missing) -> Markup {
    match missing {
        Missing::Refused(problem) => refused(problem),
        Missing::Pending => html! {
            div.pending data-pending role="status" {
                p.note { "Reading the history for this question, once. The part comes by itself." }
                div.progress { div {} }
            }
        },
    }
}

/// The reason why a part was refused, and the reader's next move.
fn refused(problem: &Problem) -> Markup {
    let busy = problem.retry_after_s();
    html! {
        div class={ "message" @if busy.is_some() { " busy" } } role="status" data-retry=[busy] {
            div {
                b { @if busy.is_some() { "The server is busy." } @else { "This part could not be computed." } }
                " " (problem.code()) ": " (problem.detail()) "."
                @if let Some(seconds) = busy { " It can be asked again in " (seconds) " s." } @else { " The other parts are right." }
            }
            a.button href="" { "Try again" }
        }
        p.note { "Request " span.id { (problem.request_id()) } }
    }
}

/// The rows behind a chart: each column with the field of the answer that it is.
pub(in crate::http::dashboard) struct Rows<'a> {
    pub(in crate::http::dashboard) caption: &'a str,
    /// The request that they are of.
    pub(in crate::http::dashboard) api: &'a str,
    /// The place of the rows in the answer, as a JSON pointer.
    pub(in crate::http::dashboard) pointer: &'a str,
    /// The title and the field of each column. The first is the row's name.
    pub(in crate::http::dashboard) columns: &'a [(&'a str, &'a str)],
    /// The name of each row, and its values.
    pub(in crate::http::dashboard) lines: Vec<(Markup, Vec<u64>)>,
}

impl Rows<'_> {
    /// The table, closed until it is asked for.
    pub(in crate::http::dashboard) fn show(&self, view: &View<'_>) -> Markup {
        html! {
            details.table {
                summary { "Table" }
                p.links { (csv_link(self.api)) }
                div.rows tabindex="0" role="region" aria-label=(self.caption) {
                    table data-rows=(self.pointer) {
                        caption.hidden { (self.caption) }
                        thead { tr {
                            @for (at, (title, field)) in self.columns.iter().enumerate() {
                                th scope="col" class=[(at > 0).then_some("num")] data-field=(field) { (title) }
                            }
                        } }
                        tbody {
                            @for (name, values) in &self.lines {
                                tr {
                                    th scope="row" { (name) }
                                    @for value in values { td { (view.format.number(*value)) } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A link to an answer.
pub(in crate::http::dashboard) fn json_link(api: &str) -> Markup {
    html! { a href=(api) { "JSON" } }
}

/// The button that copies a request as a line for a shell.
pub(in crate::http::dashboard) fn curl_button(api: &str) -> Markup {
    html! { button.button.needs-script type="button" data-copy-curl=(api) { "Copy as curl" } }
}

/// A link to the rows of an answer about days, or days to come, as CSV: also to those that a table leaves out.
pub(in crate::http::dashboard) fn csv_link(api: &str) -> Markup {
    html! { a href={ (api) (if api.contains('?') { "&" } else { "?" }) "format=csv" } download { "CSV" } }
}

/// The text of a chart.
pub(in crate::http::dashboard) fn with_words<T>(
    view: &View<'_>,
    sentence: String,
    draw: impl FnOnce(&Words<'_>) -> T,
) -> T {
    draw(&Words { number: &|value| view.format.number(value), sentence })
}

/// Types of events in words.
pub(in crate::http::dashboard) fn type_name(name: &str) -> &'static str {
    match EventType::parse(name) {
        Some(EventType::Login) => "Login",
        Some(EventType::TokenRefresh) => "Token refresh",
        Some(EventType::TenantSwitch) => "Tenant switch",
        Some(EventType::SignupComplete) => "Signup completed",
        Some(EventType::EstimatedActivity) => "Estimated activity",
        Some(EventType::UserCreated) => "Created",
        Some(EventType::UserConfirmed) => "Confirmed",
        Some(EventType::UserChanged) => "Changed",
        Some(EventType::UserDeleted) => "Deleted",
        Some(EventType::UserRestored) => "Restored",
        _ => "Event",
    }
}

/// Statuses in words.
pub(in crate::http::dashboard) fn status_name(status: &str) -> &'static str {
    match status {
        "active" => "Active",
        "inactive" => "Inactive",
        "pending" => "Pending",
        "never_seen" => "Never seen",
        "deleted" => "Deleted",
        "left_out" => "Left out",
        _ => "Unknown",
    }
}

/// A status with its mark.
pub(in crate::http::dashboard) fn status(status: &str) -> Markup {
    html! { span class={ "mark " (status) } aria-hidden="true" {} (status_name(status)) }
}
