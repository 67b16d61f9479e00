//! When somebody was seen, and for how long each time counts: a lane a membership.

use lastseen_event::UtcInstant;
use maud::{Markup, html};

use super::draw::{Path, Size, Widths, px};

/// One membership.
#[derive(Clone, Debug)]
pub(in crate::http::dashboard) struct Lane {
    pub(in crate::http::dashboard) name: String,
    /// The membership exists from then on, if that is known.
    pub(in crate::http::dashboard) exists_from: Option<UtcInstant>,
    /// Ascending.
    pub(in crate::http::dashboard) seen: Vec<Seen>,
}

/// A time at which somebody was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http::dashboard) struct Seen {
    pub(in crate::http::dashboard) at: UtcInstant,
    /// True if it is a guess.
    pub(in crate::http::dashboard) is_guessed: bool,
}

/// A time for which somebody counts as active: until the window after the last of some times ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    from: i64,
    until: i64,
    is_guessed: bool,
}

/// Draws the lanes around `now`. `window_us`: microseconds for which one time counts. `month` names the month of an instant.
pub(in crate::http::dashboard) fn timeline(
    lanes: &[Lane],
    (now, window_us): (UtcInstant, i64),
    months: &[(UtcInstant, String)],
    sentence: &str,
) -> Markup {
    Widths::FULL.each(|size| draw(lanes, (now, window_us), (months, sentence), size))
}

/// The first and the last microsecond that are drawn.
fn reach(lanes: &[Lane], (now, window_us): (UtcInstant, i64)) -> (i64, i64) {
    let starts = lanes.iter().filter_map(|lane| lane.exists_from);
    let seen = lanes.iter().flat_map(|lane| lane.seen.iter().map(|seen| seen.at));
    let first = starts.chain(seen).map(UtcInstant::as_micros).min().unwrap_or(now.as_micros());
    (first.min(now.as_micros() - window_us), now.as_micros().saturating_add(window_us))
}

fn draw(
    lanes: &[Lane],
    (now, window_us): (UtcInstant, i64),
    (months, sentence): (&[(UtcInstant, String)], &str),
    size: Size,
) -> Markup {
    let (names, lane_height) = if size.is_narrow() { (0.0, 46.0) } else { (150.0, 34.0) };
    let height = 30.0 + lane_height * super::draw::share_of(lanes.len(), 1) + 24.0;
    let (first, last) = reach(lanes, (now, window_us));
    let x = |at: i64| names + 4.0 + share(at - first, last - first) * (size.width - names - 8.0);
    let (now_x, bottom) = (x(now.as_micros()), height - 24.0);
    let apart = if size.is_narrow() { 70.0 } else { 64.0 };
    let mut free = f64::MIN;
    let mut shown = Vec::new();
    for (at, name) in months {
        let place = x(at.as_micros());
        if place >= free && place > names && (place - now_x).abs() > 44.0 && place < size.width - 60.0 {
            shown.push((place, name));
            free = place + apart;
        }
    }
    html! {
        svg class=(size.name) viewBox={ "0 0 " (px(size.width)) " " (px(height)) } role="img" aria-label=(sentence) {
            @for (place, name) in shown {
                path.grid d=(Path::default().vertical((place, 8.0), bottom).text()) {}
                text.tick x=(px(place + 4.0)) y=(px(height - 6.0)) { (name) }
            }
            @for (at, lane) in lanes.iter().enumerate() {
                @let y = 30.0 + lane_height * super::draw::share_of(at, 1) + if size.is_narrow() { 14.0 } else { 0.0 };
                @if size.is_narrow() {
                    text.tick x="0" y=(px(y - 6.0)) { (lane.name) }
                } @else {
                    text class=(if at == 0 { "value" } else { "tick" }) x="0" y=(px(y + 13.0)) { (shortened(&lane.name)) }
                }
                (draw_lane(lane, (now.as_micros(), window_us), &x, y))
            }
            path.now d=(Path::default().vertical((now_x, 8.0), bottom).text()) {}
            text.value.middle x=(px(now_x)) y=(px(height - 6.0)) { "Now" }
        }
    }
}

