//! Health: the process lives; the views are caught up and every part works.

use lastseen_event::UtcInstant;
use serde::Serialize;

use crate::http::answer::{Answer, Json};
use crate::http::ask::Ask;
use crate::http::params::NoParams;
use crate::http::problem::Problem;
use crate::read_model::health::Standstill;

#[derive(Serialize)]
pub(in crate::http) struct Alive {
    status: &'static str,
}

impl Answer for Alive {
    const NAME: &'static str = "Alive";
}

#[derive(Serialize)]
pub(in crate::http) struct Ready {
    status: &'static str,
    position: u64,
    /// Parts whose last attempt failed and that try again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    parts: Vec<PartFault>,
}

impl Answer for Ready {
    const NAME: &'static str = "Ready";
}

/// A part that stands still, as a problem tells it.
#[derive(Clone, Debug, Serialize)]
pub(in crate::http) struct PartFault {
    part: &'static str,
    since: UtcInstant,
    cause: String,
}

impl PartFault {
    /// The stable name of the part.
    pub(in crate::http) fn part(&self) -> &'static str {
        self.part
    }
}

impl From<Standstill> for PartFault {
    fn from(Standstill { part, since, cause, .. }: Standstill) -> Self {
        Self { part, since, cause }
    }
}

/// `GET /healthz`
pub(in crate::http) async fn alive(_: Ask<NoParams>) -> Result<Json<Alive>, Problem> {
    Ok(Json::new(Alive { status: "ok" }))
}

/// `GET /readyz`
pub(in crate::http) async fn ready(ask: Ask<NoParams>) -> Result<Json<Ready>, Problem> {
    let model = ask.model()?;
    let standstills = model.standstills();
    let is_ready = standstills.iter().all(|standstill| !standstill.is_final);
    let parts: Vec<_> = standstills.into_iter().map(PartFault::from).collect();
    if !is_ready {
        return Err(Problem::standstill(parts));
    }
    Ok(Json::new(Ready { status: "ready", position: model.position().get(), parts }))
}
