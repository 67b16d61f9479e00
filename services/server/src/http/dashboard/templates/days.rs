//! The people of a day: the address of their list, and the name of the days that a list is about.

use std::ops::RangeInclusive;

use lastseen_projections::{Calendar, Day, Window};

use super::view::View;
use crate::http::dashboard::asked::segment;

/// The list of those who were active on a day: as of its last instant, last seen since its first one. `None`: the page is
/// about an instant before it.
pub(in crate::http::dashboard) fn people_of(
    view: &View<'_>,
    calendar: &Calendar,
    (tenant_id, day): (Option<&str>, Day),
) -> Option<String> {
    let (start, at) = (calendar.start(day), calendar.end(day).min(view.asked.at()));
    let span = at.as_micros().checked_sub(start.as_micros()).filter(|span| *span > 0)?;
    let (at, window) = (at.to_string(), format!("{span}us"));
    let own = [("as_of", at.as_str()), ("window", &window), ("status", "active")];
    Some(match tenant_id {
        Some(tenant_id) => view.asked.to(&format!("/tenants/{}/users", segment(tenant_id)), &own),
        None => view.asked.to("/users", &own),
    })
}

/// The days that a window is, up to the instant of the page. `None`: it does not begin with a day of the page's zone.
pub(in crate::http::dashboard) fn days_of(view: &View<'_>, window: &str) -> Option<RangeInclusive<Day>> {
    let (at, window) = (view.asked.as_of?, window.parse::<Window>().ok()?);
    let calendar = Calendar::of_zone(view.asked.zone);
    let since = at.saturating_sub(window.span);
    let days = calendar.date(since)..=calendar.date(at);
    (calendar.start(*days.start()) == since).then_some(days)
}
