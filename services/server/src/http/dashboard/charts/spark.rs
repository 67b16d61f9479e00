//! A few days in the height of a line of text: a column each, on a scale of their own. The number stands beside it.

use maud::{Markup, html};

use super::draw::{Path, px, share_of};

const WIDTH: f64 = 120.0;
const HEIGHT: f64 = 22.0;

/// Draws the values, the earliest first.
pub(in crate::http::dashboard) fn spark(values: &[u64]) -> Markup {
    let highest = values.iter().copied().max().unwrap_or(0).max(1);
    let band = WIDTH / share_of(values.len().max(1), 1);
    let mut columns = Path::default();
    for (at, value) in values.iter().enumerate().filter(|(_, value)| **value > 0) {
        let x = (share_of(at, 1) + 0.5) * band;
        columns.vertical((x, HEIGHT), HEIGHT - share(*value, highest) * (HEIGHT - 1.0));
    }
    html! {
        svg.spark viewBox={ "0 0 " (px(WIDTH)) " " (px(HEIGHT)) } width=(px(WIDTH)) height=(px(HEIGHT)) aria-hidden="true" {
            path d=(columns.text()) stroke-width=(px((band - 1.0).max(1.0))) {}
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a height on a screen")]
fn share(value: u64, highest: u64) -> f64 {
    value as f64 / highest as f64
}
