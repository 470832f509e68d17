//! A store that can be made to fail or to hang, in front of one that works.

use std::path::Path;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use ssh_chat::store::proxy::{Effect, Proxy};
use ssh_chat::store::sqlite::Sqlite;
use ssh_chat::store::{CallError, Store, StoreError};

/// How the store behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// As it should.
    Fair,
    /// Nothing is done; the error comes at once.
    Down,
    /// Nothing is done; the error comes when the weather changes.
    Hanging,
    /// These are not done.
    Without(&'static [&'static str]),
    /// This is done, and answered when the weather changes.
    Holding(&'static str),
    /// This panics once the file is there.
    Panicking(&'static str, &'static Path),
}

/// A store whose weather tests make.
pub struct Flaky {
    store: Arc<Sqlite>,
    weather: watch::Sender<Weather>,
    calls: Mutex<Vec<&'static str>>,
    /// How many answers are held back.
    held: watch::Sender<usize>,
}

impl Flaky {
    pub fn new(store: Arc<Sqlite>) -> Flaky {
        Flaky {
            store,
            weather: watch::Sender::new(Weather::Fair),
            calls: Mutex::default(),
            held: watch::Sender::new(0),
        }
    }

    /// Another weather from now on.
    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// What it was asked since the last time.
    pub fn calls(&self) -> Vec<&'static str> {
        std::mem::take(&mut *self.calls.lock().unwrap())
    }

    /// Waits until an answer is held back.
    pub async fn holds(&self) {
        let mut held = self.held.subscribe();
        held.wait_for(|held| *held > 0).await.unwrap();
    }

    async fn before(&self, method: &'static str) -> Result<(), StoreError> {
        self.calls.lock().unwrap().push(method);
        let mut weather = self.weather.subscribe();
        let now = *weather.borrow_and_update();
        match now {
            Weather::Fair | Weather::Holding(_) => return Ok(()),
            Weather::Panicking(panicking, file) => {
                assert!(
                    method != panicking || !file.exists(),
                    "made to panic in {method}"
                );
                return Ok(());
            }
            Weather::Without(methods) if !methods.contains(&method) => return Ok(()),
            Weather::Down | Weather::Without(_) => {}
            Weather::Hanging => weather.changed().await.unwrap(),
        }
        Err(StoreError::Unavailable("it is made to fail".to_owned()))
    }

    async fn after(&self, method: &'static str) {
        let mut weather = self.weather.subscribe();
        if *weather.borrow_and_update() == Weather::Holding(method) {
            self.held.send_modify(|held| *held += 1);
            weather.changed().await.unwrap();
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
