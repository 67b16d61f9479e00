//! A watch over the clock: jumps of the system's time against one that cannot jump are told, since `recorded_at` never
//! decreases and so stays where a jump ahead put it.

use std::sync::Arc;
use std::time::Duration;

use lastseen_event::UtcInstant;
use lastseen_store::{Clock, Part, Standstills};
use parking_lot::Mutex;

/// A difference that is told.
const JUMP: Duration = Duration::from_mins(1);

/// A jump is told for so long.
const TOLD_FOR: Duration = Duration::from_hours(1);

/// Compares the clock with itself.
pub(crate) struct ClockWatch {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

struct State {
    /// The last instant of the clock, and the uptime then.
    seen: (UtcInstant, Duration),
    /// `recorded_at` of the last record.
    recorded: UtcInstant,
    /// Uptime at the last jump.
    jumped: Option<Duration>,
}

impl ClockWatch {
    /// Begins to watch, for a log whose last record was recorded at `recorded`.
    pub(crate) fn new(clock: Arc<dyn Clock>, recorded: UtcInstant) -> Self {
        let seen = (clock.now(), clock.uptime());
        Self { clock, state: Mutex::new(State { seen, recorded, jumped: None }) }
    }

    /// Notes that something was recorded.
    pub(crate) fn recorded(&self, at: UtcInstant) {
        let mut state = self.state.lock();
        state.recorded = state.recorded.max(at);
    }

    /// Looks at the clock, and tells a jump, or that it is behind the last record. Returns what it shows.
    pub(crate) fn look(&self, standstills: &Standstills) -> UtcInstant {
        let (now, uptime) = (self.clock.now(), self.clock.uptime());
        let mut state = self.state.lock();
        let (was, before) = state.seen;
        state.seen = (now, uptime);
        let expected = was.saturating_add(uptime.saturating_sub(before));
        let jump = micros_between(expected, now);
        if jump.unsigned_abs() > JUMP.as_micros() {
            let (seconds, towards) =
                (jump.unsigned_abs() / 1_000_000, if jump > 0 { "ahead" } else { "back" });
            tracing::warn!(seconds, towards, "the clock jumped; see docs/OPERATIONS.md about recorded_at");
            standstills.failed(Part::Clock, format!("the clock jumped {towards} by {seconds} s"));
            state.jumped = Some(uptime);
        }
        let ahead = micros_between(now, state.recorded);
        if ahead > 0 && ahead.unsigned_abs() > JUMP.as_micros() {
            let seconds = ahead / 1_000_000;
            let cause = format!(
                "the clock is {seconds} s behind the last record: recorded_at stands still at {}",
                state.recorded
            );
            standstills.failed(Part::Clock, cause);
        } else if state.jumped.is_none_or(|jumped| uptime.saturating_sub(jumped) > TOLD_FOR) {
            state.jumped = None;
            standstills.works(Part::Clock);
        }
        now
    }
}

fn micros_between(from: UtcInstant, to: UtcInstant) -> i128 {
    i128::from(to.as_micros()) - i128::from(from.as_micros())
}

#[cfg(test)]
mod tests {
    use lastseen_store::ManualClock;

    use super::*;

    #[test]
    fn jumps_are_told_and_that_the_clock_is_behind_the_last_record() {
        const MINUTE: i64 = 60_000_000;
        let at = |minutes: i64| UtcInstant::from_micros(1_800_000_000_000_000 + minutes * MINUTE);
        let clock = Arc::new(ManualClock::new(at(0)));
        let standstills = Standstills::new(clock.clone());
        let watch = ClockWatch::new(clock.clone(), at(0));
        let record = || {
            let at = watch.look(&standstills);
            watch.recorded(at);
            at
        };
        let told = || standstills.all().into_iter().map(|it| it.cause).collect::<Vec<_>>();
        clock.set(at(30));
        assert_eq!(record(), at(30));
        assert_eq!(told(), [""; 0], "time went on");
        clock.jump(at(90));
        assert_eq!(record(), at(90));
        assert_eq!(told(), ["the clock jumped ahead by 3600 s"]);
        clock.jump(at(31));
        assert_eq!(record(), at(31));
        assert!(told()[0].starts_with("the clock is 3540 s behind the last record"), "{:?}", told());
        clock.set(at(80));
        watch.look(&standstills);
        assert!(told()[0].starts_with("the clock is 600 s behind the last record"), "{:?}", told());
        clock.set(at(95));
        assert_eq!(record(), at(95));
        clock.set(at(160));
        watch.look(&standstills);
        assert_eq!(told(), [""; 0], "an hour later");
    }
}
