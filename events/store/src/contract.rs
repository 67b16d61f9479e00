//! The contract suite: each rule of [`EventStore`](crate::EventStore) as an async function over a fresh store.
//!
//! A store runs all of them with one line in its tests: `contract_tests!(async { fresh store })`, or
//! `contract_tests!(async { (fresh store, guard) })` where something must outlive the store. A store whose
//! appends can fail on command runs [`refusals_pass`] as well.

mod events;
#[expect(clippy::missing_panics_doc, reason = "a rule panics with what was broken, as its module says")]
mod rules;

pub use events::{Source, event_id};
pub use rules::*;

/// Calls a macro with the names of all rules behind what it is given: `macro!(given name, name, ...)`. The one list of them.
#[macro_export]
macro_rules! contract_rules {
    ($macro:path, $($given:tt)*) => {
        $macro!($($given)*
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
            records_after_a_position_are_counted_whatever_gaps_it_has,
            a_closed_store_is_read_to_its_end,
            facts_are_events_without_names,
            concurrent_appends_are_each_there_once_and_in_order,
            a_subscription_sees_everything_once_from_history_to_live,
            the_events_of_a_batch_are_counted,
            a_retracted_name_is_dead,
        );
    };
}

/// Makes one test of every rule, each over the store that the expression makes. The expression is evaluated in
/// a tokio context and yields `(store, guard)`.
#[macro_export]
macro_rules! contract_tests {
    ($fresh:expr) => {
        $crate::contract_rules!($crate::contract_tests, @rules $fresh,);
    };
    (@rules $fresh:expr, $($rule:ident),* $(,)?) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $rule() {
            let (store, _guard) = $fresh;
            $crate::contract::$rule(&store).await;
        }
    )*};
}
