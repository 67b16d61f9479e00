//! Every rule of the wire, applied to one event after the other. Good ones go into the batch; for a bad one
//! each broken rule becomes a fault, so that a publisher can mend it in one go.

use std::marker::PhantomData;

use super::json_error::describe_json_error;
use super::notation::{Notation, SOURCE, SPEC_VERSION};
use super::raw::{RawEvent, Scalar, cut};
use super::{Accept, Decoded, FaultsKept};
use crate::event::{field, missing};
use crate::limits::{EVENT_BYTES_MAX, NAME_BYTES_MAX};
use crate::text::check_new;
use crate::{
    BatchName, Event, EventBatch, EventFault, EventId, EventType, FaultCode, InvalidEventId, NameError,
    Refusal, SessionId, TenantId, UserId, UtcInstant,
};

/// Types that are written by their own routes only.
const NOT_PUBLISHABLE: [&str; 2] = [EventType::BackfillRetracted.as_str(), "user_erased"];

/// Most faults listed of one event: enough to mend it, and a bound on the answer.
const EVENT_FAULTS_MAX: usize = 8;

/// Collects the events of one request.
pub(super) struct Validator<'a> {
    accept: Accept<'a>,
    count: usize,
    decoded: Decoded,
}

impl<'a> Validator<'a> {
    pub(super) fn new(capacity: usize, accept: Accept<'a>) -> Self {
        let batch = EventBatch::with_capacity(capacity);
        let batch_field = field::BATCH;
        let decoded =
            Decoded { batch, faults: Vec::new(), faults_total: 0, count: 0, foreign: 0, batch_field };
        Self { accept, count: 0, decoded }
    }

    /// Number of events that were added, good and bad.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn finish(self) -> Decoded {
        Decoded { count: self.count, ..self.decoded }
    }

    /// Reads and judges the JSON of one event.
    pub(super) fn add<N: Notation>(&mut self, json: &[u8]) {
        self.judge(|| {
            if json.len() > EVENT_BYTES_MAX {
                let detail = format_args!("expected at most {EVENT_BYTES_MAX} bytes, found {}", json.len());
                return Err(Refusal::new(FaultCode::TooLong, detail));
            }
            let raw = RawEvent::<N>::read(json);
            raw.map_err(|error| Refusal::new(FaultCode::InvalidJson, describe_json_error(&error)))
        });
    }

    /// Judges one event whose fields stand outside of JSON.
    pub(super) fn add_fields<'e, N: Notation>(
        &mut self,
        fields: impl Iterator<Item = (&'e str, Option<&'e str>)>,
    ) {
        self.judge(|| Ok(RawEvent::<N>::of(fields)));
    }

    #[inline]
    fn judge<'e, N: Notation>(&mut self, read: impl FnOnce() -> Result<RawEvent<'e, N>, Refusal>) {
        let index = self.count;
        self.count += 1;
        self.decoded.batch_field = N::name_of(field::BATCH);
        let kept = match self.accept.faults {
            FaultsKept::First(kept) => kept,
            FaultsKept::All => usize::MAX,
        };
        let Decoded { faults, faults_total, foreign, .. } = &mut self.decoded;
        let mut faults =
            Faults { index, id: None, list: faults, kept, of_event: 0, total: faults_total, foreign };
        let raw = match read() {
            Ok(raw) => raw,
            Err(refusal) => return faults.add(None, refusal),
        };
        if let Some(Scalar::Text(id)) = &raw.values[0] {
            faults.id = Some(id);
        }
        if let Some(event) = validate(&raw, &self.accept, &mut faults) {
            self.decoded.batch.push_checked(&event, index);
        }
    }
}

