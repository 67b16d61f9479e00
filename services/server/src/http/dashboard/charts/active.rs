//! Active users by day: a column a day, lines of the weeks and the months that end with it.

use lastseen_projections::Day;
use maud::{Markup, html};

use super::dates::{Dates, Mark};
use super::draw::{Path, Plot, Size, Widths, Words, apart, px, share_of};
use super::scale::Scale;

/// One day.
#[derive(Clone, Copy, Debug)]
pub(in crate::http::dashboard) struct ActiveDay {
    pub(in crate::http::dashboard) day: Day,
    pub(in crate::http::dashboard) dau: u64,
    pub(in crate::http::dashboard) wau: u64,
    pub(in crate::http::dashboard) mau: u64,
    /// True if only estimates make anybody active on it.
    pub(in crate::http::dashboard) is_guessed: bool,
    /// The same of the month that ends with it.
    pub(in crate::http::dashboard) is_month_guessed: bool,
    /// True if the day is not over.
    pub(in crate::http::dashboard) is_running: bool,
}

/// Draws the days, the earliest first.
pub(in crate::http::dashboard) fn active(
    days: &[ActiveDay],
    widths: Widths,
    (words, dates): (&Words<'_>, &Dates<'_>),
) -> Markup {
    let highest = days.iter().map(|day| day.mau.max(day.wau).max(day.dau)).max().unwrap_or(0);
    let scale = Scale::reaching(0, highest);
    widths.each(|size| draw(days, scale, size, (words, dates)))
}

/// Room for the last values at the right.
const VALUES: f64 = 84.0;
const VALUES_NARROW: f64 = 64.0;

fn draw(days: &[ActiveDay], scale: Scale, size: Size, (words, dates): (&Words<'_>, &Dates<'_>)) -> Markup {
    let days = &days[days.len().saturating_sub(size.days_max())..];
    let height = if size.is_narrow() { 240.0 } else { 372.0 };
    let values = if size.is_narrow() { VALUES_NARROW } else { VALUES };
    let plot = Plot {
        left: Plot::room_for(scale, words),
        right: size.width - values,
        top: 12.0,
        bottom: height - 28.0,
        scale,
    };
    let band = (plot.right - plot.left) / share_of(days.len().max(1), 1);
    let center = |at: usize| plot.left + (share_of(at, 1) + 0.5) * band;
    let marks = dates.marks(days.iter().map(|day| day.day), (plot.left, band), size.width);
    let label = &words.sentence;
    html! {
        svg class=(size.name) viewBox={ "0 0 " (px(size.width)) " " (px(height)) } role="img" aria-label=(label)
            data-x=(px(plot.left + band / 2.0)) data-band=(format!("{band:.3}")) data-top=(px(plot.top)) data-bottom=(px(plot.bottom)) data-last=(days.len()) {
            (plot.grid(words))
            (columns(days, &plot, band))
            (line("wau", days, |day| day.wau, (&plot, &center)))
            (line("mau", days, |day| day.mau, (&plot, &center)))
            (ticks(&marks, &plot))
            @if let Some(last) = days.last() {
                (last_values(last, &plot, (words, size)))
            }
        }
    }
}

/// A column a day: filled, hatched where it is guessed, an outline while it is not over.
fn columns(days: &[ActiveDay], plot: &Plot, band: f64) -> Markup {
    let width = if band > 6.0 { band - 2.0 } else { (band * 0.75).max(0.8) };
    let (mut filled, mut caps, mut guessed, mut running) =
        (Path::default(), Path::default(), Path::default(), Path::default());
    for (at, day) in days.iter().enumerate().filter(|(_, day)| day.dau > 0) {
        let left = plot.left + share_of(at, 1) * band + (band - width) / 2.0;
        let (top, base) = (plot.y(day.dau), plot.y(0));
        if day.is_running {
            running.from(left, base).to(left, top).to(left + width, top).to(left + width, base);
        } else if day.is_guessed {
            guessed.from(left, base).to(left, top).to(left + width, top).to(left + width, base).close();
        } else {
            filled.vertical((left + width / 2.0, base), top);
            caps.horizontal((left, top + 1.0), left + width);
        }
    }
    html! {
        @if !filled.is_empty() {
            path.day d=(filled.text()) stroke-width=(px(width)) {}
            // Closer ones are a cloud of dots.
            @if band > 3.0 { path.cap d=(caps.text()) {} }
        }
        @if !guessed.is_empty() { path.guess d=(guessed.text()) fill="url(#hatch)" {} }
        @if !running.is_empty() { path.running d=(running.text()) {} }
    }
}

