//! Answers of the API that pages showed lately. A part of a page that takes long is shown as it was, while it is asked for again:
//! many readers of a page cost as much as one, and nobody waits for what was known a moment ago.
//!
//! Bounded in number, in bytes and in time. At most one request a key is under way, and the costly ones rest after it.

use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::http::answer::Answer;
use crate::http::problem::Problem;
use crate::tasks;

/// An older answer is not shown any more.
const SHOWN_FOR: Duration = Duration::from_mins(2);
/// An answer that took this long or longer is the answer to whoever asks in the time after it, so many times as long as it took:
/// pages take a tenth of a thread for it at most.
const COSTLY: Duration = Duration::from_millis(50);
const RESTS_TIMES: u32 = 10;
/// Whatever an answer took.
const RESTS_MAX: Duration = Duration::from_secs(10);
/// Answers at most, and their bytes as text.
const ANSWERS_MAX: usize = 512;
const BYTES_MAX: usize = 16 << 20;

type Shared = Arc<dyn Any + Send + Sync>;

/// The answers, each by its asker's reach and its request.
#[derive(Default)]
pub(in crate::http) struct Kept(Mutex<HashMap<String, Entry>>);

#[derive(Default)]
struct Entry {
    last: Option<Last>,
    under_way: Option<watch::Receiver<Option<Result<Shared, Problem>>>>,
}

/// The last answer.
#[derive(Clone)]
struct Last {
    answer: Shared,
    made: Instant,
    took: Duration,
    bytes: usize,
}

impl Last {
    fn rests(&self) -> bool {
        self.took >= COSTLY && self.made.elapsed() < RESTS_MAX.min(self.took * RESTS_TIMES)
    }
}

/// An answer on its way, and the one before it.
pub(super) struct OnItsWay<A> {
    answer: watch::Receiver<Option<Result<Shared, Problem>>>,
    /// With the time since it was made.
    pub(super) before: Option<(Arc<A>, Duration)>,
}

impl Kept {
    /// Asks, unless the same is being asked already.
    pub(super) fn ask<A: Answer + Sync>(
        self: &Arc<Self>,
        key: String,
        answering: impl Future<Output = Result<A, Problem>> + Send + 'static,
    ) -> OnItsWay<A> {
        let mut entries = self.0.lock();
        let entry = entries.entry(key.clone()).or_default();
        if let Some(last) = entry.last.as_ref().filter(|last| last.rests()) {
            let (_, answer) = watch::channel(Some(Ok(last.answer.clone())));
            return OnItsWay { answer, before: None };
        }
        let before = entry.last.clone().filter(|last| last.made.elapsed() < SHOWN_FOR);
        let before =
            before.and_then(|Last { answer, made, .. }| Some((answer.downcast().ok()?, made.elapsed())));
        // Without a sender the task is gone.
        let under_way = entry.under_way.take().filter(|under_way| under_way.has_changed().is_ok());
        let answer = under_way.unwrap_or_else(|| {
            let (sender, receiver) = watch::channel(None);
            let kept = self.clone();
            tasks::task(async move {
                let begun = Instant::now();
                let answer = answering.await.map(Arc::new);
                if let Ok(answer) = &answer {
                    kept.keep(&key, answer, begun.elapsed());
                }
                let is_refused = answer.is_err();
                sender.send_replace(Some(answer.map(|answer| answer as Shared)));
                if is_refused {
                    kept.forget(&key);
                }
            });
            receiver
        });
        entry.under_way = Some(answer.clone());
        OnItsWay { answer, before }
    }

    /// Whoever waits for a refusal has it already.
    fn forget(&self, key: &str) {
        let mut entries = self.0.lock();
        match entries.get_mut(key) {
            Some(entry) if entry.last.is_some() => entry.under_way = None,
            Some(_) => drop(entries.remove(key)),
            None => {}
        }
    }

