//! Waiting for a condition, with a deadline and without polling.

use std::io::Read;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Time limit for anything that should happen at once. Long, because the machine may be busy; only
/// failing tests wait for it.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// A value that one thread changes and others wait for.
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

    /// Reads or changes the value; waiters check it again.
    pub fn with<R>(&self, look: impl FnOnce(&mut T) -> R) -> R {
        let result = look(&mut self.lock());
        self.changed.notify_all();
        result
    }

    /// Waits until `check` returns something; `None` if it didn't by the deadline.
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

/// What a process has written to a pipe so far.
#[derive(Debug, Default)]
pub struct Output(Watched<Collected>);

#[derive(Debug, Default)]
struct Collected {
    bytes: Vec<u8>,
    ended: bool,
}

impl Output {
    /// Collects from a pipe until its end, in a thread.
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

    /// Everything written so far.
    pub fn bytes(&self) -> Vec<u8> {
        self.0.with(|collected| collected.bytes.clone())
    }

    /// The same as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }

    /// Waits until `check` accepts what was written; `false` if it doesn't by the deadline or the
    /// end.
    pub fn wait(&self, mut check: impl FnMut(&[u8]) -> bool) -> bool {
        let outcome = self.0.wait(DEADLINE, |collected| {
            let found = check(&collected.bytes);
            (found || collected.ended).then_some(found)
        });
        outcome == Some(true)
    }

    /// Waits until the pipe is closed; `false` if it isn't by the deadline.
    pub fn wait_end(&self, most: Duration) -> bool {
        let ended = |collected: &mut Collected| collected.ended.then_some(());
        self.0.wait(most, ended).is_some()
    }
}

/// Whether some bytes contain others.
pub fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}
