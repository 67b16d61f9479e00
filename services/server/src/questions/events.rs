//! History itself: all events in order, and the latest events of one member.

use std::collections::VecDeque;
use std::sync::Arc;

use lastseen_event::wire::encode_retraction;
use lastseen_event::{BatchName, Event, Fact, Position, Retraction};
use lastseen_projections::Retracted;
use lastseen_store::{Detail, EventReader, EventStore, Filter, ReadError, RecordedBatch, Scan};

use super::Questions;
use super::admission::{Cost, Deadline, Kind};
use super::error::QuestionError;
use crate::keys::seal::Positions;
use crate::read_model::Reading;
use crate::tasks;

/// A question for history in order.
#[derive(Clone, Default)]
pub(crate) struct ReplayQuestion {
    /// Only events above this position.
    pub(crate) after: Position,
    /// Up to this position, inclusive. `None`: the tail when the replay begins, which is the most anyway.
    pub(crate) until: Option<Position>,
    /// Times and types; the tenant and the user are named below.
    pub(crate) filter: Filter,
    pub(crate) tenant_id: Option<String>,
    pub(crate) user_id: Option<String>,
    /// Most events.
    pub(crate) limit: Option<u64>,
    pub(crate) positions: Positions,
}

/// A replay on its way.
pub(crate) struct Replay {
    log: Arc<dyn EventStore>,
    reader: Box<dyn EventReader>,
    /// The last position that it reaches, inclusive.
    pub(crate) until: Position,
    /// Events that may still be sent.
    left: u64,
    unsent: Unsent,
    positions: Positions,
}

/// The part of a batch that was not sent yet.
#[derive(Default)]
struct Unsent {
    batch: RecordedBatch,
    /// Events and retractions of it that were sent.
    events: usize,
    retractions: usize,
}

/// A record of history.
enum Record<'a> {
    Event(&'a Fact, Event<'a>),
    Retraction(Retraction),
}

/// A page of the latest events of a member.
#[derive(Debug)]
pub(crate) struct LatestEvents {
    /// JSON objects, the newest first.
    pub(crate) events: Vec<Vec<u8>>,
    /// The position of the last event shown, where more follow.
    pub(crate) next: Option<Position>,
    /// Events of the whole list.
    pub(crate) total: u64,
    /// The last position that the page reflects.
    pub(crate) position: Position,
}

/// Bytes of a page of events.
const PAGE_BYTES: usize = 2 << 20;

/// More than the longest line of a replay.
const LINE_BYTES_MAX: usize = 4 << 10;

/// An event as a line, and its position.
type Line = (Position, Vec<u8>);

impl Questions {
    /// Begins a replay. The place among downloads is the caller's to hold.
    ///
    /// # Errors
    /// [`QuestionError::UnknownTenant`], [`QuestionError::UnknownUser`].
    pub(crate) fn replay(&self, reading: &Reading, asked: ReplayQuestion) -> Result<Replay, QuestionError> {
        let filter = self.filter(&asked)?;
        let ReplayQuestion { after, until, limit, positions, .. } = asked;
        let log = self.model.shared_log();
        let until = until.map_or(reading.position, |until| until.min(reading.position));
        let reader = log.scan(Scan { after, until: Some(until), detail: Detail::Events, filter });
        let (left, unsent) = (limit.unwrap_or(u64::MAX), Unsent::default());
        Ok(Replay { log, reader, until, left, unsent, positions })
    }

    /// The last lines of a replay, at most `limit`, the newest first; and the last position that they reflect.
    ///
    /// # Errors
    /// [`QuestionError`].
    pub(crate) async fn newest(
        self: &Arc<Self>,
        reading: &Reading,
        asked: ReplayQuestion,
        limit: usize,
    ) -> Result<(Vec<u8>, Position), QuestionError> {
        let filter = self.filter(&asked)?;
        let until = asked.until.map_or(reading.position, |until| until.min(reading.position));
        let permit =
            self.admission.enter_for(reading.asker(), Cost { kind: Kind::List, bytes: PAGE_BYTES }).await?;
        let log = self.model.shared_log();
        let lines = tasks::blocking(move || {
            let ReplayQuestion { after, positions, .. } = asked;
            let span = (after, until);
            latest(log.as_ref(), (filter, span), (None, &positions), (limit, permit.deadline()))
        });
        let mut text = Vec::new();
        for (_, line) in lines.await?.into_iter().take(limit) {
            text.extend_from_slice(&line);
            text.push(b'\n');
        }
        Ok((text, until))
    }

