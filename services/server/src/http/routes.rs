//! The table of routes: method, path, access, parameters and answer of each. The router, 405 with `Allow`, `OPTIONS`,
//! the labels of log lines and the list that tests read come from it.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::{ALLOW, CONTENT_LENGTH};
use axum::http::{HeaderValue, Method, StatusCode, Uri};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use schemars::SchemaGenerator;

use super::App;
use super::answer::{LOG, Reply, Wants};
use super::ask::{Ask, specs};
use super::auth::{self, Access, Admin, Backfill, Bound, Look, Open, Peer, Publish, Query, Replay};
use super::body::unread;
use super::dashboard::{elsewhere, pages};
use super::description::{self, Description, Operation, RequestBody, Success};
use super::handlers::{
    active_users, backfills, corrections, decay, description as described, event_counts, events, health,
    live, lookup, metrics, person, replay, retention, sessions, summary, tenants, user, user_events, users,
    why,
};
use super::params::{ParamSpec, Params};
use super::problem::{Problem, ProblemCode};
use super::{cors, hosts, trace};
use crate::keys::Scope;
use crate::metrics as counted;
use crate::origin::Origin;

type Handler = Arc<dyn Fn(Arc<App>, Request) -> Pin<Box<dyn Future<Output = Response> + Send>> + Send + Sync>;

/// A route.
struct Route {
    method: Method,
    /// The path with `{name}` for a name.
    path: &'static str,
    /// The scope of a key that may use it. `None`: it needs none.
    scope: Option<Scope>,
    /// True if keys that are bound to tenants reach only a part of it, or nothing.
    is_bound: bool,
    params: Vec<ParamSpec>,
    /// The name of the answer's type.
    answer: &'static str,
    /// A name for generated clients.
    id: &'static str,
    summary: &'static str,
    body: Option<fn(&mut SchemaGenerator) -> RequestBody>,
    success: fn(&mut SchemaGenerator) -> Success,
    handler: Handler,
}

/// Every route on one page.
fn table() -> Vec<Route> {
    const GET: Method = Method::GET;
    const POST: Method = Method::POST;
    const DELETE: Method = Method::DELETE;
    vec![
        route(POST, "/v1/events", Publish, events::publish)
            .says("publishEvents", "appends events")
            .takes(events::body),
        route(GET, "/v1/events", Replay, replay::replay)
            .says("replayEvents", "all history in order, as NDJSON"),
        route(GET, "/v1/summary", Query, summary::summary).says("getSummary", "counts of all tenants"),
        route(GET, "/v1/active-users", Query, active_users::active_users)
            .says("getActiveUsers", "a series by day, week or month"),
        route(GET, "/v1/retention", Query, retention::retention)
            .says("getRetention", "cohorts by week or month"),
        route(GET, "/v1/corrections", Query, corrections::corrections)
            .says("getCorrections", "rows of a series that came out otherwise later"),
        route(GET, "/v1/tenants/{tenant_id}/corrections", Query, corrections::corrections)
            .says("getTenantCorrections", "the same of one tenant"),
        route(GET, "/v1/event-counts", Query, event_counts::event_counts)
            .says("getEventCounts", "events of each type by day, or by period"),
        route(GET, "/v1/tenants/{tenant_id}/event-counts", Query, event_counts::event_counts)
            .says("getTenantEventCounts", "the same of one tenant"),
        route(GET, "/v1/decay", Query, decay::decay)
            .says("getDecay", "the active of the days to come, if nobody came back"),
        route(GET, "/v1/tenants/{tenant_id}/decay", Query, decay::decay)
            .says("getTenantDecay", "the same of one tenant"),
        route(GET, "/v1/users", Query, users::users).says("listAllUsers", "users of all tenants"),
        route(GET, "/v1/persons", Query, users::persons).says("listPersons", "persons over all tenants"),
        route(GET, "/v1/persons/{user_id}", Query, person::person)
            .says("getPerson", "one person with all memberships"),
        route(GET, "/v1/tenants", Query, tenants::tenants).says("listTenants", "tenants with their counts"),
        route(GET, "/v1/tenants/{tenant_id}/summary", Query, summary::summary)
            .says("getTenantSummary", "counts of one tenant"),
        route(GET, "/v1/tenants/{tenant_id}/active-users", Query, active_users::active_users)
            .says("getTenantActiveUsers", "the same of one tenant"),
        route(GET, "/v1/tenants/{tenant_id}/retention", Query, retention::retention)
            .says("getTenantRetention", "the same of one tenant"),
        route(GET, "/v1/tenants/{tenant_id}/users", Query, users::users)
            .says("listUsers", "users of a tenant, as pages or as CSV"),
        route(POST, "/v1/tenants/{tenant_id}/users/lookup", Query, lookup::lookup)
            .says("lookUpUsers", "many users by their ids")
            .takes(lookup::body),
        route(GET, "/v1/tenants/{tenant_id}/users/{user_id}", Query, user::user).says("getUser", "one user"),
        route(GET, "/v1/tenants/{tenant_id}/users/{user_id}/events", Query, user_events::user_events)
            .says("listUserEvents", "the events of one user"),
        route(GET, "/v1/tenants/{tenant_id}/users/{user_id}/why", Query, why::why)
            .says("explainUser", "the numbers that a user is in, and why"),
        route(GET, "/v1/tenants/{tenant_id}/users/{user_id}/sessions", Query, sessions::sessions)
            .says("listUserSessions", "the events of one user by session"),
        route(GET, "/v1/live", Query, live::live).says("followNumbers", "the numbers of now as they change"),
        route(GET, "/v1/backfills", Backfill, backfills::backfills)
            .says("listBackfills", "batches of backfills"),
        route(GET, "/v1/backfills/{batch}", Backfill, backfills::backfill).says("getBackfill", "one batch"),
        route(DELETE, "/v1/backfills/{batch}", Backfill, backfills::retract)
            .says("retractBackfill", "retracts a batch"),
        route(GET, "/healthz", Open, health::alive).says("getHealth", "the process lives"),
        route(GET, "/readyz", Open, health::ready).says("getReadiness", "the server is ready"),
        route(GET, "/metrics", Admin, metrics::metrics)
            .says("getMetrics", "the state of the server, for Prometheus"),
        route(GET, "/openapi.json", Open, described::openapi)
            .says("getDescription", "this API as OpenAPI 3.1"),
        route(GET, "/docs", Open, described::docs).says("getDocs", "this API as a page"),
    ]
}

