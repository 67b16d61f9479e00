//! The active of the days to come, if nobody came back: a falling line that ends at zero.

use maud::{Markup, html};

use super::draw::{Path, Plot, Size, Widths, Words, px, share_of};
use super::scale::Scale;

/// Draws how many are active now, and after each of the days that follow.
pub(in crate::http::dashboard) fn decay(active: &[u64], widths: Widths, words: &Words<'_>) -> Markup {
    let scale = Scale::reaching(0, active.iter().copied().max().unwrap_or(0));
    widths.each(|size| draw(active, scale, size, words))
}

fn draw(active: &[u64], scale: Scale, size: Size, words: &Words<'_>) -> Markup {
    let height = if size.is_narrow() { 220.0 } else { 300.0 };
    let left = Plot::room_for(scale, words);
    let plot = Plot { left, right: size.width - 16.0, top: 26.0, bottom: height - 28.0, scale };
    let last = active.len().saturating_sub(1);
    let point = |at: usize| (plot.x(share_of(at, last)), plot.y(active[at]));
    let band = (plot.right - plot.left) / share_of(last.max(1), 1);
    let line = Path::through((0..active.len()).map(point));
    let mut area = Path::through((0..active.len()).map(point));
    area.to(plot.right, plot.y(0)).to(plot.left, plot.y(0)).close();
    html! {
        svg class=(size.name) viewBox={ "0 0 " (px(size.width)) " " (px(height)) } role="img" aria-label=(words.sentence)
            // The rows of the table begin with the day after.
            data-x=(px(plot.left + band)) data-band=(format!("{band:.3}"))
            data-top=(px(plot.top)) data-bottom=(px(plot.bottom)) {
            (plot.grid(words))
            @if active.len() > 1 {
                path.area d=(area.text()) {}
                path.mau.line d=(line.text()) {}
            }
            @for at in marked(active) {
                (mark(at, active[at], point(at), (last, words)))
            }
            @for day in (0..=last).filter(|day| day % 7 == 0 && last - day >= 3) {
                @let name = if day == 0 { "now".to_owned() } else { format!("{day} d") };
                text class={ "tick " (if day == 0 { "start" } else { "middle" }) } x=(px(point(day).0)) y=(px(plot.bottom + 20.0)) { (name) }
            }
            @if last > 0 {
                text.tick.end x=(px(plot.right + 8.0)) y=(px(plot.bottom + 20.0)) { (last) " d" }
            }
        }
    }
}

/// The days whose number stands beside the line: the first, the middle, three quarters, and the last with anybody.
fn marked(active: &[u64]) -> Vec<usize> {
    let last = active.len().saturating_sub(1);
    let with_somebody = active.iter().rposition(|active| *active > 0);
    let mut marked: Vec<usize> = with_somebody.into_iter().chain([0, last / 2, last * 7 / 10]).collect();
    marked.retain(|at| active.get(*at).is_some_and(|active| *active > 0));
    marked.sort_unstable();
    marked.dedup();
    marked
}

fn mark(at: usize, active: u64, (x, y): (f64, f64), (last, words): (usize, &Words<'_>)) -> Markup {
    let number = (words.number)(i128::from(active));
    // Where the line falls, its left side is free.
    let is_late = at * 10 > last * 8;
    let (anchor, label_x, label_y) = match at {
        0 => ("start", x + 4.0, y - 10.0),
        _ if is_late => ("end", x - 9.0, y + 4.0),
        _ => ("middle", x, y - 10.0),
    };
    html! {
        circle.mau.dot cx=(px(x)) cy=(px(y)) r="2.5" {}
        text class={ "halo " (anchor) } x=(px(label_x)) y=(px(label_y)) {
            tspan.value { (number) }
            @if is_late { tspan.tick { " on day " (at) } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_days_that_are_marked_have_somebody() {
        assert_eq!(marked(&[]), Vec::<usize>::new());
        assert_eq!(marked(&[0, 0]), Vec::<usize>::new());
        assert_eq!(marked(&[3, 0]), [0]);
        let mut active = vec![5; 30];
        active.push(0);
        assert_eq!(marked(&active), [0, 15, 21, 29]);
    }
}
