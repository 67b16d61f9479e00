//! `GET /sign-in`, `POST /sign-in` and `POST /sign-out`: a key for a cookie that no script reads and no other site sends.

use std::time::Instant;

use axum::http::header::{ORIGIN, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::Response;
use schemars::SchemaGenerator;

use crate::http::answer::{Reply, Wants};
use crate::http::ask::Ask;
use crate::http::auth::{self, Open, SESSION_COOKIE};
use crate::http::body;
use crate::http::dashboard::asked::address;
use crate::http::dashboard::page::{Page, elsewhere};
use crate::http::dashboard::templates::sign_in::{Why, page};
use crate::http::description::{Content, Success};
use crate::http::params::{NoParams, params};
use crate::http::problem::Problem;
use crate::keys::Scope;
use crate::keys::sessions::SESSION_MAX;
use crate::origin::Origin;

params! {
    /// The page to sign in.
    SignInParams {
        /// the address of the page that is shown after it
        next: String = "`/`",
        /// of the server: the session has begun
        begun: String = "none",
    }
}

/// The path of a page of this server; `/` for everything else.
fn local(next: &str) -> &str {
    let is_path = next.starts_with('/')
        && !next.starts_with("//")
        && !next.contains(|it: char| it == '\\' || it.is_control());
    if is_path { next } else { "/" }
}

/// `GET /sign-in`
pub(in crate::http) async fn ask_for_key(ask: Ask<Open, SignInParams>) -> Result<Page, Problem> {
    let next = local(ask.params.next.as_deref().unwrap_or("/")).to_owned();
    let token = auth::session_token(&ask.headers);
    let session = token.and_then(|token| ask.app().sessions.find(token, Instant::now()));
    let is_known = session.is_some_and(|(_, id)| ask.app().keys.find_known(&id).is_ok());
    if is_known && ask.params.next.is_some() {
        return Ok(Page::Elsewhere(next));
    }
    // A link on another site opens the page without the cookie. The page itself may send it.
    let is_from_afar = ask.headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site");
    if is_from_afar && ask.params.begun.is_none() {
        return Ok(Page::Again(address("/sign-in", [("next", next.as_str())])));
    }
    let why = match (ask.app().keys.is_open(), &ask.params.begun) {
        (true, _) => Why::Open,
        (false, Some(_)) => Why::NoCookie,
        (false, None) => Why::Asked,
    };
    Ok(Page::plain(StatusCode::OK, "Sign in", page(&next, why)))
}

/// The answer to a form: another page, and a cookie.
pub(in crate::http) enum Signed {
    In { next: String, token: String },
    Out,
    Refused(Page),
}

impl Reply for Signed {
    const NAME: &'static str = "Signed";

    fn describe(_: &mut SchemaGenerator) -> Success {
        Success::of(vec![Content::text("text/html")])
    }

    async fn respond(self, wants: Wants) -> Response {
        let (address, cookie) = match self {
            Self::Refused(page) => return page.respond(wants).await,
            Self::In { next, token } => {
                let attributes =
                    format!("Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age={}", SESSION_MAX.as_secs());
                (
                    address("/sign-in", [("next", next.as_str()), ("begun", "yes")]),
                    format!("{SESSION_COOKIE}={token}; {attributes}"),
                )
            }
            Self::Out => (
                "/sign-in".to_owned(),
                format!("{SESSION_COOKIE}=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0"),
            ),
        };
        let mut response = elsewhere(&address);
        if let Ok(cookie) = HeaderValue::from_str(&cookie) {
            response.headers_mut().insert(SET_COOKIE, cookie);
        }
        response
    }

    fn refuse(problem: Problem, uri: &Uri) -> Response {
        Page::refuse(problem, uri)
    }
}

/// `POST /sign-in`
pub(in crate::http) async fn sign_in(ask: Ask<Open, NoParams>) -> Result<Signed, Problem> {
    /// A key and an address.
    const BODY_BYTES_MAX: usize = 16 * 1024;
    check_origin(&ask.headers, (ask.host(), ask.public_urls()))?;
    let (body, _memory) = body::read(ask.take_body(), BODY_BYTES_MAX, ask.app()).await?.into_text()?;
    let fields: Vec<(String, String)> = form_urlencoded::parse(&body).into_owned().collect();
    let field =
        |name: &str| fields.iter().find(|(found, _)| found == name).map_or("", |(_, value)| value.trim());
    let next = local(field("next")).to_owned();
    let refused = |reason| {
        let page = page(&next, Why::Refused(reason));
        Ok(Signed::Refused(Page::plain(StatusCode::FORBIDDEN, "Sign in", page)))
    };
    match ask.sign_in(field("key")).await? {
        None => refused("No key in force has this text."),
        Some(key) if !key.has(Scope::Query) => refused("The key has not the scope query."),
        Some(key) => {
            let token = ask.app().sessions.begin(key.id(), Instant::now());
            let token =
                token.ok_or_else(|| Problem::internal(&std::io::Error::other("no random numbers")))?;
            Ok(Signed::In { next, token })
        }
    }
}

/// `POST /sign-out`
pub(in crate::http) async fn sign_out(ask: Ask<Open, NoParams>) -> Result<Signed, Problem> {
    check_origin(&ask.headers, (ask.host(), ask.public_urls()))?;
    if let Some(token) = auth::session_token(&ask.headers) {
        ask.app().sessions.end(token);
    }
    Ok(Signed::Out)
}

/// Refuses forms of other sites: the page is that of the host that the request names, or of a public address.
fn check_origin(headers: &HeaderMap, (host, public): (Option<&str>, &[Origin])) -> Result<(), Problem> {
    let is_foreign_site =
        headers.get("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none");
    let origin = headers.get(ORIGIN).and_then(|origin| origin.to_str().ok());
    let is_own = |origin: &str| {
        let of_origin = origin.split_once("://").map_or(origin, |(_, host)| host);
        Some(of_origin) == host || public.iter().any(|url| url.to_string() == origin)
    };
    if is_foreign_site || origin.is_some_and(|origin| !is_own(origin)) {
        return Err(Problem::cross_site("expected a form of this server's own page"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_to_another_site() {
        for (next, expected) in [
            ("/tenants/a?x=1", "/tenants/a?x=1"),
            ("//evil.example", "/"),
            ("https://evil.example", "/"),
            ("/\\evil.example", "/"),
            ("/\t/evil.example", "/"),
            ("", "/"),
        ] {
            assert_eq!(local(next), expected);
        }
    }

    #[test]
    fn forms_come_from_the_page_of_this_server() {
        let check = |lines: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.insert(*name, HeaderValue::from_static(value));
            }
            let public = ["https://activity.example.com".parse().unwrap()];
            check_origin(&headers, (Some("127.0.0.1:8080"), &public)).is_ok()
        };
        assert!(check(&[("origin", "https://activity.example.com"), ("sec-fetch-site", "same-origin")]));
        assert!(check(&[]));
        assert!(check(&[("origin", "http://127.0.0.1:8080"), ("sec-fetch-site", "same-origin")]));
        assert!(!check(&[("origin", "http://127.0.0.1:9090")]));
        assert!(!check(&[("origin", "null")]));
        assert!(!check(&[("sec-fetch-site", "cross-site")]));
        assert!(!check(&[("sec-fetch-site", "same-site")]));
    }
}
