//! Whose keys are known: what logins fall back on while the store can't be reached.
//!
//! It is what the store said last, and only good for as long as nothing speaks against it. A
//! question to the store begins with [`KeyCache::asks`]; what is learned from its answer counts only
//! if what is known was not replaced or doubted meanwhile, so that an answer that was long on its
//! way brings back no key that is gone.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::key_index::KeyIndex;
use crate::chat::ids::{Fingerprint, Name};
use crate::store::Account;

/// How many keys lookups may add between two readings of all of them: 1.3 MB, in a table that
/// doubles. Who is beyond that needs the store.
const FOUND: usize = 7_000;

/// How long an answer of the store serves for more than one question.
const MOMENT: Duration = Duration::from_secs(1);

/// The keys that are known.
#[derive(Default)]
pub(super) struct KeyCache(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    owners: Arc<KeyIndex>,
    /// How many of them lookups added since all were read.
    found: usize,
    /// The store's revision when they were read.
    revision: Option<u64>,
    /// Whether everybody who is online was measured by it.
    enforced: bool,
    /// When the store was last asked and said that it holds.
    confirmed: Option<Instant>,
    /// Whether something changed since that could not be read yet.
    doubted: bool,
    /// Another number whenever all of this is replaced or doubted.
    generation: u64,
}

/// A question to the store: when it was asked, and what was known then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueryStamp {
    at: Instant,
    generation: u64,
}

impl KeyCache {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another number whenever what is known was replaced or doubted.
    pub fn generation(&self) -> u64 {
        self.lock().generation
    }

    /// The store is about to be asked.
    pub fn asks(&self) -> QueryStamp {
        QueryStamp {
            at: Instant::now(),
            generation: self.lock().generation,
        }
    }

    /// Whether the answer to a question is as good as another one: it was asked a moment ago, and
    /// nothing was replaced or doubted since.
    pub fn is_fresh(&self, asked: QueryStamp) -> bool {
        asked.at.elapsed() < MOMENT && self.lock().generation == asked.generation
    }

    /// The store told all keys. What was doubted while it did stays in doubt.
    pub fn replace(&self, owners: Arc<KeyIndex>, revision: u64, asked: QueryStamp) -> QueryStamp {
        let mut known = self.lock();
        known.doubted = known.generation != asked.generation;
        known.revision = (!known.doubted).then_some(revision);
        known.confirmed = Some(asked.at);
        known.enforced = false;
        known.owners = owners;
        known.found = 0;
        known.generation += 1;
        QueryStamp {
            generation: known.generation,
            ..asked
        }
    }

    /// Everybody who is online was measured by what [`KeyCache::replace`] was given.
    pub fn enforced(&self, replaced: QueryStamp) {
        let mut known = self.lock();
        known.enforced |= known.generation == replaced.generation;
    }

    /// The rules are others: everybody who is online is to be measured again.
    pub fn enforce_again(&self) {
        self.lock().enforced = false;
    }

    /// The store told its revision. Whether what is known still holds, and is enforced; if not,
    /// all has to be read again, and is in doubt until then.
    pub fn holds(&self, revision: u64, asked: QueryStamp) -> bool {
        let mut known = self.lock();
        if known.generation != asked.generation {
            return false;
        }
        if known.revision != Some(revision) {
            known.doubt();
            return false;
        }
        known.confirmed = Some(asked.at);
        known.enforced
    }

    /// Something was taken from somebody, and is not read yet: nobody comes in by what was known
    /// before.
    pub fn doubt(&self) {
        self.lock().doubt();
    }

    /// The store told whose a key is.
    pub fn learn(&self, key: &Fingerprint, account: Option<&Account>, asked: QueryStamp) {
        let mut known = self.lock();
        let before = known.owners.get(key);
        let is_new = before.is_none();
        if before.as_ref() == account || known.generation != asked.generation {
            return;
        }
        match account {
            Some(_) if is_new && known.found >= FOUND => {}
            Some(account) => {
                known.found += usize::from(is_new);
                Arc::make_mut(&mut known.owners).insert(key, account);
            }
            None => {
                Arc::make_mut(&mut known.owners).remove(key);
            }
        }
    }

    /// Whether it can take the place of the store: confirmed less than `grace` ago, and not in
    /// doubt.
    pub fn is_good(&self, grace: Duration) -> bool {
        self.lock().is_good(grace)
    }

    /// Whose a key is, if that is known well enough.
    pub fn owner(&self, key: &Fingerprint, grace: Duration) -> Option<Account> {
        let known = self.lock();
        known.owners.get(key).filter(|_| known.is_good(grace))
    }

    /// Whether somebody with a known key is called that, or nearly.
    pub fn has_name(&self, name: &Name) -> bool {
        let owners = Arc::clone(&self.lock().owners);
        let skeleton = name.skeleton();
        owners.names().any(|name| name.skeleton() == skeleton)
    }
}