/// The pages of the dashboard, which are for people: they stand in no description of the API.
fn pages_table() -> Vec<Route> {
    const GET: Method = Method::GET;
    const POST: Method = Method::POST;
    vec![
        route(GET, "/", Look, pages::overview::overview),
        route(GET, "/tenants", Look, pages::lists::tenants),
        route(GET, "/tenants/{tenant_id}", Look, pages::overview::overview),
        route(GET, "/tenants/{tenant_id}/users", Look, pages::lists::users),
        route(GET, "/tenants/{tenant_id}/users/{user_id}", Look, pages::user::user),
        route(GET, "/users", Look, pages::lists::users),
        route(GET, "/persons/{user_id}", Look, pages::user::person),
        route(GET, "/events", Look, pages::lists::events),
        route(GET, "/sign-in", Open, pages::session::ask_for_key),
        route(POST, "/sign-in", Open, pages::session::sign_in),
        route(POST, "/sign-out", Open, pages::session::sign_out),
        route(GET, "/assets/{asset}", Open, pages::assets::asset),
    ]
}

/// The methods of routes.
const METHODS: [&str; 3] = ["GET", "POST", "DELETE"];

/// The class of a status.
fn class(status: StatusCode) -> &'static str {
    match status.as_u16() {
        ..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        500.. => "5xx",
    }
}

/// Names the log in each answer and counts those that are problems, also where no route was found.
async fn finish(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if let Some(log_id) = app.log_id() {
        let value = HeaderValue::try_from(log_id.to_string()).expect("a UUID");
        response.headers_mut().insert(LOG, value);
    }
    if let Some(ProblemCode(code)) = response.extensions().get::<ProblemCode>() {
        app.metrics.problem(code);
    }
    response
}

