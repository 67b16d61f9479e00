//! Laws of all charts: each drawing stays within its frame whatever the rows are, and heights tell values.

use lastseen_event::UtcInstant;
use lastseen_projections::Day;
use maud::Markup;
use proptest::prelude::*;

use super::active::{ActiveDay, active};
use super::columns::{CountedDay, columns};
use super::dates::Dates;
use super::decay::decay;
use super::known::{KnownDay, Names, known};
use super::lifecycle::{LifecyclePeriod, lifecycle};
use super::spark::spark;
use super::timeline::{Lane, Seen, timeline};
use super::{Widths, Words};

/// Each drawing: width, height, and its text.
fn drawings(markup: &Markup) -> Vec<(f64, f64, String)> {
    let drawings = markup.0.split("<svg ").skip(1);
    drawings
        .map(|drawing| {
            let drawing = drawing.split("</svg>").next().unwrap();
            let size = drawing.split("viewBox=\"0 0 ").nth(1).unwrap().split('"').next().unwrap();
            let (width, height) = size.split_once(' ').unwrap();
            (width.parse().unwrap(), height.parse().unwrap(), drawing.to_owned())
        })
        .collect()
}

/// The values of an attribute, wherever it stands.
fn values<'a>(drawing: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let start = format!(" {name}=\"");
    let mut rest = drawing;
    std::iter::from_fn(move || {
        let (_, found) = rest.split_once(&start)?;
        let (value, after) = found.split_once('"')?;
        rest = after;
        Some(value)
    })
}

/// The points of a path: absolute, of moves, lines, and lines along one axis.
fn points(data: &str) -> Vec<(f64, f64)> {
    let mut points: Vec<(f64, f64)> = Vec::new();
    let mut rest = data;
    while let Some(step) = rest.chars().next() {
        let end = rest[1..].find(|c: char| c.is_ascii_uppercase()).map_or(rest.len(), |end| end + 1);
        let numbers: Vec<f64> =
            rest[1..end].split(' ').filter(|it| !it.is_empty()).map(|it| it.parse().unwrap()).collect();
        let last = points.last().copied().unwrap_or_default();
        match (step, numbers.as_slice()) {
            ('M' | 'L', [x, y]) => points.push((*x, *y)),
            ('V', [y]) => points.push((last.0, *y)),
            ('H', [x]) => points.push((*x, last.1)),
            ('Z', []) => {}
            other => panic!("{other:?} in {data}"),
        }
        rest = &rest[end..];
    }
    points
}

/// Checks that everything lies within its frame, but for half of a stroke.
fn check(markup: &Markup) -> Result<(), TestCaseError> {
    prop_assert!(!markup.0.contains("NaN") && !markup.0.contains("inf"), "{}", markup.0);
    for (width, height, drawing) in drawings(markup) {
        let inside = |x: f64, y: f64| (-1.0..=width + 1.0).contains(&x) && (-1.0..=height + 1.0).contains(&y);
        for data in values(&drawing, "d") {
            for (x, y) in points(data) {
                prop_assert!(inside(x, y), "{x} {y} of {width} {height}: {drawing}");
            }
        }
        for name in ["width", "height", "r"] {
            for length in values(&drawing, name) {
                prop_assert!(length.parse::<f64>().unwrap() >= 0.0, "{drawing}");
            }
        }
        let numbers =
            |name| values(&drawing, name).filter_map(|it| it.parse::<f64>().ok()).collect::<Vec<_>>();
        prop_assert!(numbers("x").into_iter().chain(numbers("cx")).all(|x| inside(x, 0.0)), "{drawing}");
        prop_assert!(numbers("y").into_iter().chain(numbers("cy")).all(|y| inside(0.0, y)), "{drawing}");
    }
    Ok(())
}

fn with_words<T>(draw: impl FnOnce(&Words<'_>, &Dates<'_>) -> T) -> T {
    let (number, short) = (|value: i128| value.to_string(), |day: Day| day.to_string());
    let words = Words { number: &number, sentence: "A chart.".to_owned() };
    draw(&words, &Dates { short: &short, last: Some("Today".to_owned()), is_past: true })
}

fn count() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), 0..5_u64, 0..100_000_u64, 0..=1_000_000_000_000_u64]
}

