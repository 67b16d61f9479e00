//! docs/API.md says what the document says: routes, parameters, codes and examples.

use std::collections::BTreeSet;

use lastseen_event::FaultCode;

use super::*;
use crate::http::routes;

const PAGE: &str = include_str!("../../../../../docs/API.md");

/// The text under a heading, up to the next one of its level or above.
fn section<'a>(heading: &str) -> Option<&'a str> {
    let level = heading.split(' ').next().unwrap();
    let (_, text) = PAGE.split_once(&format!("\n{heading}\n"))?;
    let ends = (2..=level.len()).filter_map(|level| text.find(&format!("\n{} ", "#".repeat(level))));
    Some(&text[..ends.min().unwrap_or(text.len())])
}

/// The cells of the rows of the table in `text` whose first column is called `name`.
fn table(text: &'static str, name: &str) -> Vec<Vec<&'static str>> {
    let lines = text.lines().skip_while(|line| !line.starts_with(&format!("| {name} |"))).skip(2);
    let cells = |line: &'static str| line.trim_matches('|').split(" | ").map(str::trim).collect();
    lines.take_while(|line| line.starts_with('|')).map(cells).collect()
}

/// The section about a route: one of all tenants is about the same of one tenant as well.
fn about(operation: &Operation) -> &'static str {
    let of = |path: &str| section(&format!("### {} {path}", operation.method));
    let overall = operation.path.replace("/tenants/{tenant_id}", "");
    of(operation.path).or_else(|| of(&overall)).unwrap_or_else(|| panic!("no section on {}", operation.path))
}

#[test]
fn the_table_of_routes_is_the_servers() {
    let (operations, _) = routes::operations();
    let told: BTreeSet<_> = table(section("## Routes").unwrap(), "route")
        .into_iter()
        .map(|cells| {
            let route = cells[0].split('`').nth(1).unwrap();
            (route.to_owned(), cells[1].to_owned())
        })
        .collect();
    let found: BTreeSet<_> = operations
        .iter()
        .map(|operation| (format!("{} {}", operation.method, operation.path), operation.summary.to_owned()))
        .collect();
    assert_eq!(told, found);
}

#[test]
fn the_parameters_of_each_route_are_the_servers() {
    let line = |ParamSpec { name, about, default, .. }: &ParamSpec| format!("`{name}` | {about} | {default}");
    let of_every_route: BTreeSet<_> = table(section("### Which log").unwrap(), "parameter of every route")
        .into_iter()
        .map(|cells| cells.join(" | "))
        .collect();
    let (operations, _) = routes::operations();
    for operation in &operations {
        let told: BTreeSet<_> =
            table(about(operation), "parameter").into_iter().map(|cells| cells.join(" | ")).collect();
        let found: BTreeSet<_> =
            operation.params.iter().map(line).filter(|line| !of_every_route.contains(line)).collect();
        assert_eq!(told, found, "{} {}", operation.method, operation.path);
        let all: BTreeSet<_> = operation.params.iter().map(line).collect();
        assert_eq!(of_every_route.is_subset(&all), operation.path.starts_with("/v1"), "{}", operation.path);
    }
}

#[test]
fn the_codes_are_the_servers() {
    let told: Vec<_> =
        table(section("## Errors").unwrap(), "status").into_iter().map(|cells| cells.join(" | ")).collect();
    let found: Vec<_> = Code::ALL
        .iter()
        .map(|code| format!("{} | `{}` | {}", code.status().as_u16(), code.as_str(), code.next_move()))
        .collect();
    assert_eq!(told, found);
    let told: BTreeSet<_> = table(section("### POST /v1/events").unwrap(), "code of a fault")
        .into_iter()
        .map(|cells| cells[0].trim_matches('`'))
        .collect();
    assert_eq!(told, FaultCode::ALL.iter().map(|code| code.as_str()).collect());
}

#[test]
fn each_answer_is_an_example_of_the_page() {
    let shown: Vec<Value> = PAGE
        .split("```json\n")
        .skip(1)
        .filter_map(|block| serde_json::from_str(block.split("```").next().unwrap()).ok())
        .collect();
    let (operations, _) = routes::operations();
    let contents = operations.iter().flat_map(|operation| &operation.success.content);
    let mut examples = 0;
    for example in contents.filter_map(|content| content.example) {
        let example: Value = serde_json::from_str(example).unwrap();
        assert!(shown.contains(&example), "docs/API.md does not show {example}");
        examples += 1;
    }
    assert!(examples > 10, "{examples}");
}

#[test]
fn each_default_is_a_value_of_its_parameter() {
    let (operations, _) = routes::operations();
    let ids: BTreeSet<_> = operations.iter().map(|operation| operation.id).collect();
    assert_eq!(ids.len(), operations.len());
    for operation in &operations {
        for spec in &operation.params {
            let Some(default) = spec.default_value() else { continue };
            let schema = (spec.schema)();
            let words = schema.get("enum").and_then(Value::as_array);
            assert!(words.is_none_or(|words| words.contains(&default.into())), "{default} of {}", spec.name);
        }
    }
}
