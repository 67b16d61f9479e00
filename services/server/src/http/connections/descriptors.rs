//! File descriptors: connections must not take those that the store needs.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::room::SPARE_SEATS;

/// Descriptors that are kept for the log, its segments and the runtime.
const RESERVE: usize = 256;
/// Fewer connections than these are of no use, however few descriptors there are.
const CONNECTIONS_MIN: usize = 16;

/// Raises the limit of descriptors as far as the system allows, and returns how many connections there may
/// be: `wanted`, or fewer where the limit is too low, which goes to the log.
pub(super) fn connections_max(wanted: usize) -> usize {
    let limit = raised();
    let allowed = within(limit, wanted);
    if allowed < wanted {
        tracing::warn!(
            wanted,
            allowed,
            descriptors = limit,
            "the limit of file descriptors (ulimit -n) allows fewer connections than --connections-max"
        );
    }
    allowed
}

/// Returns the limit of this process; `None` if there is none.
fn raised() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return current;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum,
        Err(error) => {
            tracing::warn!(%error, "cannot raise the limit of file descriptors");
            current
        }
    }
}

fn within(limit: Option<u64>, wanted: usize) -> usize {
    let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    wanted.min(limit.saturating_sub(RESERVE + SPARE_SEATS).max(CONNECTIONS_MIN)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_the_store() {
        for (limit, wanted, expected) in [
            (None, 1024, 1024),
            (Some(1 << 20), 1024, 1024),
            (Some(1024), 1024, 1024 - 256 - 16),
            (Some(300), 1024, 28),
            (Some(64), 1024, 16),
            (Some(64), 4, 4),
            (Some(u64::MAX), 5, 5),
        ] {
            assert_eq!(within(limit, wanted), expected, "{limit:?} {wanted}");
        }
    }
}
