//! A vertical scale: round steps, zero among them.

/// From the least to the greatest of its steps, both multiples of one round number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scale {
    step: u64,
    /// Steps under zero, and above.
    below: u64,
    above: u64,
}

/// Steps of a scale: enough to read a height by, few enough to be calm.
const STEPS: std::ops::RangeInclusive<u64> = 3..=5;

impl Scale {
    /// The tightest scale that reaches from `below` under zero to `above` over it: three to five steps of 1, 2, 2.5, 3, 4
    /// or 5 times a power of ten.
    pub(super) fn reaching(below: u64, above: u64) -> Self {
        let tens = std::iter::successors(Some(1_u64), |ten| ten.checked_mul(10));
        let round = tens.flat_map(|ten| {
            let quarters = [Some(4), Some(8), Some(10).filter(|_| ten > 1), Some(12), Some(16), Some(20)];
            quarters.into_iter().flatten().filter_map(move |quarters| Some(ten.checked_mul(quarters)? / 4))
        });
        let scales = round.map(|step| {
            let scale = Self { step, below: below.div_ceil(step), above: above.div_ceil(step) };
            // The smallest step is a whole one, and a flat scale still has room above.
            let missing = if step == 1 { STEPS.start().saturating_sub(scale.steps()) } else { 0 };
            Self { above: scale.above + missing, ..scale }
        });
        let fitting = scales.filter(|scale| STEPS.contains(&scale.steps()));
        fitting
            .min_by_key(|scale| (scale.steps().saturating_mul(scale.step), scale.steps()))
            .unwrap_or(Self { step: u64::MAX, below: u64::from(below > 0), above: 1 })
    }

    fn steps(&self) -> u64 {
        self.below.saturating_add(self.above)
    }

    /// The values of the steps and their heights, as shares of the scale from its lower end.
    pub(super) fn marks(&self) -> impl Iterator<Item = (i128, f64)> + use<> {
        let Self { step, below, above } = *self;
        let first = -i128::from(below);
        (first..=i128::from(above)).map(move |at| {
            let value = at * i128::from(step);
            (value, Self { step, below, above }.share(value))
        })
    }

    /// The height of a value, as a share of the scale from its lower end.
    #[expect(clippy::cast_precision_loss, reason = "a share of some hundred pixels")]
    pub(super) fn share(&self, value: i128) -> f64 {
        let lowest = -i128::from(self.below) * i128::from(self.step);
        (value - lowest) as f64 / (i128::from(self.steps()) * i128::from(self.step)) as f64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn values(below: u64, above: u64) -> Vec<i128> {
        Scale::reaching(below, above).marks().map(|(value, _)| value).collect()
    }

    #[test]
    fn steps_are_round_numbers() {
        assert_eq!(values(0, 774), [0, 200, 400, 600, 800]);
        assert_eq!(values(0, 5_025), [0, 2_000, 4_000, 6_000]);
        assert_eq!(values(0, 7_500), [0, 2_500, 5_000, 7_500]);
        assert_eq!(values(92, 78), [-100, -50, 0, 50, 100]);
        assert_eq!(values(0, 0), [0, 1, 2, 3]);
        assert_eq!(values(1, 0), [-1, 0, 1, 2]);
        assert_eq!(values(0, 5), [0, 1, 2, 3, 4, 5]);
    }

    proptest! {
        #[test]
        fn a_scale_reaches_everything_and_not_much_more(below in 0..=u64::MAX / 16, above in 0..=u64::MAX / 16) {
            let scale = Scale::reaching(below, above);
            prop_assert!(STEPS.contains(&scale.steps()));
            let marks: Vec<(i128, f64)> = scale.marks().collect();
            let (lowest, highest) = (marks.first().unwrap(), marks.last().unwrap());
            prop_assert!(lowest.0 <= -i128::from(below) && highest.0 >= i128::from(above));
            prop_assert!(lowest.1.abs() < 1e-9 && (highest.1 - 1.0).abs() < 1e-9);
            prop_assert!(marks.iter().any(|(value, _)| *value == 0));
            let reach = i128::from(below) + i128::from(above);
            if reach > 20 {
                prop_assert!(highest.0 - lowest.0 <= 2 * reach, "{marks:?}");
            }
        }
    }
}
