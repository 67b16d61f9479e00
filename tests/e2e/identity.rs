//! The identity service of the client's examples against the real server: each flow ends in the right `last_seen_at`, and a
//! long random life of many users in the numbers that its own columns would have.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;
use std::time::Duration;

use lastseen_client::{Publisher, UtcInstant};
use lastseen_tests::instant::{DAY, HOUR, MINUTE, micros, now};
use lastseen_tests::{Answer, Client, Seeded, Server, path_segment};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::BINARY;
use crate::answers::empty_server;

#[path = "../../events/client/examples/identity_service.rs"]
#[expect(dead_code, reason = "as a program it has a command line")]
mod service;

const SECOND: i64 = 1_000_000;
const WITHIN: Duration = Duration::from_mins(1);

/// The service in this process, with a clock of the test.
struct Identity {
    client: Client,
    clock: Arc<AtomicI64>,
    publisher: Publisher,
    _outbox: TempDir,
    /// Dropping it ends the service.
    _stop: oneshot::Sender<()>,
}

impl Identity {
    fn start(server: &Server, at: i64) -> Self {
        let outbox = tempfile::tempdir().unwrap();
        let publisher = Publisher::to(server.url())
            .outbox(outbox.path(), 64 << 20)
            .pauses(Duration::from_millis(1), Duration::from_millis(20))
            .start()
            .unwrap();
        let clock = Arc::new(AtomicI64::new(at));
        let reads = clock.clone();
        let clock_of_service: service::Clock =
            Arc::new(move || UtcInstant::from_micros(reads.load(Ordering::SeqCst)));
        let routes =
            service::routes(service::Service::new(publisher.clone(), clock_of_service, server.url()));
        let (stop, stopped) = oneshot::channel::<()>();
        let (tell, address) = std::sync::mpsc::channel();
        thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                tell.send(listener.local_addr().unwrap()).unwrap();
                let stopped = async { drop(stopped.await) };
                tokio::select! {
                    ended = async { axum::serve(listener, routes).await } => ended.unwrap(),
                    () = stopped => {}
                }
            });
        });
        let client = Client::new(&format!("http://{}", address.recv().unwrap()));
        Self { client, clock, publisher, _outbox: outbox, _stop: stop }
    }

    fn now(&self) -> i64 {
        self.clock.load(Ordering::SeqCst)
    }

    fn pass(&self, span: i64) -> i64 {
        self.clock.fetch_add(span, Ordering::SeqCst) + span
    }

    fn call(&self, method: &str, path: &str, access: Option<&str>, body: &Value) -> Answer {
        let mut headers = vec![("content-type", "application/json")];
        let bearer = access.map(|access| format!("Bearer {access}"));
        headers.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
        // A body that nobody reads would cost the connection.
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.client.send(method, path, &headers, body.as_bytes()).unwrap()
    }

    fn code(&self, email: &str) -> Value {
        self.call("POST", "/api/code", None, &json!({ "email": email })).ok("a code")["code"].clone()
    }

    fn sign_up(&self, email: &str) -> Signed {
        let body = json!({ "email": email, "code": self.code(email) });
        Signed::of(&self.call("POST", "/api/signup", None, &body))
    }

    fn log_in(&self, email: &str, tenant: &str) -> Signed {
        let body = json!({ "email": email, "code": self.code(email), "tenant_id": tenant });
        Signed::of(&self.call("POST", "/api/login", None, &body))
    }

    fn refresh(&self, token: &str) -> Answer {
        self.call("POST", "/api/refresh", None, &json!({ "refresh_token": token }))
    }

    /// Waits until Lastseen has all of it.
    fn flush(&self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime
            .block_on(async { tokio::time::timeout(WITHIN, self.publisher.flush()).await })
            .unwrap()
            .unwrap();
    }

    fn last_seen(&self, server: &Server, of: &Signed) -> Option<i64> {
        self.user(server, of)["last_seen_at"].as_str().map(micros)
    }

    fn user(&self, server: &Server, of: &Signed) -> Value {
        self.flush();
        server.client().ask(&format!(
            "/v1/tenants/{}/users/{}",
            path_segment(&of.tenant),
            path_segment(&of.user)
        ))
    }
}

