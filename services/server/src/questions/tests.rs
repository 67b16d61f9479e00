//! Questions asked without HTTP, and equal questions that share one computation.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use chrono_tz::Tz;
use futures_util::future::join_all;
use lastseen_event::Position;
use lastseen_projections::{Period, Scope, Selection, TypeSet};

use super::admission::{Admission, Cost, Kind};
use super::question::Question;
use super::single_flight::Flights;
use super::span::Dates;
use super::tenants::{TenantSort, TenantsQuestion};
use super::users::{Sort, UsersFilter, UsersQuestion, Whom};
use super::{QuestionError, Questions};
use crate::config::Limits;
use crate::memory::Memory;
use crate::metrics::QuestionWaits;
use crate::testing::{Model, instant};

const PATIENCE: Duration = Duration::from_mins(1);

fn questions(model: &Model) -> Arc<Questions> {
    let limits = Limits::default();
    Questions::new(
        model.inner.clone(),
        limits,
        (Memory::new(limits.memory_bytes), QuestionWaits::default()),
        lastseen_projections::Persons::UserId,
    )
}

fn now() -> Question {
    Question { window: Duration::from_hours(720), as_of: None, selection: Selection::default() }
}

fn as_of(at: &str) -> Question {
    let at = Some(instant(at));
    Question { as_of: at, selection: Selection { occurred_until: at, ..Selection::default() }, ..now() }
}

