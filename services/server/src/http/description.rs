//! The description of the API: `OpenAPI` 3.1, made of the table of routes and the types of its answers.

mod page;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use axum::body::Bytes;
use axum::http::HeaderValue;
use schemars::generate::{Contract, SchemaSettings};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use super::answer::Encoding;
use super::params::ParamSpec;
use super::problem::{Code, Possible, ProblemBody};
use super::schema::events::{CloudEvent, PublishedEvent};
use crate::keys::Scope;

/// The description as it is served.
pub(super) struct Description {
    /// The `OpenAPI` document.
    pub(super) json: Arc<Fixed>,
    /// The page, and what it may load: its own style, and nothing else.
    pub(super) page: Arc<Fixed>,
    pub(super) policy: HeaderValue,
}

impl Description {
    pub(super) fn new(operations: &[Operation], generator: SchemaGenerator) -> Self {
        let document = document(operations, generator);
        let json = serde_json::to_vec(&document).expect("a document is serializable");
        let (page, policy) = page::render(operations, &document);
        Self { json: Fixed::new(json), page: Fixed::new(page), policy }
    }
}

/// A text that is the same as long as the server runs, and compressed at most once for each encoding.
pub(super) struct Fixed {
    text: Bytes,
    compressed: [OnceLock<Bytes>; 2],
}

impl Fixed {
    fn new(text: impl Into<Bytes>) -> Arc<Self> {
        Arc::new(Self { text: text.into(), compressed: Default::default() })
    }

    /// The text in this encoding. Blocks, the first time.
    pub(super) fn encoded(&self, encoding: Option<Encoding>) -> Bytes {
        let Some(encoding) = encoding else { return self.text.clone() };
        self.compressed[encoding as usize].get_or_init(|| encoding.compress(&self.text).into()).clone()
    }
}

/// A body in one notation.
pub(super) struct Content {
    pub(super) media_type: &'static str,
    pub(super) schema: Schema,
    /// JSON, or text of another kind.
    pub(super) example: Option<&'static str>,
}

impl Content {
    /// A body without an example.
    pub(super) fn new(media_type: &'static str, schema: Schema) -> Self {
        Self { media_type, schema, example: None }
    }

    /// A body of text.
    pub(super) fn text(media_type: &'static str) -> Self {
        Self::new(media_type, json_schema!({ "type": "string" }))
    }

    /// A body of JSON.
    pub(super) fn json<T: JsonSchema>(generator: &mut SchemaGenerator, example: &'static str) -> Self {
        Self {
            media_type: "application/json",
            schema: generator.subschema_for::<T>(),
            example: Some(example),
        }
    }
}

/// The answer to a request that succeeds.
pub(super) struct Success {
    pub(super) status: u16,
    pub(super) content: Vec<Content>,
    /// Names of headers, and what they tell.
    pub(super) headers: Vec<(&'static str, &'static str)>,
    /// True if some of the answers have a tag, so that 304 is possible.
    pub(super) has_etag: bool,
}

impl Success {
    /// A 200 with nothing but one of these bodies.
    pub(super) fn of(content: Vec<Content>) -> Self {
        Self { status: 200, content, headers: Vec::new(), has_etag: false }
    }
}

/// The body of a request.
pub(super) struct RequestBody {
    pub(super) about: &'static str,
    pub(super) content: Vec<Content>,
    /// Headers that say what is in the body.
    pub(super) headers: Vec<(&'static str, &'static str)>,
}

/// The header of a compressed body.
pub(super) const ENCODING: (&str, &str) =
    ("Content-Encoding", "`gzip` or `zstd`, where the body is compressed.");

/// A route as its readers see it.
pub(super) struct Operation {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    /// A name for generated clients.
    pub(super) id: &'static str,
    /// The route in words, as in the table of routes of docs/API.md.
    pub(super) summary: &'static str,
    pub(super) scope: Option<Scope>,
    /// True if it is about tenants whose keys do not see others.
    pub(super) is_bound: bool,
    pub(super) params: Vec<ParamSpec>,
    pub(super) body: Option<RequestBody>,
    pub(super) success: Success,
}

/// A generator of schemas as answers are written, which stand among the components of the document.
pub(super) fn generator() -> SchemaGenerator {
    let mut settings = SchemaSettings::draft2020_12();
    settings.definitions_path = "/components/schemas".into();
    settings.meta_schema = None;
    settings.contract = Contract::Serialize;
    settings.into_generator()
}

const ABOUT: &str =
    "Who was last seen when, and how many users are active, exactly, now and at any instant of the past.";

