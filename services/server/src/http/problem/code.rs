//! The codes of problems: one table of status, title, where each can come from, and the caller's next move.

use std::borrow::Cow;

use axum::http::StatusCode;
use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::http::schema::one_of;

/// The part of a request that a code can come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum Possible {
    /// Before a route is found, or anywhere after.
    Always,
    /// Only a request that no route is for.
    Never,
    /// The key of a request.
    Key,
    /// A key that is bound to tenants, where a route spans all of them.
    Bound,
    /// The value of a parameter.
    Value,
    /// A name in the path.
    Path,
    /// A tenant, in the path or as a parameter.
    Tenant,
    /// A user, in the path or as a parameter.
    User,
    /// Persons over all tenants.
    Persons,
    /// The id of the log, as a parameter.
    LogId,
    /// The position to read after, as a parameter.
    After,
    /// A batch, in the path.
    Batch,
    /// The body of a request.
    Body,
    /// The ids of a look-up.
    Lookup,
    /// Published events.
    Events,
    /// A retraction.
    Retraction,
    /// Everything that needs the log and its views.
    Service,
    /// A question.
    Question,
    /// Reads and writes of the log.
    Log,
    /// Writes to the log.
    Write,
    /// The health of the server.
    Health,
}

macro_rules! codes {
    ($($name:ident: $status:ident, $code:literal, $title:literal, $possible:ident, $next_move:literal;)+) => {
        /// The stable code of a problem. Part of the API: never renamed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(in crate::http) enum Code {
            $($name,)+
        }

        impl Code {
            /// Every code, by status.
            pub(in crate::http) const ALL: &[Self] = &[$(Self::$name,)+];

            /// The code on the wire.
            pub(in crate::http) fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $code,)+
                }
            }

            pub(in crate::http) fn status(self) -> StatusCode {
                match self {
                    $(Self::$name => StatusCode::$status,)+
                }
            }

            /// The code in words.
            pub(in crate::http) fn title(self) -> &'static str {
                match self {
                    $(Self::$name => $title,)+
                }
            }

            /// The part of a request that it can come from.
            pub(in crate::http) fn possible(self) -> Possible {
                match self {
                    $(Self::$name => Possible::$possible,)+
                }
            }

            /// True if waiting may help: the answer says for how long.
            pub(in crate::http) fn has_retry_after(self) -> bool {
                matches!(self.status().as_u16(), 429 | 503 | 507) && self != Self::Full
            }

            /// The caller's next move.
            pub(in crate::http) fn next_move(self) -> &'static str {
                match self {
                    $(Self::$name => $next_move,)+
                }
            }
        }
    };
}

