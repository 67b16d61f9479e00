//! Makes clients, and replaces those that failed. The client of the cluster does not find a new leader by itself, is dead for good
//! once a first connection failed, and waits without end for a node that is frozen: so each call has a time-out here, and a client
//! is used until its first failure.

use std::time::Duration;

use eventstore::{Authentication, Client, Error};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until, timeout};

use crate::ClusterSettings;

/// Why something was not done by the cluster.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Fault {
    /// The cluster was not reached, or did not answer: it is tried again.
    #[error("the cluster does not answer: {0}")]
    Unreachable(String),
    /// The cluster does not let the user in.
    #[error("the cluster does not let {user} {what}")]
    Denied {
        /// The name of the user.
        user: String,
        /// The thing that was asked for.
        what: &'static str,
    },
    /// The user may do everything but read the events of all streams.
    #[error(
        "the cluster does not let {user} read $all; an administrator of the cluster gives it that by: \
         lastseen cluster grant {user} --store ADDRESS --store-user admin --store-password-file FILE"
    )]
    NoReadOfAll {
        /// The name of the user.
        user: String,
    },
    /// The cluster was founded as another log than this node's copy is of.
    #[error("{0}")]
    OtherLog(String),
    /// The cluster seems to have another history than this node's copy. A node that led once may seem so as well, for a while.
    #[error("{0}")]
    OtherHistory(String),
    /// An event of a newer version of Lastseen.
    #[error(
        "the event at position {position} has form {form}, which this version of Lastseen does not know: install the newest version"
    )]
    NewerForm {
        /// Its position.
        position: u64,
        /// Its form.
        form: u64,
    },
    /// The cluster answers that it does not do this.
    #[error("the cluster refuses: {0}")]
    Refused(String),
    /// The copy cannot take in what comes.
    #[error("this node's copy takes in no more: {0}")]
    Copy(String),
}

impl Fault {
    /// True if trying again does not help.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, Self::OtherLog(_) | Self::NewerForm { .. })
    }
}

/// The owner of the present client of one use: to write, or to read.
pub(crate) struct Supervisor {
    settings: ClusterSettings,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Number of the last client that was made, from 1.
    generation: u64,
    client: Option<Client>,
    /// Clients in turn that failed without one answer.
    failures: u32,
    /// No client is made before this.
    due: Option<Instant>,
}

/// A client while it works.
#[derive(Clone)]
pub(crate) struct Lease {
    pub(crate) client: Client,
    generation: u64,
}

/// The longest pause between two clients that failed.
const PAUSE_MAX: Duration = Duration::from_secs(1);

impl Supervisor {
    pub(crate) fn new(settings: ClusterSettings) -> Self {
        Self { settings, state: Mutex::default() }
    }

    pub(crate) fn settings(&self) -> &ClusterSettings {
        &self.settings
    }

    /// The present client, or a new one. Pauses before it makes one where the last ones failed.
    ///
    /// # Errors
    /// [`Fault::Refused`] if none can be made.
    pub(crate) async fn lease(&self) -> Result<Lease, Fault> {
        let mut state = self.state.lock().await;
        if state.client.is_none() {
            if let Some(due) = state.due {
                sleep_until(due).await;
            }
            // Nobody was asked yet: a certificate or a key is not as it should be.
            let made = Client::new(self.settings.client.clone());
            let made = made.map_err(|error| Fault::Refused(format!("no client: {error}")));
            state.due = made.is_err().then(|| Instant::now() + PAUSE_MAX);
            state.client = Some(made?);
            state.generation += 1;
        }
        let client = state.client.clone().unwrap_or_else(|| unreachable!("one was made"));
        Ok(Lease { client, generation: state.generation })
    }

    /// Notes that a client answered.
    pub(crate) async fn works(&self) {
        self.state.lock().await.failures = 0;
    }

    /// Takes a client out of use: the next lease is of a new one. Once is enough for one client.
    pub(crate) async fn failed(&self, lease: &Lease) {
        let mut state = self.state.lock().await;
        if state.generation != lease.generation || state.client.is_none() {
            return;
        }
        state.client = None;
        let pause = Duration::from_millis(25) * 2_u32.pow(state.failures.min(8));
        state.failures += 1;
        state.due = Some(Instant::now() + pause.min(PAUSE_MAX));
    }

    /// Waits for a call, within the time of one.
    ///
    /// # Errors
    /// The client's error, or that there was no answer in time.
    pub(crate) async fn within<T>(
        &self,
        what: &'static str,
        call: impl Future<Output = eventstore::Result<T>>,
    ) -> Result<T, Fault> {
        self.within_limit(self.settings.timing.call, what, call).await
    }

    /// The same for a call that may make a node look through many events.
    ///
    /// # Errors
    /// Those of [`within`](Self::within).
    pub(crate) async fn within_search<T>(
        &self,
        what: &'static str,
        call: impl Future<Output = eventstore::Result<T>>,
    ) -> Result<T, Fault> {
        self.within_limit(self.settings.timing.search, what, call).await
    }

    async fn within_limit<T>(
        &self,
        limit: Duration,
        what: &'static str,
        call: impl Future<Output = eventstore::Result<T>>,
    ) -> Result<T, Fault> {
        let Ok(answer) = timeout(limit, call).await else {
            return Err(Fault::Unreachable(format!("no answer within {limit:?} when asked to {what}")));
        };
        answer.map_err(|error| self.fault(what, &error))
    }

    /// The fault that an error of the client is.
    pub(crate) fn fault(&self, what: &'static str, error: &Error) -> Fault {
        match error {
            Error::AccessDenied => Fault::Denied { user: self.user(), what },
            Error::UnsupportedFeature => {
                Fault::Refused(format!("it is no EventStoreDB of version 21.10 or later: it cannot {what}"))
            }
            error => Fault::Unreachable(short(&error.to_string())),
        }
    }

    /// The name of the user, for messages.
    pub(crate) fn user(&self) -> String {
        let credentials = self.settings.credentials.as_ref();
        credentials.map_or_else(|| "a client without a user".to_owned(), |found| found.user.clone())
    }

    /// The same options, with who asks.
    pub(crate) fn authenticated<O>(&self, options: O, with: impl FnOnce(O, Authentication) -> O) -> O {
        match &self.settings.credentials {
            Some(credentials) => with(options, credentials.authentication()),
            None => options,
        }
    }
}

/// The part of an error of the client that is about the cluster. It prints all of a status of gRPC, with what it has not.
fn short(told: &str) -> String {
    let message = told.split_once("message: \"").and_then(|(_, rest)| rest.split_once("\", details: "));
    message.map_or_else(|| told.to_owned(), |(message, _)| message.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_status_the_message_is_told() {
        let told = "gRPC connection error: Unmapped gRPC connection error: status: Unknown, message: \"client error \
                    (Connect)\", details: [], metadata: MetadataMap { headers: {} }.";
        assert_eq!(short(told), "client error (Connect)");
        assert_eq!(short("Connection is closed."), "Connection is closed.");
    }
}
