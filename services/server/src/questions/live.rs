//! Numbers of now for readers who stay: one ticker counts them for all.
//!
//! A reader [follows](LiveNumbers::follow) a scope. The ticker looks at the views when they have changed, at most every
//! [`TICK`], and makes one [`Now`] for all readers of a scope. A slow reader misses what lies between and gets the latest.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use lastseen_event::{BatchOrdinal, EventId, EventType, Position, UtcInstant};
use lastseen_projections::{Retracted, Scope, Summary};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::error::{Overload, QuestionError};
use crate::read_model::{ReadModel, Reading};
use crate::tasks;

/// The windows that are counted: their names, and their lengths in hours.
pub(crate) const WINDOWS: [(&str, u64); 3] = [("24h", 24), ("7d", 24 * 7), ("30d", 24 * 30)];

/// The least time between two looks at the views.
const TICK: Duration = Duration::from_millis(500);
/// The most: numbers change by time alone as well.
const AT_LEAST_EVERY: Duration = Duration::from_secs(1);
/// Most scopes with a reader.
const SCOPES_MAX: usize = 256;
/// Most events in a message.
const LATEST_MAX: usize = 20;
/// Time that the rate of events is of, and between two of its samples.
const RATE_OF: Duration = Duration::from_mins(5);
const SAMPLED_EVERY: Duration = Duration::from_secs(5);

/// The ticker and its readers.
pub(crate) struct LiveNumbers {
    model: Arc<ReadModel>,
    /// Most readers at once.
    readers_max: usize,
    /// `None`: the server is stopping.
    feeds: Mutex<Option<Vec<Feed>>>,
    begun: Notify,
    rate: Mutex<Rate>,
}

/// A scope with readers.
#[derive(Clone)]
struct Feed {
    scope: Scope,
    sender: watch::Sender<Option<Arc<Now>>>,
}

/// The number of readers of all scopes.
fn readers(feeds: &[Feed]) -> usize {
    feeds.iter().map(|feed| feed.sender.receiver_count()).sum()
}

/// The numbers of a scope at one position.
#[derive(Debug)]
pub(crate) struct Now {
    pub(crate) at: UtcInstant,
    pub(crate) position: Position,
    /// One for each of [`WINDOWS`].
    pub(crate) summaries: [Summary; WINDOWS.len()],
    /// Events a second over the last minutes; of all tenants only, and once it is known.
    pub(crate) rate: Option<f64>,
    /// The latest events of the scope since the server started, the newest first.
    pub(crate) latest: Vec<LatestEvent>,
    /// The message without and with events, once a reader needed it.
    pub(crate) text: [OnceLock<Arc<str>>; 2],
}

/// An event as it is told to readers who stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LatestEvent {
    pub(crate) id: EventId,
    pub(crate) event_type: EventType,
    pub(crate) tenant_id: String,
    pub(crate) user_id: String,
    pub(crate) occurred_at: UtcInstant,
    batch: Option<BatchOrdinal>,
}

/// Adds events that were the latest before to those that are now. The views remember a number of events of all tenants together:
/// how many others publish must not take one away.
fn add_before(latest: &mut Vec<LatestEvent>, before: &[LatestEvent], retracted: &Retracted) {
    let is_kept = |event: &&LatestEvent| !event.batch.is_some_and(|batch| retracted.contains(batch));
    for event in before.iter().filter(is_kept) {
        if latest.len() >= LATEST_MAX {
            return;
        }
        if !latest.iter().any(|other| (other.id, &other.tenant_id) == (event.id, &event.tenant_id)) {
            latest.push(event.clone());
        }
    }
}

impl Now {
    /// True if readers of the scope have something new. Of one tenant the position and the rate tell of others.
    fn differs(&self, before: &Self, scope: Scope) -> bool {
        let of_all = matches!(scope, Scope::All) && self.position != before.position;
        of_all || self.summaries != before.summaries || self.latest != before.latest
    }
}

/// Numbers of events that were folded, at moments of the last minutes. Positions do not tell that: they may have gaps.
#[derive(Debug, Default)]
struct Rate(VecDeque<(Instant, u64)>);

impl Rate {
    fn sample(&mut self, now: Instant, events: u64) {
        if self.0.back().is_some_and(|(at, _)| now.duration_since(*at) < SAMPLED_EVERY) {
            return;
        }
        self.0.push_back((now, events));
        while self.0.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= RATE_OF) {
            self.0.pop_front();
        }
    }

    /// Events a second since the first sample. `None`: it is too short ago.
    #[expect(clippy::cast_precision_loss, reason = "a rate is shown with few digits")]
    fn until(&self, now: Instant, events: u64) -> Option<f64> {
        let (at, first) = self.0.front()?;
        let seconds = now.duration_since(*at);
        let events = events.saturating_sub(*first);
        (seconds >= SAMPLED_EVERY).then(|| events as f64 / seconds.as_secs_f64())
    }
}

impl LiveNumbers {
    pub(crate) fn new(model: Arc<ReadModel>, readers_max: usize) -> Arc<Self> {
        Arc::new(Self {
            model,
            readers_max,
            feeds: Mutex::new(Some(Vec::new())),
            begun: Notify::new(),
            rate: Mutex::default(),
        })
    }

