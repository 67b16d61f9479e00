//! The JSON of events. Their ids follow from the seed, so a failing test fails the same way again.

use serde_json::{Value, json};

use crate::instant::rfc3339;
use crate::seeded::Seeded;

/// Makes events with ids of their own. Every test has its own seed, so ids of two tests never meet.
#[derive(Debug)]
pub struct Events(Seeded);

impl Events {
    /// A source of events.
    pub fn seeded(seed: u64) -> Self {
        Self(Seeded::new(seed))
    }

    /// An id that no other event of this source has, in the form of a random UUID.
    pub fn id(&mut self) -> String {
        let [a, b] = [self.0.bits(), self.0.bits()];
        let (group, version) = ((a >> 16) & 0xffff, 0x4000 | (a & 0x0fff));
        let (variant, node) = (0x8000 | ((b >> 48) & 0x3fff), b & 0xffff_ffff_ffff);
        format!("{:08x}-{group:04x}-{version:04x}-{variant:04x}-{node:012x}", a >> 32)
    }

    /// An event of any type that needs no field of its own; `at` in microseconds since 1970.
    pub fn of(&mut self, event_type: &str, (tenant, user): (&str, &str), at: i64) -> Value {
        json!({
            "id": self.id(),
            "type": event_type,
            "tenant_id": tenant,
            "user_id": user,
            "occurred_at": rfc3339(at),
        })
    }

    /// A `login`.
    pub fn login(&mut self, member: (&str, &str), at: i64) -> Value {
        self.of("login", member, at)
    }

    /// A `user_created` with `confirmed: true`.
    pub fn created_confirmed(&mut self, member: (&str, &str), at: i64) -> Value {
        with(self.of("user_created", member, at), "confirmed", true)
    }

    /// A `user_changed` that says whether the user counts.
    pub fn counting(&mut self, counts: bool, member: (&str, &str), at: i64) -> Value {
        with(self.of("user_changed", member, at), "counts", counts)
    }

    /// A `user_created` with `confirmed: false`: an invitation.
    pub fn invited(&mut self, member: (&str, &str), at: i64) -> Value {
        with(self.of("user_created", member, at), "confirmed", false)
    }

    /// An `estimated_activity` of a backfill.
    pub fn estimated(&mut self, member: (&str, &str), at: i64) -> Value {
        with(self.of("estimated_activity", member, at), "batch", "backfill-1")
    }
}

fn with(mut event: Value, field: &str, value: impl Into<Value>) -> Value {
    event[field] = value.into();
    event
}
