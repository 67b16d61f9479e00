//! Reads and subscriptions: from the options of a request to a source of frames.

use fancy_regex::Regex;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::Node;
use super::access::Caller;
use super::events::stream_name;
use super::frames::{Frames, Opening, frames};
use super::status::{thrown, unknown};
use crate::proto::client::streams::ReadReq;
use crate::proto::client::streams::read_req::Options;
use crate::proto::client::streams::read_req::options::{
    AllOptions, CountOption, FilterOption, FilterOptions, ReadDirection, StreamOption, StreamOptions,
    all_options::AllOption, filter_options, stream_options::RevisionOption, uuid_option,
};
use crate::record::Position;
use crate::store::{AllStart, Condition, Direction, Filter, FilterOf, StreamStart};
use crate::subscription::{AllReading, AllSubscription, Filtered, Source, StreamReading, StreamSubscription};

/// Records that a subscription looks at between checkpoints if the request gives no window.
const WINDOW_DEFAULT: u32 = 32;

/// A filter may be given by the caller of a subscription in this form.
type Counted = Option<(Filter, u32, u32)>;

pub(super) fn read(node: &Node, request: Request<ReadReq>) -> Result<Response<Frames>, Status> {
    let caller = node.admit(request.metadata())?;
    let options = request.into_inner().options.ok_or_else(thrown)?;
    let structured_ids = !matches!(
        options.uuid_option.as_ref().and_then(|option| option.content.as_ref()),
        Some(uuid_option::Content::String(_))
    );
    let is_subscription = matches!(options.count_option, Some(CountOption::Subscription(_)));
    let source = source(node, &caller, &options)?;
    let is_of_all = matches!(source, Source::All(_) | Source::AllSubscription(_));
    let subscription = is_subscription.then(|| Uuid::new_v4().to_string());
    frames(node.clone(), Opening { source, subscription, structured_ids, is_of_all }).map(Response::new)
}

fn source(node: &Node, caller: &Caller, options: &Options) -> Result<Source, Status> {
    let direction = match options.read_direction() {
        ReadDirection::Forwards => Direction::Forwards,
        ReadDirection::Backwards => Direction::Backwards,
    };
    let count = options.count_option.as_ref().ok_or_else(thrown)?;
    match options.stream_option.as_ref().ok_or_else(thrown)? {
        StreamOption::Stream(of) => {
            let stream = stream_name(of.stream_identifier.as_ref())?;
            node.look(|store| caller.may_read(&stream, store))?;
            let compatibility = options.control_option.map_or(0, |control| control.compatibility);
            let tells_last = compatibility > 0 && direction == Direction::Forwards;
            of_stream(node, (stream, of), (count, direction), tells_last)
        }
        StreamOption::All(of) => {
            node.look(|store| caller.may_read_all(store))?;
            let filter = match options.filter_option.as_ref().ok_or_else(thrown)? {
                FilterOption::NoFilter(_) => None,
                FilterOption::Filter(filter) => Some(counted_filter(filter)?),
            };
            of_all(node, of, filter, (count, direction))
        }
    }
}

fn of_stream(
    node: &Node,
    (stream, of): (String, &StreamOptions),
    (count, direction): (&CountOption, Direction),
    tells_last: bool,
) -> Result<Source, Status> {
    let start = match of.revision_option.as_ref().ok_or_else(thrown)? {
        RevisionOption::Start(_) => StreamStart::Start,
        RevisionOption::End(_) => StreamStart::End,
        RevisionOption::Revision(revision) => {
            StreamStart::Revision(i64::try_from(*revision).unwrap_or(i64::MAX))
        }
    };
    match count {
        CountOption::Count(0) => Err(unknown("Unexpected ReadStreamResult: Error")),
        CountOption::Count(left) => {
            Ok(Source::Stream(StreamReading { stream, start, direction, left: *left, tells_last }))
        }
        CountOption::Subscription(_) => {
            let version = node.cluster().options.version;
            let start = if start == StreamStart::Start { StreamStart::Revision(-1) } else { start };
            Ok(Source::StreamSubscription(StreamSubscription { version, stream, start, caught_up: false }))
        }
    }
}

fn of_all(
    node: &Node,
    of: &AllOptions,
    filter: Counted,
    (count, direction): (&CountOption, Direction),
) -> Result<Source, Status> {
    let (start, prepare) = match of.all_option.as_ref().ok_or_else(thrown)? {
        AllOption::Start(_) => (AllStart::Start, Position(0)),
        AllOption::End(_) => (AllStart::End, Position(0)),
        AllOption::Position(position) if position.prepare_position > position.commit_position => {
            return Err(thrown());
        }
        // The client's greatest position stands for the end.
        AllOption::Position(position) if position.commit_position == u64::MAX => (AllStart::End, Position(0)),
        AllOption::Position(position) => {
            (AllStart::At(Position(position.commit_position)), Position(position.prepare_position))
        }
    };
    match count {
        CountOption::Count(0) => Err(unknown("Unexpected ReadAllResult: Error")),
        CountOption::Count(left) => {
            let filter = filter.map(|(filter, _, _)| filter);
            Ok(Source::All(AllReading { start, direction, filter, left: *left }))
        }
        CountOption::Subscription(_) => {
            let filtered = filter.map(|(filter, max, multiplier)| interval(filter, max, multiplier));
            let version = node.cluster().options.version;
            Ok(Source::AllSubscription(AllSubscription::new(version, filtered.transpose()?, start, prepare)))
        }
    }
}

fn interval(filter: Filter, max: u32, multiplier: u32) -> Result<Filtered, Status> {
    let window = max as usize;
    let interval = window.saturating_mul(multiplier as usize);
    if interval == 0 {
        return Err(thrown());
    }
    Ok(Filtered { filter, window, interval })
}

fn counted_filter(options: &FilterOptions) -> Result<(Filter, u32, u32), Status> {
    let (of, expression) = match options.filter.as_ref().ok_or_else(thrown)? {
        filter_options::Filter::StreamIdentifier(expression) => (FilterOf::StreamName, expression),
        filter_options::Filter::EventType(expression) => (FilterOf::EventType, expression),
    };
    // A regular expression makes the prefixes void.
    let condition = if expression.regex.is_empty() {
        Condition::Prefixes(expression.prefix.clone())
    } else {
        Condition::Matches(Regex::new(&expression.regex).map_err(|_| thrown())?)
    };
    let max = match options.window.as_ref().ok_or_else(thrown)? {
        filter_options::Window::Max(max) => *max,
        filter_options::Window::Count(_) => WINDOW_DEFAULT,
    };
    Ok((Filter { of, condition }, max, options.checkpoint_interval_multiplier))
}