/// Tokens of a session, and whose they are.
#[derive(Clone, Debug)]
struct Signed {
    access: String,
    refresh: String,
    tenant: String,
    user: String,
}

impl Signed {
    fn of(answer: &Answer) -> Self {
        let tokens = answer.ok("tokens");
        let text = |name: &str| tokens[name].as_str().unwrap().to_owned();
        Self {
            access: text("access_token"),
            refresh: text("refresh_token"),
            tenant: text("tenant_id"),
            user: text("user_id"),
        }
    }
}

fn events_of(server: &Server, event_type: &str) -> usize {
    server.client().get(&format!("/v1/events?types={event_type}")).text().lines().count()
}

#[test]
fn signing_up_and_in_is_being_seen_and_failing_is_not() {
    let (server, _data) = empty_server();
    let identity = Identity::start(&server, now() - 10 * DAY);
    let ada = identity.sign_up("ada@example.com");
    let at = identity.now();
    let user = identity.user(&server, &ada);
    assert_eq!(
        (user["status"].as_str(), user["last_seen_type"].as_str()),
        (Some("active"), Some("signup_complete"))
    );
    assert_eq!(identity.last_seen(&server, &ada), Some(at));
    // Wrong codes, one code twice, one too late, and one guessed too often.
    let fail = |code: &Value| {
        let body = json!({ "email": "ada@example.com", "code": code });
        let answer = identity.call("POST", "/api/login", None, &body);
        assert_eq!(answer.status, 400, "{}", answer.text());
    };
    identity.pass(HOUR);
    fail(&json!("wrong"));
    let code = identity.code("ada@example.com");
    identity.pass(5 * MINUTE + 1);
    fail(&code);
    let code = identity.code("ada@example.com");
    (0..3).for_each(|_| fail(&json!("")));
    fail(&code);
    assert_eq!(identity.last_seen(&server, &ada), Some(at));
    identity.pass(MINUTE);
    let again = identity.log_in("ada@example.com", &ada.tenant);
    assert_eq!(identity.last_seen(&server, &again), Some(identity.now()));
    assert_eq!((events_of(&server, "login"), events_of(&server, "signup_complete")), (1, 1));
}

#[test]
fn only_a_current_token_is_a_refresh_that_counts() {
    let (server, _data) = empty_server();
    let identity = Identity::start(&server, now() - 10 * DAY);
    let first = identity.sign_up("ada@example.com");
    identity.pass(4 * MINUTE);
    let second = Signed::of(&identity.refresh(&first.refresh));
    let counted = identity.now();
    assert_eq!(identity.last_seen(&server, &first), Some(counted));
    // A retry within 30 s, inclusive, is given the same tokens, and nobody is seen.
    for span in [0, SECOND, 29 * SECOND] {
        identity.pass(span);
        let retried = Signed::of(&identity.refresh(&first.refresh));
        assert_eq!((retried.refresh, retried.access), (second.refresh.clone(), second.access.clone()));
    }
    assert_eq!(identity.last_seen(&server, &first), Some(counted));
    // After that it is a replay: the session ends for both who have a token of it.
    identity.pass(1);
    assert_eq!(identity.refresh(&first.refresh).status, 401);
    assert_eq!(identity.refresh(&second.refresh).status, 401);
    assert_eq!(identity.call("GET", "/api/me", Some(&second.access), &Value::Null).status, 401);
    assert_eq!(identity.last_seen(&server, &first), Some(counted));
    // A token of two versions ago is a replay at once.
    let old = identity.log_in("ada@example.com", &first.tenant);
    let logged_in = identity.now();
    let newer = Signed::of(&identity.refresh(&old.refresh));
    let newest = Signed::of(&identity.refresh(&newer.refresh));
    assert_eq!(identity.refresh(&old.refresh).status, 401);
    assert_eq!(identity.refresh(&newest.refresh).status, 401);
    assert_eq!(identity.last_seen(&server, &first), Some(logged_in));
    // A made-up secret is worth nothing, and ends nobody's session.
    let other = identity.log_in("ada@example.com", &first.tenant);
    let at = identity.now();
    let mut forged = other.refresh.rsplit_once('.').unwrap().0.to_owned();
    forged.push_str(".00000000-0000-4000-8000-000000000000");
    assert_eq!(identity.refresh(&forged).status, 401);
    let huge = other.refresh.replacen(".1.", &format!(".{}.", u64::MAX), 1);
    assert_eq!(identity.refresh(&huge).status, 401);
    assert_eq!(identity.last_seen(&server, &first), Some(at));
    identity.refresh(&other.refresh).ok("the session goes on");
    identity.flush();
    assert_eq!(events_of(&server, "token_refresh"), 4);
}

