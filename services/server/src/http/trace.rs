//! The context of a request: its id, which its caller and the log know, and the trace of the W3C that it is a part of.

use std::fmt;
use std::future::Future;
use std::sync::OnceLock;

use axum::http::HeaderMap;
use axum::response::Response;
use tracing::Instrument;
use tracing::field::{Empty, display};
use uuid::Uuid;

/// The context of one request.
pub(super) struct Context {
    /// Made when it is first needed: most requests have no use for it.
    id: OnceLock<Uuid>,
    parent: Option<TraceParent>,
}

tokio::task_local! {
    static CONTEXT: Context;
}

impl Context {
    /// The context that the headers of a request tell.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        Self { id: OnceLock::new(), parent: TraceParent::of(headers) }
    }

    /// Answers the request in its context, within a span of its own. `of` is its method and its route.
    pub(super) async fn answer(
        self,
        of: (&'static str, &'static str),
        answering: impl Future<Output = Response>,
    ) -> Response {
        let (method, route) = of;
        let span = tracing::debug_span!(
            "request",
            otel.name = Empty,
            otel.kind = "server",
            otel.status_code = Empty,
            http.request.method = method,
            http.route = route,
            http.response.status_code = Empty,
            request_id = Empty,
            trace_id = Empty,
        );
        if span.is_disabled() {
            return CONTEXT.scope(self, answering).await;
        }
        span.record("otel.name", format!("{method} {route}"));
        span.record("request_id", display(self.id.get_or_init(Uuid::new_v4)));
        if let Some(parent) = self.parent {
            span.record("trace_id", display(TraceId(parent.trace_id)));
            #[cfg(feature = "otlp")]
            continued::continue_trace(&span, parent);
        }
        let answer = CONTEXT.scope(self, answering).instrument(span.clone()).await;
        let status = answer.status();
        span.record("http.response.status_code", status.as_u16());
        if status.is_server_error() {
            span.record("otel.status_code", "ERROR");
        }
        answer
    }
}

/// The trace that a request is a part of, and the span of its caller (Trace Context, section 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TraceParent {
    pub(crate) trace_id: u128,
    pub(crate) span_id: u64,
    pub(crate) is_sampled: bool,
}

impl TraceParent {
    /// The context of the headers of a request. `None`: there is none, or it is malformed, and is to be ignored then.
    fn of(headers: &HeaderMap) -> Option<Self> {
        let mut lines = headers.get_all("traceparent").iter();
        let (Some(line), None) = (lines.next(), lines.next()) else { return None };
        Self::parse(line.to_str().ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(5, '-');
        let (version, trace_id, span_id, flags) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let is_lower_hex = |part: &&str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let is_formed = [version.len(), trace_id.len(), span_id.len(), flags.len()] == [2, 32, 16, 2]
            && [version, trace_id, span_id, flags].iter().all(is_lower_hex);
        // A later version may have more parts.
        if !is_formed || version == "ff" || (version == "00" && parts.next().is_some()) {
            return None;
        }
        let parent = Self {
            trace_id: u128::from_str_radix(trace_id, 16).ok()?,
            span_id: u64::from_str_radix(span_id, 16).ok()?,
            is_sampled: u8::from_str_radix(flags, 16).ok()? & 1 == 1,
        };
        (parent.trace_id != 0 && parent.span_id != 0).then_some(parent)
    }
}

/// A trace id as it is written.
pub(super) struct TraceId(u128);

impl fmt::Display for TraceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", self.0)
    }
}

/// The id of the request that this task answers; one of its own where there is none.
pub(super) fn request_id() -> Uuid {
    CONTEXT.try_with(|context| *context.id.get_or_init(Uuid::new_v4)).unwrap_or_else(|_| Uuid::new_v4())
}

/// The trace of the request that this task answers.
pub(super) fn trace_id() -> Option<TraceId> {
    CONTEXT.try_with(|context| context.parent.map(|parent| TraceId(parent.trace_id))).ok().flatten()
}

#[cfg(feature = "otlp")]
mod continued {
    use opentelemetry::Context;
    use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
    use tracing_opentelemetry::OpenTelemetrySpanExt;

    use super::TraceParent;

    /// Makes the span a child of its caller's.
    pub(super) fn continue_trace(span: &tracing::Span, parent: TraceParent) {
        let flags = if parent.is_sampled { TraceFlags::SAMPLED } else { TraceFlags::default() };
        let parent = SpanContext::new(
            TraceId::from(parent.trace_id),
            SpanId::from(parent.span_id),
            flags,
            true,
            TraceState::default(),
        );
        // Without a layer for OpenTelemetry there is nobody to tell.
        let _ = span.set_parent(Context::new().with_remote_span_context(parent));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_trace_is_continued_and_nonsense_is_ignored() {
        let parent = TraceParent::parse(GOOD).unwrap();
        assert_eq!(parent.trace_id, 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c);
        assert_eq!((parent.span_id, parent.is_sampled), (0xb7ad_6b71_6920_3331, true));
        assert_eq!(TraceId(parent.trace_id).to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert!(!TraceParent::parse(&GOOD.replace("-01", "-02")).unwrap().is_sampled);
        assert!(TraceParent::parse(&GOOD.replacen("00", "cc", 1)).is_some());
        assert!(TraceParent::parse(&(GOOD.replacen("00", "cc", 1) + "-more")).is_some(), "a later version");
        for bad in [
            "",
            "00",
            &GOOD.to_uppercase(),
            &GOOD.replacen("00", "ff", 1),
            &GOOD.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            &GOOD.replace("b7ad6b7169203331", &"0".repeat(16)),
            &GOOD.replace("-01", "-1"),
            &(GOOD.to_owned() + "-more"),
            &(GOOD.to_owned() + " "),
        ] {
            assert_eq!(TraceParent::parse(bad), None, "{bad}");
        }
        let mut headers = HeaderMap::new();
        headers.append("traceparent", GOOD.parse().unwrap());
        assert_eq!(TraceParent::of(&headers), Some(parent));
        headers.append("traceparent", GOOD.parse().unwrap());
        assert_eq!(TraceParent::of(&headers), None, "two of them");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_ignored(text in "[0-9a-f]{0,3}(-[0-9a-g]{0,33}){0,4}") {
            if let Some(TraceParent { trace_id, span_id, .. }) = TraceParent::parse(&text) {
                let beginning = format!("-{trace_id:032x}-{span_id:016x}-");
                prop_assert!(text[2..].starts_with(&beginning));
            }
        }
    }
}