codes! {
    UnknownParameter: BAD_REQUEST, "unknown_parameter", "No such parameter", Always,
        "correct the name in `field`";
    InvalidParameter: BAD_REQUEST, "invalid_parameter", "Bad parameter", Value,
        "correct the value of `field`";
    InvalidPath: BAD_REQUEST, "invalid_path", "Bad path", Path,
        "send the name as percent-encoded UTF-8";
    InvalidJson: BAD_REQUEST, "invalid_json", "The body cannot be read", Body,
        "correct the body";
    InvalidField: BAD_REQUEST, "invalid_field", "Bad field", Lookup,
        "correct the field of the body that `field` names";
    EmptyBody: BAD_REQUEST, "empty_body", "The body is empty", Body,
        "send at least one event; for a look-up, its object";
    InvalidEncoding: BAD_REQUEST, "invalid_encoding", "The body cannot be decompressed", Body,
        "correct the compression of the body";
    InterruptedBody: BAD_REQUEST, "interrupted_body", "The body is not complete", Body,
        "send the whole body again";
    InvalidBody: BAD_REQUEST, "invalid_body", "The body is malformed", Body,
        "correct the chunks of the body";
    InvalidRequest: BAD_REQUEST, "invalid_request", "Not a request", Always,
        "send HTTP/1.1";
    TlsRequired: BAD_REQUEST, "tls_required", "Not in clear text", Always,
        "use `https://` in place of `http://`";
    InvalidHost: BAD_REQUEST, "invalid_host", "Bad Host", Always,
        "send exactly one valid `Host`";
    KeyMissing: UNAUTHORIZED, "key_missing", "No API key", Key,
        "send `Authorization: Bearer` and a key";
    KeyInvalid: UNAUTHORIZED, "key_invalid", "No such API key", Key,
        "send a key in force";
    KeyExpired: UNAUTHORIZED, "key_expired", "The API key has expired", Key,
        "ask the operator for a new key";
    ScopeMissing: FORBIDDEN, "scope_missing", "Not with this API key", Key,
        "use a key with the scope that `detail` names";
    TenantRequired: FORBIDDEN, "tenant_required", "Not with this API key", Bound,
        "ask about a tenant of the key";
    CrossSite: FORBIDDEN, "cross_site", "Not for other sites", Always,
        "ask the operator for `--cors-origin`";
    UnknownRoute: NOT_FOUND, "unknown_route", "No such route", Never,
        "correct the path";
    UnknownTenant: NOT_FOUND, "unknown_tenant", "No such tenant", Tenant,
        "no event names the tenant: correct the id, or publish first";
    UnknownUser: NOT_FOUND, "unknown_user", "No such user", User,
        "no event of the tenant names the user";
    PersonsOff: NOT_FOUND, "persons_off", "No persons here", Persons,
        "ask about users: a `user_id` in two tenants is two people";
    UnknownBatch: NOT_FOUND, "unknown_batch", "No such batch", Batch,
        "no event names the batch";
    MethodNotAllowed: METHOD_NOT_ALLOWED, "method_not_allowed", "Wrong method", Never,
        "use a method of the header `Allow`";
    RequestTimeout: REQUEST_TIMEOUT, "request_timeout", "The request took too long", Always,
        "send the head and the body faster";
    BatchRetracted: CONFLICT, "batch_retracted", "The batch was retracted", Events,
        "use another name for the batch";
    TooManyBatches: CONFLICT, "too_many_batches", "Too many batches", Events,
        "use the name of a batch that there is";
    CountChanged: CONFLICT, "count_changed", "Another number of events", Retraction,
        "`GET` the batch, look at it, then decide again";
    OtherLog: CONFLICT, "other_log", "Another log", LogId,
        "find your `log_id` in `lineage`: up to its `until` your copy is right, read again after it; else read all again";
    PositionAhead: CONFLICT, "position_ahead", "No such position", After,
        "send `log_id` too; if it is not 409 `other_log`, forget what you read above `position`, and go on after it";
    BodyTooLarge: PAYLOAD_TOO_LARGE, "body_too_large", "The body is too large", Body,
        "send less at once";
    TooManyEvents: PAYLOAD_TOO_LARGE, "too_many_events", "Too many events", Events,
        "send at most 10,000 events at once";
    UriTooLong: URI_TOO_LONG, "uri_too_long", "The URI is too long", Always,
        "shorten the query";
    UnsupportedMediaType: UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", "Unknown content type", Body,
        "send the `Content-Type` that `detail` names";
    UnsupportedContentEncoding: UNSUPPORTED_MEDIA_TYPE, "unsupported_content_encoding", "Unknown content encoding", Body,
        "use gzip, zstd or none";
    ForeignHost: MISDIRECTED_REQUEST, "foreign_host", "Not served under this name", Always,
        "use `localhost`, a loopback address or the public URL";
    InvalidEvents: UNPROCESSABLE_ENTITY, "invalid_events", "Some events are not valid", Events,
        "correct the events in `errors`, or use `on_invalid=skip`";
    RateLimited: TOO_MANY_REQUESTS, "rate_limited", "Too much for this API key", Key,
        "the key has a limit: repeat after `Retry-After`";
    TooManyAttempts: TOO_MANY_REQUESTS, "too_many_attempts", "Too many attempts", Key,
        "correct the key; repeat after `Retry-After`";
    HeadTooLarge: REQUEST_HEADER_FIELDS_TOO_LARGE, "head_too_large", "The head is too large", Always,
        "send fewer or shorter headers";
    HistoryUnreadable: INTERNAL_SERVER_ERROR, "history_unreadable", "Cannot read the history", Log,
        "tell the operator the `request_id`: the log is damaged";
    Internal: INTERNAL_SERVER_ERROR, "internal", "The server failed", Always,
        "tell the operator the `request_id`: this is a defect";
    NotReady: SERVICE_UNAVAILABLE, "not_ready", "Not ready yet", Service,
        "the server is starting: wait, then repeat";
    Standstill: SERVICE_UNAVAILABLE, "standstill", "Not healthy", Health,
        "tell the operator the `parts`";
    Overloaded: SERVICE_UNAVAILABLE, "overloaded", "Too much is under way", Always,
        "wait for `Retry-After`, then repeat";
    DeadlinePassed: SERVICE_UNAVAILABLE, "deadline_passed", "The question took too long", Question,
        "ask for fewer days or for one tenant";
    PositionNotReached: SERVICE_UNAVAILABLE, "position_not_reached", "Position not reached yet", Question,
        "repeat, or ask without `min_position`";
    TooManyConnections: SERVICE_UNAVAILABLE, "too_many_connections", "Too many connections", Always,
        "reuse connections; repeat later";
    StoreUnavailable: SERVICE_UNAVAILABLE, "store_unavailable", "The store cannot be written", Write,
        "repeat later: nothing was stored";
    StoreClosed: SERVICE_UNAVAILABLE, "store_closed", "The store takes no events", Write,
        "repeat after the restart of the server: nothing was stored";
    OutcomeUnknown: SERVICE_UNAVAILABLE, "outcome_unknown", "The outcome is unknown", Write,
        "send the same events with the same ids again";
    UnsupportedVersion: HTTP_VERSION_NOT_SUPPORTED, "unsupported_version", "HTTP/1.1 only", Always,
        "send HTTP/1.1";
    NoSpace: INSUFFICIENT_STORAGE, "no_space", "No space left", Write,
        "tell the operator; repeat after `Retry-After`";
    Full: INSUFFICIENT_STORAGE, "full", "The log is full", Write,
        "tell the operator: this log takes no more, others may";
}

impl JsonSchema for Code {
    fn schema_name() -> Cow<'static, str> {
        "ProblemCode".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let mut schema = one_of(Self::ALL.iter().map(|code| code.as_str()));
        schema
            .insert("description".to_owned(), "The kind of a problem. A later version may have more.".into());
        schema
    }
}