const TALL: f64 = 18.0;

fn draw_lane(lane: &Lane, (now, window_us): (i64, i64), x: &dyn Fn(i64) -> f64, y: f64) -> Markup {
    let begins =
        lane.exists_from.map(UtcInstant::as_micros).or(lane.seen.first().map(|seen| seen.at.as_micros()));
    let held = held(&lane.seen, window_us);
    let (mut strokes, mut last) = (Path::default(), f64::MIN);
    for seen in lane.seen.iter().filter(|seen| !seen.is_guessed) {
        let place = x(seen.at.as_micros());
        // Two strokes on one pixel are one.
        if place - last >= 1.5 {
            strokes.vertical((place, y), y + TALL);
            last = place;
        }
    }
    html! {
        @if let Some(begins) = begins {
            path.base d=(Path::default().horizontal((x(begins), y + TALL / 2.0), x(now)).text()) {}
            circle.begins cx=(px(x(begins))) cy=(px(y + TALL / 2.0)) r="3" {}
        }
        @for Held { from, until, is_guessed } in held {
            @let (left, right) = (x(from), x(until.min(now)));
            @if right > left {
                @if is_guessed {
                    rect.guess x=(px(left)) y=(px(y)) width=(px(right - left)) height=(px(TALL)) fill="url(#hatch)" {}
                } @else {
                    rect.held x=(px(left)) y=(px(y)) width=(px(right - left)) height=(px(TALL)) rx="1.5" {}
                }
            }
            @if until > now && from <= now {
                rect.to-come x=(px(x(now))) y=(px(y + 0.5)) width=(px(x(until) - x(now))) height=(px(TALL - 1.0)) {}
            }
        }
        @if !strokes.is_empty() { path.stroke d=(strokes.text()) {} }
    }
}

/// The times for which the window after one time or another holds. An observation ends all guesses.
fn held(seen: &[Seen], window_us: i64) -> Vec<Held> {
    let mut held: Vec<Held> = Vec::new();
    let observed = seen.iter().position(|seen| !seen.is_guessed).unwrap_or(seen.len());
    let counts = |(at, seen): &(usize, &Seen)| !seen.is_guessed || *at < observed;
    for (_, seen) in seen.iter().enumerate().filter(counts) {
        let (from, until) = (seen.at.as_micros(), seen.at.as_micros().saturating_add(window_us));
        match held.last_mut() {
            Some(last) if last.is_guessed == seen.is_guessed && from <= last.until => last.until = until,
            other => {
                if let Some(last) = other {
                    last.until = last.until.min(from);
                }
                held.push(Held { from, until, is_guessed: seen.is_guessed });
            }
        }
    }
    held
}

#[expect(clippy::cast_precision_loss, reason = "places on a screen")]
fn share(part: i64, whole: i64) -> f64 {
    part as f64 / whole.max(1) as f64
}

/// A long name without its middle.
fn shortened(name: &str) -> String {
    let chars: Vec<char> = name.chars().collect();
    if chars.len() <= 20 {
        return name.to_owned();
    }
    let (start, end): (String, String) =
        (chars[..9].iter().collect(), chars[chars.len() - 8..].iter().collect());
    format!("{start}…{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(at: i64, is_guessed: bool) -> Seen {
        Seen { at: UtcInstant::from_micros(at), is_guessed }
    }

    #[test]
    fn windows_that_touch_are_one_and_an_observation_ends_a_guess() {
        let held = held(&[seen(0, true), seen(4, false), seen(6, true), seen(9, false), seen(30, false)], 10);
        let expected = [
            Held { from: 0, until: 4, is_guessed: true },
            Held { from: 4, until: 19, is_guessed: false },
            Held { from: 30, until: 40, is_guessed: false },
        ];
        assert_eq!(held, expected);
    }
}
