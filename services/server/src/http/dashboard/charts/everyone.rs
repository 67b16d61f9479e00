//! Everybody as one bar, cut into parts that add up.

use maud::{Markup, html};

use super::draw::{Widths, px};

/// One part.
#[derive(Clone, Copy, Debug)]
pub(in crate::http::dashboard) struct Part {
    /// Its class.
    pub(in crate::http::dashboard) name: &'static str,
    pub(in crate::http::dashboard) count: u64,
}

const HEIGHT: f64 = 16.0;
/// Between two parts.
const GAP: f64 = 2.0;
/// The least width of a part that is not empty.
const WIDTH_MIN: f64 = 2.0;

/// Draws the parts from left to right. The numbers stand below it.
pub(in crate::http::dashboard) fn everyone(parts: &[Part], widths: Widths) -> Markup {
    widths.each(|size| {
        html! {
            svg class=(size.name) viewBox={ "0 0 " (px(size.width)) " " (px(HEIGHT)) } aria-hidden="true" {
                @for (part, left, width) in placed(parts, size.width) {
                    @if part.name == "guess" {
                        rect.guess x=(px(left)) y="0" width=(px(width)) height=(px(HEIGHT)) fill="url(#hatch)" {}
                    } @else if part.name == "never" {
                        rect.never x=(px(left + 0.5)) y="0.5" width=(px((width - 1.0).max(1.0))) height=(px(HEIGHT - 1.0)) {}
                    } @else {
                        rect class=(part.name) x=(px(left)) y="0" width=(px(width)) height=(px(HEIGHT)) rx="1.5" {}
                    }
                }
            }
        }
    })
}

/// The parts that are not empty, with the left side and the width of each.
fn placed(parts: &[Part], width: f64) -> Vec<(Part, f64, f64)> {
    let parts: Vec<Part> = parts.iter().copied().filter(|part| part.count > 0).collect();
    let all: f64 = parts.iter().map(|part| float(part.count)).sum();
    let gaps = GAP * float(parts.len().saturating_sub(1) as u64);
    let free = width - gaps - WIDTH_MIN * float(parts.len() as u64);
    let mut left = 0.0;
    let mut placed = Vec::with_capacity(parts.len());
    for part in parts {
        let width = WIDTH_MIN + free * float(part.count) / all;
        placed.push((part, left, width));
        left += width + GAP;
    }
    placed
}

#[expect(clippy::cast_precision_loss, reason = "a length on a screen")]
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn parts_fill_the_width_in_proportion_and_none_is_too_thin(counts in prop::collection::vec(0..1_000_000_u64, 0..6)) {
            let parts: Vec<Part> = counts.iter().map(|count| Part { name: "part", count: *count }).collect();
            let placed = placed(&parts, 368.0);
            prop_assert_eq!(placed.len(), counts.iter().filter(|count| **count > 0).count());
            if let Some((_, left, width)) = placed.last() {
                prop_assert!((left + width - 368.0).abs() < 1e-6);
            }
            for pair in placed.windows(2) {
                let ((one, left, width), (other, next, other_width)) = (pair[0], pair[1]);
                prop_assert!((next - left - width - GAP).abs() < 1e-6);
                prop_assert!(width >= WIDTH_MIN && (one.count > other.count) == (width > other_width + 1e-9));
            }
        }
    }
}