/// A line through the days: dotted where it is guessed, dashed to the day that is not over, which is a ring.
fn line(
    name: &str,
    days: &[ActiveDay],
    value: impl Fn(&ActiveDay) -> u64,
    (plot, center): (&Plot, &dyn Fn(usize) -> f64),
) -> Markup {
    let point = |at: usize| (center(at), plot.y(value(&days[at])));
    let kind =
        |at: usize| match (days[at].is_running, days[at].is_month_guessed || days[at - 1].is_month_guessed) {
            (true, _) => "line-running",
            (false, true) => "line-guess",
            (false, false) => "line",
        };
    let mut pieces: Vec<(&str, Vec<(f64, f64)>)> = Vec::new();
    for at in 1..days.len() {
        match pieces.last_mut() {
            Some((last, points)) if *last == kind(at) => points.push(point(at)),
            _ => pieces.push((kind(at), vec![point(at - 1), point(at)])),
        }
    }
    html! {
        @for (kind, points) in pieces {
            path class={ (name) " " (kind) } d=(Path::through(points).text()) {}
        }
        @if let Some(last) = days.last() {
            @let (x, y) = point(days.len() - 1);
            @if last.is_running || days.len() == 1 {
                circle class={ (name) " end" } cx=(px(x)) cy=(px(y)) r="3" {}
            }
        }
    }
}

/// Dates under the base line, and a mark for each Monday.
pub(super) fn ticks(marks: &[Mark], plot: &Plot) -> Markup {
    let mut mondays = Path::default();
    for mark in marks.iter().filter(|mark| mark.is_monday) {
        mondays.vertical((mark.x, plot.bottom), plot.bottom + 4.0);
    }
    html! {
        @if !mondays.is_empty() { path.monday d=(mondays.text()) {} }
        @for mark in marks {
            @if mark.is_end { path.past d=(Path::default().vertical((plot.right, plot.top), plot.bottom).text()) {} }
            @if let Some(label) = &mark.label {
                text class={ "tick " (mark.anchor) @if mark.is_end { " past" } } x=(px(mark.x)) y=(px(plot.bottom + 20.0)) { (label) }
            }
        }
    }
}

/// The values of the last day, beside their lines.
fn last_values(last: &ActiveDay, plot: &Plot, (words, size): (&Words<'_>, Size)) -> Markup {
    let dau = if last.is_running && !size.is_narrow() { "DAU so far" } else { "DAU" };
    let values = [("mau", "MAU", last.mau), ("wau", "WAU", last.wau), ("dau", dau, last.dau)];
    let heights = values.map(|(_, _, value)| plot.y(value));
    let placed = apart(&heights, 38.0, (plot.top + 6.0, plot.bottom - 18.0));
    let x = plot.right + 14.0;
    html! {
        @for ((name, label, value), y) in values.into_iter().zip(placed) {
            path class={ (name) " key" } d=(Path::default().vertical((x, y - 14.0), y + 16.0).text()) {}
            text.value x=(px(x + 9.0)) y=(px(y - 1.0)) { ((words.number)(i128::from(value))) }
            text.tick x=(px(x + 9.0)) y=(px(y + 13.0)) { (label) }
        }
    }
}