#[test]
fn a_refresh_after_90_days_is_none() {
    let (server, _data) = empty_server();
    let identity = Identity::start(&server, now() - 200 * DAY);
    let ada = identity.sign_up("ada@example.com");
    let at = identity.pass(90 * DAY);
    let renewed = Signed::of(&identity.refresh(&ada.refresh));
    identity.pass(90 * DAY + 1);
    assert_eq!(identity.refresh(&renewed.refresh).status, 401);
    assert_eq!(identity.last_seen(&server, &ada), Some(at));
    // Its access token is good for five minutes.
    let again = identity.log_in("ada@example.com", &ada.tenant);
    identity.pass(5 * MINUTE);
    assert_eq!(identity.call("GET", "/api/me", Some(&again.access), &Value::Null).status, 200);
    identity.pass(1);
    assert_eq!(identity.call("GET", "/api/me", Some(&again.access), &Value::Null).status, 401);
}

#[test]
fn parallel_refreshes_of_one_token_are_one_event() {
    let (server, _data) = empty_server();
    let identity = Identity::start(&server, now() - DAY);
    let mut signed = identity.sign_up("ada@example.com");
    for round in 1..=5 {
        identity.pass(MINUTE);
        let answers: Vec<_> = thread::scope(|scope| {
            let tabs: Vec<_> =
                (0..16).map(|_| scope.spawn(|| Signed::of(&identity.refresh(&signed.refresh)))).collect();
            tabs.into_iter().map(|tab| tab.join().unwrap()).collect()
        });
        assert!(answers.iter().all(|answer| answer.refresh == answers[0].refresh));
        signed = answers[0].clone();
        assert_eq!(identity.last_seen(&server, &signed), Some(identity.now()));
        assert_eq!(events_of(&server, "token_refresh"), round);
    }
}