/// The names in a path: their meaning.
const NAMES: [(&str, &str); 3] = [
    ("tenant_id", "The tenant, percent-encoded."),
    ("user_id", "The user within its tenant, percent-encoded."),
    ("batch", "The name of the backfill, percent-encoded."),
];

/// The document.
pub(super) fn document(operations: &[Operation], mut generator: SchemaGenerator) -> Value {
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for operation in operations {
        let described = described(operation, &mut generator);
        paths.entry(operation.path).or_default().insert(operation.method.to_lowercase(), described);
    }
    let mut schemas = generator.take_definitions(true);
    // In requests null means absent.
    let requests = [PublishedEvent::schema_name(), CloudEvent::schema_name()];
    let is_answer = |name: &String| !requests.iter().any(|request| request == name);
    schemas.iter_mut().filter(|(name, _)| is_answer(name)).for_each(|(_, schema)| without_null(schema));
    let security = json!({
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "ls_...",
        "description": "A key of `lastseen keys create`. A server without keys asks for none.",
    });
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Lastseen",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": ABOUT,
            "license": { "name": "MIT", "identifier": "MIT" },
        },
        "servers": [{ "url": "/", "description": "The server that sent this document." }],
        "tags": TAGS.map(|(name, about)| json!({ "name": name, "description": about })),
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": { "key": security },
        },
    })
}

/// Takes null from the optional fields of an object: answers leave such a field out.
fn without_null(schema: &mut Value) {
    let required = schema.get("required").cloned().unwrap_or_default();
    let is_required =
        |name: &String| required.as_array().is_some_and(|names| names.iter().any(|one| one == name));
    let Some(Value::Object(properties)) = schema.get_mut("properties") else { return };
    for (_, field) in properties.iter_mut().filter(|(name, _)| !is_required(name)) {
        let Value::Object(field) = field else { continue };
        if let Some(Value::Array(types)) = field.get_mut("type") {
            types.retain(|one| one != "null");
            if let [only] = types.as_slice() {
                let only = only.clone();
                field.insert("type".to_owned(), only);
            }
        }
        if let Some(Value::Array(kinds)) = field.get_mut("anyOf") {
            kinds.retain(|one| one.get("type").is_none_or(|it| it != "null"));
            if let [Value::Object(only)] = kinds.as_slice() {
                let only = only.clone();
                field.remove("anyOf");
                field.extend(only);
            }
        }
    }
}

const TAGS: [(&str, &str); 5] = [
    ("events", "Appending and replaying events."),
    ("numbers", "How many users there are, and how many are active."),
    ("users", "Who was last seen when."),
    ("backfills", "History from before."),
    ("server", "How the server is, and this description."),
];

fn tag(operation: &Operation) -> &'static str {
    let path = operation.path;
    match () {
        () if path == "/v1/events" => "events",
        () if path.starts_with("/v1/backfills") => "backfills",
        () if path.contains("/users") => "users",
        () if path.starts_with("/v1") => "numbers",
        () => "server",
    }
}

fn described(operation: &Operation, generator: &mut SchemaGenerator) -> Value {
    let Operation { id, summary, scope, body, .. } = operation;
    let mut described = json!({
        "operationId": id,
        "summary": summary,
        "tags": [tag(operation)],
        "parameters": parameters(operation),
        "responses": responses(operation, generator),
        "security": scope.map_or_else(|| json!([]), |scope| json!([{ "key": [scope.as_str()] }])),
    });
    if let Some(body) = body {
        described["requestBody"] =
            json!({ "description": body.about, "required": true, "content": contents(&body.content) });
    }
    described
}

fn parameters(operation: &Operation) -> Vec<Value> {
    let mut parameters = Vec::new();
    for (name, about) in NAMES {
        if operation.path.contains(&format!("{{{name}}}")) {
            let schema = super::schema::name();
            parameters.push(json!({
                "name": name, "in": "path", "required": true, "description": about, "schema": schema,
            }));
        }
    }
    for spec in &operation.params {
        let mut schema = (spec.schema)();
        if let Some(default) = spec.default_value() {
            let is_number = schema.get("type").is_none_or(|it| it == "integer");
            let number = default.parse::<u64>().ok().filter(|_| is_number).map(Value::from);
            schema.insert("default".to_owned(), number.unwrap_or_else(|| default.into()));
        }
        let is_list = schema.get("type").is_some_and(|it| it == "array");
        let about = spec.about;
        let mut parameter = json!({
            "name": spec.name,
            "in": "query",
            "required": spec.is_required(),
            "description": if spec.is_required() { about.to_owned() } else { format!("{about}. Default: {}", spec.default) },
            "schema": schema,
        });
        if is_list {
            parameter["style"] = "form".into();
            parameter["explode"] = false.into();
        }
        parameters.push(parameter);
    }
    let conditional = ("If-None-Match", "The `ETag` of a copy: 304 if it is still right.");
    let headers = operation.body.iter().flat_map(|body| &body.headers);
    for (name, about) in headers.chain(operation.success.has_etag.then_some(&conditional)) {
        parameters.push(json!({
            "name": name, "in": "header", "required": false, "description": about, "schema": { "type": "string" },
        }));
    }
    parameters
}

