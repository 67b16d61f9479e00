//! A small identity service that publishes who was seen: sign-up, login, refresh, tenant switch, members and their lives.
//!
//! `cargo run -p lastseen-client --example identity_service` beside `lastseen serve`, then <http://127.0.0.1:8090>: each click
//! there moves the dashboard. Users and sessions are in memory; all that is about publishing is as in a real service.
//!
//! Three rules carry over:
//!
//! 1. The change and its events are made together (`accounts.rs`): a refused request has no event.
//! 2. Events are published before the request is answered. That takes microseconds, whether Lastseen is there or not: with
//!    an outbox they survive both.
//! 3. The id of a login and of a refresh follows from the session and the version of its token, so that whoever publishes
//!    it again publishes the same event.

#[path = "identity_service/accounts.rs"]
mod accounts;

use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::{FromRef, FromRequestParts, Path, State};
use axum::http::StatusCode;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use clap::Parser;
use lastseen_client::{NotTaken, Publisher, UtcInstant};
use serde::{Deserialize, Serialize};
use serde_json::json;

use self::accounts::{Accounts, Changed, Refusal, Tokens};

/// A small identity service that publishes to Lastseen
#[derive(Parser)]
struct Args {
    /// Address of the service
    #[arg(long, default_value = "127.0.0.1:8090")]
    listen: SocketAddr,
    /// The server of Lastseen
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    lastseen: String,
    /// Its API key, where it asks for one
    #[arg(long, env = "LASTSEEN_KEY", hide_env_values = true)]
    key: Option<String>,
    /// Directory for events that wait while the server is away
    #[arg(long, default_value = "./identity-outbox")]
    outbox: PathBuf,
}

/// The current time; tests bring their own.
pub(crate) type Clock = Arc<dyn Fn() -> UtcInstant + Send + Sync>;

