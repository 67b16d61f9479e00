//! Batches that were taken back, in random histories: whatever came before and after, the answers are those of the events
//! that are left.

use std::sync::Arc;
use std::time::Duration;

use lastseen_event::{BatchOrdinal, Fact};
use lastseen_projections::{
    Calendar, DaysBuilder, Period, Periods, Persons, Retracted, Scope, Selection, Views, ViewsBuilder,
};
use proptest::prelude::*;

use crate::history::{Choice, choice, edges, history};
use crate::laws::{agrees, as_of};
use crate::naive::Naive;

const BATCHES: u32 = 3;

const WINDOW: Duration = Duration::from_hours(48);

/// One step of a store's history.
#[derive(Clone, Copy, Debug)]
enum Step {
    Event(Fact),
    Retract(BatchOrdinal),
}

fn batch() -> impl Strategy<Value = BatchOrdinal> {
    (0..BATCHES).prop_map(BatchOrdinal::new)
}

/// A history of which some events came with a batch.
pub(crate) fn batched(events: usize) -> impl Strategy<Value = Vec<Fact>> {
    let batches = prop::collection::vec(prop::option::of(batch()), events);
    (history(events), batches).prop_map(|(facts, batches)| {
        facts.into_iter().zip(batches).map(|(fact, batch)| Fact { batch, ..fact }).collect()
    })
}

/// Events with retractions between them, before and behind the events of their batches.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    let retractions = prop::collection::vec((batch(), any::<prop::sample::Index>()), 0..4);
    (batched(60), retractions).prop_map(|(facts, retractions)| {
        let mut steps: Vec<Step> = facts.into_iter().map(Step::Event).collect();
        for (batch, place) in retractions {
            steps.insert(place.index(steps.len() + 1), Step::Retract(batch));
        }
        steps
    })
}

pub(crate) fn retracted() -> impl Strategy<Value = Retracted> {
    prop::collection::vec(batch(), 0..3).prop_map(Retracted::from_iter)
}

fn built(facts: &[Fact], selection: Selection, retracted: &Retracted) -> Views {
    let mut builder = ViewsBuilder::new(selection, retracted.clone(), Persons::UserId);
    builder.apply_all(facts);
    builder.finish()
}

fn surviving(facts: &[Fact], retracted: &[BatchOrdinal]) -> Vec<Fact> {
    let survives = |fact: &&Fact| fact.batch.is_none_or(|batch| !retracted.contains(&batch));
    facts.iter().filter(survives).copied().collect()
}

proptest! {
    /// Each retraction folds what there is anew; events go on being folded one by one, those of dead batches included.
    #[test]
    fn any_interleaving_gives_what_the_surviving_events_give(steps in steps()) {
        let (mut views, mut log, mut dead) = (Views::default(), Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::Event(fact) => {
                    log.push(fact);
                    views.apply(&fact);
                }
                Step::Retract(batch) => {
                    dead.push(batch);
                    views = built(&log, Selection::default(), &dead.iter().copied().collect());
                }
            }
            let survivors = surviving(&log, &dead);
            let expected = Naive { position: views.position(), ..Naive::new(&survivors) };
            prop_assert_eq!(views.position(), log.last().map_or_else(Default::default, |last| last.position));
            agrees(&views, &expected, &edges(&survivors))?;
        }
    }

    #[test]
    fn scans_leave_out_what_was_retracted(facts in batched(60), retracted in retracted(), choice in choice()) {
        let dead: Vec<_> = retracted.iter().collect();
        let survivors = surviving(&facts, &dead);
        let views = built(&facts, choice.selection(), &retracted);
        let expected = Naive { position: views.position(), ..Naive::choosing(&survivors, &choice) };
        agrees(&views, &expected, &edges(&survivors))?;
        let days = |facts: &[Fact], retracted: Retracted| {
            let calendar = Arc::new(Calendar::utc());
            let mut builder = DaysBuilder::new(choice.selection(), retracted, calendar, Persons::Off);
            builder.apply_all(facts);
            let day = |fact: &Fact| Calendar::utc().date(fact.occurred_at);
            let days = facts.iter().map(day).min().zip(facts.iter().map(day).max());
            days.map(|(first, last)| {
                let sets = builder.finish().days(&Periods { days: first..=last, period: Period::Day }, None);
                // The total of the last day is of everything, whatever occurred later.
                sets.rows(last.plus(1))
            })
        };
        // With the same span: the rows of days on which nothing is left are zeros.
        if let Some(rows) = days(&facts, retracted.clone()) {
            let expected = days(&survivors, Retracted::default()).unwrap_or_default();
            for row in expected {
                prop_assert!(rows.contains(&row), "{:?} is not among {:?}", row, rows);
            }
        }
    }

    #[test]
    fn numbers_as_of_an_instant_leave_out_what_was_retracted(facts in batched(40), retracted in retracted()) {
        let dead: Vec<_> = retracted.iter().collect();
        let views = built(&facts, Selection::default(), &retracted);
        for at in facts.iter().map(|fact| fact.occurred_at) {
            let choice = Choice { occurred_until: Some(at), ..Choice::default() };
            let survivors = surviving(&facts, &dead);
            let expected = Naive::choosing(&survivors, &choice);
            let since = at.saturating_sub(WINDOW);
            let found = as_of(&views, (&facts, &survivors), Scope::All, since..=at, 16);
            prop_assert_eq!(found, expected.summary(Scope::All, since));
        }
    }
}
