//! Everything that the log's threads share.

use std::sync::Arc;

use crate::LogOptions;
use crate::clock_watch::ClockWatch;
use crate::history::History;
use lastseen_store::Standstills;

/// Handed to each thread when it is started.
#[derive(Clone)]
pub(crate) struct Common {
    pub(crate) history: Arc<History>,
    pub(crate) standstills: Arc<Standstills>,
    pub(crate) watch: Arc<ClockWatch>,
    pub(crate) options: LogOptions,
}