    /// Follows a scope. What is received first is of now; the end of the channel is the end of the server.
    ///
    /// # Errors
    /// [`QuestionError::Overloaded`] where there are too many readers or scopes.
    pub(crate) fn follow(&self, scope: Scope) -> Result<watch::Receiver<Option<Arc<Now>>>, QuestionError> {
        let mut feeds = self.feeds.lock();
        let Some(feeds) = feeds.as_mut() else { return Err(QuestionError::Overloaded(Overload::Readers)) };
        feeds.retain(|feed| feed.sender.receiver_count() > 0);
        let known = feeds.iter().position(|feed| feed.scope == scope);
        if readers(feeds) >= self.readers_max || (known.is_none() && feeds.len() >= SCOPES_MAX) {
            return Err(QuestionError::Overloaded(Overload::Readers));
        }
        if let Some(known) = known {
            let mut receiver = feeds[known].sender.subscribe();
            receiver.mark_changed();
            return Ok(receiver);
        }
        let (sender, receiver) = watch::channel(None);
        feeds.push(Feed { scope, sender });
        self.begun.notify_one();
        Ok(receiver)
    }

    /// Ends all readers, and takes no more.
    pub(crate) fn close(&self) {
        self.feeds.lock().take();
        self.begun.notify_one();
    }

    /// Counts for the readers until they are closed.
    pub(crate) async fn run(live: Weak<Self>) {
        loop {
            let Some(this) = live.upgrade() else { return };
            let position = this.model.position();
            this.sample();
            let ticking = this.clone();
            if !tasks::blocking(move || ticking.tick()).await {
                return;
            }
            let began = Instant::now();
            let new = async {
                tokio::time::sleep(TICK).await;
                this.model.passes(position).await;
            };
            let has_readers = this.feeds.lock().as_deref().is_some_and(|feeds| readers(feeds) > 0);
            let wait = if has_readers { AT_LEAST_EVERY } else { SAMPLED_EVERY };
            tokio::select! {
                () = new => {}
                () = this.begun.notified() => {}
                () = tokio::time::sleep_until(began + wait) => {}
            }
        }
    }

    fn sample(&self) {
        self.rate.lock().sample(Instant::now(), self.model.folded_events());
    }

    /// Tells the readers of each scope what is new. `false`: they are closed.
    fn tick(&self) -> bool {
        let feeds = {
            let mut feeds = self.feeds.lock();
            let Some(feeds) = feeds.as_mut() else { return false };
            feeds.retain(|feed| feed.sender.receiver_count() > 0);
            // Nobody who comes or leaves waits for the count.
            feeds.clone()
        };
        if feeds.is_empty() {
            return true;
        }
        let reading = self.model.reading();
        for Feed { scope, sender } in feeds {
            let mut now = self.now(&reading, scope);
            if let Some(last) = &*sender.borrow() {
                add_before(&mut now.latest, &last.latest, &reading.retracted);
            }
            sender.send_if_modified(|last| {
                let is_new = last.as_ref().is_none_or(|last| now.differs(last, scope));
                if is_new {
                    *last = Some(Arc::new(now));
                }
                is_new
            });
        }
        true
    }

    fn now(&self, reading: &Reading, scope: Scope) -> Now {
        let at = reading.at;
        let views = reading.views();
        let position = views.position();
        let since = |hours: u64| at.saturating_sub(Duration::from_hours(hours));
        let summaries = WINDOWS.map(|(_, hours)| views.summary(scope, since(hours)));
        let facts = views.latest(scope, LATEST_MAX);
        drop(views);
        let members = self.model.log().members();
        let latest = facts.into_iter().map(|fact| LatestEvent {
            id: fact.id,
            event_type: fact.event_type,
            tenant_id: members.tenant_id(fact.member.tenant).to_string(),
            user_id: members.user_id(fact.member.person).to_string(),
            occurred_at: fact.occurred_at,
            batch: fact.batch,
        });
        let latest = latest.collect();
        let rate = match scope {
            Scope::All => self.rate.lock().until(Instant::now(), self.model.folded_events()),
            Scope::Tenant(_) => None,
        };
        Now { at, position, summaries, rate, latest, text: [OnceLock::new(), OnceLock::new()] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Model, Replica};

    fn event(number: u128, batch: Option<u32>) -> LatestEvent {
        LatestEvent {
            id: EventId::new(uuid::Uuid::from_u128(number)).unwrap(),
            event_type: EventType::Login,
            tenant_id: "acme".to_owned(),
            user_id: "ada".to_owned(),
            occurred_at: UtcInstant::from_micros(0),
            batch: batch.map(BatchOrdinal::new),
        }
    }

    #[test]
    fn the_latest_stay_where_the_views_forget_them_and_go_with_their_batch() {
        let before = [event(3, None), event(2, Some(7)), event(1, None)];
        let mut latest = vec![event(4, None), event(3, None)];
        add_before(&mut latest, &before, &Retracted::default());
        assert_eq!(latest, [event(4, None), event(3, None), event(2, Some(7)), event(1, None)]);
        let mut latest = Vec::new();
        add_before(&mut latest, &before, &[BatchOrdinal::new(7)].into_iter().collect());
        assert_eq!(latest, [event(3, None), event(1, None)]);
        let mut latest: Vec<_> = (10..10 + LATEST_MAX as u128).map(|number| event(number, None)).collect();
        add_before(&mut latest, &before, &Retracted::default());
        assert_eq!(latest.len(), LATEST_MAX);
    }

    /// The rate was of positions: where an event takes many, it was as many times too high.
    #[tokio::test]
    async fn the_rate_is_of_events_where_positions_have_gaps() {
        const EVENTS: u64 = 200;
        let mut replica = None;
        let model = Model::over(|disk, _| Ok(replica.insert(Replica::new(disk)).log.clone()));
        let live = LiveNumbers::new(model.inner.clone(), 1);
        live.sample();
        let tail = replica.unwrap().take_in(EVENTS, Replica::GAP).await;
        assert!(model.inner.reach(tail, Duration::from_mins(1)).await);
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(100)).await;
        let now = live.now(&model.inner.reading(), Scope::All);
        // What was waited for counts as well.
        assert!(now.rate.is_some_and(|rate| rate > 1.0 && rate <= 2.0), "{:?}", now.rate);
    }
}
