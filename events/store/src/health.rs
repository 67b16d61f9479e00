//! The parts of a store that stand still, since when and why. Those who do the work tell it here, anybody may ask: no I/O, no lock that is held for long.

use std::sync::Arc;

use lastseen_event::UtcInstant;
use parking_lot::Mutex;

use crate::Clock;

/// The state of the log's parts at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// The parts that stand still, each once, in the order of [`Part`]; empty where all is well.
    pub standstills: Vec<Standstill>,
    /// Durable events that are in WAL files only. They grow without bound while nothing is sealed.
    pub unsealed_events: u64,
}

impl Health {
    /// True if a part stands still for good: only opening the log again helps. A closed log is one of these.
    ///
    /// The others are tried again by the log or with the next append. They are to be shown and not to be
    /// waited for: a writer that refused an append says so until another one succeeds.
    pub fn needs_restart(&self) -> bool {
        self.standstills.iter().any(|standstill| standstill.is_final)
    }
}

/// A part of the log that does not do its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standstill {
    /// The part.
    pub part: Part,
    /// The first failure since it last worked, by the log's clock.
    pub since: UtcInstant,
    /// The latest failure: a fixed description, then its causes. Names files of the log, never a tenant or a
    /// user.
    pub cause: String,
    /// True if it ends only when the log is opened again.
    pub is_final: bool,
}

/// A part of the log that can stand still by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// Takes appends. Final after a failed sync, or once its thread ended; else its last group was refused,
    /// nothing of it is stored, and the next append tries again.
    Writer,
    /// Makes segments of WAL files. Final after a failed sync of a folder, damage, or once its thread ended;
    /// else its last attempt failed, and it tries again within a minute. Appends and reads go on, memory
    /// grows.
    Sealer,
    /// Writes the dictionary. Never final, and a warning only: a start without it takes longer. It is tried
    /// again when as many members are new as make it due.
    Dictionary,
    /// Indexes the ids of sealed events. Never final: it tries again within a minute. Until then, events that may be in a
    /// segment that is not indexed are refused; all others are taken.
    Ids,
    /// Says when something is recorded. Never final: it jumped within the last hour, or is behind the last record, so that
    /// `recorded_at` stands still.
    Clock,
    /// Holds the log. Never final: its directory is not at its place any more, or it has less space than a WAL file takes.
    Disk,
    /// Holds the truth, where the log is a copy of a cluster's history. Final where the cluster has another history, or does not
    /// let this user in; else it is not reached, and is tried again.
    Cluster,
}

impl Part {
    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Writer => "writer",
            Self::Sealer => "sealer",
            Self::Dictionary => "dictionary",
            Self::Ids => "ids",
            Self::Clock => "clock",
            Self::Disk => "disk",
            Self::Cluster => "cluster",
        }
    }
}

/// The standstills of one log, kept by those who stand still.
pub struct Standstills {
    clock: Arc<dyn Clock>,
    /// In the order of [`Part`].
    found: Mutex<Vec<Standstill>>,
}

impl Standstills {
    /// None so far; `clock` says since when.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, found: Mutex::new(Vec::new()) }
    }

    /// Notes that an attempt failed and another will be made. One that is final stays.
    pub fn failed(&self, part: Part, cause: String) {
        self.note(part, cause, false);
    }

    /// Notes that a part does nothing more until the log is opened again. The first such cause stays.
    pub fn stopped(&self, part: Part, cause: String) {
        self.note(part, cause, true);
    }

    fn note(&self, part: Part, cause: String, is_final: bool) {
        let now = self.clock.now();
        let mut found = self.found.lock();
        let at = found.partition_point(|standstill| standstill.part < part);
        match found.get_mut(at).filter(|standstill| standstill.part == part) {
            Some(standstill) if standstill.is_final => {}
            Some(standstill) => *standstill = Standstill { cause, is_final, ..*standstill },
            None => found.insert(at, Standstill { part, since: now, cause, is_final }),
        }
    }

    /// Notes that a part did its work.
    pub fn works(&self, part: Part) {
        self.found.lock().retain(|standstill| standstill.part != part || standstill.is_final);
    }

    /// Returns all of them, in the order of [`Part`].
    pub fn all(&self) -> Vec<Standstill> {
        self.found.lock().clone()
    }

    /// Keeps watch over the thread that does the work of a part: however it ends, the part stands still.
    pub fn watch(self: &Arc<Self>, part: Part) -> Watch {
        Watch { standstills: self.clone(), part }
    }
}

/// Held by a thread as long as it runs.
pub struct Watch {
    standstills: Arc<Standstills>,
    part: Part,
}

impl Drop for Watch {
    fn drop(&mut self) {
        let cause = if std::thread::panicking() {
            "its thread panicked; the standard error says where"
        } else {
            "its thread ended: the log is closed"
        };
        self.standstills.stopped(self.part, cause.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ManualClock;

    fn at(micros: i64) -> UtcInstant {
        UtcInstant::from_micros(micros)
    }

    #[test]
    fn a_standstill_begins_with_its_first_failure_and_tells_the_last() {
        let clock = Arc::new(ManualClock::new(at(1)));
        let standstills = Standstills::new(clock.clone());
        standstills.failed(Part::Sealer, "one".to_owned());
        clock.set(at(2));
        standstills.failed(Part::Sealer, "two".to_owned());
        standstills.failed(Part::Writer, "three".to_owned());
        let standstill = |part, since, cause: &str, is_final| Standstill {
            part,
            since: at(since),
            cause: cause.to_owned(),
            is_final,
        };
        let expected =
            [standstill(Part::Writer, 2, "three", false), standstill(Part::Sealer, 1, "two", false)];
        assert_eq!(standstills.all(), expected);
        standstills.works(Part::Writer);
        standstills.stopped(Part::Sealer, "four".to_owned());
        clock.set(at(3));
        // Nothing takes back what is final.
        standstills.stopped(Part::Sealer, "five".to_owned());
        standstills.failed(Part::Sealer, "six".to_owned());
        standstills.works(Part::Sealer);
        assert_eq!(standstills.all(), [standstill(Part::Sealer, 1, "four", true)]);
    }

    #[test]
    fn a_thread_that_ends_or_panics_stands_still_for_good() {
        for panics in [false, true] {
            let standstills = Arc::new(Standstills::new(Arc::new(ManualClock::new(at(7)))));
            let watch = standstills.watch(Part::Writer);
            let thread = std::thread::spawn(move || {
                let _watch = watch;
                assert!(!panics, "as it was told to");
            });
            assert_eq!(thread.join().is_err(), panics);
            let [standstill] = &standstills.all()[..] else { panic!("expected one") };
            assert!(standstill.is_final && standstill.since == at(7));
            assert_eq!(standstill.cause.contains("panicked"), panics);
        }
    }
}
