//! The contract suite of the port, over a store with an installation of its own for each rule.

use lastseen_store::EventStore;

use crate::ground::{Ground, installation};
use crate::peer::Peer;
use crate::waiting::wait;

/// A function for each rule.
macro_rules! rules {
    ($($rule:ident),* $(,)?) => {
        $(pub(crate) fn $rule(ground: &Ground) {
            let cluster = ground.small_cluster();
            let peer = Peer::open(cluster.settings(&installation()));
            let store: &dyn EventStore = peer.store().as_ref();
            wait(lastseen_store::contract::$rule(store));
        })*

        /// All rules, by name.
        pub(crate) const RULES: &[(&str, fn(&Ground))] = &[$((concat!("contract::", stringify!($rule)), $rule)),*];
    };
}

lastseen_store::contract_rules!(rules,);
