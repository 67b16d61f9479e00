//! Things that are not there: routes, methods, parameters, tenants and users. All of it is a problem, none is
//! ignored.

use lastseen_tests::Events;
use lastseen_tests::instant::now;

use crate::answers::empty_server;

#[test]
fn unknown_routes_and_methods_are_problems() {
    let (server, _data) = empty_server();
    let client = server.client();
    for path in [
        "/v2/events",
        "/v1",
        "/v1/",
        "/v1/nothing",
        "/v1/tenants/acme",
        "/v1/tenants/acme/users/a/b",
        "/favicon.ico",
    ] {
        client.get(path).problem(404, "unknown_route", path);
        client.post(path, "application/json", b"{}").problem(404, "unknown_route", path);
    }
    for (method, path, allowed) in [
        ("DELETE", "/v1/events", "POST"),
        ("PUT", "/v1/events", "POST"),
        ("POST", "/v1/summary", "GET"),
        ("DELETE", "/v1/tenants/acme/summary", "GET"),
        ("PATCH", "/v1/tenants/acme/users", "GET"),
        ("DELETE", "/v1/tenants/acme/users/ada", "GET"),
        ("POST", "/healthz", "GET"),
        ("POST", "/readyz", "GET"),
        ("BREW", "/v1/summary", "GET"),
    ] {
        let answer = client.send(method, path, &[("content-type", "application/json")], b"").unwrap();
        answer.problem(405, "method_not_allowed", &format!("{method} {path}"));
        let allow: Vec<_> = answer.header("allow").split(',').map(str::trim).collect();
        assert!(allow.contains(&allowed), "{method} {path}: {allow:?}");
    }
}

#[test]
fn unknown_tenants_and_users_are_problems() {
    let (server, _data) = empty_server();
    let client = server.client();
    client.publish(&[Events::seeded(1301).login(("acme", "ada"), now())]);
    for path in ["/v1/tenants/nobody/summary", "/v1/tenants/nobody/users", "/v1/tenants/nobody/users/ada"] {
        client.get(path).problem(404, "unknown_tenant", path);
    }
    for user in ["bob", "Ada", "ada%20", "null", &"x".repeat(200)] {
        let path = format!("/v1/tenants/acme/users/{user}");
        client.get(&path).problem(404, "unknown_user", &path);
    }
    // The same after a restart.
    let server = server.restart();
    server.client().get("/v1/tenants/nobody/summary").problem(404, "unknown_tenant", "after a restart");
    server.client().get("/v1/tenants/acme/users/bob").problem(404, "unknown_user", "after a restart");
}

#[test]
fn unknown_parameters_are_refused_everywhere() {
    let (server, _data) = empty_server();
    let client = server.client();
    let login = Events::seeded(1302).login(("acme", "ada"), now());
    client.publish(std::slice::from_ref(&login));
    for path in
        ["/v1/summary", "/v1/tenants/acme/summary", "/v1/tenants/acme/users", "/v1/tenants/acme/users/ada"]
    {
        for name in ["windows", "Window", "color", "on_invalid"] {
            let problem = client.get(&format!("{path}?{name}=1")).problem(400, "unknown_parameter", path);
            assert_eq!(problem["field"], name, "{path}");
        }
    }
    for path in ["/v1/events?window=30d", "/v1/tenants/acme/users/lookup?x=1"] {
        client.post_json(path, &login).problem(400, "unknown_parameter", path);
    }
}

#[test]
fn malformed_and_repeated_parameters_are_refused_by_name() {
    let (server, _data) = empty_server();
    let client = server.client();
    client.publish(&[Events::seeded(1303).login(("acme", "ada"), now())]);
    let summary = ["/v1/summary", "/v1/tenants/acme/summary", "/v1/tenants/acme/users"];
    let list = ["/v1/tenants/acme/users"];
    for (paths, field, values) in [
        (
            summary.as_slice(),
            "window",
            ["", "30", "d", "0d", "-1d", "1.5d", "30 d", "30D", "36501d", "1y"].as_slice(),
        ),
        (&summary, "as_of", &["", "yesterday", "2026-1-6", "1767715200", "2026-01-06T16:00:00"]),
        (
            &summary,
            "types",
            &["", "logout", "user_created", "estimated_activity", "login,,token_refresh", "Login"],
        ),
        (&summary, "provenance", &["", "estimated", "all"]),
        (&summary, "known_at", &["", "-1", "x", "1.0"]),
        (&summary[..2], "compare", &["", "next"]),
        (&list, "sort", &["", "-user_id", "+last_seen_at"]),
        (&list, "status", &["", "gone", "active,", "Active"]),
        (&list, "seen_since", &["", "2026"]),
        (&list, "seen_before", &["", "now"]),
        (&list, "limit", &["", "0", "1001", "-1", "ten"]),
        (&list, "format", &["", "xml", "json5"]),
    ] {
        for path in paths {
            for value in values {
                let path = format!("{path}?{field}={}", lastseen_tests::path_segment(value));
                let problem = client.get(&path).problem(400, "invalid_parameter", &path);
                assert_eq!(problem["field"], field, "{path}");
            }
        }
    }
    let problem = client.get("/v1/summary?window=7d&window=7d").problem(400, "invalid_parameter", "twice");
    assert_eq!(problem["field"], "window");
    let path = "/v1/events?on_invalid=ignore";
    let problem = client.post(path, "application/json", b"{}").problem(400, "invalid_parameter", path);
    assert_eq!(problem["field"], "on_invalid");
}

#[test]
fn an_offset_in_a_parameter_is_escaped_and_a_bare_plus_is_explained() {
    let (server, _data) = empty_server();
    let client = server.client();
    client.publish(&[Events::seeded(1304).login(("acme", "ada"), now())]);
    let summary = client.ask("/v1/summary?as_of=2026-01-06T16%3A00%3A00%2B01%3A00");
    assert_eq!(summary["as_of"], "2026-01-06T15:00:00Z");
    // Unescaped, a plus is a space in a query.
    let bare = client.get("/v1/summary?as_of=2026-01-06T16:00:00+01:00");
    let problem = bare.problem(400, "invalid_parameter", "a bare plus");
    assert!(problem["detail"].as_str().unwrap().contains("%2B"), "{problem}");
}

#[test]
fn without_keys_only_this_machine_by_its_own_names_is_answered() {
    let (server, _data) = empty_server();
    let port = server.url().rsplit(':').next().unwrap().to_owned();
    let ask = |host: &str| server.client().send("GET", "/v1/summary", &[("host", host)], &[]).unwrap();
    for host in
        ["localhost".to_owned(), "127.0.0.1".to_owned(), format!("localhost:{port}"), format!("[::1]:{port}")]
    {
        assert_eq!(ask(&host).status, 200, "{host}");
    }
    // A web page that has pointed its own name at this machine.
    for host in
        ["rebound.example", "localhost.rebound.example", &format!("rebound.example:{port}"), "10.0.0.1"]
    {
        ask(host).problem(421, "foreign_host", host);
    }
}
