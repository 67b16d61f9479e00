//! `GET /assets/{asset}`: style, script and icon.

use axum::body::Body;
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::response::{IntoResponse, Response};
use schemars::SchemaGenerator;

use crate::http::answer::{Reply, Wants, encoded};
use crate::http::ask::Ask;
use crate::http::auth::Open;
use crate::http::dashboard::assets::{Asset, find};
use crate::http::description::{Content, Success};
use crate::http::params::NoParams;
use crate::http::problem::Problem;

/// A file that never changes under its address.
pub(in crate::http) struct File(&'static Asset);

impl Reply for File {
    const NAME: &'static str = "Asset";

    fn describe(_: &mut SchemaGenerator) -> Success {
        Success::of(vec![Content::text("text/css")])
    }

    async fn respond(self, wants: Wants) -> Response {
        let Self(Asset { content_type, text, .. }) = self;
        let encoding = wants.encoding();
        let body = match encoding {
            Some(encoding) => crate::tasks::blocking(move || encoding.compress(text.as_bytes())).await.into(),
            None => Body::from(*text),
        };
        let mut response = body.into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
        encoded(headers, encoding);
        response
    }
}

/// `GET /assets/{asset}`
pub(in crate::http) async fn asset(ask: Ask<Open, NoParams>) -> Result<File, Problem> {
    find(ask.asset()).map(File).ok_or_else(|| Problem::unknown_route(ask.path()))
}
