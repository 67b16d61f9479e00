//! The id of a request, and the trace that it is a part of: its caller and the log know the same.

use std::time::Duration;

use lastseen_tests::{Server, eventually};
use serde_json::{Value, json};

use crate::BINARY;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

fn lines(server: &Server) -> Vec<Value> {
    server.stderr().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[test]
fn the_log_has_the_request_under_the_id_and_the_trace_that_its_caller_knows() {
    let data = tempfile::tempdir().unwrap();
    let options = ["--log-format", "json", "--log", "info,lastseen_server=debug"];
    let server = Server::start_with(BINARY, data.path(), &options);
    let traceparent = format!("00-{TRACE}-b7ad6b7169203331-01");
    let answer = server.client().get_with("/v1/summary?windows=7d", &[("traceparent", &traceparent)]);
    let request_id = answer.problem(400, "unknown_parameter", "a problem")["request_id"].clone();
    let told = eventually(Duration::from_mins(1), || {
        lines(&server).into_iter().find(|line| line["request_id"] == request_id)
    });
    let line = told.expect("the log tells the problem");
    assert_eq!(line["code"], "unknown_parameter");
    assert_eq!(line["trace_id"], TRACE);
    let span = &line["spans"][0];
    for (field, expected) in [
        ("name", json!("request")),
        ("request_id", request_id),
        ("trace_id", json!(TRACE)),
        ("http.route", json!("/v1/summary")),
        ("http.request.method", json!("GET")),
    ] {
        assert_eq!(span[field], expected, "{field} of {span}");
    }
    // Another request is another id, and what is no trace is ignored.
    let other = server.client().get_with("/v1/summary?windows=7d", &[("traceparent", "nonsense")]);
    let other = other.problem(400, "unknown_parameter", "another")["request_id"].clone();
    assert_ne!(other, line["request_id"]);
    let told = eventually(Duration::from_mins(1), || {
        lines(&server).into_iter().find(|line| line["request_id"] == other)
    });
    assert!(told.is_some_and(|line| line.get("trace_id").is_none()));
}
