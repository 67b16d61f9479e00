//! The distance between this node's copy and the cluster.

use std::sync::Arc;
use std::time::Duration;

use lastseen_event::Position;
use lastseen_store::{Clock, Lag};
use parking_lot::Mutex;

/// The distance, kept by those who read the cluster.
pub(crate) struct Distance {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The last event of the cluster, as it was last asked for.
    end: Option<Position>,
    /// Taken in up to here.
    reached: Position,
    /// The uptime at which the copy last was at the end.
    even_at: Duration,
    is_connected: bool,
    /// True while the cluster seems to have another history.
    is_doubted: bool,
}

impl Distance {
    /// Of a copy that begins here.
    pub(crate) fn new(clock: Arc<dyn Clock>, reached: Position) -> Self {
        let even_at = clock.uptime();
        Self { clock, state: Mutex::new(State { reached, even_at, ..State::default() }) }
    }

    /// Everything up to here is taken in.
    pub(crate) fn reach(&self, position: Position) {
        let mut state = self.state.lock();
        state.reached = state.reached.max(position);
        self.look(&mut state);
    }

    /// The cluster's last event is this one. `None`: it did not say.
    pub(crate) fn end(&self, end: Option<Position>) {
        let mut state = self.state.lock();
        state.end = end;
        self.look(&mut state);
    }

    /// The cluster answers, and is the right one.
    pub(crate) fn connected(&self) {
        self.state.lock().is_connected = true;
    }

    /// The cluster seems to have another history than the copy, or does not any more.
    pub(crate) fn doubted(&self, is_doubted: bool) {
        self.state.lock().is_doubted = is_doubted;
    }

    /// True while the cluster seems to have another history.
    pub(crate) fn is_doubted(&self) -> bool {
        self.state.lock().is_doubted
    }

    /// The cluster does not answer.
    pub(crate) fn disconnected(&self) {
        let mut state = self.state.lock();
        (state.end, state.is_connected) = (None, false);
    }

    fn look(&self, state: &mut State) {
        if state.end.is_some_and(|end| end <= state.reached) {
            state.even_at = self.clock.uptime();
        }
    }

    /// True if the cluster has more than was taken in, as far as is known.
    pub(crate) fn is_behind(&self) -> bool {
        let state = self.state.lock();
        state.end.is_some_and(|end| end > state.reached)
    }

    /// The last position that was taken in.
    pub(crate) fn reached(&self) -> Position {
        self.state.lock().reached
    }

    /// The distance at present.
    pub(crate) fn lag(&self) -> Lag {
        let state = self.state.lock();
        let positions = state.end.map(|end| end.get().saturating_sub(state.reached.get()));
        let time = match positions {
            Some(0) => Duration::ZERO,
            _ => self.clock.uptime().saturating_sub(state.even_at),
        };
        Lag { positions, time, is_connected: state.is_connected }
    }
}

#[cfg(test)]
mod tests {
    use lastseen_event::UtcInstant;
    use lastseen_store::ManualClock;

    use super::*;

    #[test]
    fn the_time_is_that_since_the_copy_was_at_the_end() {
        let clock = Arc::new(ManualClock::new(UtcInstant::from_micros(0)));
        let distance = Distance::new(clock.clone(), Position::new(5));
        let lag = |positions, seconds, is_connected| Lag {
            positions,
            time: Duration::from_secs(seconds),
            is_connected,
        };
        let pass = |seconds: i64| clock.set(UtcInstant::from_micros(seconds * 1_000_000));
        pass(2);
        assert_eq!(distance.lag(), lag(None, 2, false));
        distance.connected();
        assert_eq!(distance.lag(), lag(None, 2, true));
        distance.end(Some(Position::new(5)));
        assert_eq!(distance.lag(), lag(Some(0), 0, true));
        pass(5);
        distance.end(Some(Position::new(9)));
        assert_eq!(distance.lag(), lag(Some(4), 3, true));
        distance.reach(Position::new(7));
        assert_eq!(distance.lag(), lag(Some(2), 3, true));
        distance.disconnected();
        assert_eq!(distance.lag(), lag(None, 3, false));
        distance.connected();
        distance.end(Some(Position::new(9)));
        distance.reach(Position::new(12));
        assert_eq!(distance.lag(), lag(Some(0), 0, true));
    }
}
