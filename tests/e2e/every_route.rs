//! Every route of the table, with everything that can be wrong about a request for it: a problem names what is wrong, nothing is
//! ignored, nothing fails. The table is the server's own, so a new route is asked for here as well.

use std::collections::BTreeSet;
use std::io::Write;

use lastseen_server::{RouteInfo, routes};
use lastseen_tests::instant::{DAY, now};
use lastseen_tests::{Answer, Client, Events, Server, path_segment};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::answers::empty_server;
use crate::slow_peers::{connect, rest};

/// Number of routes: whoever adds one looks whether this module asks it everything.
const ROUTES: usize = 33;

/// No value of any form but text.
const WRONG: [&str; 18] = [
    "",
    " ",
    "\u{0}",
    "\u{feff}",
    "☃",
    "-",
    "-1",
    "+1",
    "1.0",
    "1e3",
    "18446744073709551616",
    "NaN",
    "null",
    "%",
    "../x",
    "x,y",
    ",",
    "' OR 1=1",
];

/// The form of a text that has nothing but a length.
const ANY_TEXT: &str = "1 to 128 bytes";

/// 129 bytes.
const LONG_TEXT: &str = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\
     xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\
     xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";

/// Two tenants, two users of one of them, and a batch: there is something for each name in a path, and a second page.
pub(crate) fn server() -> (Server, TempDir) {
    let (server, data) = empty_server();
    let (mut events, now) = (Events::seeded(3001), now());
    let mut of_batch = events.login(("acme", "bob"), now - DAY);
    of_batch["batch"] = "run".into();
    let in_session = |mut event: Value, session_id: &str| {
        event["session_id"] = session_id.into();
        event
    };
    server.client().publish(&[
        in_session(events.login(("acme", "ada"), now), "s-1"),
        in_session(events.login(("acme", "ada"), now - DAY), "s-2"),
        of_batch,
        events.login(("beta", "ada"), now - DAY),
    ]);
    (server, data)
}

/// The path with the names of what is there.
pub(crate) fn path(route: &RouteInfo) -> String {
    filled(route.path)
}

fn filled(path: &str) -> String {
    path.replace("{tenant_id}", "acme").replace("{user_id}", "ada").replace("{batch}", "run")
}

/// The path with the parameter that the route requires, or that lets its answer end.
pub(crate) fn completed(route: &RouteInfo, path: &str) -> String {
    let (name, value) = match route.path {
        // Without it the answer does not end.
        "/v1/live" => ("limit", "1"),
        path if path.ends_with("/corrections") => ("since", "1d"),
        _ => return path.to_owned(),
    };
    if path.contains(name) {
        return path.to_owned();
    }
    let separator = if path.contains('?') { '&' } else { '?' };
    format!("{path}{separator}{name}={value}")
}

