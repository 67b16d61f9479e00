//! Every rule of the wire, applied to one event after the other. Good ones go into the batch; for a bad one
//! each broken rule becomes a fault, so that a publisher can mend it in one go.

use super::json_error::describe_json_error;
use super::raw::{FIELDS, RawEvent, Scalar, cut};
use super::{Accept, Decoded, FaultsKept};
use crate::event::{field, missing};
use crate::limits::{EVENT_BYTES_MAX, NAME_BYTES_MAX};
use crate::text::check_new;
use crate::{
    BatchName, Event, EventBatch, EventFault, EventId, EventType, FaultCode, NameError, Refusal, SessionId,
    TenantId, UserId, UtcInstant,
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
        let decoded = Decoded { batch, faults: Vec::new(), faults_total: 0, count: 0, foreign: 0 };
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
    pub(super) fn add(&mut self, json: &[u8]) {
        let index = self.count;
        self.count += 1;
        let kept = match self.accept.faults {
            FaultsKept::First(kept) => kept,
            FaultsKept::All => usize::MAX,
        };
        let Decoded { faults, faults_total, foreign, .. } = &mut self.decoded;
        let mut faults =
            Faults { index, id: None, list: faults, kept, of_event: 0, total: faults_total, foreign };
        if json.len() > EVENT_BYTES_MAX {
            let detail = format_args!("expected at most {EVENT_BYTES_MAX} bytes, found {}", json.len());
            return faults.add(None, Refusal::new(FaultCode::TooLong, detail));
        }
        let raw = match serde_json::from_slice::<RawEvent<'_>>(json) {
            Ok(raw) => raw,
            Err(error) => {
                return faults.add(None, Refusal::new(FaultCode::InvalidJson, describe_json_error(&error)));
            }
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
fn validate<'a>(raw: &'a RawEvent<'_>, accept: &Accept<'_>, faults: &mut Faults<'_>) -> Option<Event<'a>> {
    let before = *faults.total;
    for name in &raw.repeated {
        faults.add(Some(name), Refusal::new(FaultCode::InvalidJson, "expected this key once"));
    }
    for name in &raw.unknown {
        faults.add(Some(name), Refusal::new(FaultCode::UnknownField, "no event has a field of this name"));
    }
    let [id, event_type, tenant_id, user_id, occurred_at, session_id, from_tenant_id, confirmed, batch] =
        raw.values.each_ref().map(|value| value.as_ref().filter(|value| !matches!(value, Scalar::Null)));

    let id = faults.take(field::ID, required(id, "a UUID", FaultCode::InvalidId, |t| Ok(EventId::parse(t)?)));
    let event_type = faults.take(
        field::TYPE,
        required(event_type, "the name of an event type", FaultCode::UnknownType, publishable_type),
    );
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
    let confirmed = faults.take(field::CONFIRMED, boolean(confirmed));

    let event = Event {
        id: id?,
        event_type: event_type?,
        tenant_id: tenant_id?,
        user_id: user_id?,
        occurred_at: occurred_at?,
        session_id: session_id?,
        from_tenant_id: from_tenant_id?,
        confirmed: confirmed?,
        batch: batch?,
    };
    event.check_fields(|field, refusal| faults.add(Some(field), refusal));
    if accept.tenants.is_some_and(|tenants| !has(tenants, event.tenant_id)) {
        *faults.foreign += 1;
        let detail = "expected a tenant that the key is for";
        faults.add(Some(field::TENANT_ID), Refusal::new(FaultCode::TenantNotAllowed, detail));
    }
    if event.batch.is_some() && !accept.batches {
        let detail = "expected no batch: the key has not the scope backfill";
        faults.add(Some(field::BATCH), Refusal::new(FaultCode::BatchNotAllowed, detail));
    }
    (*faults.total == before).then_some(event)
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

fn boolean(value: Option<&Scalar<'_>>) -> Result<Option<bool>, Refusal> {
    match value {
        None => Ok(None),
        Some(Scalar::Bool(value)) => Ok(Some(*value)),
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

    fn take<T>(&mut self, field: &'static str, value: Result<T, Refusal>) -> Option<T> {
        debug_assert!(FIELDS.contains(&field));
        value.map_err(|refusal| self.add(Some(field), refusal)).ok()
    }
}
