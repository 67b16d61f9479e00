//! A page as an answer: HTML, or the address of another one.

use axum::body::Body;
use axum::http::header::{
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use schemars::SchemaGenerator;

use super::asked::{Asked, address};
use super::templates::layout::{Contents, document, plain};
use super::templates::message;
use super::templates::view::View;
use crate::http::answer::{Reply, Wants, counted, encoded, with_validator};
use crate::http::description::{Content, Success};
use crate::http::problem::Problem;
use crate::tasks;

/// Nothing but what this server gives, and no text of a page as script or style.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// A page.
pub(in crate::http) enum Page {
    /// Made away from the workers: a page is some hundred kilobytes of text.
    Made(StatusCode, Box<dyn FnOnce() -> Markup + Send>),
    Elsewhere(String),
    /// Nothing to see: the browser asks for another address, as from this site.
    Again(String),
}

impl Page {
    /// A page from what it was asked for and the answers to it.
    pub(super) fn of<D: Send + 'static>(
        asked: Box<Asked>,
        data: D,
        contents: impl FnOnce(&View<'_>, &D) -> Contents + Send + 'static,
    ) -> Self {
        Self::Made(
            StatusCode::OK,
            Box::new(move || {
                let view = View::new(&asked);
                document(&view, &contents(&view, &data))
            }),
        )
    }

    /// A page without the frame.
    pub(super) fn plain(status: StatusCode, title: &'static str, main: Markup) -> Self {
        Self::Made(status, Box::new(move || plain(title, &main, None)))
    }
}

impl Reply for Page {
    const NAME: &'static str = "Page";

    fn describe(_: &mut SchemaGenerator) -> Success {
        Success::of(vec![Content::text("text/html")])
    }

    async fn respond(self, wants: Wants) -> Response {
        let (status, make) = match self {
            Self::Elsewhere(address) => return elsewhere(&address),
            Self::Again(address) => {
                let refresh = format!("0;url={address}");
                let make: Box<dyn FnOnce() -> Markup + Send> =
                    Box::new(move || plain("Sign in", &html! { p.note { "One moment." } }, Some(&refresh)));
                (StatusCode::OK, make)
            }
            Self::Made(status, make) => (status, make),
        };
        let encoding = wants.encoding();
        let body = tasks::blocking(move || {
            let text = make().into_string().into_bytes();
            match encoding {
                Some(encoding) => encoding.compress(&text),
                None => text,
            }
        });
        let Some(body) = counted(body.await, wants.memory()) else {
            return Self::refuse(Problem::no_memory(), &Uri::default());
        };
        let mut response = Body::from(body).into_response();
        *response.status_mut() = status;
        encoded(response.headers_mut(), encoding);
        secured(with_validator(response, None))
    }

    /// Forms send fields that nobody filled in; an address has none of them.
    fn moved(uri: &Uri) -> Option<String> {
        let query = uri.query()?;
        let pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let filled: Vec<(&str, &str)> = pairs
            .iter()
            .map(|(name, value)| (name.as_str(), value.trim()))
            .filter(|(_, value)| !value.is_empty())
            .collect();
        (filled.len() < pairs.len()).then(|| address(uri.path(), filled))
    }

    fn refuse(problem: Problem, uri: &Uri) -> Response {
        if problem.is_unauthenticated() {
            let next = uri.path_and_query().map_or("/", |asked| asked.as_str());
            return elsewhere(&address("/sign-in", [("next", next)]));
        }
        let again = problem.retry_after_s().map(|seconds| seconds.to_string());
        let text = plain(problem.title(), &message::refused(&problem), again.as_deref()).into_string();
        let mut response = problem.into_response();
        *response.body_mut() = Body::from(text);
        response.headers_mut().remove(axum::http::header::CONTENT_LENGTH);
        secured(response)
    }
}

/// Sends a request on to another address of this server.
pub(in crate::http) fn elsewhere(address: &str) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    if let Ok(location) = HeaderValue::from_str(address) {
        response.headers_mut().insert(LOCATION, location);
    }
    secured(with_validator(response, None))
}

fn secured(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    response
}
