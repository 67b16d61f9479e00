//! `GET /openapi.json` and `GET /docs`: the description of the API, for programs and for people.

use std::sync::Arc;

use axum::body::Body;
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use schemars::{SchemaGenerator, json_schema};

use crate::http::answer::{Reply, Wants, encoded, with_validator};
use crate::http::ask::Ask;
use crate::http::auth::Open;
use crate::http::description::{Content, Fixed, Success};
use crate::http::params::NoParams;
use crate::http::problem::Problem;
use crate::tasks;

/// The `OpenAPI` document.
pub(in crate::http) struct Document(Arc<Fixed>);

impl Reply for Document {
    const NAME: &'static str = "OpenApi";

    fn describe(_: &mut SchemaGenerator) -> Success {
        Success::of(vec![Content::new("application/json", json_schema!({ "type": "object" }))])
    }

    async fn respond(self, wants: Wants) -> Response {
        fixed(self.0, "application/json", wants).await
    }
}

/// The page.
pub(in crate::http) struct Page {
    text: Arc<Fixed>,
    policy: HeaderValue,
}

impl Reply for Page {
    const NAME: &'static str = "Docs";

    fn describe(_: &mut SchemaGenerator) -> Success {
        Success::of(vec![Content::text("text/html")])
    }

    async fn respond(self, wants: Wants) -> Response {
        let mut response = fixed(self.text, "text/html; charset=utf-8", wants).await;
        response.headers_mut().insert(CONTENT_SECURITY_POLICY, self.policy);
        response
    }
}

async fn fixed(text: Arc<Fixed>, content_type: &'static str, wants: Wants) -> Response {
    let encoding = wants.encoding();
    let body = match encoding {
        Some(_) => tasks::blocking(move || text.encoded(encoding)).await,
        None => text.encoded(None),
    };
    let mut response = Body::from(body).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    encoded(response.headers_mut(), encoding);
    with_validator(response, None)
}

/// `GET /openapi.json`
pub(in crate::http) async fn openapi(ask: Ask<Open, NoParams>) -> Result<Document, Problem> {
    Ok(Document(ask.app().description().json.clone()))
}

/// `GET /docs`
pub(in crate::http) async fn docs(ask: Ask<Open, NoParams>) -> Result<Page, Problem> {
    let description = ask.app().description();
    Ok(Page { text: description.page.clone(), policy: description.policy.clone() })
}
