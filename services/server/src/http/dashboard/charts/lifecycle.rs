//! New and resurrected users above zero, dormant ones below, period by period; under it the net change and those who came back
//! from the period before.

use maud::{Markup, html};

use super::draw::{Path, Plot, Size, Widths, Words, px, share_of};
use super::scale::Scale;

/// One period.
#[derive(Clone, Debug)]
pub(in crate::http::dashboard) struct LifecyclePeriod {
    /// Its first day, as its reader writes it.
    pub(in crate::http::dashboard) label: String,
    pub(in crate::http::dashboard) new: u64,
    pub(in crate::http::dashboard) resurrected: u64,
    pub(in crate::http::dashboard) dormant: u64,
    pub(in crate::http::dashboard) returning: u64,
    /// True if the period is not over.
    pub(in crate::http::dashboard) is_running: bool,
}

impl LifecyclePeriod {
    /// Those who joined or came back, without those who went quiet.
    pub(in crate::http::dashboard) fn net(&self) -> i128 {
        i128::from(self.new) + i128::from(self.resurrected) - i128::from(self.dormant)
    }
}

/// Draws the periods, the earliest first. A narrow drawing has the last ones only. `with_returning`: those are part of the bars.
pub(in crate::http::dashboard) fn lifecycle(
    periods: &[LifecyclePeriod],
    widths: Widths,
    with_returning: bool,
    words: &Words<'_>,
) -> Markup {
    widths.each(|size| {
        let room = if size.is_narrow() { 5 } else { 30 };
        draw(&periods[periods.len().saturating_sub(room)..], size, with_returning, words)
    })
}

/// The least height of a part that is not empty.
const HEIGHT_MIN: f64 = 1.5;
/// The width of the names of the rows of numbers.
const NAMES: f64 = 68.0;

fn draw(periods: &[LifecyclePeriod], size: Size, with_returning: bool, words: &Words<'_>) -> Markup {
    let stacked = |period: &LifecyclePeriod| if with_returning { period.returning } else { 0 };
    let above =
        periods.iter().map(|period| period.new + period.resurrected + stacked(period)).max().unwrap_or(0);
    let below = periods.iter().map(|period| period.dormant).max().unwrap_or(0);
    let scale = Scale::reaching(below, above);
    let height = if size.is_narrow() { 236.0 } else { 300.0 };
    let left = Plot::room_for(scale, words).max(NAMES);
    let plot = Plot { left, right: size.width, top: 10.0, bottom: height - 76.0, scale };
    let band = (plot.right - plot.left) / share_of(periods.len().max(1), 1);
    // Labels and numbers need so much room.
    let longest = periods.iter().map(|period| period.label.chars().count()).max().unwrap_or(0);
    let room = (8.0 + 6.5 * share_of(longest, 1)).max(44.0);
    let each = if band < room { (room / band).ceil() } else { 1.0 };
    let is_shown = |at: usize| (share_of(periods.len() - 1 - at, 1) % each) < 0.5;
    let center = |at: usize| plot.left + (share_of(at, 1) + 0.5) * band;
    let signed =
        |value: i128| if value > 0 { format!("+{}", (words.number)(value)) } else { (words.number)(value) };
    let bracketed =
        |period: &LifecyclePeriod, text: String| if period.is_running { format!("({text})") } else { text };
    html! {
        svg class=(size.name) viewBox={ "0 0 " (px(size.width)) " " (px(height)) } role="img" aria-label=(words.sentence)
            data-x=(px(plot.left + band / 2.0)) data-band=(format!("{band:.3}")) data-top=(px(plot.top)) data-bottom=(px(plot.bottom))
            data-last=(periods.len()) {
            (plot.grid(&Words { number: &|value| signed(value), sentence: String::new() }))
            @for (at, period) in periods.iter().enumerate() {
                (bar(period, with_returning, (center(at), band), &plot))
            }
            path.base d=(Path::default().horizontal((plot.left, plot.y(0)), plot.right).text()) {}
            @for (y, name) in [(38.0, "Net change"), (56.0, "Returning")] {
                text.tick x="0" y=(px(plot.bottom + y + 4.0)) { (name) }
            }
            @for (at, period) in periods.iter().enumerate().filter(|(at, _)| is_shown(*at)) {
                text.tick.middle x=(px(center(at))) y=(px(plot.bottom + 20.0)) { (period.label) }
                text.value.middle x=(px(center(at))) y=(px(plot.bottom + 42.0)) { (bracketed(period, signed(period.net()))) }
                text.tick.middle x=(px(center(at))) y=(px(plot.bottom + 60.0)) {
                    (bracketed(period, (words.number)(i128::from(period.returning))))
                }
            }
            path.grid d=(Path::default().horizontal((0.0, plot.bottom + 26.5), plot.right).text()) {}
        }
    }
}

fn bar(period: &LifecyclePeriod, with_returning: bool, (center, band): (f64, f64), plot: &Plot) -> Markup {
    let width = (band * 0.55).clamp(2.0, 36.0);
    let (left, zero) = (center - width / 2.0, plot.y(0));
    let per_user = (plot.y(0) - plot.y(1)).max(0.0);
    let tall = |count: u64| if count == 0 { 0.0 } else { (px_of(count) * per_user).max(HEIGHT_MIN) };
    let mut parts = Vec::new();
    let mut up = zero;
    let returning = with_returning.then_some(("returning", period.returning));
    let above = returning.into_iter().chain([("resurrected", period.resurrected), ("new", period.new)]);
    for (name, count) in above.filter(|(_, count)| *count > 0) {
        up -= tall(count);
        parts.push((name, up, tall(count)));
        // A hairline of the ground between two parts.
        up -= 1.0;
    }
    if period.dormant > 0 {
        parts.push(("dormant", zero, tall(period.dormant)));
    }
    let running = if period.is_running { " is-running" } else { "" };
    html! {
        @for (name, top, height) in parts {
            rect class={ (name) (running) } x=(px(left)) y=(px(top)) width=(px(width)) height=(px(height)) {}
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a height on a screen")]
fn px_of(count: u64) -> f64 {
    count as f64
}
