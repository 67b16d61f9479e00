//! The description as one page: no script, no network, readable on a phone and on paper.

use axum::http::HeaderValue;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use ring::digest::{SHA256, digest};
use serde_json::Value;

use super::{Content, Operation, TAGS, codes, tag};

const STYLE: &str = include_str!("page.css");

/// The page, and the policy that lets it load nothing but its style.
pub(super) fn render(operations: &[Operation], document: &Value) -> (String, HeaderValue) {
    let hash = STANDARD.encode(digest(&SHA256, STYLE.as_bytes()));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let policy = HeaderValue::try_from(policy).expect("letters and digits");
    (page(operations, document).into_string(), policy)
}

fn page(operations: &[Operation], document: &Value) -> Markup {
    let schemas = &document["components"]["schemas"];
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Lastseen API" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                nav {
                    p { strong { "Lastseen API" } " " (env!("CARGO_PKG_VERSION")) }
                    @for (name, _) in TAGS {
                        p { (name) }
                        ul {
                            @for operation in operations.iter().filter(|operation| tag(operation) == name) {
                                li { a href={ "#" (operation.id) } { (operation.method) " " (operation.path) } }
                            }
                        }
                    }
                }
                main {
                    h1 { "Lastseen API" }
                    p { (super::ABOUT) }
                    p {
                        "The same for programs: " a href="/openapi.json" { "/openapi.json" }
                        " (OpenAPI 3.1). Every error is " code { "application/problem+json" }
                        " with a stable " code { "code" } "."
                    }
                    @for (name, about) in TAGS {
                        h2 { (name) }
                        p { (about) }
                        @for operation in operations.iter().filter(|operation| tag(operation) == name) {
                            (section(operation, schemas))
                        }
                    }
                }
            }
        }
    }
}

fn section(operation: &Operation, schemas: &Value) -> Markup {
    html! {
        section id=(operation.id) {
            h3 { span class=(operation.method.to_lowercase()) { (operation.method) } " " code { (operation.path) } }
            p {
                span.does { (ticks(operation.summary)) } ". "
                @match operation.scope {
                    Some(scope) => { "Needs a key with the scope " code { (scope) } ", where there are keys." }
                    None => { "Needs no key." }
                }
            }
            @if !operation.params.is_empty() {
                table {
                    thead { tr { th { "parameter" } th { "form" } th { "default" } } }
                    tbody {
                        @for spec in &operation.params {
                            tr { td { code { (spec.name) } } td { (ticks(spec.about)) } td { (ticks(spec.default)) } }
                        }
                    }
                }
            }
            @if let Some(body) = &operation.body {
                h4 { "Body" }
                p { (ticks(body.about)) }
                @for content in &body.content { (content_of(content)) (fields(content, schemas)) }
            }
            h4 { "Answer " (operation.success.status) }
            @for content in &operation.success.content {
                (content_of(content))
                (fields(content, schemas))
            }
            details {
                summary { "Errors" }
                table {
                    thead { tr { th { "status" } th { "code" } th { "the caller's next move" } } }
                    tbody {
                        @for code in codes(operation) {
                            tr { td { (code.status().as_u16()) } td { code { (code.as_str()) } } td { (ticks(code.next_move())) } }
                        }
                    }
                }
            }
        }
    }
}

fn content_of(content: &Content) -> Markup {
    html! {
        p { code { (content.media_type) } }
        @if let Some(example) = content.example {
            pre { (example.trim_end()) }
        }
    }
}

/// The fields of a body, if it is an object of the components, or one of several.
fn fields(content: &Content, schemas: &Value) -> Markup {
    let mut told: Vec<(&str, &str)> = Vec::new();
    for (name, schema) in properties(content.schema.as_value(), schemas) {
        if let Some(about) = about(schema, schemas)
            && !told.iter().any(|(other, _)| *other == name)
        {
            told.push((name, about));
        }
    }
    html! {
        @if !told.is_empty() {
            table {
                thead { tr { th { "field" } th { "meaning" } } }
                tbody {
                    @for (name, about) in told {
                        tr { td { code { (name) } } td { (ticks(about)) } }
                    }
                }
            }
        }
    }
}

/// The properties of a schema, of the one that it names, or of all those that it is one of.
fn properties<'a>(schema: &'a Value, schemas: &'a Value) -> Vec<(&'a str, &'a Value)> {
    let named = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next());
    let own = schema["properties"].as_object().into_iter().flatten();
    let named = named.map(|name| properties(&schemas[name], schemas)).unwrap_or_default();
    let kinds = schema["oneOf"].as_array().into_iter().flatten().flat_map(|kind| properties(kind, schemas));
    own.map(|(name, schema)| (name.as_str(), schema)).chain(named).chain(kinds).collect()
}

/// The description of a schema, or of the one that it names.
fn about<'a>(schema: &'a Value, schemas: &'a Value) -> Option<&'a str> {
    let own = schema["description"].as_str();
    let named = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next());
    own.or_else(|| schemas[named?]["description"].as_str())
}

/// Text with code between backticks.
fn ticks(text: &str) -> Markup {
    html! {
        @for (place, part) in text.split('`').enumerate() {
            @if place % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}
