//! The part of history that an answer reflects, and the log that it is of.

use lastseen_store::EventStore;
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use lastseen_store::Lineage;

use crate::keys::seal::{Positions, ShownPosition};

/// The last position that an answer reflects, and the log that it is a position of.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub(super) struct Reflected {
    /// The answer reflects all events up to this position.
    pub(super) position: ShownPosition,
    /// The log that the position is of. A position of another log may stand for another event.
    log_id: Uuid,
}

impl Reflected {
    pub(super) fn new(position: ShownPosition, lineage: &Lineage) -> Self {
        Self { position, log_id: Uuid::from_bytes(lineage.log_id().to_bytes()) }
    }
}

/// The server's log, for a caller that has another one in mind.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub(super) struct ThisLog {
    #[serde(flatten)]
    reflected: Reflected,
    /// The logs that it continues, the oldest first.
    lineage: Vec<ShownAncestor>,
}

impl ThisLog {
    /// The log with its last position, as one caller sees positions.
    pub(super) fn of(log: &dyn EventStore, positions: &Positions) -> Self {
        let (position, lineage) = (log.tail().position(), log.lineage());
        let ancestors = lineage.ancestors().iter();
        let shown = ancestors.map(|ancestor| ShownAncestor {
            log_id: Uuid::from_bytes(ancestor.log_id.to_bytes()),
            until: positions.show(ancestor.until),
        });
        Self { reflected: Reflected::new(positions.show(position), &lineage), lineage: shown.collect() }
    }

    /// True if it continues no other log.
    pub(super) fn is_first(&self) -> bool {
        self.lineage.is_empty()
    }
}

/// A log whose history the server's log continues.
#[derive(Clone, Debug, JsonSchema, Serialize)]
struct ShownAncestor {
    log_id: Uuid,
    /// The last position at which both logs have the same events.
    until: ShownPosition,
}
