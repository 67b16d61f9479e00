//! The list of all tests, and how they are run.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use parking_lot::RwLock;

use crate::cluster::Ability;
use crate::ground::Ground;
use crate::report::{self, Found};
use crate::{answers, contract, following, rules, schedules, two_nodes, which_cluster};

/// One test.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    /// Beginnings of the rules of the ledger that it asks.
    asks: &'static [&'static str],
    needs: &'static [Ability],
    run: fn(&Ground),
}

/// A test by its path, what it needs, and the rules that it asks.
macro_rules! case {
    ($module:ident::$name:ident $([$($need:ident),*])? $(, $rule:literal)* $(,)?) => {
        Case {
            name: concat!(stringify!($module), "::", stringify!($name)),
            asks: &[$($rule),*],
            needs: &[$($(Ability::$need),*)?],
            run: $module::$name,
        }
    };
}

/// The tests of the store.
fn of_the_store() -> Vec<Case> {
    vec![
        case!(two_nodes::events_published_to_either_node_are_equal_on_both),
        case!(schedules::no_schedule_of_faults_loses_or_doubles_an_event[Script]),
        case!(schedules::a_leader_is_killed_under_load[ThreeNodes, Kill]),
        case!(schedules::a_leader_is_frozen_under_load[ThreeNodes, Freeze]),
        case!(answers::an_id_that_the_cluster_has_forgotten_is_kept_once[ThreeNodes, Kill]),
        case!(answers::of_two_contents_both_nodes_keep_the_first),
        case!(answers::an_answer_tells_which_rows_are_unknown[Script]),
        case!(answers::an_append_to_a_cluster_that_is_away_writes_nothing[Kill]),
        case!(answers::the_largest_batch_is_taken),
        case!(answers::a_user_without_the_right_to_read_is_told_the_command[Script]),
        case!(answers::a_cluster_with_certificates_of_its_own_is_followed[Script]),
        case!(which_cluster::a_cluster_that_is_founded_anew_is_refused[Script]),
        case!(which_cluster::a_cluster_that_was_restored_is_refused[Script]),
        case!(which_cluster::a_cluster_that_was_restored_and_has_grown_again_is_refused[Script]),
        case!(which_cluster::a_cluster_that_is_restored_under_a_node_is_refused[Script]),
        case!(which_cluster::a_scavenged_last_event_does_not_take_the_next_one_with_it[Scavenge]),
        case!(which_cluster::a_record_of_a_newer_form_ends_the_reading_by_name),
        case!(which_cluster::foreign_records_are_left_out),
        case!(following::a_subscription_that_ends_without_an_error_is_begun_anew[Script]),
        case!(following::a_node_that_was_away_catches_up),
        case!(following::a_node_begins_with_a_backup_of_another_one),
        case!(following::a_start_without_the_cluster_goes_on_with_the_copy[Kill]),
        case!(following::a_batch_is_taken_back_from_either_node),
    ]
}

