//! A number day by day as an area, with the part that rests on estimates hatched on top.

use lastseen_projections::Day;
use maud::{Markup, html};

use super::active::ticks;
use super::dates::Dates;
use super::draw::{Path, Plot, Size, Widths, Words, apart, px, share_of};
use super::scale::Scale;

/// One day.
#[derive(Clone, Copy, Debug)]
pub(in crate::http::dashboard) struct KnownDay {
    pub(in crate::http::dashboard) day: Day,
    pub(in crate::http::dashboard) observed: u64,
    pub(in crate::http::dashboard) estimated: u64,
}

impl KnownDay {
    fn total(&self) -> u64 {
        self.observed + self.estimated
    }
}

/// The names of the values of the last day.
#[derive(Clone, Copy, Debug)]
pub(in crate::http::dashboard) struct Names {
    pub(in crate::http::dashboard) total: &'static str,
    pub(in crate::http::dashboard) observed: &'static str,
    pub(in crate::http::dashboard) estimated: &'static str,
}

/// Draws the days, the earliest first.
pub(in crate::http::dashboard) fn known(
    days: &[KnownDay],
    widths: Widths,
    names: Names,
    (words, dates): (&Words<'_>, &Dates<'_>),
) -> Markup {
    let scale = Scale::reaching(0, days.iter().map(KnownDay::total).max().unwrap_or(0));
    widths.each(|size| draw(days, (scale, size), names, (words, dates)))
}

fn draw(
    days: &[KnownDay],
    (scale, size): (Scale, Size),
    names: Names,
    (words, dates): (&Words<'_>, &Dates<'_>),
) -> Markup {
    let height = if size.is_narrow() { 220.0 } else { 300.0 };
    let values = if size.is_narrow() { 66.0 } else { 84.0 };
    let left = Plot::room_for(scale, words);
    let plot = Plot { left, right: size.width - values, top: 12.0, bottom: height - 28.0, scale };
    let band = (plot.right - plot.left) / share_of(days.len().max(1), 1);
    let x = |at: usize| plot.left + (share_of(at, 1) + 0.5) * band;
    let line =
        |value: fn(&KnownDay) -> u64| days.iter().enumerate().map(move |(at, day)| (x(at), value(day)));
    let points =
        |value: fn(&KnownDay) -> u64| line(value).map(|(x, value)| (x, plot.y(value))).collect::<Vec<_>>();
    let (observed, total) = (points(|day| day.observed), points(KnownDay::total));
    let floor = [(x(days.len().saturating_sub(1)), plot.y(0)), (x(0), plot.y(0))];
    let solid = Path::through(observed.iter().copied().chain(floor));
    let hatched = Path::through(total.iter().copied().chain(observed.iter().rev().copied()));
    let has_estimates = days.iter().any(|day| day.estimated > 0);
    // All of it is guessed up to here.
    let guessed = days.iter().take_while(|day| day.observed == 0).count();
    let marks = dates.marks(days.iter().map(|day| day.day), (plot.left, band), size.width);
    html! {
        svg class=(size.name) viewBox={ "0 0 " (px(size.width)) " " (px(height)) } role="img" aria-label=(words.sentence)
            data-x=(px(x(0))) data-band=(format!("{band:.3}")) data-top=(px(plot.top)) data-bottom=(px(plot.bottom)) {
            (plot.grid(words))
            @if !days.is_empty() {
                path.known d=(solid.text()) {}
                @if has_estimates {
                    path.guess d=(hatched.text()) fill="url(#hatch)" {}
                    path.wau.line d=(Path::through(observed.iter().copied().skip(guessed)).text()) {}
                }
                @if guessed > 1 { path.mau.line-guess d=(Path::through(total.iter().copied().take(guessed)).text()) {} }
                path.mau.line d=(Path::through(total.iter().copied().skip(guessed.saturating_sub(1))).text()) {}
            }
            (ticks(&marks, &plot))
            @if let Some(last) = days.last() { (last_values(last, has_estimates, names, (&plot, words))) }
        }
    }
}

fn last_values(
    last: &KnownDay,
    has_estimates: bool,
    names: Names,
    (plot, words): (&Plot, &Words<'_>),
) -> Markup {
    let mut values = vec![("mau", names.total, last.total(), plot.y(last.total()))];
    if has_estimates {
        values.push(("guess", names.estimated, last.estimated, plot.y(last.total()) + 38.0));
        values.push(("wau", names.observed, last.observed, plot.y(last.observed).max(plot.y(0) / 2.0)));
    }
    let heights: Vec<f64> = values.iter().map(|(.., y)| *y).collect();
    let placed = apart(&heights, 38.0, (plot.top + 6.0, plot.bottom - 18.0));
    let x = plot.right + 10.0;
    html! {
        @for ((name, label, value, _), y) in values.into_iter().zip(placed) {
            path class={ (name) " key" } d=(Path::default().vertical((x, y - 14.0), y + 16.0).text()) {}
            text.value x=(px(x + 9.0)) y=(px(y - 1.0)) { ((words.number)(i128::from(value))) }
            text.tick x=(px(x + 9.0)) y=(px(y + 13.0)) { (label) }
        }
    }
}