/// Sends a request for `route` under `path`, which is complete but for its query.
pub(crate) fn ask(client: &Client, route: &RouteInfo, path: &str) -> Answer {
    let (headers, body) = match (route.method.as_str(), route.path) {
        ("POST", "/v1/events") => (vec![("content-type", "application/json")], "{}"),
        ("POST", _) => (vec![("content-type", "application/json")], r#"{"user_ids":["ada"]}"#),
        _ => (vec![], ""),
    };
    let path = &completed(route, path);
    let answer = client.send(&route.method, path, &headers, body.as_bytes());
    answer.unwrap_or_else(|error| panic!("{} {path}: {error}", route.method))
}

/// The answer to a request that lacks nothing but parameters.
pub(crate) fn plain_status(route: &RouteInfo) -> (u16, Option<&'static str>) {
    match (route.method.as_str(), route.path) {
        ("POST", "/v1/events") => (422, Some("invalid_events")),
        ("DELETE", _) => (400, Some("invalid_parameter")),
        _ => (200, None),
    }
}

/// A value that has the form, and some that nearly have it.
fn values(form: &str) -> (Option<&'static str>, &'static [&'static str]) {
    match form {
        "an integer of at least 1 with a unit (us, ms, s, m, h, d, w), at most 36500d" => {
            (Some("7d"), &["30", "0d", "30 d", "30D", "36501d", "1y"])
        }
        "an RFC 3339 instant (2026-01-06T16:00:00Z), a date (2026-01-06: its first instant) or a time before \
         now (90d)" => {
            (Some("2024-01-31"), &["2026-1-6", "2026-02-30", "2026-01-06T16:00:00", "yesterday", "7"])
        }
        "a position (an integer), an RFC 3339 instant, a date or a time before now (90d)" => {
            (Some("1"), &["2026-1-6", "yesterday", "0d"])
        }
        "a comma list of login, token_refresh, tenant_switch, signup_complete" => (
            Some("login,token_refresh"),
            &["logout", "estimated_activity", "user_created", "Login", "login,"],
        ),
        "a comma list of event types such as login,user_deleted" => {
            (Some("user_deleted,login"), &["logout", "Login", "login,,user_deleted"])
        }
        "a comma list of active, inactive, pending, never_seen, deleted, left_out" => {
            (Some("active,deleted"), &["gone", "active,", "Active"])
        }
        "all" => (Some("all"), &["none", "All"]),
        "members or persons" => (Some("persons"), &["people", "Members"]),
        "monday or sunday" => (Some("sunday"), &["tuesday", "Monday"]),
        "observed" => (Some("observed"), &["estimated", "all", "Observed"]),
        "previous" => (Some("previous"), &["next", "Previous"]),
        "a position, an integer of at least 0" => (Some("1"), &["0x1", "1 "]),
        // As the number of events of the batch it is wrong: nothing is taken back.
        "an integer of at least 0" => (Some("7"), &["0x1", "1 "]),
        "an integer of at least 1" => (Some("1"), &["0", "0x1"]),
        "an integer from 1 to 1000" => (Some("7"), &["0", "1001"]),
        "a date such as 2026-01-31" => (Some("2024-01-31"), &["2026-1-1", "2026-02-30", "today", "7d"]),
        "an IANA time zone such as UTC or Europe/Berlin" => {
            (Some("Asia/Kolkata"), &["+01:00", "Europe/Berln"])
        }
        "day, week, month, quarter or year" => (Some("quarter"), &["decade", "Week", "days"]),
        "week, month, quarter or year" => (Some("year"), &["day", "Week", "decade"]),
        "last_seen_at, -last_seen_at, created_at, -created_at or user_id" => {
            (Some("-created_at"), &["-user_id", "+last_seen_at", "--last_seen_at"])
        }
        ANY_TEXT => (Some("ad"), &[LONG_TEXT]),
        "newest" => (Some("newest"), &["oldest", "Newest"]),
        "an integer from 1 to 366" => (Some("3"), &["0", "367"]),
        "tenant_id, total_users, pending_users, never_seen_users, active_users, observed_users, estimated_users, \
         inactive_users, deleted_users, left_out_users, or one of them after a -" => {
            (Some("-tenant_id"), &["name", "last_seen_at", "+total_users", "observed"])
        }
        "a next_cursor of this list" => (None, &["x", "bnVsbA", "W10"]),
        "json or csv" => (Some("csv"), &["excel", "CSV"]),
        "json, csv, excel or ndjson" => (Some("excel"), &["xml", "CSV", "ndjson5"]),
        // No log of this test.
        "the id of a log, a UUID with hyphens" => {
            (Some("0199a1b2-7c3d-4e4f-8a5b-6c7d8e9f0a1b"), &["0199a1b27c3d4e4f8a5b6c7d8e9f0a1b", "1"])
        }
        "refuse or skip" => (Some("skip"), &["ignore", "Skip"]),
        "text" => (Some("ada"), &[]),
        other => panic!("a form that this test has no values for: {other}"),
    }
}

/// A value that `route` takes for a parameter of this form.
fn good(client: &Client, route: &RouteInfo, (name, form): (&str, &str)) -> String {
    match (name, values(form).0) {
        ("tenant_id", _) => "acme".to_owned(),
        (_, Some(good)) => good.to_owned(),
        (_, None) => {
            let page = client.ask(&format!("{}?limit=1", path(route)));
            page["next_cursor"].as_str().unwrap_or_else(|| panic!("a second page of {page}")).to_owned()
        }
    }
}

fn assert_invalid(answer: &Answer, (name, form): (&str, &str), of: &str) {
    if form == "text" {
        let code = if name == "tenant_id" { "unknown_tenant" } else { "unknown_user" };
        let problem = answer.problem(404, code, of);
        assert_eq!(problem["field"], name, "{of}");
    } else {
        let problem = answer.problem(400, "invalid_parameter", of);
        assert_eq!(problem["field"], name, "{of}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.starts_with(&format!("expected {form}")), "{of}: {detail}");
    }
}

#[test]
fn all_routes_are_asked_here_and_answer_a_plain_request() {
    let (server, _data) = server();
    let routes = routes();
    assert_eq!(routes.len(), ROUTES, "look whether a new route is asked for everything here: {routes:#?}");
    for route in &routes {
        let accesses = ["open", "publish", "query", "replay", "backfill", "admin"];
        assert!(accesses.contains(&route.access) && !route.answer.is_empty(), "{route:?}");
        let answer = ask(server.client(), route, &path(route));
        let (status, code) = plain_status(route);
        assert_eq!(answer.status, status, "{route:?}: {}", answer.text());
        if let Some(code) = code {
            answer.problem(status, code, route.path);
        }
    }
}

#[test]
fn every_parameter_of_every_route_is_refused_by_name_where_it_has_not_its_form() {
    let (server, _data) = server();
    let client = server.client();
    for route in routes() {
        for &(name, form) in &route.params {
            let (to, of) = (path(&route), format!("{} {}?{name}=", route.method, route.path));
            let good = good(client, &route, (name, form));
            let taken = ask(client, &route, &format!("{to}?{name}={}", path_segment(&good)));
            assert!(taken.status < 500, "{of}{good}: {}", taken.text());
            let is_refused = taken.status == 400 && taken.json()["code"] == "invalid_parameter";
            assert!(!is_refused, "{of}{good}: {}", taken.text());
            let wrong = WRONG.iter().filter(|wrong| form != ANY_TEXT || wrong.is_empty());
            for wrong in wrong.chain(values(form).1) {
                let answer = ask(client, &route, &format!("{to}?{name}={}", path_segment(wrong)));
                assert_invalid(&answer, (name, form), &format!("{of}{wrong:?}"));
            }
            // A name alone has an empty value.
            assert_invalid(&ask(client, &route, &format!("{to}?{name}")), (name, form), &of);
            for again in [good.as_str(), "", "x"] {
                let query = format!("{name}={}&{name}={}", path_segment(&good), path_segment(again));
                let problem = ask(client, &route, &format!("{to}?{query}"));
                let problem = problem.problem(400, "invalid_parameter", &of);
                assert_eq!(
                    (&problem["field"], &problem["detail"]),
                    (&json!(name), &json!("expected this parameter once"))
                );
            }
        }
    }
}

#[test]
fn every_route_refuses_a_parameter_that_it_does_not_know() {
    let (server, _data) = server();
    for route in routes() {
        let names: Vec<&str> = route.params.iter().map(|(name, _)| *name).collect();
        let mut unknown =
            vec!["x".to_owned(), String::new(), " ".to_owned(), "☃".to_owned(), "a[]".to_owned()];
        unknown.extend(
            names.iter().flat_map(|name| [name.to_uppercase(), format!("{name}_"), format!(" {name}")]),
        );
        // Of other routes, and of earlier days.
        unknown.extend(
            [
                "type",
                "recorded_until",
                "occurred_until",
                "state",
                "compare",
                "window",
                "tz",
                "events",
                "on_invalid",
            ]
            .into_iter()
            .filter(|name| !names.contains(name))
            .map(str::to_owned),
        );
        let detail = match names.join(", ") {
            none if none.is_empty() => "this route takes no parameters".to_owned(),
            names => format!("expected one of {names}"),
        };
        for name in &unknown {
            let of = format!("{} {}?{name}=1", route.method, route.path);
            let answer = ask(server.client(), &route, &format!("{}?{}=1", path(&route), path_segment(name)));
            let problem = answer.problem(400, "unknown_parameter", &of);
            assert_eq!((&problem["field"], &problem["detail"]), (&json!(name), &json!(detail)), "{of}");
        }
        let many = vec!["x=1"; 10_000].join("&");
        let answer = ask(server.client(), &route, &format!("{}?{many}", path(&route)));
        assert_eq!(answer.problem(400, "unknown_parameter", route.path)["field"], "x");
    }
}

/// The whole answer to a request as it stands, on a connection of its own that it says to close.
fn raw(server: &Server, request: &str) -> Answer {
    let mut stream = connect(server);
    // The server may have heard enough before the end.
    let _ = stream.write_all(request.as_bytes());
    let text = rest(&mut stream);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
    Answer { status, headers, body: body.as_bytes().to_vec() }
}

#[test]
fn huge_values_and_names_are_problems() {
    // A head may be this long, and no longer.
    const LARGE: usize = 60_000;
    const HUGE: usize = 64 * 1024;
    let (server, _data) = server();
    for route in routes() {
        for &(name, form) in &route.params {
            for letter in ["x", "9"] {
                let of = format!("{} {}?{name}={letter}...", route.method, route.path);
                let large = format!("{}?{name}={}", path(&route), letter.repeat(LARGE));
                assert_invalid(&ask(server.client(), &route, &large), (name, form), &of);
                let huge = format!("{}?{name}={}", path(&route), letter.repeat(HUGE));
                assert_huge(&server, &route, &huge, &of);
            }
        }
        for place in ["acme", "ada", "run"] {
            let to = path(&route);
            if to.contains(place) {
                assert_huge(&server, &route, &to.replacen(place, &"x".repeat(HUGE), 1), route.path);
                let large = to.replacen(place, &"x".repeat(LARGE), 1);
                let answer = ask(server.client(), &route, &(large + query_of(&route)));
                let code = answer.json()["code"].as_str().unwrap().to_owned();
                answer.problem(404, &code, route.path);
            }
        }
    }
    assert_eq!(server.client().get("/readyz").status, 200);
}

/// Returns the query that a request needs besides names in its path.
fn query_of(route: &RouteInfo) -> &'static str {
    if route.method == "DELETE" { "?events=1" } else { "" }
}

/// A request whose head may be too long for the server: then that is what it says.
fn assert_huge(server: &Server, route: &RouteInfo, path: &str, of: &str) {
    let method = &route.method;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: 0\r\n\r\n"
    );
    let answer = raw(server, &request);
    assert!([400, 404, 414, 431].contains(&answer.status), "{of}: {} {}", answer.status, answer.text());
    let code = answer.json()["code"].as_str().unwrap().to_owned();
    answer.problem(answer.status, &code, of);
}

#[test]
fn every_name_in_a_path_is_known_or_a_problem() {
    let (server, _data) = server();
    for route in routes() {
        for (place, name, code) in [
            ("{tenant_id}", "tenant_id", "unknown_tenant"),
            ("{user_id}", "user_id", "unknown_user"),
            ("{batch}", "batch", "unknown_batch"),
        ] {
            if !route.path.contains(place) {
                continue;
            }
            let asked = |segment: &str| {
                let to = filled(&route.path.replace(place, segment)) + query_of(&route);
                ask(server.client(), &route, &to)
            };
            for unknown in
                ["nobody", "ACME", "acme%20", "%00", "null", "%F0%9F%98%80", "a%2Fb", &"x".repeat(200)]
            {
                let of = format!("{} {} of {unknown}", route.method, route.path);
                assert_eq!(asked(unknown).problem(404, code, &of)["field"], name, "{of}");
            }
            for no_text in ["%FF", "a%C3", "%ED%A0%80"] {
                let of = format!("{} {} of {no_text}", route.method, route.path);
                assert_eq!(asked(no_text).problem(400, "invalid_path", &of)["field"], name, "{of}");
            }
            let code = if route.path.ends_with(place) { "unknown_route" } else { code };
            asked("").problem(404, code, &format!("{} {} of no name", route.method, route.path));
        }
    }
}

/// True if requests for `path`, without any name to be filled in, are for `pattern`.
fn is_for(pattern: &str, path: &str) -> bool {
    let [pattern, path] = [pattern, path].map(|path| path.split('/').collect::<Vec<_>>());
    let same = |(pattern, found): (&&str, &&str)| pattern.starts_with('{') || pattern == found;
    pattern.len() == path.len() && pattern.iter().zip(&path).all(same)
}

fn set(allow: &str) -> BTreeSet<&str> {
    let methods: Vec<_> = allow.split(", ").collect();
    let set: BTreeSet<_> = methods.iter().copied().collect();
    assert_eq!(set.len(), methods.len(), "each of them once: {allow}");
    set
}

#[test]
fn every_other_method_is_refused_with_those_that_are_allowed() {
    let (server, _data) = server();
    let (client, routes) = (server.client(), routes());
    let paths: BTreeSet<String> = routes.iter().map(path).collect();
    for path in &paths {
        let here = routes.iter().filter(|route| is_for(route.path, path));
        let mut allowed: BTreeSet<&str> = here.map(|route| route.method.as_str()).collect();
        if allowed.contains("GET") {
            allowed.insert("HEAD");
        }
        allowed.insert("OPTIONS");
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "QUERY", "BREW", "get"] {
            if !allowed.contains(method) {
                let of = format!("{method} {path}");
                let answer =
                    client.send(method, path, &[], b"").unwrap_or_else(|error| panic!("{of}: {error}"));
                answer.problem(405, "method_not_allowed", &of);
                assert_eq!(set(answer.header("allow")), allowed, "{of}");
            }
        }
        for path in [path.clone(), format!("{path}?x=1")] {
            let options = client.send("OPTIONS", &path, &[], b"").unwrap();
            assert_eq!((options.status, options.text()), (204, String::new()), "OPTIONS {path}");
            assert_eq!(set(options.header("allow")), allowed, "OPTIONS {path}");
        }
    }
    let nowhere = client.send("OPTIONS", "/v1/nothing", &[], b"").unwrap();
    nowhere.problem(404, "unknown_route", "OPTIONS of nothing");
}

