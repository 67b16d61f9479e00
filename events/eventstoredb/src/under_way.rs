//! The appends that are under way: whoever closes the store waits for them, whoever refuses the cluster lets no more begin.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// The appends that are under way, counted until they have their answer.
#[derive(Default)]
pub(crate) struct UnderWay {
    state: Mutex<(usize, bool)>,
    ended: Condvar,
}

impl UnderWay {
    /// Counts one more. `false`: no more are taken.
    pub(crate) fn begin(&self) -> bool {
        let mut state = self.state.lock();
        if !state.1 {
            state.0 += 1;
        }
        !state.1
    }

    /// Counts one less.
    pub(crate) fn end(&self) {
        self.state.lock().0 -= 1;
        self.ended.notify_all();
    }

    /// Appends at present.
    pub(crate) fn count(&self) -> usize {
        self.state.lock().0
    }

    /// Takes no more.
    pub(crate) fn refuse(&self) {
        self.state.lock().1 = true;
    }

    /// Takes no more, and waits for those that are under way.
    pub(crate) fn close(&self, within: Duration) {
        let mut state = self.state.lock();
        state.1 = true;
        self.ended.wait_while_for(&mut state, |state| state.0 > 0, within);
    }
}