/// Makes a route; parameters and answer are those of its handler, which must ask for the same access.
fn route<A, P, R, H, F>(method: Method, path: &'static str, _: A, handler: H) -> Route
where
    A: Access,
    P: Params + 'static,
    R: Reply,
    H: Fn(Ask<A, P>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<R, Problem>> + Send + 'static,
{
    let params = specs::<A, P>();
    let name = METHODS.into_iter().find(|name| *name == method.as_str()).unwrap_or("OTHER");
    let handle = move |app: Arc<App>, request: Request| -> Pin<Box<dyn Future<Output = Response> + Send>> {
        let handler = handler.clone();
        Box::pin(async move {
            let (began, metrics) = (Instant::now(), app.metrics.clone());
            let (parts, body) = request.into_parts();
            let asked = parts.uri.path_and_query().map_or("", |asked| asked.as_str());
            if let Some(address) = R::moved(&parts.uri) {
                return elsewhere(&address);
            }
            let uri = parts.uri.clone();
            let mut wants = Wants::of(&parts.headers, asked, app.memory.clone());
            let context = trace::Context::of(&parts.headers);
            let answering = async {
                let answered = async {
                    let peer = parts.extensions.get::<Peer>().cloned().unwrap_or_default();
                    let caller =
                        auth::authenticate::<A>(&app, (&parts.method, &parts.headers), &peer).await?;
                    wants.is_sealed = caller.positions().are_sealed();
                    let is_read = parts.method != Method::POST && parts.method != Method::DELETE;
                    let ask = Ask::read(app, caller, path, (parts, body))?;
                    let expected = is_read.then(|| ask.expected_log());
                    let reply = handler(ask).await?;
                    // A copy of a log goes on as another log at its first write, which may have come meanwhile.
                    expected.map_or(Ok(()), |expected| expected.check())?;
                    Ok(reply)
                };
                match answered.await {
                    Ok(reply) => reply.respond(wants).await,
                    Err(problem) => R::refuse(problem, &uri),
                }
            };
            let response = context.answer((name, path), answering).await;
            let request = counted::Request { method: name, route: path, status: class(response.status()) };
            metrics.request(&request, began.elapsed());
            response
        })
    };
    Route {
        method,
        path,
        scope: A::SCOPE,
        is_bound: matches!(A::BOUND, Bound::OneTenant | Bound::Nothing),
        params,
        answer: R::NAME,
        id: "",
        summary: "",
        body: None,
        success: R::describe,
        handler: Arc::new(handle),
    }
}

impl Route {
    /// Names the route for generated clients, and says what it does.
    fn says(self, id: &'static str, summary: &'static str) -> Self {
        Self { id, summary, ..self }
    }

    /// Describes the body that its requests have.
    fn takes(self, body: fn(&mut SchemaGenerator) -> RequestBody) -> Self {
        Self { body: Some(body), ..self }
    }
}

/// All routes as their readers see them, and the generator that has the schemas of their answers.
pub(super) fn operations() -> (Vec<Operation>, SchemaGenerator) {
    let mut generator = description::generator();
    let operation = |route: Route| Operation {
        method: METHODS.into_iter().find(|name| *name == route.method.as_str()).unwrap_or_default(),
        path: route.path,
        id: route.id,
        summary: route.summary,
        scope: route.scope,
        is_bound: route.is_bound,
        params: route.params,
        body: route.body.map(|body| body(&mut generator)),
        success: (route.success)(&mut generator),
    };
    (table().into_iter().map(operation).collect(), generator)
}

fn describe() -> Description {
    let (operations, generator) = operations();
    Description::new(&operations, generator)
}

/// The routes of the listener that only operators reach: no key is asked for.
fn operators_table() -> Vec<Route> {
    const GET: Method = Method::GET;
    vec![
        route(GET, "/healthz", Open, health::alive),
        route(GET, "/readyz", Open, health::ready),
        route(GET, "/metrics", Open, metrics::metrics),
    ]
}

/// A route as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteInfo {
    /// Such as `GET`.
    pub method: String,
    /// The path with `{name}` for a name.
    pub path: &'static str,
    /// The permission that it asks for; `open` is none.
    pub access: &'static str,
    /// Name and form of each query parameter.
    pub params: Vec<(&'static str, &'static str)>,
    /// The name of the answer's type.
    pub answer: &'static str,
}

/// Every route of the server.
pub fn routes() -> Vec<RouteInfo> {
    let info = |route: Route| RouteInfo {
        method: route.method.to_string(),
        path: route.path,
        access: route.scope.map_or("open", Scope::as_str),
        params: route.params.iter().map(|spec| (spec.name, spec.form)).collect(),
        answer: route.answer,
    };
    table().into_iter().map(info).collect()
}

/// The methods of one path.
#[derive(Clone)]
struct PathMethods(Arc<Vec<(Method, Handler)>>);

impl PathMethods {
    fn get(&self, method: &Method) -> Option<&Handler> {
        self.0.iter().find(|(of, _)| of == method).map(|(_, handler)| handler)
    }

    /// The value of `Allow`.
    fn allow(&self) -> HeaderValue {
        let mut methods: Vec<&str> = self.0.iter().map(|(method, _)| method.as_str()).collect();
        if methods.contains(&"GET") {
            methods.push("HEAD");
        }
        methods.push("OPTIONS");
        HeaderValue::from_str(&methods.join(", ")).expect("names of methods")
    }

    async fn answer(self, app: Arc<App>, request: Request) -> Response {
        let method = request.method().clone();
        if method == Method::HEAD
            && let Some(get) = self.get(&Method::GET)
        {
            return without_body(get(app, request).await);
        }
        if let Some(handler) = self.get(&method) {
            return handler(app, request).await;
        }
        let mut response = if method == Method::OPTIONS {
            StatusCode::NO_CONTENT.into_response()
        } else {
            Problem::method_not_allowed(method.as_str()).into_response()
        };
        response.headers_mut().insert(ALLOW, self.allow());
        response
    }
}

/// The answer to a HEAD: the head of the GET, with its length where that is known.
fn without_body(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    let Some(length) = axum::body::HttpBody::size_hint(&body).exact() else {
        // An empty body would be told with the length 0, which is not that of the GET.
        let nothing = futures_util::stream::empty::<Result<Bytes, std::convert::Infallible>>();
        return Response::from_parts(parts, Body::from_stream(nothing));
    };
    parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    Response::from_parts(parts, Body::empty())
}

/// True if requests for `path` match `pattern`: both literal, but for names in the pattern.
fn covers(pattern: &str, path: &str) -> bool {
    let (pattern, path): (Vec<_>, Vec<_>) = (pattern.split('/').collect(), path.split('/').collect());
    pattern.len() == path.len()
        && pattern.iter().zip(path).all(|(pattern, path)| pattern.starts_with('{') || *pattern == path)
}

/// The router of all routes. Pages of `origins` may use them through a browser.
pub(crate) fn router(app: &Arc<App>, origins: Arc<[Origin]>) -> Router {
    app.description.get_or_init(describe);
    let all: Vec<Route> = table().into_iter().chain(pages_table()).collect();
    serving(app, &all)
        .layer(from_fn_with_state(origins.clone(), cors::share))
        .layer(from_fn_with_state((app.clone(), origins), hosts::guard))
        .layer(from_fn(unread::discard))
        .layer(from_fn_with_state(app.clone(), finish))
}

/// The router of health and metrics, for a listener that only operators reach.
pub(crate) fn operators_router(app: &Arc<App>, is_loopback: bool) -> Router {
    let router = serving(app, &operators_table());
    // A web page may have made its own name point to this machine, and to no other.
    let router = if is_loopback {
        let origins: Arc<[Origin]> = Arc::default();
        router.layer(from_fn_with_state((app.clone(), origins), hosts::guard))
    } else {
        router
    };
    router.layer(from_fn(unread::discard))
}

fn serving(app: &Arc<App>, table: &[Route]) -> Router {
    let mut by_path: BTreeMap<&'static str, Vec<(Method, Handler)>> = BTreeMap::new();
    for route in table {
        by_path.entry(route.path).or_default().push((route.method.clone(), route.handler.clone()));
    }
    // A literal path hides a name: a user called `lookup` is asked for under the path of look-ups.
    for (path, methods) in &mut by_path {
        for route in table.iter().filter(|route| route.path != *path && covers(route.path, path)) {
            if methods.iter().all(|(method, _)| *method != route.method) {
                methods.push((route.method.clone(), route.handler.clone()));
            }
        }
    }
    let mut router = Router::new();
    for (path, methods) in by_path {
        let (methods, app) = (PathMethods(Arc::new(methods)), app.clone());
        router = router.route(path, any(move |request: Request| methods.answer(app, request)));
    }
    router.fallback(async |uri: Uri| Problem::unknown_route(uri.path()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_stands_once_with_names_that_handlers_know() {
        let routes = routes();
        for (place, route) in routes.iter().enumerate() {
            let same = |other: &RouteInfo| (&other.method, other.path) == (&route.method, route.path);
            assert_eq!(routes.iter().position(same), Some(place), "{route:?}");
            let names = route.path.split('/').filter(|segment| segment.starts_with('{'));
            for name in names {
                assert!(["{tenant_id}", "{user_id}", "{batch}"].contains(&name), "{name}");
            }
            let mut params: Vec<_> = route.params.iter().map(|(name, _)| name).collect();
            params.sort_unstable();
            params.dedup();
            assert_eq!(params.len(), route.params.len(), "{route:?}");
        }
    }

    #[test]
    fn a_literal_path_is_covered_by_the_pattern_it_hides() {
        assert!(covers("/v1/tenants/{tenant_id}/users/{user_id}", "/v1/tenants/{tenant_id}/users/lookup"));
        assert!(!covers("/v1/tenants/{tenant_id}/users", "/v1/tenants/{tenant_id}/users/lookup"));
        assert!(!covers("/v1/tenants/{tenant_id}/summary", "/v1/tenants/{tenant_id}/users"));
    }
}