/// The headers but those that say when, or only how the body is cut into pieces.
fn headers(answer: &Answer) -> BTreeSet<(String, String)> {
    let all = answer.headers.iter();
    let all = all.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    all.filter(|(name, _)| !["date", "transfer-encoding", "content-length"].contains(&name.as_str()))
        .collect()
}

/// HEAD says what GET says, but for the body.
fn assert_head(server: &Server, path: &str, accepted: &str) {
    const ATTEMPTS: usize = 50;
    let asked = [("accept-encoding", accepted)];
    let mut lengths = BTreeSet::new();
    for _ in 0..ATTEMPTS {
        let get = server.client().get_with(path, &asked);
        let head = raw(
            server,
            &format!(
                "HEAD {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\naccept-encoding: {accepted}\r\n\r\n"
            ),
        );
        assert_eq!(head.status, get.status, "HEAD {path}");
        assert_eq!(head.text(), "", "HEAD {path}");
        let mut expected = headers(&get);
        // The raw request has asked for it.
        expected.insert(("connection".to_owned(), "close".to_owned()));
        assert_eq!(headers(&head), expected, "HEAD {path}");
        let [of_head, of_get] = [&head, &get].map(|answer| answer.header("content-length").to_owned());
        // An instant in the body may take a digit more or less from one answer to the next.
        if of_head == of_get {
            return;
        }
        lengths.insert((of_head, of_get));
    }
    panic!("HEAD {path}: {lengths:?} of HEAD and GET");
}