impl Inner {
    fn doubt(&mut self) {
        self.doubted = true;
        self.revision = None;
        self.generation += 1;
    }

    fn is_good(&self, grace: Duration) -> bool {
        let fresh = self.confirmed.is_some_and(|at| at.elapsed() < grace);
        fresh && !self.doubted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::access::Role;
    use crate::chat::ids::{AccountId, Time};

    const SECOND: Duration = Duration::from_secs(1);
    const GRACE: Duration = Duration::from_secs(3600);

    fn key(n: usize) -> Fingerprint {
        Fingerprint::new(&format!("SHA256:{n:043}"))
    }

    fn account(n: usize) -> Account {
        let name = Name::new(&format!("user-{n}")).unwrap();
        Account::new(AccountId(n as u128), name, Role::Member, Time(0))
    }

    fn owners(numbers: &[usize]) -> Arc<KeyIndex> {
        let mut owners = KeyIndex::default();
        for &n in numbers {
            owners.insert(&key(n), &account(n));
        }
        Arc::new(owners)
    }

    fn known(numbers: &[usize]) -> KeyCache {
        let known = KeyCache::default();
        let replaced = known.replace(owners(numbers), 1, known.asks());
        known.enforced(replaced);
        known
    }

    fn knows(known: &KeyCache, n: usize) -> bool {
        known.owner(&key(n), GRACE).is_some()
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_good_for_a_while_after_each_confirmation() {
        let known = known(&[1]);
        let nearly = GRACE.saturating_sub(SECOND);
        tokio::time::advance(nearly).await;
        assert!(knows(&known, 1));
        let asked = known.asks();
        tokio::time::advance(SECOND).await;
        assert!(!knows(&known, 1));
        assert!(known.holds(1, asked), "it was so when it was asked");
        tokio::time::advance(nearly.saturating_sub(SECOND)).await;
        assert!(knows(&known, 1));
        tokio::time::advance(SECOND).await;
        assert!(!knows(&known, 1));
        assert!(!knows(&KeyCache::default(), 1), "nothing was ever read");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_fresh_for_a_moment() {
        let known = known(&[1]);
        let asked = known.asks();
        assert!(known.is_fresh(asked));
        tokio::time::advance(MOMENT).await;
        assert!(
            !known.is_fresh(asked),
            "somebody may have another name by now"
        );
        let asked = known.asks();
        known.doubt();
        assert!(!known.is_fresh(asked));
    }

    /// What happens while a question is under way, what its answer is, and who is known then.
    #[tokio::test]
    async fn an_answer_that_was_overtaken_brings_back_nobody() {
        let found = account(2);
        let overtaken = known(&[1]);
        let asked = overtaken.asks();
        overtaken.replace(owners(&[1]), 2, overtaken.asks());
        overtaken.learn(&key(2), Some(&found), asked);
        assert!(!knows(&overtaken, 2), "a newer reading does not have it");

        let doubted = known(&[1, 2]);
        let asked = doubted.asks();
        doubted.doubt();
        assert!(!knows(&doubted, 1));
        assert!(!doubted.holds(1, asked), "asked before the doubt");
        assert!(!knows(&doubted, 1));
        doubted.replace(owners(&[1, 2]), 2, asked);
        assert!(!knows(&doubted, 1), "read before the doubt");
        let asked = doubted.asks();
        assert!(!doubted.holds(2, asked), "so it has to be read again");
        let replaced = doubted.replace(owners(&[1]), 2, doubted.asks());
        assert!(knows(&doubted, 1) && !knows(&doubted, 2));
        assert!(!doubted.holds(2, doubted.asks()), "not enforced yet");
        doubted.enforced(replaced);
        assert!(doubted.holds(2, doubted.asks()));
        assert!(!doubted.holds(3, doubted.asks()));
        assert!(!knows(&doubted, 1), "something changed that was not read");
    }

    #[tokio::test]
    async fn lookups_teach_a_bounded_number_of_keys() {
        let known = known(&[0]);
        for n in 1..=FOUND + 1 {
            known.learn(&key(n), Some(&account(n)), known.asks());
        }
        assert!(knows(&known, 0) && knows(&known, FOUND));
        assert!(!knows(&known, FOUND + 1));
        let renamed = Account {
            name: Name::new("zoe").unwrap(),
            ..account(0)
        };
        known.learn(&key(0), Some(&renamed), known.asks());
        assert_eq!(known.owner(&key(0), GRACE), Some(renamed));
        known.learn(&key(0), None, known.asks());
        assert!(!knows(&known, 0));
        assert!(known.has_name(&account(1).name) && !known.has_name(&account(0).name));
    }
}
