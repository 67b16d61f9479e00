//! Health: the process lives; the views are caught up and every part works.

use schemars::JsonSchema;
use serde::Serialize;

use crate::http::answer::{Answer, Json};
use crate::http::ask::Ask;
use crate::http::auth::Open;
use crate::http::params::NoParams;
use crate::http::problem::{PartFault, Problem};
use crate::http::reflected::Reflected;

/// The process lives.
#[derive(JsonSchema, Serialize)]
pub(in crate::http) struct Alive {
    status: &'static str,
}

impl Answer for Alive {
    const NAME: &'static str = "Alive";
    const EXAMPLE: &'static str = include_str!("../description/examples/Alive.json");
}

/// The views are complete, and no part needs a restart.
#[derive(JsonSchema, Serialize)]
pub(in crate::http) struct Ready {
    status: &'static str,
    /// Not told where keys are needed: it counts the events of everybody.
    #[serde(flatten)]
    reflected: Option<Reflected>,
    /// Parts whose last attempt failed and that try again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    parts: Vec<PartFault>,
}

impl Answer for Ready {
    const NAME: &'static str = "Ready";
    const EXAMPLE: &'static str = include_str!("../description/examples/Ready.json");
}

/// `GET /healthz`
pub(in crate::http) async fn alive(_: Ask<Open, NoParams>) -> Result<Json<Alive>, Problem> {
    Ok(Json::new(Alive { status: "ok" }))
}

/// `GET /readyz`
pub(in crate::http) async fn ready(ask: Ask<Open, NoParams>) -> Result<Json<Ready>, Problem> {
    let model = ask.model()?;
    let standstills = model.standstills();
    let is_ready = standstills.iter().all(|standstill| !standstill.is_final);
    let is_open = ask.app().keys.is_open();
    let told = |fault: PartFault| if is_open { fault } else { fault.without_cause() };
    let parts: Vec<_> = standstills.into_iter().map(PartFault::from).map(told).collect();
    if !is_ready {
        return Err(Problem::standstill(parts));
    }
    let reflected = is_open.then(|| ask.reflected(model.position())).transpose()?;
    Ok(Json::new(Ready { status: "ready", reflected, parts }))
}
