//! Access: the permission that each route asks for, as a type. Without API keys every request on this machine has all
//! of them.
//!
//! The table of routes names the access of each route. A handler names it as well, in its [`Ask`](super::ask::Ask): a
//! route and a handler that differ do not compile, and neither does a handler that reaches for more than its access
//! allows.

use std::marker::PhantomData;

/// The permission that a route asks for.
pub(super) trait Access: Copy + Send + Sync + 'static {
    /// The scope of a key that has it; `open` needs none.
    const SCOPE: &'static str;
}

/// Access to numbers, users or history.
pub(super) trait Asks: Access {}

/// Access to what changes the store.
pub(super) trait Changes: Access {}

macro_rules! access {
    ($($(#[$doc:meta])* $name:ident: $scope:literal $(, $allows:ident)*;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub(super) struct $name;

        impl Access for $name {
            const SCOPE: &'static str = $scope;
        }

        $(impl $allows for $name {})*
    )+};
}

access! {
    /// Nothing: health.
    Open: "open";
    /// To append events.
    Publish: "publish", Changes;
    /// To ask for numbers and users.
    Query: "query", Asks;
    /// To read history.
    Replay: "replay", Asks;
    /// To see and retract batches.
    Backfill: "backfill", Asks, Changes;
}

/// Proof that a request may use a route of this access. Only [`grant`] makes it.
#[derive(Debug)]
pub(super) struct Granted<A>(PhantomData<A>);

/// Grants a request the access of its route. The server runs without keys, on loopback only: everybody has all of it.
pub(super) fn grant<A: Access>() -> Granted<A> {
    Granted(PhantomData)
}
