//! A subscription as a bounded channel of frames. The client's own cannot be waited for beside something else: a wait that is given
//! up loses the subscription. So a task of its own waits, and the channel holds it back while nobody takes what came.

use std::sync::LazyLock;

use eventstore::{Error, RecordedEvent, Subscription, SubscriptionEvent};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tracing::instrument::WithSubscriber;
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Dispatch, Event, Level, Metadata, Subscriber};

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
        let pumping = pump(subscription, sender).with_subscriber(END_OF_STREAM.clone());
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

async fn pump(mut subscription: Subscription, frames: mpsc::Sender<Frame>) {
    loop {
        let frame = match subscription.next_subscription_event().await {
            Ok(SubscriptionEvent::EventAppeared(event)) => match event.event.or(event.link) {
                Some(event) => Frame::Event(Box::new(event)),
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

/// The end of a subscription that a server or a proxy ends without an error.
///
/// The client then looks for the next frame for ever, without giving its thread back: no time-out comes through. What it does in
/// each round is to log that the frame is unknown. This is the one place where it can be met, so the log that the pump has ends the
/// pump there: it unwinds, which the runtime turns into the end of the task.
struct EndOfStream;

static END_OF_STREAM: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(EndOfStream));

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
        // No panic: nothing is wrong, and no hook is called.
        std::panic::resume_unwind(Box::new("the subscription has ended"));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