    fn keep<A: Answer + Sync>(&self, key: &str, answer: &Arc<A>, took: Duration) {
        let bytes = serde_json::to_vec(&**answer).map_or(BYTES_MAX, |text| text.len());
        let mut entries = self.0.lock();
        let last = Last { answer: answer.clone(), made: Instant::now(), took, bytes };
        entries.entry(key.to_owned()).or_default().last = Some(last);
        let made = |entry: &Entry| entry.last.as_ref().map(|last| last.made);
        entries.retain(|_, entry| {
            let is_shown = made(entry).is_some_and(|made| made.elapsed() < SHOWN_FOR);
            is_shown || entry.under_way.as_ref().is_some_and(|under_way| under_way.has_changed().is_ok())
        });
        let bytes_of = |entry: &Entry| entry.last.as_ref().map_or(0, |last| last.bytes);
        while entries.len() > ANSWERS_MAX || entries.values().map(bytes_of).sum::<usize>() > BYTES_MAX {
            // Whoever is being asked has no answer yet.
            let answered = entries.iter().filter_map(|(key, entry)| Some((made(entry)?, key)));
            let oldest = answered.min().map(|(_, key)| key.clone());
            let Some(oldest) = oldest else { return };
            entries.remove(&oldest);
        }
    }
}

impl<A: Answer + Sync> OnItsWay<A> {
    /// Waits for the answer. `None`: its task was broken off.
    pub(super) async fn answer(&mut self) -> Option<Result<Arc<A>, Problem>> {
        let answer = self.answer.wait_for(Option::is_some).await.ok()?.clone()?;
        match answer {
            Ok(answer) => Some(Ok(answer.downcast().ok()?)),
            Err(problem) => Some(Err(problem)),
        }
    }
}

#[cfg(test)]
mod tests {
    use schemars::JsonSchema;
    use serde::Serialize;

    use super::*;

    #[derive(JsonSchema, Serialize)]
    struct Number(u64);

    impl Answer for Number {
        const NAME: &'static str = "Number";
        const EXAMPLE: &'static str = "1";
    }

    #[tokio::test]
    async fn one_request_serves_all_who_ask_and_its_answer_is_shown_to_those_after() {
        let kept = Arc::new(Kept::default());
        let (sender, receiver) = tokio::sync::oneshot::channel::<u64>();
        let mut first = kept.ask("key".to_owned(), async { Ok(Number(receiver.await.unwrap())) });
        let mut second = kept.ask::<Number>("key".to_owned(), async { panic!("it is being asked") });
        assert!(first.before.is_none() && second.before.is_none());
        sender.send(7).unwrap();
        for asked in [&mut first, &mut second] {
            assert_eq!(asked.answer().await.unwrap().unwrap().0, 7);
        }
        let mut third = kept.ask("key".to_owned(), async { Ok(Number(8)) });
        assert_eq!(third.before.as_ref().unwrap().0.0, 7);
        assert_eq!(third.answer().await.unwrap().unwrap().0, 8);
        // Of another asker nothing is known, and a refusal is no answer to keep.
        let mut other = kept.ask::<Number>("other".to_owned(), async { Err(Problem::unknown_tenant()) });
        assert!(other.before.is_none());
        assert_eq!(other.answer().await.unwrap().err().unwrap().code(), "unknown_tenant");
        assert!(kept.ask("other".to_owned(), async { Ok(Number(9)) }).before.is_none());
    }

    #[tokio::test]
    async fn a_costly_answer_rests_for_a_while() {
        let kept = Arc::new(Kept::default());
        let mut first = kept.ask("key".to_owned(), async { Ok(Number(1)) });
        assert!(first.answer().await.is_some());
        kept.keep("key", &Arc::new(Number(2)), COSTLY);
        let mut rests = kept.ask::<Number>("key".to_owned(), async { panic!("it was just asked") });
        assert_eq!(rests.answer().await.unwrap().unwrap().0, 2);
        kept.0.lock().get_mut("key").unwrap().last.as_mut().unwrap().made -= COSTLY * RESTS_TIMES;
        let mut again = kept.ask("key".to_owned(), async { Ok(Number(3)) });
        assert_eq!(again.before.as_ref().unwrap().0.0, 2);
        assert_eq!(again.answer().await.unwrap().unwrap().0, 3);
    }

    #[tokio::test]
    async fn no_more_answers_are_kept_than_there_is_room_for() {
        let kept = Arc::new(Kept::default());
        for at in 0..ANSWERS_MAX as u64 + 20 {
            let mut asked = kept.ask(at.to_string(), async move { Ok(Number(at)) });
            assert!(asked.answer().await.is_some());
        }
        assert!(kept.0.lock().len() <= ANSWERS_MAX);
        assert!(kept.ask("0".to_owned(), async { Ok(Number(0)) }).before.is_none(), "the oldest is gone");
    }
}
