//! A subscription as a bounded channel of frames. The client's own cannot be waited for beside something else: a wait that is given
//! up loses the subscription. So a task of its own waits, and the channel holds it back while nobody takes what came.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use bytes::Bytes;
use eventstore::{Error, RecordedEvent, Subscription, SubscriptionEvent};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tracing::instrument::WithSubscriber;
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Dispatch, Event, Level, Metadata, Subscriber};

use crate::codec;

/// Something that a subscription tells.
#[derive(Debug)]
pub(crate) enum Frame {
    /// An event.
    Event(Box<RecordedEvent>),
    /// The subscription is alive: it has begun, or has passed over events of others.
    Alive,
    /// Everything that the node had was told.
    CaughtUp,
    /// It ended with this error.
    Failed(Error),
}

/// A subscription that is pumped into a channel. Dropping it ends it.
pub(crate) struct Frames {
    frames: mpsc::Receiver<Frame>,
    pump: AbortHandle,
}

/// Frames that wait to be taken.
const WAITING_MAX: usize = 4096;

impl Frames {
    pub(crate) fn pump(subscription: Subscription, runtime: &Handle) -> Self {
        let (sender, frames) = mpsc::channel(WAITING_MAX);
        let rounds = Arc::new(AtomicU32::new(0));
        let ends = Dispatch::new(EndOfStream { rounds: rounds.clone() });
        let pumping = pump(subscription, sender, rounds).with_subscriber(ends);
        Self { frames, pump: runtime.spawn(pumping).abort_handle() }
    }

    /// Takes what has come into `taken`, and waits if nothing has. `false`: the subscription has ended, and says no error.
    pub(crate) async fn take(&mut self, taken: &mut Vec<Frame>) -> bool {
        self.frames.recv_many(taken, WAITING_MAX).await > 0
    }

    /// True if nothing waits to be taken.
    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

async fn pump(mut subscription: Subscription, frames: mpsc::Sender<Frame>, rounds: Arc<AtomicU32>) {
    loop {
        let frame = subscription.next_subscription_event().await;
        rounds.store(0, Relaxed);
        let frame = match frame {
            Ok(SubscriptionEvent::EventAppeared(event)) => match event.event.or(event.link) {
                Some(event) => Frame::Event(Box::new(without_foreign_data(event))),
                None => continue,
            },
            Ok(SubscriptionEvent::CaughtUp(_)) => Frame::CaughtUp,
            Ok(_) => Frame::Alive,
            Err(error) => Frame::Failed(error),
        };
        let is_last = matches!(frame, Frame::Failed(_));
        if frames.send(frame).await.is_err() || is_last {
            return;
        }
    }
}

/// Frees the data of an event that is not Lastseen's, which may be large: nobody reads it.
fn without_foreign_data(mut event: RecordedEvent) -> RecordedEvent {
    if !codec::is_ours(&event) {
        event.data = Bytes::new();
    }
    event
}

/// The end of a subscription that a server or a proxy ends without an error.
///
/// The client then looks for the next frame for ever, without giving its thread back: no time-out comes through. What it does in
/// each round is to log that the frame is unknown. This is the one place where it can be met, so the log that the pump has ends the
/// pump there: it unwinds, which the runtime turns into the end of the task. A frame that is really unknown is one round, and is
/// passed over.
struct EndOfStream {
    /// Rounds since the last frame.
    rounds: Arc<AtomicU32>,
}

/// More rounds than frames that a client does not know come in turn.
const ROUNDS_MAX: u32 = 1_000;

#[cfg(panic = "abort")]
compile_error!("the end of a subscription is an unwinding, which must not abort the process");

impl EndOfStream {
    /// True for what the client logs about frames of subscriptions that it cannot read, and at no other time in a pump.
    fn is_round(metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN && metadata.target().starts_with("kurrentdb::commands")
    }
}

impl Subscriber for EndOfStream {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if Self::is_round(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        Self::is_round(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::WARN)
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {
        if self.rounds.fetch_add(1, Relaxed) >= ROUNDS_MAX {
            // No panic: nothing is wrong, and no hook is called.
            std::panic::resume_unwind(Box::new("the subscription has ended"));
        }
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