/// All that handlers share.
#[derive(Clone)]
pub(crate) struct Service {
    accounts: Arc<Mutex<Accounts>>,
    publisher: Publisher,
    clock: Clock,
    /// The dashboard, for the link of the page.
    lastseen: Arc<str>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let mut options = Publisher::to(&args.lastseen).outbox(&args.outbox, 256 << 20);
    if let Some(key) = args.key {
        options = options.key(key);
    }
    let publisher = options.start()?;
    let service = Service::new(publisher.clone(), Arc::new(now), &args.lastseen);
    let listener = tokio::net::TcpListener::bind(args.listen).await?;
    tracing::info!("look at http://{}, and at the dashboard on {}", listener.local_addr()?, args.lastseen);
    let stopped = async {
        // An error means that no signal can come: then nothing stops it.
        let _ = tokio::signal::ctrl_c().await;
    };
    axum::serve(listener, routes(service)).with_graceful_shutdown(stopped).await?;
    // After the last request. What is not answered within this time stays in the outbox for the next start.
    match tokio::task::spawn_blocking(move || publisher.close(Duration::from_secs(5))).await? {
        Err(left) if !left.events.is_empty() => Err(left.into()),
        Err(left) => {
            tracing::info!("{left}");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// The time of this machine.
#[expect(clippy::disallowed_methods, reason = "a service has a clock")]
fn now() -> UtcInstant {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UtcInstant::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// The routes of the service.
pub(crate) fn routes(service: Service) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/api/code", post(code))
        .route("/api/signup", post(sign_up))
        .route("/api/login", post(log_in))
        .route("/api/refresh", post(refresh))
        .route("/api/switch", post(switch))
        .route("/api/logout", post(log_out))
        .route("/api/me", get(me).put(edit_profile))
        .route("/api/users", get(users).post(invite))
        .route("/api/users/delete", post(delete_many))
        .route("/api/users/{user}", axum::routing::delete(delete))
        .route("/api/users/{user}/role", put(change_role))
        .route("/api/users/{user}/restore", post(restore))
        .route("/api/users/{user}/purge", post(purge))
        .route("/metrics", get(metrics))
        .with_state(service)
}

impl Service {
    pub(crate) fn new(publisher: Publisher, clock: Clock, lastseen: &str) -> Self {
        Self { accounts: Arc::default(), publisher, clock, lastseen: lastseen.into() }
    }

    /// Changes something and publishes what happened, then answers.
    ///
    /// Requests of one user side by side may publish in another order than they changed: the events have their times.
    async fn change<T>(
        &self,
        work: impl FnOnce(&mut Accounts, UtcInstant) -> Result<Changed<T>, Refusal>,
    ) -> Result<Json<T>, Refusal> {
        let Changed { answer, events } = self.read(work)?;
        let mut events = events.into_iter();
        // It takes them at once, but where the buffer is full. It is closed only after the last request.
        let waits = events.find_map(|event| self.publisher.try_publish(event).err());
        match waits {
            None => return Ok(Json(answer)),
            Some(NotTaken::Closed(_)) => return Err(Refusal::Stopping),
            Some(NotTaken::Full(event)) => {
                let publisher = self.publisher.clone();
                let publishing = async move {
                    for event in std::iter::once(event).chain(events) {
                        publisher.publish(event).await.map_err(|_| Refusal::Stopping)?;
                    }
                    Ok::<(), Refusal>(())
                };
                // A client that goes away ends its handler, but what it changed is published all the same.
                #[expect(clippy::disallowed_methods, reason = "this is a program of its own")]
                tokio::spawn(publishing).await.map_err(|_| Refusal::Stopping)??;
            }
        }
        Ok(Json(answer))
    }

    fn read<T>(&self, work: impl FnOnce(&mut Accounts, UtcInstant) -> T) -> T {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        work(&mut accounts, (self.clock)())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = match self {
            Self::WrongCode | Self::AlreadySo => StatusCode::BAD_REQUEST,
            Self::SignedOut | Self::Replayed => StatusCode::UNAUTHORIZED,
            Self::NotAllowed => StatusCode::FORBIDDEN,
            Self::Unknown => StatusCode::NOT_FOUND,
            Self::Stopping => StatusCode::SERVICE_UNAVAILABLE,
        };
        (status, Json(json!({ "error": self.to_string() }))).into_response()
    }
}

/// The access token of a request, empty where there is none. It is refused where it is used, when the body has been read: a
/// refusal before that would cost the connection.
struct Access(String);

impl<S: Sync> FromRequestParts<S> for Access
where
    Service: FromRef<S>,
{
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let header = parts.headers.get(AUTHORIZATION).and_then(|header| header.to_str().ok());
        let token = header.and_then(|header| header.strip_prefix("Bearer "));
        Ok(Self(token.unwrap_or_default().to_owned()))
    }
}

async fn page(State(service): State<Service>) -> Html<String> {
    Html(include_str!("identity_service/page.html").replace("{lastseen}", &service.lastseen))
}

async fn metrics(State(service): State<Service>) -> String {
    service.publisher.metrics().to_string()
}

#[derive(Deserialize)]
struct Email {
    email: String,
}

/// A real service sends the code by mail.
async fn code(State(service): State<Service>, Json(asked): Json<Email>) -> Json<serde_json::Value> {
    let code = service.read(|accounts, now| accounts.send_code(&asked.email, now));
    Json(json!({ "code": code }))
}

#[derive(Deserialize)]
struct Proof {
    email: String,
    code: String,
    /// The tenant to sign in to; without it, the first one of this person.
    tenant_id: Option<String>,
}

async fn sign_up(State(service): State<Service>, Json(proof): Json<Proof>) -> Result<Json<Tokens>, Refusal> {
    service.change(|accounts, now| accounts.sign_up((&proof.email, &proof.code), now)).await
}

async fn log_in(State(service): State<Service>, Json(proof): Json<Proof>) -> Result<Json<Tokens>, Refusal> {
    let Proof { email, code, tenant_id } = proof;
    service.change(|accounts, now| accounts.log_in((&email, &code), tenant_id.as_deref(), now)).await
}

#[derive(Deserialize)]
struct Refresh {
    refresh_token: String,
}

async fn refresh(
    State(service): State<Service>,
    Json(asked): Json<Refresh>,
) -> Result<Json<Tokens>, Refusal> {
    service.change(|accounts, now| accounts.refresh(&asked.refresh_token, now)).await
}

#[derive(Deserialize)]
struct Switch {
    tenant_id: String,
}

async fn switch(
    State(service): State<Service>,
    Access(token): Access,
    Json(to): Json<Switch>,
) -> Result<Json<Tokens>, Refusal> {
    service.change(|accounts, now| accounts.switch(&token, &to.tenant_id, now)).await
}

async fn log_out(State(service): State<Service>, Access(token): Access) -> Result<Json<()>, Refusal> {
    service.change(|accounts, now| accounts.log_out(&token, now)).await
}

async fn me(State(service): State<Service>, Access(token): Access) -> Result<impl IntoResponse, Refusal> {
    service.read(|accounts, now| accounts.me(&token, now)).map(Json)
}

async fn users(State(service): State<Service>, Access(token): Access) -> Result<impl IntoResponse, Refusal> {
    service.read(|accounts, now| accounts.users(&token, now)).map(Json)
}

#[derive(Deserialize, Serialize)]
struct Name {
    name: String,
}

async fn edit_profile(
    State(service): State<Service>,
    Access(token): Access,
    Json(profile): Json<Name>,
) -> Result<Json<()>, Refusal> {
    service.change(|accounts, now| accounts.edit_profile(&token, profile.name, now)).await
}

async fn invite(
    State(service): State<Service>,
    Access(token): Access,
    Json(asked): Json<Email>,
) -> Result<Json<String>, Refusal> {
    service.change(|accounts, now| accounts.invite(&token, &asked.email, now)).await
}

#[derive(Deserialize)]
struct Role {
    role: String,
}

async fn change_role(
    State(service): State<Service>,
    Access(token): Access,
    Path(user): Path<String>,
    Json(asked): Json<Role>,
) -> Result<Json<()>, Refusal> {
    service.change(|accounts, now| accounts.change_role(&token, &user, asked.role, now)).await
}

async fn delete(
    State(service): State<Service>,
    Access(token): Access,
    Path(user): Path<String>,
) -> Result<Json<()>, Refusal> {
    service.change(|accounts, now| accounts.delete(&token, &[user], now)).await
}

async fn delete_many(
    State(service): State<Service>,
    Access(token): Access,
    Json(users): Json<Vec<String>>,
) -> Result<Json<()>, Refusal> {
    service.change(|accounts, now| accounts.delete(&token, &users, now)).await
}

async fn restore(
    State(service): State<Service>,
    Access(token): Access,
    Path(user): Path<String>,
) -> Result<Json<()>, Refusal> {
    service.change(|accounts, now| accounts.restore(&token, &user, now)).await
}

async fn purge(
    State(service): State<Service>,
    Access(token): Access,
    Path(user): Path<String>,
) -> Result<Json<()>, Refusal> {
    service.change(|accounts, now| accounts.purge(&token, &user, now)).await
}
