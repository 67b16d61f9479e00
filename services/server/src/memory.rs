//! One budget for the memory of request bodies and answers under way.
//!
//! Answers together may take three quarters of it, so slow readers cannot keep publishers out.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The unit of the budget.
const KIB: usize = 1024;

/// The budget. Cloning shares it.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    all: Arc<Semaphore>,
    answers: Arc<Semaphore>,
    /// The whole budget, in KiB.
    all_kib: usize,
    /// The most that one answer can take, in KiB.
    answers_kib: usize,
}

/// Memory that is taken from the budget; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Reserved {
    budget: Arc<Semaphore>,
    taken: Option<OwnedSemaphorePermit>,
    of_answers: Option<OwnedSemaphorePermit>,
}

impl Memory {
    /// A budget of `bytes`.
    pub(crate) fn new(bytes: usize) -> Self {
        let all = (bytes / KIB).clamp(4, Semaphore::MAX_PERMITS);
        let answers_kib = all / 4 * 3;
        Self {
            all: Arc::new(Semaphore::new(all)),
            answers: Arc::new(Semaphore::new(answers_kib)),
            all_kib: all,
            answers_kib,
        }
    }

    /// Takes nothing yet: for a body, whose size is known as it comes.
    pub(crate) fn for_body(&self) -> Reserved {
        Reserved { budget: self.all.clone(), taken: None, of_answers: None }
    }

    /// Takes `bytes` for an answer, waiting for at most `patience`. An answer beyond three quarters of the budget
    /// takes all of these: it waits until it is the only one. `None`: the wait was too long.
    pub(crate) async fn for_answer(&self, bytes: usize, patience: Duration) -> Option<Reserved> {
        let kib = u32::try_from(bytes.div_ceil(KIB).min(self.answers_kib)).unwrap_or(u32::MAX);
        let take = async {
            let of_answers = self.answers.clone().acquire_many_owned(kib).await.ok()?;
            let taken = self.all.clone().acquire_many_owned(kib).await.ok()?;
            Some(Reserved { budget: self.all.clone(), taken: Some(taken), of_answers: Some(of_answers) })
        };
        tokio::time::timeout(patience, take).await.ok().flatten()
    }

    /// Takes `bytes` for an answer that is ready. `None`: there is no room now.
    pub(crate) fn try_for_answer(&self, bytes: usize) -> Option<Reserved> {
        let kib = u32::try_from(bytes.div_ceil(KIB).min(self.answers_kib)).unwrap_or(u32::MAX);
        let of_answers = self.answers.clone().try_acquire_many_owned(kib).ok()?;
        let taken = self.all.clone().try_acquire_many_owned(kib).ok()?;
        Some(Reserved { budget: self.all.clone(), taken: Some(taken), of_answers: Some(of_answers) })
    }

    /// Bytes of the whole budget.
    pub(crate) fn budget_bytes(&self) -> usize {
        self.all_kib * KIB
    }

    /// Bytes that nobody has taken.
    pub(crate) fn free_bytes(&self) -> usize {
        self.all.available_permits() * KIB
    }
}

impl Reserved {
    /// Makes the reservation at least `bytes` large, without waiting. Returns whether there was room.
    pub(crate) fn grow_to(&mut self, bytes: usize) -> bool {
        let kib = self.taken.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let Some(more) = bytes.div_ceil(KIB).checked_sub(kib).filter(|more| *more > 0) else { return true };
        let Ok(more) = u32::try_from(more) else { return false };
        let take = |from: &Arc<Semaphore>| from.clone().try_acquire_many_owned(more);
        let of_answers = self.of_answers.as_ref().map(|taken| take(taken.semaphore())).transpose();
        let (Ok(more), Ok(of_answers)) = (take(&self.budget), of_answers) else { return false };
        if let (Some(taken), Some(more)) = (&mut self.of_answers, of_answers) {
            taken.merge(more);
        }
        match &mut self.taken {
            Some(taken) => taken.merge(more),
            None => self.taken = Some(more),
        }
        true
    }

    /// Gives back what is beyond `bytes`.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        for permit in [&mut self.taken, &mut self.of_answers].into_iter().flatten() {
            let surplus = permit.num_permits().saturating_sub(bytes.div_ceil(KIB));
            drop(permit.split(surplus));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[tokio::test]
    async fn what_is_taken_comes_back_and_answers_leave_room_for_bodies() {
        let memory = Memory::new(4 * MIB);
        let mut answer = memory.for_answer(3 * MIB, Duration::ZERO).await.unwrap();
        assert!(memory.for_answer(KIB, Duration::from_millis(1)).await.is_none());
        let mut body = memory.for_body();
        assert!(body.grow_to(10) && body.grow_to(KIB) && body.grow_to(MIB));
        assert!(!body.grow_to(MIB + 1), "all of it is taken");
        answer.shrink_to(MIB);
        assert_eq!(memory.free_bytes(), 2 * MIB);
        assert!(body.grow_to(3 * MIB));
        drop(body);
        assert!(answer.grow_to(3 * MIB) && !answer.grow_to(3 * MIB + 1), "room for bodies stays");
        assert_eq!(memory.free_bytes(), MIB);
        assert!(memory.for_answer(KIB, Duration::from_millis(1)).await.is_none());
        drop(answer);
        assert_eq!(memory.free_bytes(), 4 * MIB);
    }

    #[tokio::test]
    async fn an_answer_beyond_the_budget_waits_until_it_is_the_only_one() {
        let memory = Memory::new(4 * MIB);
        let small = memory.for_answer(KIB, Duration::ZERO).await.unwrap();
        assert!(memory.for_answer(100 * MIB, Duration::from_millis(1)).await.is_none());
        drop(small);
        assert!(memory.for_answer(100 * MIB, Duration::ZERO).await.is_some());
    }
}