    /// The filter of a replay, with the tenant and the user that it names.
    fn filter(&self, asked: &ReplayQuestion) -> Result<Filter, QuestionError> {
        let ReplayQuestion { mut filter, tenant_id, user_id, .. } = asked.clone();
        let log = self.model.log();
        let tenant = match &tenant_id {
            // Also one whose events were all taken back: history has them.
            Some(tenant_id) => Some(log.members().tenant(tenant_id).ok_or(QuestionError::UnknownTenant)?),
            None => None,
        };
        match (&tenant_id, &user_id) {
            (Some(tenant_id), Some(user_id)) => {
                let member = log.members().find(tenant_id, user_id).ok_or(QuestionError::UnknownUser)?;
                filter.member = Some(member.member);
            }
            (_, None) => filter.tenant = tenant,
            (None, Some(user_id)) => {
                let person = log.members().find_person(user_id);
                filter.person = Some(person.ok_or(QuestionError::UnknownUser)?);
            }
        }
        Ok(filter)
    }

    /// The latest events of a member before `before`, exclusive, at most `limit`.
    ///
    /// # Errors
    /// [`QuestionError`].
    pub(crate) async fn latest_events(
        self: &Arc<Self>,
        reading: &Reading,
        names: (&str, &str),
        before: Option<Position>,
        (limit, positions): (usize, Positions),
    ) -> Result<LatestEvents, QuestionError> {
        let (state, position) = self.user_now(reading, names)?;
        let member = self.model.log().members().find(names.0, names.1);
        let member = member.ok_or(QuestionError::UnknownUser)?.member;
        let until =
            before.map_or(position, |before| Position::new(before.get().saturating_sub(1)).min(position));
        let permit =
            self.admission.enter_for(reading.asker(), Cost { kind: Kind::List, bytes: PAGE_BYTES }).await?;
        let (log, retracted) = (self.model.shared_log(), reading.retracted.clone());
        let found = tasks::blocking(move || {
            let filter = Filter { member: Some(member), ..Filter::default() };
            let span = (Position::START, until);
            let marks = (Some(&retracted), &positions);
            let lines = latest(log.as_ref(), (filter, span), marks, (limit, permit.deadline()))?;
            // The views know how many count, and nothing of the others.
            let uncounted = count_of(log.as_ref(), (filter, position), &retracted, permit.deadline())?;
            drop(permit);
            Ok::<_, QuestionError>((lines, uncounted))
        });
        let (mut lines, uncounted) = found.await?;
        let more = lines.len() > limit;
        lines.truncate(limit);
        let next = lines.last().filter(|_| more).map(|(position, _)| *position);
        let events = lines.into_iter().map(|(_, line)| line).collect();
        let total = u64::from(state.events) + uncounted;
        Ok(LatestEvents { events, next, total, position })
    }
}

