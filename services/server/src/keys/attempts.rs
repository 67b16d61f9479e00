//! Requests without a key in force, by address: counted, told in the log, and answered more slowly the more there are.
//!
//! A key cannot be guessed: it has 256 random bits. This keeps a client with a wrong key from filling the log and taking the
//! server's time. A good key is never slowed down, whatever others at its address do.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// Attempts that are answered at once.
const FREE: u32 = 5;
/// The delay of the next one; each further one takes twice as long.
const DELAY_MIN: Duration = Duration::from_millis(20);
const DELAY_MAX: Duration = Duration::from_secs(1);
/// After this time without an attempt an address is forgotten.
const FORGET_AFTER: Duration = Duration::from_mins(1);
/// Addresses that are remembered; beyond it, the longest quiet one is forgotten.
const ADDRESSES_MAX: usize = 4_096;
/// Answers that are held back at once; one more is refused at once.
const DELAYED_MAX: usize = 256;

/// The refused attempts of the last minute.
pub(crate) struct Attempts {
    by_address: Mutex<HashMap<IpAddr, Failures>>,
    delayed: Semaphore,
}

#[derive(Clone, Copy)]
struct Failures {
    count: u32,
    last: Instant,
}

/// No more answers may be held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooManyAttempts;

impl Default for Attempts {
    fn default() -> Self {
        let by_address = Mutex::default();
        Self { by_address, delayed: Semaphore::new(DELAYED_MAX) }
    }
}

impl Attempts {
    /// Notes an attempt that is refused, and holds its answer back for as long as the attempts before it say. `reason` must
    /// not have the secret.
    ///
    /// # Errors
    /// [`TooManyAttempts`].
    pub(crate) async fn refused(&self, address: Option<IpAddr>, reason: &str) -> Result<(), TooManyAttempts> {
        let Some(address) = address else { return Ok(()) };
        let count = self.count(network(address), Instant::now());
        // The log grows with the logarithm of the attempts.
        if count.is_power_of_two() {
            tracing::warn!(%address, attempts = count, reason, "an access was refused");
        }
        if count <= FREE {
            return Ok(());
        }
        let Ok(_permit) = self.delayed.try_acquire() else { return Err(TooManyAttempts) };
        let doublings = (count - FREE - 1).min(16);
        tokio::time::sleep(DELAY_MIN.saturating_mul(1 << doublings).min(DELAY_MAX)).await;
        Ok(())
    }

    fn count(&self, address: IpAddr, now: Instant) -> u32 {
        let mut by_address = self.by_address.lock();
        if by_address.len() >= ADDRESSES_MAX && !by_address.contains_key(&address) {
            by_address.retain(|_, failures| now - failures.last < FORGET_AFTER);
            if by_address.len() >= ADDRESSES_MAX {
                let quietest = by_address.iter().min_by_key(|(_, failures)| failures.last).map(|(it, _)| *it);
                quietest.map(|address| by_address.remove(&address));
            }
        }
        let failures = by_address.entry(address).or_insert(Failures { count: 0, last: now });
        if now - failures.last >= FORGET_AFTER {
            failures.count = 0;
        }
        *failures = Failures { count: failures.count.saturating_add(1), last: now };
        failures.count
    }
}

/// Whoever has one address of IPv6 has its network of 64 bits.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn attempts_are_slower_the_more_there_are_and_quiet_makes_good() {
        let attempts = Attempts::default();
        let address = Some([192, 0, 2, 1].into());
        let mut waited = Vec::new();
        for _ in 0..20 {
            let start = Instant::now();
            attempts.refused(address, "a wrong key").await.unwrap();
            waited.push(start.elapsed());
        }
        assert!(waited[..5].iter().all(Duration::is_zero), "{waited:?}");
        assert!(waited[5] >= DELAY_MIN && waited[19] >= DELAY_MAX, "{waited:?}");
        assert!(waited.is_sorted(), "{waited:?}");
        tokio::time::advance(FORGET_AFTER).await;
        let start = Instant::now();
        attempts.refused(address, "a wrong key").await.unwrap();
        assert!(start.elapsed().is_zero());
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_are_bounded_and_one_network_is_one() {
        let attempts = Attempts::default();
        for number in 0..2 * u32::try_from(ADDRESSES_MAX).unwrap() {
            attempts.count(IpAddr::V4(number.into()), Instant::now());
        }
        assert_eq!(attempts.by_address.lock().len(), ADDRESSES_MAX);
        let [one, other] = ["2001:db8::1", "2001:db8::ffff"].map(|it| it.parse().unwrap());
        assert_eq!(network(one), network(other));
        assert_ne!(network(one), network("2001:db8:0:1::1".parse().unwrap()));
        assert_eq!(network("::ffff:192.0.2.1".parse().unwrap()), IpAddr::from([192, 0, 2, 1]));
    }
}