/// Two tenants: three users of one, one of them deleted, and a user of the other.
async fn model() -> Model {
    let model = Model::new();
    let events = [
        "login acme ada 2026-01-09T00:00:00Z",
        "login acme ada 2026-01-01T00:00:00Z",
        "login acme bob 2025-11-01T00:00:00Z",
        "login acme eve 2026-01-09T00:00:00Z",
        "user_deleted acme eve 2026-01-09T06:00:00Z",
        "login zeta ada 2026-01-08T00:00:00Z",
    ];
    model.append(&events).await.unwrap();
    model
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_are_typed_answers_of_typed_questions() {
    let model = model().await;
    let questions = questions(&model);
    let reading = questions.reading(Some(Position::new(6))).await.unwrap();
    let live = questions.summary(&reading, Scope::All, &now()).await.unwrap();
    assert_eq!((live.summary.total_users, live.summary.active_users, live.summary.deleted_users), (3, 2, 1));
    assert_eq!((live.position, live.at), (Position::new(6), reading.at));
    let scope = questions.scope(&reading, Some("acme"), true).unwrap();
    let past = questions.summary(&reading, scope, &as_of("2026-01-09T03:00:00Z")).await.unwrap();
    assert_eq!((past.summary.total_users, past.summary.active_users, past.summary.deleted_users), (3, 2, 0));
    let selection = Selection { position_until: Some(Position::new(3)), ..Selection::default() };
    let known = Question { selection, ..now() };
    let known = questions.summary(&reading, scope, &known).await.unwrap();
    assert_eq!((known.summary.total_users, known.position), (2, Position::new(3)));
    let unknown = questions.scope(&reading, Some("nobody"), false);
    assert!(matches!(unknown, Err(QuestionError::UnknownTenant)), "{unknown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_and_series_are_typed_answers_of_typed_questions() {
    let model = model().await;
    let questions = questions(&model);
    let reading = questions.reading(None).await.unwrap();
    let Scope::Tenant(tenant) = questions.scope(&reading, Some("acme"), true).unwrap() else {
        panic!("a tenant")
    };
    let asked = UsersQuestion {
        whom: Whom::Members(Scope::Tenant(tenant)),
        question: now(),
        filter: UsersFilter::default(),
        sort: Sort::default(),
        now: None,
        after: None,
        limit: 1,
    };
    let first = questions.users(&reading, asked.clone()).await.unwrap();
    assert_eq!(first.users.iter().map(|user| &*user.user_id).collect::<Vec<_>>(), ["ada"]);
    let rest = UsersQuestion { now: Some(first.now), after: first.next.clone(), ..asked.clone() };
    let rest = questions.users(&reading, rest).await.unwrap();
    assert_eq!(rest.users.iter().map(|user| &*user.user_id).collect::<Vec<_>>(), ["bob"]);
    assert_eq!(rest.next, None);
    assert_eq!((first.total, rest.total), (2, 2), "one is deleted");
    let mut export = questions.export(&reading, asked).await.unwrap();
    assert_eq!(export.next(1)[0].user_id.as_ref(), "ada");
    assert_eq!(export.next(10).len(), 1);
    assert!(export.next(10).is_empty());
    let sort = TenantSort::default();
    let tenants = TenantsQuestion {
        question: now(),
        sort,
        now: None,
        after: None,
        limit: 10,
        only: None,
        with_previous: true,
        trend_days: 3,
    };
    let tenants = questions.tenants(&reading, tenants).await.unwrap();
    assert_eq!(tenants.tenants.iter().map(|row| &*row.tenant_id).collect::<Vec<_>>(), ["acme", "zeta"]);
    let dates = Dates {
        from: "2026-01-08".parse().ok(),
        to: "2026-01-09".parse().ok(),
        zone: Tz::UTC,
        period: Period::Day,
        of_persons: false,
        as_of: None,
        known_at: None,
        types: TypeSet::all(),
        observed_only: false,
        everyone: false,
    };
    for zone in [Tz::UTC, Tz::Pacific__Kiritimati] {
        let span = questions.span(Dates { zone, ..dates.clone() }, &reading).await.unwrap();
        let series = questions.series(&reading, Scope::All, span.clone()).await.unwrap();
        let again = questions.series(&reading, Scope::All, span).await.unwrap();
        assert_eq!(series.rows, again.rows, "counted and kept: {zone}");
        assert_eq!(series.rows.iter().map(|row| row.active).collect::<Vec<_>>(), [1, 1], "{zone}");
    }
}

/// An admission with one place for scans.
fn admission() -> Arc<Admission> {
    let limits = Limits { scans: 1, wait: PATIENCE, ..Limits::default() };
    Arc::new(Admission::new(limits, Memory::new(limits.memory_bytes), QuestionWaits::default()))
}

const SCAN: Cost = Cost { kind: Kind::Scan, bytes: 0 };

/// Questions about nothing that count how often they are worked on; work waits until it is released.
struct Counting {
    model: Model,
    flights: Arc<Flights<usize>>,
    admission: Arc<Admission>,
    begun: Arc<AtomicUsize>,
    release: mpsc::Sender<()>,
    released: Arc<parking_lot::Mutex<mpsc::Receiver<()>>>,
}

impl Counting {
    async fn new() -> Self {
        let (release, released) = mpsc::channel();
        Self {
            model: model().await,
            flights: Arc::default(),
            admission: admission(),
            begun: Arc::default(),
            release,
            released: Arc::new(parking_lot::Mutex::new(released)),
        }
    }

    /// Asks on a task of its own.
    fn ask(&self, key: &str) -> tokio::task::JoinHandle<Result<usize, QuestionError>> {
        #[expect(clippy::disallowed_methods, reason = "an asker that a test can end")]
        tokio::spawn(self.asking(key))
    }

    /// Asks once it is polled.
    fn asking(&self, key: &str) -> impl Future<Output = Result<usize, QuestionError>> + Send + use<> {
        let (flights, admission, begun) = (self.flights.clone(), self.admission.clone(), self.begun.clone());
        let (model, released) = (self.model.inner.clone(), self.released.clone());
        let (key, asked) = (key.to_owned(), self.model.inner.reading().position);
        async move {
            let admitted = async move { admission.enter(SCAN).await };
            let work = move |_, _permit| {
                let number = begun.fetch_add(1, Ordering::AcqRel) + 1;
                released.lock().recv_timeout(PATIENCE).map_err(|_| QuestionError::Panicked)?;
                Ok(number)
            };
            flights.answer((key, asked), admitted, move || model.reading(), work).await
        }
    }

    async fn begun(&self, number: usize) {
        let begun = async {
            while self.begun.load(Ordering::Acquire) < number {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, begun).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_questions_are_worked_on_once_and_others_apart() {
    let counting = Counting::new().await;
    // All ten have asked before the second part is polled.
    let (same, ()) = tokio::join!(join_all((0..10).map(|_| counting.asking("same"))), async {
        counting.begun(1).await;
        counting.release.send(()).unwrap();
    });
    assert_eq!(same.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [1; 10]);
    counting.release.send(()).unwrap();
    counting.release.send(()).unwrap();
    let (one, other) = tokio::join!(counting.asking("one"), counting.asking("other"));
    assert_eq!(one.unwrap() + other.unwrap(), 2 + 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn begun_work_ends_without_its_asker_and_work_that_nobody_waits_for_is_never_begun() {
    let counting = Counting::new().await;
    let first = counting.ask("first");
    counting.begun(1).await;
    // It waits for the one place, and its asker leaves.
    let second = counting.ask("second");
    second.abort();
    assert!(second.await.unwrap_err().is_cancelled());
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    // The first one ends all the same, and its place goes to whoever still waits.
    let third = counting.ask("third");
    counting.release.send(()).unwrap();
    counting.release.send(()).unwrap();
    assert_eq!(third.await.unwrap().unwrap(), 2, "the second was never begun");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_asked_after_an_event_does_not_share_work_from_before_it() {
    let counting = Counting::new().await;
    let before = counting.ask("same");
    counting.begun(1).await;
    counting.model.append(&["login acme new 2026-01-10T00:00:00Z"]).await.unwrap();
    let (after, as_well, ()) = tokio::join!(counting.asking("same"), counting.asking("same"), async {
        counting.release.send(()).unwrap();
        counting.release.send(()).unwrap();
    });
    assert_eq!(before.await.unwrap().unwrap(), 1);
    assert_eq!([after.unwrap(), as_well.unwrap()], [2, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_an_error_of_all_askers_and_of_nobody_later() {
    let (model, flights) = (model().await, Flights::<usize>::default());
    let (admission, reader) = (admission(), model.inner.clone());
    let asked = model.inner.reading().position;
    let entering = admission.clone();
    let panicked = flights.answer(
        ("key".to_owned(), asked),
        async move { entering.enter(SCAN).await },
        move || reader.reading(),
        |_, _| panic!("on purpose"),
    );
    assert!(matches!(panicked.await, Err(QuestionError::Panicked)));
    let reader = model.inner.clone();
    let answered = flights.answer(
        ("key".to_owned(), asked),
        async move { admission.enter(SCAN).await },
        move || reader.reading(),
        |_, _| Ok(7),
    );
    assert_eq!(answered.await.unwrap(), 7);
}
