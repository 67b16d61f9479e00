//! Room for connections: a bounded number of seats, given up by those that wait for nothing.
//!
//! A connection without a request under way is idle and can be asked to leave when somebody needs its seat;
//! the one that has been idle longest goes first. When all are at work, a few spare seats are left, for
//! questions about health alone.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::AcqRel, Ordering::Acquire};
use std::task::Context;

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Seats beyond the cap.
pub(super) const SPARE_SEATS: usize = 16;

/// Turn of a connection with a request under way.
const BUSY: u64 = 0;
/// Turn of a connection that was asked to leave.
const LEAVING: u64 = u64::MAX;

/// All seats of a server.
pub(super) struct Room {
    seats_max: usize,
    state: Mutex<State>,
    emptied: Notify,
}

#[derive(Default)]
struct State {
    guests: HashMap<u64, Arc<Guest>>,
    /// Seats in use by class, without those of guests that were asked to leave.
    taken: [usize; 2],
    /// Guests that became idle, the longest ago first. An entry is void once its guest has another turn.
    idle: VecDeque<(u64, Arc<Guest>)>,
    last_id: u64,
    last_turn: u64,
}

/// The class of a seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seat {
    /// Within the cap: all routes, as long as the peer likes.
    Full,
    /// Beyond the cap: one question about health.
    Spare,
}

/// A connection as the room knows it.
pub(super) struct Guest {
    seat: Seat,
    turn: AtomicU64,
    order: AtomicU8,
    waker: AtomicWaker,
}

/// A word to a connection from outside, the strictest last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Order {
    /// Go on.
    Stay,
    /// End after the request under way.
    Finish,
    /// End now.
    Leave,
}

/// A seat that is taken; dropping it gives it back.
pub(super) struct Place {
    room: Arc<Room>,
    guest: Arc<Guest>,
    id: u64,
}

/// The reception of a newcomer.
pub(super) enum Admission {
    /// A seat was free.
    Free(Place),
    /// Another connection was asked to leave.
    MadeRoom(Place),
    /// All are at work; there was a spare seat.
    Spare(Place),
    /// There is no seat.
    Refused,
}

impl Room {
    pub(super) fn new(seats_max: usize) -> Arc<Self> {
        Arc::new(Self { seats_max, state: Mutex::default(), emptied: Notify::new() })
    }

    /// Gives a newcomer a seat, if need be that of whoever has been idle longest.
    pub(super) fn admit(self: &Arc<Self>) -> Admission {
        let mut state = self.state.lock();
        if state.taken[Seat::Full as usize] < self.seats_max {
            return Admission::Free(self.seat(&mut state, Seat::Full));
        }
        if let Some(seat) = state.evict() {
            return Admission::MadeRoom(self.seat(&mut state, seat));
        }
        if state.taken[Seat::Spare as usize] < SPARE_SEATS {
            return Admission::Spare(self.seat(&mut state, Seat::Spare));
        }
        Admission::Refused
    }

    fn seat(self: &Arc<Self>, state: &mut State, seat: Seat) -> Place {
        state.last_id += 1;
        state.taken[seat as usize] += 1;
        let (turn, order) = (AtomicU64::new(BUSY), AtomicU8::new(Order::Stay as u8));
        let guest = Arc::new(Guest { seat, turn, order, waker: AtomicWaker::new() });
        state.guests.insert(state.last_id, guest.clone());
        state.idles(&guest);
        Place { room: self.clone(), guest, id: state.last_id }
    }

    /// Asks the one that has been idle longest to leave. `false` if none is idle.
    pub(super) fn make_room(&self) -> bool {
        self.state.lock().evict().is_some()
    }

    /// Tells everybody.
    pub(super) fn tell(&self, order: Order) {
        for guest in self.state.lock().guests.values() {
            guest.tell(order);
        }
    }

    /// Returns how many connections there are, those that leave included.
    pub(super) fn guests(&self) -> usize {
        self.state.lock().guests.len()
    }

    /// Waits until nobody is left. Only one may wait.
    pub(super) async fn empty(&self) {
        while self.guests() > 0 {
            self.emptied.notified().await;
        }
    }
}

impl State {
    fn evict(&mut self) -> Option<Seat> {
        while let Some((turn, guest)) = self.idle.pop_front() {
            // Fails if the guest has begun a request meanwhile.
            if guest.turn.compare_exchange(turn, LEAVING, AcqRel, Acquire).is_ok() {
                self.taken[guest.seat as usize] -= 1;
                guest.tell(Order::Leave);
                return Some(guest.seat);
            }
        }
        None
    }

    fn idles(&mut self, guest: &Arc<Guest>) {
        self.last_turn += 1;
        if guest.turn.compare_exchange(BUSY, self.last_turn, AcqRel, Acquire).is_err() {
            return;
        }
        // Void entries are swept out when they are the most: a constant number of steps an entry.
        if self.idle.len() > 2 * self.guests.len() + 64 {
            self.idle.retain(|(turn, guest)| guest.turn.load(Acquire) == *turn);
        }
        self.idle.push_back((self.last_turn, guest.clone()));
    }
}