#[test]
fn a_switch_marks_the_target_alone_ends_the_source_and_confirms_who_was_invited() {
    let (server, _data) = empty_server();
    let identity = Identity::start(&server, now() - 10 * DAY);
    let bob = identity.sign_up("bob@example.com");
    let seen_at_home = identity.now();
    let owner = identity.sign_up("ada@example.com");
    let invited =
        identity.call("POST", "/api/users", Some(&owner.access), &json!({ "email": "bob@example.com" }));
    let invited = Signed { user: invited.ok("an invitation").as_str().unwrap().to_owned(), ..owner.clone() };
    assert_eq!(invited.user, bob.user, "one person");
    let user = identity.user(&server, &invited);
    assert_eq!((user["status"].as_str(), user["confirmed"].as_bool()), (Some("pending"), Some(false)));

    identity.pass(3 * MINUTE);
    let to = json!({ "tenant_id": owner.tenant });
    let there = Signed::of(&identity.call("POST", "/api/switch", Some(&bob.access), &to));
    assert_eq!((&there.tenant, &there.user), (&owner.tenant, &bob.user));
    let user = identity.user(&server, &there);
    assert_eq!(
        (user["status"].as_str(), user["last_seen_type"].as_str()),
        (Some("active"), Some("tenant_switch"))
    );
    assert_eq!(identity.last_seen(&server, &there), Some(identity.now()));
    assert_eq!(identity.last_seen(&server, &bob), Some(seen_at_home));
    // The session at home is over; the one there is refreshed there.
    assert_eq!(identity.refresh(&bob.refresh).status, 401);
    assert_eq!(identity.call("POST", "/api/switch", Some(&bob.access), &to).status, 401);
    identity.pass(MINUTE);
    identity.refresh(&there.refresh).ok("a refresh");
    assert_eq!(identity.last_seen(&server, &there), Some(identity.now()));
    assert_eq!(identity.last_seen(&server, &bob), Some(seen_at_home));
    // Where nobody of this person is, and where one is, there is no switch.
    let there = identity.log_in("bob@example.com", &owner.tenant);
    for (tenant, status) in [("nowhere", 404), (&*owner.tenant, 400)] {
        let answer =
            identity.call("POST", "/api/switch", Some(&there.access), &json!({ "tenant_id": tenant }));
        assert_eq!(answer.status, status);
    }
    let persons = server.client().ask("/v1/summary");
    assert_eq!((persons["total_users"].as_u64(), persons["total_persons"].as_u64()), (Some(3), Some(2)));
}

#[test]
fn roles_profiles_deletions_and_restores_leave_last_seen_as_it_was() {
    let (server, _data) = empty_server();
    let identity = Identity::start(&server, now() - 10 * DAY);
    let owner = identity.sign_up("ada@example.com");
    let invite = |email: &str| {
        let answer = identity.call("POST", "/api/users", Some(&owner.access), &json!({ "email": email }));
        answer.ok("an invitation").as_str().unwrap().to_owned()
    };
    let (bob, kim) = (invite("bob@example.com"), invite("kim@example.com"));
    let signed = identity.log_in("bob@example.com", &owner.tenant);
    let seen = identity.now();
    let call = |method: &str, path: &str, body: &Value| {
        identity.pass(SECOND);
        identity.call(method, path, Some(&owner.access), body)
    };
    let active = || {
        identity.flush();
        server.client().ask(&format!("/v1/tenants/{}/summary", owner.tenant))["active_users"]
            .as_u64()
            .unwrap()
    };
    call("PUT", &format!("/api/users/{bob}/role"), &json!({ "role": "Owner" })).ok("a role");
    identity.call("PUT", "/api/me", Some(&signed.access), &json!({ "name": "Bob" })).ok("a name");
    assert_eq!((identity.last_seen(&server, &signed), active()), (Some(seen), 2));
    // Deleted, it is out of the count at once, and its session is over.
    call("DELETE", &format!("/api/users/{bob}"), &Value::Null).ok("a deletion");
    assert_eq!((identity.user(&server, &signed)["status"].as_str(), active()), (Some("deleted"), 1));
    assert_eq!(identity.refresh(&signed.refresh).status, 401);
    assert_eq!(call("DELETE", &format!("/api/users/{bob}"), &Value::Null).status, 400);
    call("POST", &format!("/api/users/{bob}/restore"), &Value::Null).ok("a restore");
    assert_eq!((identity.last_seen(&server, &signed), active()), (Some(seen), 2));
    // Many at once: all, or none where one of them is unknown.
    assert_eq!(call("POST", "/api/users/delete", &json!([bob, "nobody"])).status, 404);
    assert_eq!(active(), 2);
    call("POST", "/api/users/delete", &json!([bob, kim])).ok("a deletion of two");
    assert_eq!(active(), 1);
    // Purged, it stays deleted; whoever is not deleted is not purged.
    call("POST", &format!("/api/users/{bob}/purge"), &Value::Null).ok("a purge");
    assert_eq!(call("POST", &format!("/api/users/{bob}/restore"), &Value::Null).status, 404);
    assert_eq!(call("POST", &format!("/api/users/{}/purge", owner.user), &Value::Null).status, 400);
    assert_eq!((identity.user(&server, &signed)["status"].as_str(), active()), (Some("deleted"), 1));
    // Invited again, it is somebody else.
    assert_ne!(invite("bob@example.com"), bob);
    let again = identity.log_in("bob@example.com", &owner.tenant);
    assert_eq!((identity.user(&server, &again)["status"].as_str(), active()), (Some("active"), 2));
    // Only owners do that.
    let kim = invite("zoe@example.com");
    let zoe = identity.log_in("zoe@example.com", &owner.tenant);
    let answer = identity.call(
        "PUT",
        &format!("/api/users/{kim}/role"),
        Some(&zoe.access),
        &json!({ "role": "Owner" }),
    );
    assert_eq!(answer.status, 403);
    assert_eq!(identity.call("GET", "/api/users", None, &Value::Null).status, 401);
}