proptest! {
    #[test]
    fn days_stay_in_their_frames(
        rows in prop::collection::vec((count(), count(), count(), any::<bool>(), any::<bool>()), 0..400),
        ends_open in any::<bool>(),
    ) {
        let last = rows.len().saturating_sub(1);
        let days: Vec<ActiveDay> = (rows.iter().enumerate())
            .map(|(at, (dau, wau, mau, is_guessed, is_month_guessed))| ActiveDay {
                day: Day::new(20_000 + i32::try_from(at).unwrap()),
                dau: *dau,
                wau: *wau,
                mau: *mau,
                is_guessed: *is_guessed,
                is_month_guessed: *is_month_guessed,
                is_running: ends_open && at == last,
            })
            .collect();
        let counted: Vec<CountedDay> = (days.iter())
            .map(|day| CountedDay { day: day.day, count: day.dau, before: Some(day.wau).filter(|_| !day.is_guessed), is_running: day.is_running })
            .collect();
        let parts: Vec<KnownDay> = (days.iter())
            .map(|day| KnownDay { day: day.day, observed: if day.is_month_guessed { 0 } else { day.wau }, estimated: day.dau })
            .collect();
        let names = Names { total: "active", observed: "observed", estimated: "estimated" };
        for widths in [Widths::WIDE, Widths::SIDE, Widths::FULL] {
            with_words(|words, dates| {
                check(&active(&days, widths, (words, dates)))?;
                check(&columns(&counted, widths, (words, dates)))?;
                check(&known(&parts, widths, names, (words, dates)))
            })?;
        }
        check(&spark(&days.iter().map(|day| day.dau).collect::<Vec<_>>()))?;
    }

    #[test]
    fn periods_and_days_to_come_stay_in_their_frames(
        rows in prop::collection::vec((count(), count(), count(), count()), 0..40),
        with_returning in any::<bool>(),
    ) {
        let periods: Vec<LifecyclePeriod> = (rows.iter().enumerate())
            .map(|(at, (new, resurrected, dormant, returning))| LifecyclePeriod {
                label: format!("W{at}"),
                new: *new,
                resurrected: *resurrected,
                dormant: *dormant,
                returning: *returning,
                is_running: at + 1 == rows.len(),
            })
            .collect();
        let mut falling: Vec<u64> = rows.iter().map(|(new, ..)| *new).collect();
        falling.sort_unstable_by(|one, other| other.cmp(one));
        with_words(|words, _| {
            check(&lifecycle(&periods, Widths::WIDE, with_returning, words))?;
            check(&decay(&falling, Widths::SIDE, words))
        })?;
    }

    #[test]
    fn lanes_stay_in_their_frames(
        lanes in prop::collection::vec((prop::option::of(0..200_i64), prop::collection::vec((0..200_i64, any::<bool>()), 0..20)), 0..6),
        now in 200..230_i64,
    ) {
        const DAY: i64 = 86_400_000_000;
        let at = |day: i64| UtcInstant::from_micros(day * DAY);
        let lanes: Vec<Lane> = (lanes.into_iter())
            .map(|(exists_from, mut seen)| {
                seen.sort_unstable();
                let seen = seen.into_iter().map(|(day, is_guessed)| Seen { at: at(day), is_guessed }).collect();
                Lane { name: "tenant".to_owned(), exists_from: exists_from.map(at), seen }
            })
            .collect();
        check(&timeline(&lanes, (at(now), 30 * DAY), &[(at(31), "Feb".to_owned())], "A timeline."))?;
    }
}

#[test]
fn heights_tell_values() {
    let day = |at: i32, dau: u64| ActiveDay {
        day: Day::new(20_000 + at),
        dau,
        wau: 2 * dau,
        mau: 4 * dau,
        is_guessed: false,
        is_month_guessed: false,
        is_running: false,
    };
    let markup = with_words(|words, dates| active(&[day(0, 10), day(1, 20)], Widths::WIDE, (words, dates)));
    let (_, _, drawing) = drawings(&markup).remove(0);
    let path = |class: &str| {
        let (_, found) = drawing.split_once(&format!("class=\"{class}\"")).unwrap();
        points(found.split(" d=\"").nth(1).unwrap().split('"').next().unwrap())
    };
    // The scale goes to 80: a column of 20 is a quarter of it, its month all of it.
    let (columns, month) = (path("day"), path("mau line"));
    let base = columns[0].1;
    let (first, second, highest) = (base - columns[1].1, base - columns[3].1, base - month[1].1);
    assert!(
        (second - 2.0 * first).abs() < 0.2 && (highest - 4.0 * second).abs() < 0.4,
        "{columns:?} {month:?}"
    );
}