/// The latest events that meet a filter between two positions, the newest first: one more than `limit` where there are
/// more. Reads the parts of the log from the last on, and stops when it has them. Those of batches that were taken back
/// are marked, where these are given.
fn latest(
    log: &dyn EventStore,
    (filter, (after, until)): (Filter, (Position, Position)),
    (retracted, positions): (Option<&Retracted>, &Positions),
    (limit, deadline): (usize, Deadline),
) -> Result<Vec<Line>, QuestionError> {
    let (mut lines, mut until): (Vec<Line>, Position) = (Vec::new(), until);
    let (first, last) = (after, until);
    let parts = log.parts();
    let begins = parts.iter().rev().filter(|part| **part < last).map(|part| (*part).max(first));
    for after in begins {
        let wanted = limit + 1 - lines.len();
        let mut part: VecDeque<Line> = VecDeque::new();
        let mut add = |position, mut line: Vec<u8>| {
            if part.len() == wanted {
                part.pop_front();
            }
            line.truncate(line.trim_ascii_end().len());
            part.push_back((position, line));
        };
        let mut reader = log.scan(Scan { after, until: Some(until), detail: Detail::Events, filter });
        while let Some(batch) = reader.next_batch()? {
            deadline.check()?;
            let mut unsent = Unsent { batch, ..Unsent::default() };
            while let Some(record) = unsent.next() {
                let mut line = Vec::new();
                match record {
                    Record::Event(fact, event) => {
                        let position = fact.position;
                        positions.encode(&event, (position, fact.recorded_at), &mut line);
                        if retracted.is_some_and(|retracted| retracted.has(fact)) {
                            // The event stays on record, and does not count.
                            line.truncate(line.trim_ascii_end().len() - 1);
                            line.extend_from_slice(b",\"retracted\":true}");
                        }
                        add(position, line);
                    }
                    Record::Retraction(retraction) => {
                        encode(log, &retraction, &mut line);
                        add(retraction.position, line);
                    }
                }
            }
        }
        lines.extend(part.into_iter().rev());
        if lines.len() > limit || after <= first {
            break;
        }
        until = after;
    }
    Ok(lines)
}

/// The number of events up to a position that meet a filter and came with one of these batches.
fn count_of(
    log: &dyn EventStore,
    (filter, until): (Filter, Position),
    batches: &Retracted,
    deadline: Deadline,
) -> Result<u64, QuestionError> {
    if batches.is_empty() {
        return Ok(0);
    }
    let mut count = 0;
    let after = Position::START;
    let mut reader = log.scan(Scan { after, until: Some(until), detail: Detail::Facts, filter });
    while let Some(batch) = reader.next_batch()? {
        deadline.check()?;
        count += batch.facts.iter().filter(|fact| batches.has(fact)).count() as u64;
    }
    Ok(count)
}

impl Unsent {
    /// The next record in order.
    fn next(&mut self) -> Option<Record<'_>> {
        let Self { batch, events, retractions } = self;
        let fact = batch.facts.get(*events);
        let retraction = batch.retractions.get(*retractions);
        match (fact, retraction) {
            (fact, Some(retraction)) if fact.is_none_or(|fact| retraction.position < fact.position) => {
                *retractions += 1;
                Some(Record::Retraction(*retraction))
            }
            (Some(fact), _) => {
                let event = batch.events.get(*events);
                *events += 1;
                Some(Record::Event(fact, event))
            }
            (None, _) => None,
        }
    }
}

impl Replay {
    /// The next lines, at least `bytes` of them where there are more, and less than a line beyond. `None`: that was
    /// all. Blocks.
    ///
    /// # Errors
    /// [`ReadError`].
    pub(crate) fn next(&mut self, bytes: usize) -> Result<Option<Vec<u8>>, ReadError> {
        let mut text = Vec::with_capacity(bytes + LINE_BYTES_MAX);
        while self.left > 0 && text.len() < bytes {
            let reached = self.unsent.batch.reached;
            match self.unsent.next() {
                Some(Record::Event(fact, event)) => {
                    self.positions.encode(&event, (fact.position, fact.recorded_at), &mut text);
                    self.left -= 1;
                }
                Some(Record::Retraction(retraction)) => {
                    encode(self.log.as_ref(), &retraction, &mut text);
                    self.left -= 1;
                }
                None if reached >= self.until => break,
                None => {
                    let Some(batch) = self.reader.next_batch()? else { break };
                    self.unsent = Unsent { batch, ..Unsent::default() };
                }
            }
        }
        Ok((!text.is_empty()).then_some(text))
    }
}

fn encode(log: &dyn EventStore, retraction: &Retraction, text: &mut Vec<u8>) {
    let batches = log.batches();
    let batch = batches.get(retraction.batch);
    if let Some(Ok(name)) = batch.map(|batch| BatchName::new(batch.name())) {
        encode_retraction(retraction, name, text);
    }
}
