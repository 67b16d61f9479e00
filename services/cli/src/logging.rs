//! The log of a command that goes on until it is stopped: lines on stderr.

use std::io::{self, IsTerminal};

use tracing_subscriber::Layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::args::{LogArgs, LogFormat};

/// The lines of the log, in their form and from their level on.
pub(crate) fn layer<S>(args: &LogArgs) -> impl Layer<S> + use<S>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let layer = match args.log_format {
        LogFormat::Text => layer.with_ansi(io::stderr().is_terminal()).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
    };
    layer.with_filter(args.filter.clone())
}

/// Writes the log of this process, and nothing beside it.
pub(crate) fn start(args: &LogArgs) {
    tracing_subscriber::registry().with(layer(args)).init();
}
