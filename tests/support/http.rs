//! Plain blocking HTTP: every status is an answer, nothing is retried.

use std::io::Read;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use ureq::Agent;
use ureq::http::{HeaderMap, Request};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// Talks to one server.
#[derive(Clone, Debug)]
pub struct Client {
    agent: Agent,
    base: String,
    authorization: Option<String>,
}

/// The answer of a server.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

impl Client {
    /// A client of the server at `base`, such as `http://127.0.0.1:8080`.
    pub fn new(base: &str) -> Self {
        Self::trusting(base, RootCerts::WebPki)
    }

    /// A client that trusts only this authority, as PEM.
    pub fn with_authority(base: &str, authority: &str) -> Self {
        let authority = Certificate::from_pem(authority.as_bytes()).expect("a certificate as PEM");
        Self::trusting(base, [authority].into_iter().into())
    }

    fn trusting(base: &str, authorities: RootCerts) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            .timeout_global(Some(Duration::from_mins(2)))
            .tls_config(TlsConfig::builder().root_certs(authorities).build())
            .proxy(None);
        Self { agent: config.build().into(), base: base.to_owned(), authorization: None }
    }

    /// The same client with an API key.
    #[must_use]
    pub fn with_key(&self, key: &str) -> Self {
        Self { authorization: Some(format!("Bearer {key}")), ..self.clone() }
    }

    /// Sends a request; `Err` where no answer came.
    ///
    /// # Errors
    /// The transport's error.
    pub fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer, ureq::Error> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        // An empty body of a method that has one says its length: 0. Chunks would come after the head, and a server that
        // does not read them closes the connection.
        let has_none = body.is_empty() && !["POST", "PUT", "PATCH"].contains(&method);
        let mut response = if has_none {
            self.agent.run(request.body(())?)?
        } else {
            self.agent.run(request.body(body)?)?
        };
        let body = response.body_mut().with_config().limit(u64::MAX).read_to_vec()?;
        Ok(Answer { status: response.status().as_u16(), headers: response.headers().clone(), body })
    }

    /// GET.
    pub fn get(&self, path: &str) -> Answer {
        self.get_with(path, &[])
    }

    /// GET with these headers.
    pub fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send("GET", path, headers, &[]).unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    /// GET of a body that is read as it comes, and may be left before its end.
    pub fn stream(&self, path: &str) -> (HeaderMap, Box<dyn Read>) {
        let request = Request::builder().method("GET").uri(format!("{}{path}", self.base)).body(());
        let response = request.map_err(ureq::Error::from).and_then(|request| self.agent.run(request));
        let response = response.unwrap_or_else(|error| panic!("GET {path}: {error}"));
        assert_eq!(response.status().as_u16(), 200, "GET {path}");
        let (parts, body) = response.into_parts();
        (parts.headers, Box::new(body.into_with_config().limit(u64::MAX).reader()))
    }

    /// POST of `body`.
    pub fn post(&self, path: &str, content_type: &str, body: &[u8]) -> Answer {
        let headers = [("content-type", content_type)];
        self.send("POST", path, &headers, body).unwrap_or_else(|error| panic!("POST {path}: {error}"))
    }

    /// POST of JSON.
    pub fn post_json(&self, path: &str, body: &Value) -> Answer {
        self.post(path, "application/json", body.to_string().as_bytes())
    }

    /// The JSON of a GET that must succeed.
    pub fn ask(&self, path: &str) -> Value {
        self.get(path).ok(path)
    }

    /// Publishes events that must all be taken; the answer.
    pub fn publish(&self, events: &[Value]) -> Value {
        self.post_json("/v1/events", &Value::from(events.to_vec())).ok("POST /v1/events")
    }
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        match serde_json::from_slice(&self.body) {
            Ok(json) => json,
            Err(error) => panic!("{error}: {}", self.text()),
        }
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The value of a header; empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Every value of a header, in order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect()
    }

    /// The JSON of an answer that must be 200; `of` says in the message what it answers.
    pub fn ok(&self, of: &str) -> Value {
        assert_eq!(self.status, 200, "{of}: {}", self.text());
        assert_eq!(self.header("content-type"), "application/json", "{of}");
        self.json()
    }

    /// The JSON of an answer that must be a problem with this status and code, in all its parts.
    pub fn problem(&self, status: u16, code: &str, of: &str) -> Value {
        let text = self.text();
        assert_eq!(
            (self.status, self.header("content-type")),
            (status, "application/problem+json"),
            "{of}: {text}"
        );
        let problem = self.json();
        assert_eq!(problem["code"], code, "{of}: {text}");
        assert_eq!(problem["status"], status, "{of}: {text}");
        assert_eq!(problem["type"], format!("urn:lastseen:problem:{code}"), "{of}: {text}");
        for part in ["title", "detail", "request_id"] {
            assert!(problem[part].as_str().is_some_and(|text| !text.is_empty()), "{of}: {part} in {text}");
        }
        problem
    }
}

/// `name` as one segment of a path, whatever bytes it holds.
pub fn path_segment(name: &str) -> String {
    utf8_percent_encode(name, NON_ALPHANUMERIC).to_string()
}