#[test]
fn head_says_what_get_says_without_a_body() {
    let (server, _data) = server();
    let gets = routes().into_iter().filter(|route| route.method == "GET");
    let gets = gets.map(|route| completed(&route, &path(&route)));
    let more = [
        "/v1/tenants/acme/users?format=csv",
        "/v1/tenants/acme/users?format=excel",
        "/v1/tenants/acme/users?as_of=2024-01-01",
        "/v1/summary?as_of=2024-01-01",
        "/v1/active-users?from=2024-01-01&to=2024-02-01",
        "/v1/events?after=1",
        "/v1/events?limit=0",
        "/v1/summary?x=1",
        "/v1/tenants/nobody/summary",
        "/v1/nothing",
    ];
    for path in gets.chain(more.map(str::to_owned)) {
        for accepted in ["identity", "gzip"] {
            assert_head(&server, &path, accepted);
        }
    }
}

#[test]
fn a_query_that_is_no_text_is_refused_and_a_plus_is_a_space() {
    let (server, _data) = server();
    let client = server.client();
    for query in ["window=%FF", "window=%", "window=%zz", "%FF=1", "window=7d&&as_of", "&as_of="] {
        let answer = client.get(&format!("/v1/summary?{query}"));
        assert_eq!(answer.status, 400, "{query}: {}", answer.text());
    }
    // Nothing between two separators is nothing.
    for query in ["", "&", "window=7d&", "&&window=7d"] {
        assert_eq!(client.get(&format!("/v1/summary?{query}")).status, 200, "{query}");
    }
    let problem = client.get("/v1/summary?as_of=2026-01-06T16:00:00+01:00");
    let problem: Value = problem.problem(400, "invalid_parameter", "a bare plus");
    assert!(problem["detail"].as_str().unwrap().ends_with("; in a query, + is written %2B"), "{problem}");
}
