//! The queue before SQLite's writer: who waits for an answer goes before who does not, and neither waits for ever.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Most that wait in one class; more are refused, because a longer queue only makes everybody late.
const ROOM: usize = 4096;
/// How much of a batch with callers' work is always open to work behind them, so that under any load it goes on.
const SHARE_BEHIND: usize = 2;

/// Whether somebody waits for the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Caller,
    /// What runs after a commit, which nobody waits for.
    Behind,
}

pub(super) struct Queue<T> {
    waiting: Mutex<Waiting<T>>,
    filled: Condvar,
}

struct Waiting<T> {
    callers: VecDeque<T>,
    behind: VecDeque<T>,
    closed: bool,
}

/// What one batch has taken so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Taken {
    callers: usize,
    behind: usize,
}

impl Taken {
    pub fn len(self) -> usize {
        self.callers + self.behind
    }
}

/// What waiting for the first of a batch comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum First<T> {
    Item(T),
    Quiet,
    /// The queue was closed, and is empty.
    Closed,
}

impl<T> Queue<T> {
    pub fn new() -> Self {
        Self { waiting: Mutex::new(Waiting { callers: VecDeque::new(), behind: VecDeque::new(), closed: false }), filled: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// False: too many wait already.
    pub fn push(&self, class: Class, item: T) -> bool {
        let mut waiting = self.lock();
        let queue = match class {
            Class::Caller => &mut waiting.callers,
            Class::Behind => &mut waiting.behind,
        };
        let room = queue.len() < ROOM;
        if room {
            queue.push_back(item);
        }
        drop(waiting);
        self.filled.notify_one();
        room
    }

    /// The first of a batch, once there is one; `Quiet` if there is none for so long, where a time is given.
    pub fn first(&self, taken: &mut Taken, quiet: Option<Duration>) -> First<T> {
        let mut waiting = self.lock();
        loop {
            if let Some(item) = waiting.next(taken) {
                return First::Item(item);
            }
            if waiting.closed {
                return First::Closed;
            }
            let Some(quiet) = quiet else {
                waiting = self.filled.wait(waiting).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let (again, waited) = self.filled.wait_timeout(waiting, quiet).unwrap_or_else(PoisonError::into_inner);
            waiting = again;
            if waited.timed_out() && waiting.is_empty() {
                return First::Quiet;
            }
        }
    }

    /// The next of the same batch, if one waits that may go with it.
    pub fn next(&self, taken: &mut Taken) -> Option<T> {
        self.lock().next(taken)
    }

    /// All that wait now.
    pub fn take_all(&self) -> Vec<T> {
        let mut waiting = self.lock();
        let callers = std::mem::take(&mut waiting.callers);
        callers.into_iter().chain(std::mem::take(&mut waiting.behind)).collect()
    }

    /// No more will come.
    pub fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_one();
    }
}

impl<T> Waiting<T> {
    fn is_empty(&self) -> bool {
        self.callers.is_empty() && self.behind.is_empty()
    }

    fn next(&mut self, taken: &mut Taken) -> Option<T> {
        let alone = taken.callers == 0 && self.callers.is_empty();
        if alone || taken.behind < SHARE_BEHIND {
            let item = self.behind.pop_front();
            taken.behind += usize::from(item.is_some());
            if item.is_some() {
                return item;
            }
        }
        let item = self.callers.pop_front();
        taken.callers += usize::from(item.is_some());
        item
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(queue: &Queue<&'static str>) -> Vec<&'static str> {
        let mut taken = Taken::default();
        std::iter::from_fn(|| queue.next(&mut taken)).collect()
    }

    #[test]
    fn callers_go_first_and_what_is_behind_them_goes_on() {
        let queue = Queue::new();
        for item in ["b1", "b2", "b3", "b4"] {
            assert!(queue.push(Class::Behind, item));
        }
        for item in ["c1", "c2", "c3"] {
            assert!(queue.push(Class::Caller, item));
        }
        assert_eq!(batch(&queue), ["b1", "b2", "c1", "c2", "c3"]);
        assert_eq!(batch(&queue), ["b3", "b4"], "alone it has the whole batch");
    }

    #[test]
    fn a_caller_who_comes_late_finds_no_more_behind_work_before_it() {
        let queue = Queue::new();
        let mut taken = Taken::default();
        for item in ["b1", "b2", "b3", "b4"] {
            queue.push(Class::Behind, item);
        }
        assert_eq!([(); 3].map(|()| queue.next(&mut taken)), [Some("b1"), Some("b2"), Some("b3")]);
        queue.push(Class::Caller, "c1");
        assert_eq!((queue.next(&mut taken), queue.next(&mut taken)), (Some("c1"), None));
        assert_eq!(taken.len(), 4);
    }

    #[test]
    fn each_class_is_bounded_and_a_closed_queue_ends_when_it_is_empty() {
        let queue = Queue::new();
        for n in 0..ROOM {
            assert!(queue.push(Class::Caller, n));
        }
        assert!(!queue.push(Class::Caller, 0));
        assert!(queue.push(Class::Behind, ROOM));
        queue.close();
        assert_eq!(queue.first(&mut Taken::default(), None), First::Item(ROOM));
        assert_eq!(queue.take_all().len(), ROOM);
        assert_eq!(queue.first(&mut Taken::default(), None), First::Closed);
    }

    #[test]
    fn who_waits_for_work_is_told_when_there_was_none_for_a_while() {
        let queue = Queue::new();
        let quiet = Some(Duration::from_millis(1));
        assert_eq!(queue.first(&mut Taken::default(), quiet), First::Quiet);
        queue.push(Class::Behind, "b1");
        assert_eq!(queue.first(&mut Taken::default(), quiet), First::Item("b1"));
        queue.close();
        assert_eq!(queue.first(&mut Taken::default(), quiet), First::Closed);
    }
}