/// The tests of the server.
fn of_the_server() -> Vec<Case> {
    vec![
        case!(
            rules::an_answer_has_the_position_of_its_last_event,
            "Commit and prepare position are equal",
            "Positions increase and never repeat"
        ),
        case!(rules::an_event_comes_back_as_it_was_appended, "\"content-type text/plain\" becomes octets"),
        case!(rules::an_append_is_stored_only_in_the_state_that_it_expects, "The expected state decides"),
        case!(
            rules::an_id_is_known_by_revision_for_ever_and_otherwise_for_a_while,
            "Known after 60,000 others",
            "By revision, without a limit"
        ),
        case!(
            rules::a_known_id_again_is_a_success_with_its_first_position,
            "A known id again is a success",
            "An id is known in its stream only"
        ),
        case!(rules::only_the_first_id_of_an_append_decides, "Only the first id decides"),
        case!(rules::an_append_has_a_mebibyte_at_most, "\"too big\""),
        case!(
            rules::a_read_includes_its_start_and_a_subscription_does_not,
            "A read includes its start forwards",
            "Starts behind its position"
        ),
        case!(rules::beyond_the_end_there_is_silence, "\"subscribe $all beyond the end\" is silent"),
        case!(
            rules::a_subscription_has_history_then_what_comes,
            "Confirmed, events, caught up",
            "History, then what comes"
        ),
        case!(rules::a_checkpoint_is_good_to_resume_from, "Every checkpoint is good"),
        case!(
            rules::a_subscription_from_a_scavenged_event_loses_the_next_one[Scavenge],
            "A subscription from a scavenged event"
        ),
        case!(rules::ids_are_forgotten_at_a_new_leader[ThreeNodes, Kill], "Forgotten at a new leader"),
        case!(rules::ids_are_forgotten_by_a_restart[Kill], "Forgotten by a restart"),
        case!(rules::another_node_leads_and_has_everything[ThreeNodes, Kill], "Another leads when the leader is killed", "A node that was away gets"),
        case!(rules::a_frozen_leader_is_replaced[ThreeNodes, Freeze], "A frozen leader says nothing"),
        case!(rules::a_user_reads_all_only_once_it_is_allowed[Script], "A user appends, reads streams"),
    ]
}

fn cases() -> Vec<Case> {
    let mut cases = of_the_store();
    cases.extend(contract::RULES.iter().map(|(name, run)| Case { name, asks: &[], needs: &[], run: *run }));
    cases.extend(of_the_server());
    cases
}

/// Held by a test that measures, so that nothing else runs.
static ALONE: RwLock<()> = RwLock::new(());
const MEASURES: &str = "following::a_subscription_that_ends_without_an_error_is_begun_anew";

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let mut arguments = arguments.clone();
    let ground = Arc::new(Ground::of_environment());
    if ground.is_real() {
        // What is done to the nodes is done to all tests.
        arguments.test_threads = Some(1);
    }
    let asked: Vec<&str> = cases().iter().flat_map(|case| case.asks).copied().collect();
    let trials = cases().into_iter().map(|case| trial(case, &ground)).collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    if !arguments.list {
        report::print(ground.name(), &asked);
    }
    conclusion.exit_code()
}

/// The end of a test that cannot ask here what it is for.
struct NotAsked(String);

/// Ends a test: it cannot be asked here, for this reason.
pub(crate) fn not_asked(why: &str) -> ! {
    resume_unwind(Box::new(NotAsked(why.to_owned())))
}

fn trial(case: Case, ground: &Arc<Ground>) -> Trial {
    let ground = ground.clone();
    Trial::ignorable_test(case.name, move || {
        if let Some(lacking) = case.needs.iter().find_map(|need| ground.lacks(*need)) {
            return Ok(ignored(case.asks, lacking));
        }
        let outcome = {
            let is_alone = case.name == MEASURES;
            let _alone = is_alone.then(|| ALONE.write());
            let _beside = (!is_alone).then(|| ALONE.read());
            catch_unwind(AssertUnwindSafe(|| (case.run)(&ground)))
        };
        match outcome {
            Ok(()) => {
                report::note(case.asks, &Found::Confirmed);
                Ok(Completion::Completed)
            }
            Err(panic) if panic.is::<NotAsked>() => {
                let why = panic.downcast::<NotAsked>().map_or_else(|_| String::new(), |it| it.0);
                Ok(ignored(case.asks, why))
            }
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                let text = text.unwrap_or_else(|| "a panic without a text".to_owned());
                report::note(case.asks, &Found::Differs(text.lines().collect::<Vec<_>>().join(" ")));
                Err(Failed::from(text))
            }
        }
    })
}

fn ignored(asks: &[&str], why: String) -> Completion {
    let completion = Completion::ignored_with(format!("not asked: {why}"));
    report::note(asks, &Found::NotAsked(why));
    completion
}