/// A column of an application: set where the product does.
#[derive(Clone, Debug, Default)]
struct Column {
    last_seen_at: Option<i64>,
    is_confirmed: bool,
    is_deleted: bool,
}

type Key = (String, String);

/// Many users and what the columns of the application would say of them.
struct Life {
    identity: Identity,
    random: Seeded,
    /// E-mail and tenant of each owner.
    owners: Vec<(String, String)>,
    emails: Vec<String>,
    sessions: Vec<Signed>,
    columns: BTreeMap<Key, Column>,
}

impl Life {
    fn new(server: &Server) -> Self {
        let mut life = Self {
            identity: Identity::start(server, now() - 40 * DAY),
            random: Seeded::new(20_281),
            owners: vec![],
            emails: (0..12).map(|number| format!("user{number}@example.com")).collect(),
            sessions: vec![],
            columns: BTreeMap::new(),
        };
        for number in 0..4 {
            let email = format!("owner{number}@example.com");
            let owner = life.identity.sign_up(&email);
            life.columns.insert((owner.tenant.clone(), owner.user.clone()), Column::default());
            life.is_seen(&owner);
            life.owners.push((email, owner.tenant));
        }
        life
    }

    fn is_seen(&mut self, signed: &Signed) {
        let column = self.columns.get_mut(&(signed.tenant.clone(), signed.user.clone())).unwrap();
        (column.last_seen_at, column.is_confirmed) = (Some(self.identity.now()), true);
    }

    fn place(&mut self) -> Option<usize> {
        let sessions = self.sessions.len() as u64;
        (sessions > 0).then(|| usize::try_from(self.random.below(sessions)).unwrap())
    }

    /// The owner of some tenant signs in.
    fn owner(&mut self) -> Signed {
        let (email, tenant) = self.random.pick(&self.owners).clone();
        let owner = self.identity.log_in(&email, &tenant);
        self.is_seen(&owner);
        owner
    }

    fn step(&mut self) {
        let span = self.random.below(u64::try_from(4 * HOUR).unwrap());
        self.identity.pass(1 + i64::try_from(span).unwrap());
        match self.random.below(9) {
            0 | 1 => self.invites(),
            2 | 3 => self.logs_in(),
            4 | 5 => self.refreshes(),
            6 => self.switches(),
            7 => self.deletes_or_restores(),
            _ => {
                let owner = self.owner();
                let name = json!({ "name": "Ada" });
                self.identity.call("PUT", "/api/me", Some(&owner.access), &name).ok("a profile");
            }
        }
    }

    fn invites(&mut self) {
        let owner = self.owner();
        let email = self.random.pick(&self.emails).clone();
        let invited =
            self.identity.call("POST", "/api/users", Some(&owner.access), &json!({ "email": email }));
        if invited.status == 200 {
            let user = invited.json().as_str().unwrap().to_owned();
            self.columns.insert((owner.tenant, user), Column::default());
        }
    }