fn contents(contents: &[Content]) -> Map<String, Value> {
    let content = |Content { media_type, schema, example }: &Content| {
        let mut content = json!({ "schema": schema });
        if let Some(example) = example {
            content["example"] = serde_json::from_str(example).unwrap_or_else(|_| (*example).into());
        }
        ((*media_type).to_owned(), content)
    };
    contents.iter().map(content).collect()
}

/// The codes that a request for a route can get.
fn codes(operation: &Operation) -> impl Iterator<Item = Code> {
    let names = |name: &str| {
        operation.path.contains(&format!("{{{name}}}"))
            || operation.params.iter().any(|spec| spec.name == name)
    };
    let (publishes, asks) = (
        operation.scope == Some(Scope::Publish),
        matches!(operation.scope, Some(Scope::Query | Scope::Replay | Scope::Backfill)),
    );
    let deletes = operation.method == "DELETE";
    let holds = move |possible: Possible| match possible {
        Possible::Always => true,
        Possible::Never => false,
        Possible::Key => operation.scope.is_some(),
        Possible::Bound => operation.is_bound,
        Possible::Value => !operation.params.is_empty(),
        Possible::Path => operation.path.contains('{'),
        Possible::Tenant => names("tenant_id"),
        Possible::User => names("user_id"),
        Possible::Persons => operation.path.starts_with("/v1/persons"),
        Possible::LogId => names("log_id"),
        Possible::After => names("after"),
        Possible::Batch => names("batch"),
        Possible::Body => operation.body.is_some(),
        Possible::Lookup => operation.body.is_some() && asks,
        Possible::Events => publishes,
        Possible::Retraction => deletes,
        Possible::Service => publishes || asks || operation.path == "/readyz",
        Possible::Question => asks,
        Possible::Log => publishes || asks,
        Possible::Write => publishes || deletes,
        Possible::Health => operation.path == "/readyz",
    };
    Code::ALL.iter().copied().filter(move |code| holds(code.possible()))
}

fn responses(operation: &Operation, generator: &mut SchemaGenerator) -> Map<String, Value> {
    let Success { status, content, headers, has_etag } = &operation.success;
    let header = |about: &str| json!({ "description": about, "schema": { "type": "string" } });
    let mut told: Map<String, Value> =
        headers.iter().map(|(name, about)| ((*name).to_owned(), header(about))).collect();
    if *has_etag {
        told.insert("ETag".to_owned(), header("Of an answer that its position and its query fix."));
    }
    let mut responses = Map::new();
    let description = if *status == 202 { "Accepted: durable, and on its way." } else { "The answer." };
    responses.insert(
        status.to_string(),
        json!({ "description": description, "headers": told, "content": contents(content) }),
    );
    if *has_etag {
        let description = "`If-None-Match` names the tag: the copy is still right.";
        responses.insert("304".to_owned(), json!({ "description": description }));
    }
    let problem = generator.subschema_for::<ProblemBody>();
    let mut by_status: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
    for code in codes(operation) {
        by_status.entry(code.status().as_u16()).or_default().push(code);
    }
    for (status, codes) in by_status {
        let lines: Vec<_> =
            codes.iter().map(|code| format!("- `{}`: {}", code.as_str(), code.next_move())).collect();
        let names: Vec<_> = codes.iter().map(|code| code.as_str()).collect();
        let of_status = json!({
            "allOf": [problem, { "properties": { "code": { "enum": names }, "status": { "const": status } } }],
        });
        let mut response = json!({
            "description": lines.join("\n"),
            "content": { "application/problem+json": { "schema": of_status } },
        });
        if codes.iter().any(|code| code.has_retry_after()) {
            response["headers"] = json!({
                "Retry-After": { "description": "Seconds, where waiting helps.", "schema": { "type": "integer" } },
            });
        }
        responses.insert(status.to_string(), response);
    }
    responses
}

#[cfg(test)]
mod tests;
