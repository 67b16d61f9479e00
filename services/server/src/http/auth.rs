//! Access: the permission that each route asks for. Without API keys every request on this machine has all of them.

/// The permission that a route asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Nothing: health.
    Open,
    /// To append events.
    Publish,
    /// To ask for numbers and users.
    Query,
    /// To read history.
    Replay,
    /// To see and retract batches.
    Backfill,
}

impl Access {
    /// The scope of a key that has it; `open` needs none.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Publish => "publish",
            Self::Query => "query",
            Self::Replay => "replay",
            Self::Backfill => "backfill",
        }
    }
}

/// Proof that a request may use its route. Only [`grant`] makes it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Granted(());

/// Grants a request the access of its route. The server runs without keys, on loopback only: everybody has all of it.
pub(super) fn grant(_access: Access) -> Granted {
    Granted(())
}
