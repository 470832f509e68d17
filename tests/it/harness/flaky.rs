//! A store that fails or hangs on demand, in front of a working one.

use std::path::Path;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use ssh_chat::store::proxy::{Effect, Proxy};
use ssh_chat::store::sqlite::Sqlite;
use ssh_chat::store::{CallError, Store, StoreError};

/// How the store behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreMode {
    /// Everything works.
    Working,
    /// Calls have no effect and fail at once.
    Down,
    /// Calls have no effect and fail when the mode changes.
    Hanging,
    /// Calls of these methods have no effect and fail.
    Without(&'static [&'static str]),
    /// Calls of this method take effect, and return when the mode changes.
    Holding(&'static str),
    /// Calls of this method panic once the file exists.
    Panicking(&'static str, &'static Path),
}

/// A store whose behaviour a test sets.
pub struct Flaky {
    store: Arc<Sqlite>,
    store_mode: watch::Sender<StoreMode>,
    calls: Mutex<Vec<&'static str>>,
    /// Number of responses being held back.
    held: watch::Sender<usize>,
}

impl Flaky {
    pub fn new(store: Arc<Sqlite>) -> Flaky {
        Flaky {
            store,
            store_mode: watch::Sender::new(StoreMode::Working),
            calls: Mutex::default(),
            held: watch::Sender::new(0),
        }
    }

    /// Changes the behaviour.
    pub fn set(&self, store_mode: StoreMode) {
        self.store_mode.send_replace(store_mode);
    }

    /// The methods called since the last time.
    pub fn calls(&self) -> Vec<&'static str> {
        std::mem::take(&mut *self.calls.lock().unwrap())
    }

    /// Waits until a response is being held back.
    pub async fn holds(&self) {
        let mut held = self.held.subscribe();
        held.wait_for(|held| *held > 0).await.unwrap();
    }

    async fn before(&self, method: &'static str) -> Result<(), StoreError> {
        self.calls.lock().unwrap().push(method);
        let mut store_mode = self.store_mode.subscribe();
        let now = *store_mode.borrow_and_update();
        match now {
            StoreMode::Working | StoreMode::Holding(_) => return Ok(()),
            StoreMode::Panicking(panicking, file) => {
                assert!(
                    method != panicking || !file.exists(),
                    "made to panic in {method}"
                );
                return Ok(());
            }
            StoreMode::Without(methods) if !methods.contains(&method) => return Ok(()),
            StoreMode::Down | StoreMode::Without(_) => {}
            StoreMode::Hanging => store_mode.changed().await.unwrap(),
        }
        Err(StoreError::Unavailable("it is made to fail".to_owned()))
    }

    async fn after(&self, method: &'static str) {
        let mut store_mode = self.store_mode.subscribe();
        if *store_mode.borrow_and_update() == StoreMode::Holding(method) {
            self.held.send_modify(|held| *held += 1);
            store_mode.changed().await.unwrap();
            self.held.send_modify(|held| *held -= 1);
        }
    }
}

impl Proxy for Flaky {
    fn backend(&self) -> &dyn Store {
        &*self.store
    }

    async fn call<T: Send, E: CallError>(
        &self,
        operation: &'static str,
        _: Effect,
        forward: impl Future<Output = Result<T, E>> + Send,
    ) -> Result<T, E> {
        self.before(operation).await?;
        let result = forward.await;
        self.after(operation).await;
        result
    }
}