/// The event, if no rule is broken; otherwise every broken one is in `faults`.
fn validate<'a, N: Notation>(
    raw: &'a RawEvent<'_, N>,
    accept: &Accept<'_>,
    faults: &mut Faults<'_>,
) -> Option<Event<'a>> {
    let before = *faults.total;
    let is_there = |value: &&Scalar<'_>| !matches!(value, Scalar::Null);
    for name in &raw.repeated {
        faults.add(Some(name), Refusal::new(FaultCode::InvalidJson, "expected this key once"));
    }
    for name in &raw.unknown {
        faults.add(Some(name), Refusal::new(FaultCode::UnknownField, "no event has a field of this name"));
    }
    let [
        id,
        event_type,
        tenant_id,
        user_id,
        occurred_at,
        session_id,
        from_tenant_id,
        confirmed,
        batch,
        counts,
    ] = raw.values.each_ref().map(|value| value.as_ref().filter(is_there));

    let mut faults = OfNotation::<N> { faults, notation: PhantomData };
    let (id, event_type) = identity(raw, (id, event_type), &mut faults)?;
    let tenant_id = faults.take(field::TENANT_ID, required(tenant_id, NAME, NOT_A_NAME, name(TenantId::new)));
    let user_id = faults.take(field::USER_ID, required(user_id, NAME, NOT_A_NAME, name(UserId::new)));
    let occurred_at = faults.take(
        field::OCCURRED_AT,
        required(occurred_at, "an RFC 3339 instant", FaultCode::InvalidInstant, |t| {
            instant(t, accept.latest)
        }),
    );
    let session_id = faults.take(field::SESSION_ID, optional(session_id, name(SessionId::new)));
    let from_tenant_id = faults.take(field::FROM_TENANT_ID, optional(from_tenant_id, name(TenantId::new)));
    let batch = faults.take(field::BATCH, optional(batch, name(BatchName::new)));
    let confirmed = faults.take(field::CONFIRMED, boolean(confirmed, N::IS_CLOUD_EVENT));
    let counts = faults.take(field::COUNTS, boolean(counts, N::IS_CLOUD_EVENT));

    let event = Event {
        id: id?,
        event_type: event_type?,
        tenant_id: tenant_id?,
        user_id: user_id?,
        occurred_at: occurred_at?,
        session_id: session_id?,
        from_tenant_id: from_tenant_id?,
        confirmed: confirmed?,
        counts: counts?,
        batch: batch?,
    };
    event.check_fields(|field, refusal| faults.add(field, refusal));
    if accept.tenants.is_some_and(|tenants| !has(tenants, event.tenant_id)) {
        *faults.faults.foreign += 1;
        let detail = "expected a tenant that the key is for";
        faults.add(field::TENANT_ID, Refusal::new(FaultCode::TenantNotAllowed, detail));
    }
    if event.batch.is_some() && !accept.batches {
        let detail = "expected no batch: the key has not the scope backfill";
        faults.add(field::BATCH, Refusal::new(FaultCode::BatchNotAllowed, detail));
    }
    (*faults.faults.total == before).then_some(event)
}

/// The id and the type, each if it follows its rules. `None`: it is an event of another notation, and not read on.
fn identity<'a, N: Notation>(
    raw: &'a RawEvent<'_, N>,
    (id, event_type): (Option<&'a Scalar<'a>>, Option<&'a Scalar<'a>>),
    faults: &mut OfNotation<'_, '_, N>,
) -> Option<(Option<EventId>, Option<EventType>)> {
    if !N::IS_CLOUD_EVENT {
        let id = required(id, "a UUID", FaultCode::InvalidId, |text| Ok(EventId::parse(text)?));
        let event_type =
            required(event_type, "the name of an event type", FaultCode::UnknownType, publishable_type);
        return Some((faults.take(field::ID, id), faults.take(field::TYPE, event_type)));
    }
    let own = |name| raw.own(name).filter(|value| !matches!(value, Scalar::Null));
    let version = required(own(SPEC_VERSION), "1.0", FaultCode::UnknownSpecversion, spec_version);
    faults.take(SPEC_VERSION, version)?;
    let source = required(own(SOURCE), "a URI of the publisher", FaultCode::InvalidJson, not_empty);
    let source = faults.take(SOURCE, source);
    let id = required(id, "an id", FaultCode::InvalidId, |id| cloud_event_id(source.unwrap_or_default(), id));
    let event_type = required(event_type, CLOUD_EVENT_TYPE, FaultCode::UnknownType, cloud_event_type);
    Some((faults.take(field::ID, id).filter(|_| source.is_some()), faults.take(field::TYPE, event_type)))
}

/// True if the tenant is one of `tenants`, which are ascending.
fn has(tenants: &[String], tenant: TenantId<'_>) -> bool {
    tenants.binary_search_by(|one| one.as_str().cmp(tenant.as_str())).is_ok()
}

const NAME: &str = "a string of 1 to 128 bytes";
const _: () = assert!(NAME_BYTES_MAX == 128);
const NOT_A_NAME: FaultCode = FaultCode::InvalidJson;

fn name<'a, T>(new: impl Fn(&'a str) -> Result<T, NameError>) -> impl Fn(&'a str) -> Result<T, Refusal> {
    move |text| {
        let name = new(text)?;
        check_new(text)?;
        Ok(name)
    }
}

/// The value of a required field. `wrong_type` is the code where it is not a string.
fn required<'a, T>(
    value: Option<&'a Scalar<'_>>,
    expected: &str,
    wrong_type: FaultCode,
    parse: impl Fn(&'a str) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    match value {
        None => Err(missing(expected)),
        Some(Scalar::Text(text)) => parse(text),
        Some(other) => Err(found_instead(wrong_type, expected, other)),
    }
}

fn optional<'a, T>(
    value: Option<&'a Scalar<'_>>,
    parse: impl Fn(&'a str) -> Result<T, Refusal>,
) -> Result<Option<T>, Refusal> {
    value.map(|value| required(Some(value), NAME, NOT_A_NAME, parse)).transpose()
}

