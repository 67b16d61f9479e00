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

rules!(
    events_come_back_as_they_were_appended,
    an_empty_batch_adds_nothing,
    the_same_event_again_is_a_duplicate,
    an_event_twice_in_a_batch_is_stored_once,
    the_same_id_for_something_else_refuses_the_batch,
    skipping_conflicts_stores_the_others,
    a_report_appends_nothing,
    other_content_twice_in_a_batch_is_a_conflict,
    an_id_is_another_one_in_each_tenant,
    reading_starts_above_a_position,
    a_large_batch_is_read_from_any_event_to_any_other,
    a_filtered_scan_is_the_history_without_the_rest,
    a_reader_goes_on_when_the_tail_moves,
    recorded_at_never_decreases,
    names_keep_their_numbers,
    the_dictionary_has_every_member_both_ways,
    the_parts_make_up_the_history,
    a_closed_store_is_read_to_its_end,
    facts_are_events_without_names,
    concurrent_appends_are_each_there_once_and_in_order,
    a_subscription_sees_everything_once_from_history_to_live,
    the_events_of_a_batch_are_counted,
    a_retracted_name_is_dead,
);
