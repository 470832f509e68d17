//! Waiting for a condition, with a deadline and without polling.

use std::io::Read;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take that should happen at once. Long, because the machine may be busy;
/// nothing waits for it unless a test fails.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// A value that one thread changes and another waits for.
#[derive(Debug, Default)]
pub struct Watched<T> {
    value: Mutex<T>,
    changed: Condvar,
}

impl<T> Watched<T> {
    pub fn new(value: T) -> Watched<T> {
        Watched {
            value: Mutex::new(value),
            changed: Condvar::new(),
        }
    }

    /// Looks at the value, or changes it; whoever waits looks again.
    pub fn with<R>(&self, look: impl FnOnce(&mut T) -> R) -> R {
        let result = look(&mut self.lock());
        self.changed.notify_all();
        result
    }

    /// Waits until `check` finds what it looks for; `None` if it did not by the deadline.
    pub fn wait<R>(&self, most: Duration, mut check: impl FnMut(&mut T) -> Option<R>) -> Option<R> {
        let deadline = Instant::now() + most;
        let mut value = self.lock();
        loop {
            if let Some(found) = check(&mut value) {
                return Some(found);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            value = self
                .changed
                .wait_timeout(value, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, T> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a process writes into a pipe, as far as it came.
#[derive(Debug, Default)]
pub struct Output(Watched<Collected>);

#[derive(Debug, Default)]
struct Collected {
    bytes: Vec<u8>,
    ended: bool,
}

impl Output {
    /// Collects from a pipe, in a thread of its own, until it ends.
    pub fn collect(mut pipe: impl Read + Send + 'static) -> Arc<Output> {
        let output = Arc::new(Output::default());
        let ours = Arc::clone(&output);
        thread::spawn(move || {
            let mut chunk = [0; 16 * 1024];
            loop {
                let read = pipe.read(&mut chunk).unwrap_or(0);
                ours.0.with(|collected| {
                    collected.bytes.extend_from_slice(&chunk[..read]);
                    collected.ended |= read == 0;
                });
                if read == 0 {
                    return;
                }
            }
        });
        output
    }

    /// All that was written so far.
    pub fn bytes(&self) -> Vec<u8> {
        self.0.with(|collected| collected.bytes.clone())
    }

    /// The same as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }

    /// Waits until `check` likes what was written; `false` if the deadline came, or the end did
    /// and it still does not.
    pub fn wait(&self, mut check: impl FnMut(&[u8]) -> bool) -> bool {
        let outcome = self.0.wait(DEADLINE, |collected| {
            let found = check(&collected.bytes);
            (found || collected.ended).then_some(found)
        });
        outcome == Some(true)
    }

    /// Waits until the pipe is closed; `false` if it was not by then.
    pub fn wait_end(&self, most: Duration) -> bool {
        let ended = |collected: &mut Collected| collected.ended.then_some(());
        self.0.wait(most, ended).is_some()
    }
}

/// Whether bytes contain others.
pub fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}