/// The value of a field that is true or false; as text where the notation has only text.
fn boolean(value: Option<&Scalar<'_>>, as_text: bool) -> Result<Option<bool>, Refusal> {
    match value {
        None => Ok(None),
        Some(Scalar::Bool(value)) => Ok(Some(*value)),
        // The SDK for Python writes `True`.
        Some(Scalar::Text(text)) if as_text && text.eq_ignore_ascii_case("true") => Ok(Some(true)),
        Some(Scalar::Text(text)) if as_text && text.eq_ignore_ascii_case("false") => Ok(Some(false)),
        Some(other) => Err(found_instead(FaultCode::InvalidJson, "true or false", other)),
    }
}

fn found_instead(code: FaultCode, expected: &str, found: &Scalar<'_>) -> Refusal {
    Refusal::new(code, format_args!("expected {expected}, found {}", found.kind()))
}

fn publishable_type(name: &str) -> Result<EventType, Refusal> {
    if NOT_PUBLISHABLE.contains(&name) {
        let detail = format_args!("{name} is written by Lastseen itself, never published");
        return Err(Refusal::new(FaultCode::TypeNotPublishable, detail));
    }
    EventType::parse(name).ok_or_else(|| {
        let known: Vec<_> = EventType::PUBLISHABLE.iter().map(|event_type| event_type.as_str()).collect();
        let known = known.join(", ");
        Refusal::new(FaultCode::UnknownType, format_args!("expected one of {known}"))
    })
}

/// The version of `CloudEvents`.
fn spec_version(text: &str) -> Result<(), Refusal> {
    let is_known = text == "1.0";
    is_known.then_some(()).ok_or_else(|| Refusal::new(FaultCode::UnknownSpecversion, "expected 1.0"))
}

fn not_empty(text: &str) -> Result<&str, Refusal> {
    if text.is_empty() { Err(Refusal::new(FaultCode::Empty, "expected text, found none")) } else { Ok(text) }
}

/// A UUID as it is; another id becomes one, together with its source.
fn cloud_event_id(source: &str, id: &str) -> Result<EventId, Refusal> {
    match EventId::parse(not_empty(id)?) {
        Err(InvalidEventId::NotAUuid) => Ok(EventId::of_cloud_event(source, id)),
        known => Ok(known?),
    }
}

const CLOUD_EVENT_TYPE: &str = "dev.lastseen.login.v1, or another event type in the place of login";

fn cloud_event_type(text: &str) -> Result<EventType, Refusal> {
    let name = text.strip_prefix("dev.lastseen.").and_then(|text| text.strip_suffix(".v1"));
    let unknown = || Refusal::new(FaultCode::UnknownType, format_args!("expected {CLOUD_EVENT_TYPE}"));
    publishable_type(name.ok_or_else(unknown)?)
}

fn instant(text: &str, latest: UtcInstant) -> Result<UtcInstant, Refusal> {
    let at = UtcInstant::parse(text)?;
    if at < UtcInstant::EARLIEST {
        let detail = format_args!("expected {} or later", UtcInstant::EARLIEST);
        return Err(Refusal::new(FaultCode::TooOld, detail));
    }
    if at > latest {
        let detail = format_args!("expected {latest} or earlier by the server's clock");
        return Err(Refusal::new(FaultCode::InFuture, detail));
    }
    Ok(at)
}

/// Collects the faults of one event.
struct Faults<'a> {
    index: usize,
    id: Option<&'a str>,
    list: &'a mut Vec<EventFault>,
    /// Most faults on the list.
    kept: usize,
    /// Faults of this event so far.
    of_event: usize,
    total: &'a mut usize,
    /// Events of tenants that are not accepted.
    foreign: &'a mut usize,
}

impl Faults<'_> {
    fn add(&mut self, field: Option<&str>, refusal: Refusal) {
        *self.total += 1;
        self.of_event += 1;
        if self.list.len() >= self.kept || self.of_event > EVENT_FAULTS_MAX {
            return;
        }
        self.list.push(EventFault {
            index: self.index,
            id: self.id.map(cut),
            field: field.map(str::to_owned),
            code: refusal.code,
            detail: refusal.detail,
        });
    }
}

/// The faults of fields, under the names of a notation.
struct OfNotation<'a, 'f, N> {
    faults: &'f mut Faults<'a>,
    notation: PhantomData<N>,
}

impl<N: Notation> OfNotation<'_, '_, N> {
    fn add(&mut self, native: &'static str, refusal: Refusal) {
        self.faults.add(Some(N::name_of(native)), refusal);
    }

    #[inline]
    fn take<T>(&mut self, native: &'static str, value: Result<T, Refusal>) -> Option<T> {
        value.map_err(|refusal| self.add(native, refusal)).ok()
    }
}