    fn logs_in(&mut self) {
        let email = self.random.pick(&self.emails).clone();
        let (_, tenant) = self.random.pick(&self.owners).clone();
        let code = self.identity.code(&email);
        let body = json!({ "email": email, "code": code, "tenant_id": tenant });
        let answer = self.identity.call("POST", "/api/login", None, &body);
        if answer.status == 200 {
            let signed = Signed::of(&answer);
            self.is_seen(&signed);
            self.sessions.push(signed);
        }
    }

    fn refreshes(&mut self) {
        let Some(place) = self.place() else { return };
        let token = self.sessions[place].refresh.clone();
        let answer = self.identity.refresh(&token);
        if answer.status != 200 {
            self.sessions.remove(place);
            return;
        }
        self.sessions[place] = Signed::of(&answer);
        let signed = self.sessions[place].clone();
        self.is_seen(&signed);
        // Retries and replays, of which none counts.
        for _ in 0..self.random.below(3) {
            let span = i64::try_from(self.random.below(40)).unwrap();
            self.identity.pass(span * SECOND);
            drop(self.identity.refresh(&token));
        }
    }

    fn switches(&mut self) {
        let Some(place) = self.place() else { return };
        let (_, tenant) = self.random.pick(&self.owners).clone();
        let access = self.sessions[place].access.clone();
        let answer =
            self.identity.call("POST", "/api/switch", Some(&access), &json!({ "tenant_id": tenant }));
        if answer.status == 200 {
            self.sessions[place] = Signed::of(&answer);
            let signed = self.sessions[place].clone();
            self.is_seen(&signed);
        }
    }

    fn deletes_or_restores(&mut self) {
        let owner = self.owner();
        let users = self.identity.call("GET", "/api/users", Some(&owner.access), &Value::Null).json();
        let mut users = users.as_array().unwrap().clone();
        users.retain(|user| user["user_id"] != owner.user.as_str());
        if users.is_empty() {
            return;
        }
        let user = self.random.pick(&users);
        let (id, is_deleted) = (user["user_id"].as_str().unwrap(), user["deleted"] == true);
        let (method, end) = if is_deleted { ("POST", "/restore") } else { ("DELETE", "") };
        let path = format!("/api/users/{id}{end}");
        self.identity.call(method, &path, Some(&owner.access), &Value::Null).ok("a deletion or a restore");
        self.columns.get_mut(&(owner.tenant, id.to_owned())).unwrap().is_deleted = !is_deleted;
    }
}

#[test]
fn a_random_life_of_many_ends_in_the_numbers_of_their_columns() {
    let data = tempfile::tempdir().unwrap();
    let mut server = Server::start(BINARY, data.path());
    let mut life = Life::new(&server);
    for step in 0..400 {
        life.step();
        if step % 100 == 50 {
            server = server.crash_and_restart_in_place();
        }
    }
    life.identity.flush();
    let since = now() - 30 * DAY;
    let mut active: BTreeMap<&str, u64> = BTreeMap::new();
    for ((tenant, user), column) in &life.columns {
        let found = server.client().ask(&format!("/v1/tenants/{tenant}/users/{user}"));
        assert_eq!(found["last_seen_at"].as_str().map(micros), column.last_seen_at, "{found}: {column:?}");
        assert_eq!(found["status"] == "deleted", column.is_deleted, "{found}: {column:?}");
        let is_active = column.is_confirmed
            && !column.is_deleted
            && column.last_seen_at.is_some_and(|last_seen_at| last_seen_at >= since);
        assert_eq!(found["status"] == "active", is_active, "{found}: {column:?}");
        *active.entry(tenant).or_default() += u64::from(is_active);
    }
    for (tenant, active) in &active {
        let summary = server.client().ask(&format!("/v1/tenants/{tenant}/summary"));
        assert_eq!(summary["active_users"].as_u64(), Some(*active), "{summary}");
    }
    let total: u64 = active.values().sum();
    assert_eq!(server.client().ask("/v1/summary")["active_users"].as_u64(), Some(total));
    assert!(total > 10 && life.columns.len() as u64 > total, "{total} of {}", life.columns.len());
}
