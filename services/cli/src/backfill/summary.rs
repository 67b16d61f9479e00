//! The summary of a run: rows by outcome, and what was assumed about them.

use indicatif::HumanCount;

use super::reader::Tally;
use super::report::Assumed;

/// Returns the lines of the summary. `observed`: users that the server has seen already, where that was asked.
pub(super) fn lines(
    tally: &Tally,
    (refused, observed): (u64, Option<u64>),
    assumed: &Assumed,
) -> Vec<String> {
    let mut lines = Lines::default();
    if assumed.has_users {
        users(tally, observed, &mut lines);
    }
    outcomes(tally, (refused, observed.is_some()), &mut lines);
    assumptions(tally, assumed, &mut lines);
    if let Some((least, greatest)) = tally.span {
        lines.text("instants of events", &format!("{least} to {greatest}"));
    }
    for (table, shown) in &tally.shown {
        lines.0.push(format!("{}:{shown}", assumed.tables[*table]));
    }
    lines.0
}

fn users(tally: &Tally, observed: Option<u64>, lines: &mut Lines) {
    let Tally { users, confirmed, deleted, restored, left_out, skipped, .. } = tally;
    lines.count("users", *users);
    lines.count("  confirmed", *confirmed);
    lines.count("  not confirmed", users - confirmed);
    lines.count("  deleted", *deleted);
    lines.some("  back from deletion", *restored);
    lines.some("  left out of all numbers", *left_out);
    lines.some("  real logins in their rows", tally.observed);
    if let Some(observed) = observed {
        lines.count("  seen by the server already", observed);
    }
    lines.some("users skipped (--skip-where)", *skipped);
}

fn outcomes(tally: &Tally, (refused, is_dry): (u64, bool), lines: &mut Lines) {
    lines.count("logins", tally.logins);
    lines.some("token refreshes", tally.token_refreshes);
    lines.some("sign-ups", tally.signups);
    lines.some("rows of logins that do not count", tally.not_counted);
    lines.count("refused rows", refused);
    lines.count("tenants", tally.tenants);
    lines.count(if is_dry { "events that would be sent" } else { "events" }, tally.events);
}

fn assumptions(tally: &Tally, assumed: &Assumed, lines: &mut Lines) {
    let notes = &tally.notes;
    if assumed.every_row_is_login {
        lines.text("every row of logins counts", "--login-where says which ones do");
    }
    lines.some("estimates at the last change", notes.estimates_at_change);
    lines.some("estimates at the creation", notes.estimates_at_creation);
    lines.some("no estimate: never seen", notes.unseen);
    lines.some("no estimate: no instant in the row", notes.without_instant);
    lines.some(&format!("instants without an offset: read as {}", assumed.zone), notes.without_offset);
    lines.some("  that clocks showed twice: the first", notes.shown_twice);
    lines.some("dates alone: their first instant", notes.dates_first);
    lines.some("dates alone: their last instant", notes.dates_last);
    lines.some("dates of days that go on: their first instant", notes.dates_running);
    lines.some("created when --created says", notes.created_given);
    lines.some("created at the earliest other instant", notes.created_earliest);
    lines.some("deleted at the last change", notes.deleted_at_change);
    lines.some("deleted at the run's start", notes.deleted_at_start);
    lines.some("ids that look damaged", notes.damaged_ids);
    if let Some((line, id)) = &notes.damaged_example {
        lines.text("  such as", &format!("{id} on line {line}"));
    }
    for (table, columns) in &assumed.missing {
        lines.text(&format!("not in {table}"), &columns.join(", "));
    }
}

#[derive(Default)]
struct Lines(Vec<String>);

impl Lines {
    fn count(&mut self, name: &str, count: u64) {
        self.0.push(format!("{name:<44} {:>15}", HumanCount(count).to_string()));
    }

    /// A count that is left out where it is nothing.
    fn some(&mut self, name: &str, count: u64) {
        if count > 0 {
            self.count(name, count);
        }
    }

    fn text(&mut self, name: &str, text: &str) {
        self.0.push(format!("{name:<44} {text}"));
    }
}