impl Guest {
    fn tell(&self, order: Order) {
        self.order.fetch_max(order as u8, AcqRel);
        self.wake();
    }

    /// Lets the task of the connection look at it.
    pub(super) fn wake(&self) {
        self.waker.wake();
    }

    /// True if the present request is the last one.
    pub(super) fn is_to_finish(&self) -> bool {
        self.order.load(Acquire) != Order::Stay as u8
    }

    /// Takes note that a request begins. `false` if the connection was asked to leave; then it must not
    /// begin.
    pub(super) fn is_to_begin(&self) -> bool {
        let busy = |turn| (turn != LEAVING).then_some(BUSY);
        self.turn.fetch_update(AcqRel, Acquire, busy).is_ok()
    }
}

impl Place {
    /// Returns what was told last. The task of `context` is woken by the next word.
    pub(super) fn order(&self, context: &Context<'_>) -> Order {
        self.guest.waker.register(context.waker());
        match self.guest.order.load(Acquire) {
            order if order == Order::Stay as u8 => Order::Stay,
            order if order == Order::Finish as u8 => Order::Finish,
            _ => Order::Leave,
        }
    }

    /// Takes note that no request is under way. No-op if that is known.
    pub(super) fn idles(&self) {
        if self.guest.turn.load(Acquire) == BUSY {
            self.room.state.lock().idles(&self.guest);
        }
    }

    pub(super) fn guest(&self) -> &Arc<Guest> {
        &self.guest
    }

    pub(super) fn seat(&self) -> Seat {
        self.guest.seat
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.room.state.lock();
        state.guests.remove(&self.id);
        // Its entry among the idle ones is void from here on; who left on request has given its seat back
        // before.
        if self.guest.turn.swap(BUSY, AcqRel) != LEAVING {
            state.taken[self.guest.seat as usize] -= 1;
        }
        if state.guests.is_empty() {
            self.room.emptied.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(admission: Admission) -> Place {
        match admission {
            Admission::Free(place) | Admission::MadeRoom(place) | Admission::Spare(place) => place,
            Admission::Refused => panic!("refused"),
        }
    }

    fn has_left(place: &Place) -> bool {
        place.order(&Context::from_waker(std::task::Waker::noop())) == Order::Leave
    }

    #[test]
    fn the_longest_idle_makes_room_and_those_at_work_never() {
        let room = Room::new(3);
        let places: Vec<_> = (0..3).map(|_| place(room.admit())).collect();
        assert!(places[0].guest().is_to_begin(), "the first has work");
        assert!(places[1].guest().is_to_begin());
        places[1].idles();
        // Idle are, the longest first: the third, the second.
        let fourth = room.admit();
        assert!(matches!(fourth, Admission::MadeRoom(_)));
        assert!(has_left(&places[2]) && !has_left(&places[0]) && !has_left(&places[1]));
        assert!(!places[2].guest().is_to_begin(), "who was asked to leave begins nothing");
        let fifth = room.admit();
        assert!(has_left(&places[1]) && !has_left(&places[0]), "the second");
        drop((fourth, fifth));
    }

    #[test]
    fn with_all_at_work_spare_seats_are_left_and_then_none() {
        let room = Room::new(2);
        let at_work = |place: Place| {
            assert!(place.guest().is_to_begin());
            place
        };
        let full: Vec<_> = (0..2).map(|_| at_work(place(room.admit()))).collect();
        let spare: Vec<_> = (0..SPARE_SEATS).map(|_| at_work(place(room.admit()))).collect();
        assert!(full.iter().all(|place| place.seat() == Seat::Full));
        assert!(spare.iter().all(|place| place.seat() == Seat::Spare));
        assert!(matches!(room.admit(), Admission::Refused));
        drop(full);
        assert_eq!(place(room.admit()).seat(), Seat::Full, "seats that were given back are given again");
        drop(spare);
        assert_eq!(room.guests(), 0);
    }

    #[test]
    fn who_leaves_on_request_gives_one_seat_back_and_a_spare_one_makes_a_spare_one_free() {
        let room = Room::new(1);
        let full = place(room.admit());
        assert!(full.guest().is_to_begin());
        let spare = place(room.admit());
        assert_eq!(spare.seat(), Seat::Spare);
        let next = place(room.admit());
        assert!(has_left(&spare));
        assert_eq!(next.seat(), Seat::Spare, "the full seat is still taken");
        drop((spare, next));
        assert_eq!(room.state.lock().taken, [1, 0]);
        drop(full);
        assert_eq!(room.state.lock().taken, [0, 0]);
    }

    #[test]
    fn what_is_kept_of_idle_ones_is_bounded() {
        let room = Room::new(2);
        let place = place(room.admit());
        for _ in 0..100_000 {
            assert!(place.guest().is_to_begin());
            place.idles();
            place.idles();
        }
        assert!(room.state.lock().idle.len() < 100);
        assert!(room.make_room() && !room.make_room(), "one entry is of a guest");
    }
}
