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
    /// The distance to the cluster that has the events. Absent: the server has them itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<ToCluster>,
    /// Parts whose last attempt failed and that try again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    parts: Vec<PartFault>,
}

/// The distance between a server's copy of the events and the cluster that has them.
#[derive(JsonSchema, Serialize)]
pub(in crate::http) struct ToCluster {
    /// True if the cluster answers.
    connected: bool,
    /// Time since the copy was at the end of the cluster, in seconds.
    lag_seconds: f64,
    /// Positions from the end of the copy to that of the cluster. Not told while the cluster does not answer, and where keys are
    /// needed.
    #[serde(skip_serializing_if = "Option::is_none")]
    lag_positions: Option<u64>,
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
    let cluster = model.log().gauges().lag.map(|lag| ToCluster {
        connected: lag.is_connected,
        lag_seconds: lag.time.as_secs_f64(),
        lag_positions: lag.positions.filter(|_| is_open),
    });
    Ok(Json::new(Ready { status: "ready", reflected, cluster, parts }))
}
