//! A count of events day by day as columns, with the days of the period before as a line of steps.

use lastseen_projections::Day;
use maud::{Markup, html};

use super::active::ticks;
use super::dates::Dates;
use super::draw::{Path, Plot, Size, Widths, Words, px, share_of};
use super::scale::Scale;

/// One day.
#[derive(Clone, Copy, Debug)]
pub(in crate::http::dashboard) struct CountedDay {
    pub(in crate::http::dashboard) day: Day,
    pub(in crate::http::dashboard) count: u64,
    /// On the day that has its place in the period before.
    pub(in crate::http::dashboard) before: Option<u64>,
    /// True if the day is not over.
    pub(in crate::http::dashboard) is_running: bool,
}

/// Draws the days, the earliest first.
pub(in crate::http::dashboard) fn columns(
    days: &[CountedDay],
    widths: Widths,
    (words, dates): (&Words<'_>, &Dates<'_>),
) -> Markup {
    let highest = days.iter().map(|day| day.count.max(day.before.unwrap_or(0))).max().unwrap_or(0);
    let scale = Scale::reaching(0, highest);
    widths.each(|size| draw(days, (scale, size), (words, dates)))
}

fn draw(
    days: &[CountedDay],
    (scale, size): (Scale, Size),
    (words, dates): (&Words<'_>, &Dates<'_>),
) -> Markup {
    let days = &days[days.len().saturating_sub(size.days_max())..];
    let height = 200.0;
    let left = Plot::room_for(scale, words);
    let plot = Plot { left, right: size.width, top: 10.0, bottom: height - 28.0, scale };
    let band = (plot.right - plot.left) / share_of(days.len().max(1), 1);
    let width = if band > 6.0 { band - 2.0 } else { (band * 0.75).max(0.8) };
    let (mut filled, mut running, mut before) = (Path::default(), Path::default(), Path::default());
    for (at, day) in days.iter().enumerate() {
        let left = plot.left + share_of(at, 1) * band;
        let (from, to, top, base) =
            (left + (band - width) / 2.0, left + band - (band - width) / 2.0, plot.y(day.count), plot.y(0));
        if day.is_running {
            running.from(from, base).to(from, top).to(to, top).to(to, base);
        } else if day.count > 0 {
            filled.vertical((left + band / 2.0, base), top);
        }
        if let Some(count) = day.before {
            before.horizontal((from, plot.y(count)), to);
        }
    }
    let marks = dates.marks(days.iter().map(|day| day.day), (plot.left, band), size.width);
    html! {
        svg class=(size.name) viewBox={ "0 0 " (px(size.width)) " " (px(height)) } role="img" aria-label=(words.sentence)
            data-x=(px(plot.left + band / 2.0)) data-band=(format!("{band:.3}")) data-top=(px(plot.top)) data-bottom=(px(plot.bottom)) data-last=(days.len()) {
            (plot.grid(words))
            @if !filled.is_empty() { path.count d=(filled.text()) stroke-width=(px(width)) {} }
            @if !running.is_empty() { path.running d=(running.text()) {} }
            @if !before.is_empty() { path.before d=(before.text()) {} }
            (ticks(&marks, &plot))
        }
    }
}
