//! The common parts of all charts: the frame, the grid, paths, and labels that keep apart.

use std::fmt::Write as _;

use maud::{Markup, html};

use super::scale::Scale;

/// The widths for which a chart is drawn: the page shows the one that fits, so that text keeps its size.
#[derive(Clone, Copy, Debug)]
pub(in crate::http::dashboard) struct Widths {
    /// The class of the frame, which knows the width of its place.
    class: &'static str,
    /// The class of each drawing, and its width in pixels.
    sizes: &'static [(&'static str, u16)],
}

impl Widths {
    /// A chart beside a narrower one.
    pub(in crate::http::dashboard) const WIDE: Self =
        Self { class: "chart", sizes: &[("wide", 808), ("medium", 670), ("narrow", 296)] };
    /// A chart beside a wider one.
    pub(in crate::http::dashboard) const SIDE: Self =
        Self { class: "chart side", sizes: &[("wide", 368), ("narrow", 296)] };
    /// A chart of its own.
    pub(in crate::http::dashboard) const FULL: Self =
        Self { class: "chart full", sizes: &[("wide", 1_246), ("medium", 670), ("narrow", 296)] };

    /// Draws a chart for each width.
    pub(super) fn each(self, draw: impl Fn(Size) -> Markup) -> Markup {
        html! {
            div class=(self.class) {
                @for (name, width) in self.sizes {
                    (draw(Size { name, width: f64::from(*width) }))
                }
            }
        }
    }
}

/// One of the widths.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub(super) name: &'static str,
    pub(super) width: f64,
}

impl Size {
    pub(super) fn is_narrow(self) -> bool {
        self.width < 330.0
    }

    /// The most days that are drawn, the last ones: narrower columns could not be told apart.
    pub(super) fn days_max(self) -> usize {
        if self.is_narrow() { 30 } else { usize::MAX }
    }
}

/// The text of a chart: numbers as their reader writes them, and a sentence for those who do not see it.
pub(in crate::http::dashboard) struct Words<'a> {
    pub(in crate::http::dashboard) number: &'a dyn Fn(i128) -> String,
    pub(in crate::http::dashboard) sentence: String,
}

/// A part of the drawing with a horizontal and a vertical scale. Lengths are pixels from the upper left corner.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plot {
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) top: f64,
    pub(super) bottom: f64,
    pub(super) scale: Scale,
}

impl Plot {
    /// The height of a value.
    pub(super) fn y(&self, value: impl Into<i128>) -> f64 {
        self.bottom - self.scale.share(value.into()) * (self.bottom - self.top)
    }

    /// The place that is this share of the width from the left.
    pub(super) fn x(&self, share: f64) -> f64 {
        self.left + share * (self.right - self.left)
    }

    /// The room that numbers at the left of a scale need.
    pub(super) fn room_for(scale: Scale, words: &Words<'_>) -> f64 {
        let longest = scale.marks().map(|(value, _)| (words.number)(value).chars().count()).max();
        10.0 + 7.0 * share_of(longest.unwrap_or(0), 1)
    }

    /// Hairlines and numbers at the left.
    pub(super) fn grid(&self, words: &Words<'_>) -> Markup {
        let mut lines = Path::default();
        for (value, _) in self.scale.marks().filter(|(value, _)| *value != 0) {
            lines.from(self.left, self.y(value)).to(self.right, self.y(value));
        }
        html! {
            path.grid d=(lines.text()) {}
            path.base d=(Path::default().from(self.left, self.y(0)).to(self.right, self.y(0)).text()) {}
            @for (value, _) in self.scale.marks() {
                text.tick.end x=(px(self.left - 8.0)) y=(px(self.y(value) + 4.0)) { ((words.number)(value)) }
            }
        }
    }
}

/// `part` of `whole`.
#[expect(clippy::cast_precision_loss, reason = "places on a screen")]
pub(super) fn share_of(part: usize, whole: usize) -> f64 {
    part as f64 / whole.max(1) as f64
}

/// A length in pixels, with one decimal where it has one.
pub(super) fn px(length: f64) -> String {
    let text = format!("{length:.1}");
    let whole = text.strip_suffix(".0").map(str::to_owned).unwrap_or(text);
    if whole == "-0" { "0".to_owned() } else { whole }
}

/// The data of a path.
#[derive(Debug, Default)]
pub(super) struct Path(String);

impl Path {
    pub(super) fn from(&mut self, x: f64, y: f64) -> &mut Self {
        self.step('M', x, y)
    }

    pub(super) fn to(&mut self, x: f64, y: f64) -> &mut Self {
        self.step('L', x, y)
    }

    fn step(&mut self, step: char, x: f64, y: f64) -> &mut Self {
        write!(self.0, "{step}{} {}", px(x), px(y)).expect("text takes everything");
        self
    }

    /// A line straight down or up.
    pub(super) fn vertical(&mut self, (x, from): (f64, f64), to: f64) -> &mut Self {
        write!(self.0, "M{} {}V{}", px(x), px(from), px(to)).expect("text takes everything");
        self
    }

    /// A line to the right.
    pub(super) fn horizontal(&mut self, (x, y): (f64, f64), to: f64) -> &mut Self {
        write!(self.0, "M{} {}H{}", px(x), px(y), px(to)).expect("text takes everything");
        self
    }

    /// A line through all points.
    pub(super) fn through(points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        let mut path = Self::default();
        for (at, (x, y)) in points.into_iter().enumerate() {
            path.step(if at == 0 { 'M' } else { 'L' }, x, y);
        }
        path
    }

    pub(super) fn close(&mut self) -> &mut Self {
        self.0.push('Z');
        self
    }

    pub(super) fn text(&self) -> &str {
        &self.0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Moves heights apart until none is nearer than `distance` to the next, all of them within `top` and `bottom`, and each as near
/// to its own as the others let it. The order stays.
pub(super) fn apart(heights: &[f64], distance: f64, (top, bottom): (f64, f64)) -> Vec<f64> {
    let mut order: Vec<usize> = (0..heights.len()).collect();
    order.sort_by(|one, other| heights[*one].total_cmp(&heights[*other]));
    let mut placed = heights.to_vec();
    let mut least = top;
    for at in &order {
        placed[*at] = placed[*at].max(least);
        least = placed[*at] + distance;
    }
    let mut greatest = bottom;
    for at in order.iter().rev() {
        placed[*at] = placed[*at].min(greatest);
        greatest = placed[*at] - distance;
    }
    placed
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lengths_have_no_more_digits_than_they_need() {
        for (length, text) in [(1.0, "1"), (1.04, "1"), (1.06, "1.1"), (-0.01, "0"), (120.5, "120.5")] {
            assert_eq!(px(length), text);
        }
    }

    proptest! {
        #[test]
        fn labels_keep_apart_in_their_order(heights in prop::collection::vec(0.0..400.0, 0..6)) {
            let placed = apart(&heights, 38.0, (0.0, 400.0));
            let mut order: Vec<usize> = (0..heights.len()).collect();
            order.sort_by(|one, other| heights[*one].total_cmp(&heights[*other]));
            for pair in order.windows(2) {
                prop_assert!(placed[pair[1]] - placed[pair[0]] >= 38.0 - 1e-9);
            }
            prop_assert!(placed.iter().all(|height| (0.0..=400.0).contains(height)));
            let is_apart = order.windows(2).all(|pair| heights[pair[1]] - heights[pair[0]] >= 38.0);
            prop_assert!(!is_apart || placed == heights);
        }
    }
}
