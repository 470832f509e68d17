//! The key cache: which account each key belongs to, for logins while the store doesn't answer.
//!
//! It holds what the store said last, and can only be used while nothing contradicts it. A change
//! that is known to have happened, but has not been read yet, puts the cache **in doubt**: it's not
//! used again until everything has been read anew. Each replacement and each doubt starts a new
//! generation.
//!
//! Protocol: take a [`KeyCache::stamp`] before each query to the store, and give it back with the
//! answer. An answer from an earlier generation is ignored, so that a slow one can't bring back a
//! key that was revoked meanwhile.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arrayvec::ArrayString;
use tokio::time::Instant;

use crate::chat::access::Role;
use crate::chat::ids::{AccountId, Fingerprint, MAX_NAME, Name, Time};
use crate::chat::preferences::Preferences;
use crate::store::Account;
use crate::store::people::AccountWithKeys;

/// The most keys that lookups add between two full reads: 1.3 MB, in a table that doubles. Logins
/// with further keys need the store.
const MAX_LEARNED: usize = 7_000;

/// How long one answer of the store can be used for more than one decision.
const FRESH_FOR: Duration = Duration::from_secs(1);

/// The key cache.
#[derive(Default)]
pub(super) struct KeyCache(Mutex<CacheState>);

#[derive(Default)]
struct CacheState {
    owners: Arc<KeyIndex>,
    /// How many keys lookups added since the last full read.
    learned: usize,
    /// The store's revision at the last full read.
    revision: Option<u64>,
    /// Whether the sessions that are online were checked against it.
    enforced: bool,
    /// When the last query was sent whose answer confirmed it.
    confirmed: Option<Instant>,
    /// Whether something changed that has not been read yet.
    in_doubt: bool,
    generation: u64,
}

/// When a query to the store was sent, and the cache's generation then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueryStamp {
    at: Instant,
    generation: u64,
}

impl KeyCache {
    fn lock(&self) -> MutexGuard<'_, CacheState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number that changes whenever the cache is replaced or put in doubt.
    pub fn generation(&self) -> u64 {
        self.lock().generation
    }

    /// The stamp for a query that is about to be sent.
    pub fn stamp(&self) -> QueryStamp {
        QueryStamp {
            at: Instant::now(),
            generation: self.lock().generation,
        }
    }

    /// Whether an answer is still as good as a new one: less than a second old, and of this
    /// generation.
    pub fn is_fresh(&self, stamp: QueryStamp) -> bool {
        stamp.at.elapsed() < FRESH_FOR && self.lock().generation == stamp.generation
    }

    /// Replaces the content after a full read. A doubt that arose during the read remains.
    pub fn replace(&self, owners: Arc<KeyIndex>, revision: u64, stamp: QueryStamp) -> QueryStamp {
        let mut cache = self.lock();
        cache.in_doubt = cache.generation != stamp.generation;
        cache.revision = (!cache.in_doubt).then_some(revision);
        cache.confirmed = Some(stamp.at);
        cache.enforced = false;
        cache.owners = owners;
        cache.learned = 0;
        cache.generation += 1;
        QueryStamp {
            generation: cache.generation,
            ..stamp
        }
    }

    /// Records that the sessions online were checked against the content given to
    /// [`KeyCache::replace`], which returned this stamp.
    pub fn mark_enforced(&self, replaced: QueryStamp) {
        let mut cache = self.lock();
        cache.enforced |= cache.generation == replaced.generation;
    }

    /// Has the sessions online checked again, because the rules changed.
    pub fn require_enforcement(&self) {
        self.lock().enforced = false;
    }

    /// Takes the store's revision. Returns whether the content is current and enforced; if not,
    /// everything must be read again.
    pub fn confirm(&self, revision: u64, stamp: QueryStamp) -> bool {
        let mut cache = self.lock();
        if cache.generation != stamp.generation {
            return false;
        }
        if cache.revision != Some(revision) {
            cache.doubt();
            return false;
        }
        cache.confirmed = Some(stamp.at);
        cache.enforced
    }

    /// Puts the content in doubt: something was revoked and has not been read yet.
    pub fn doubt(&self) {
        self.lock().doubt();
    }

    /// Learns the owner of one key from the store.
    pub fn learn(&self, key: &Fingerprint, account: Option<&Account>, stamp: QueryStamp) {
        let mut cache = self.lock();
        let before = cache.owners.get(key);
        let is_new = before.is_none();
        if before.as_ref() == account || cache.generation != stamp.generation {
            return;
        }
        match account {
            Some(_) if is_new && cache.learned >= MAX_LEARNED => {}
            Some(account) => {
                cache.learned += usize::from(is_new);
                Arc::make_mut(&mut cache.owners).insert(key, account);
            }
            None => Arc::make_mut(&mut cache.owners).remove(key),
        }
    }

    /// Whether it can replace the store: confirmed less than `grace` ago, and not in doubt.
    pub fn is_usable(&self, grace: Duration) -> bool {
        self.lock().is_usable(grace)
    }

    /// The owner of a key, if the cache can replace the store.
    pub fn owner(&self, key: &Fingerprint, grace: Duration) -> Option<Account> {
        let cache = self.lock();
        cache.owners.get(key).filter(|_| cache.is_usable(grace))
    }

    /// Whether the owner of a known key has this name, or one that looks like it.
    pub fn has_name(&self, name: &Name) -> bool {
        let owners = Arc::clone(&self.lock().owners);
        let skeleton = name.skeleton();
        owners.names().any(|name| name.skeleton() == skeleton)
    }
}

impl CacheState {
    fn doubt(&mut self) {
        self.in_doubt = true;
        self.revision = None;
        self.generation += 1;
    }

    fn is_usable(&self, grace: Duration) -> bool {
        let fresh = self.confirmed.is_some_and(|at| at.elapsed() < grace);
        fresh && !self.in_doubt
    }
}

/// An [`Account`] without allocations, unless it has preferences.
#[derive(Clone)]
struct PackedAccount {
    id: AccountId,
    name: ArrayString<MAX_NAME>,
    role: Role,
    created: Time,
    /// `None` for the default, which most people have.
    preferences: Option<Box<Preferences>>,
    proof_by: Option<Time>,
}

impl PackedAccount {
    fn new(account: &Account) -> Option<PackedAccount> {
        let preferences = &account.preferences;
        let is_set = *preferences != Preferences::default();
        Some(PackedAccount {
            id: account.id,
            name: ArrayString::from(account.name.as_str()).ok()?,
            role: account.role,
            created: account.created,
            preferences: is_set.then(|| Box::new(preferences.clone())),
            proof_by: account.proof_by,
        })
    }

    fn name(&self) -> Option<Name> {
        Name::stored(&self.name).ok()
    }

    fn unpack(&self) -> Option<Account> {
        Some(Account {
            id: self.id,
            name: self.name()?,
            role: self.role,
            created: self.created,
            preferences: self.preferences.as_deref().cloned().unwrap_or_default(),
            proof_by: self.proof_by,
        })
    }
}

/// Every key with its account, in one table without an allocation per entry. Small long-lived
/// allocations between those of sessions that come and go keep the sessions' memory from being
/// reused, and cost three times as much.
#[derive(Clone, Default)]
pub(super) struct KeyIndex(HashMap<ArrayString<{ Fingerprint::LEN }>, PackedAccount>);

impl KeyIndex {
    /// The account of a key.
    pub fn get(&self, key: &Fingerprint) -> Option<Account> {
        self.0.get(key.as_str())?.unpack()
    }

    /// Sets the account of a key. Anything longer than a fingerprint is ignored.
    pub fn insert(&mut self, key: &Fingerprint, account: &Account) {
        let key = ArrayString::from(key.as_str()).ok();
        if let (Some(key), Some(account)) = (key, PackedAccount::new(account)) {
            self.0.insert(key, account);
        }
    }

    /// Removes a key.
    pub fn remove(&mut self, key: &Fingerprint) {
        self.0.remove(key.as_str());
    }

    /// The accounts' names, once per key.
    pub fn names(&self) -> impl Iterator<Item = Name> {
        self.0.values().filter_map(PackedAccount::name)
    }
}

impl FromIterator<AccountWithKeys> for KeyIndex {
    fn from_iter<I: IntoIterator<Item = AccountWithKeys>>(all: I) -> KeyIndex {
        let mut index = KeyIndex::default();
        for (account, keys) in all {
            for key in keys {
                index.insert(&key.fingerprint, &account);
            }
        }
        index
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    fn cached(numbers: &[usize]) -> KeyCache {
        let cache = KeyCache::default();
        let replaced = cache.replace(owners(numbers), 1, cache.stamp());
        cache.mark_enforced(replaced);
        cache
    }

    fn knows(cache: &KeyCache, n: usize) -> bool {
        cache.owner(&key(n), GRACE).is_some()
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_usable_for_a_while_after_each_confirmation() {
        let cache = cached(&[1]);
        let nearly = GRACE.saturating_sub(SECOND);
        tokio::time::advance(nearly).await;
        assert!(knows(&cache, 1));
        let stamp = cache.stamp();
        tokio::time::advance(SECOND).await;
        assert!(!knows(&cache, 1));
        assert!(cache.confirm(1, stamp), "it was so when the query was sent");
        tokio::time::advance(nearly.saturating_sub(SECOND)).await;
        assert!(knows(&cache, 1));
        tokio::time::advance(SECOND).await;
        assert!(!knows(&cache, 1));
        assert!(!knows(&KeyCache::default(), 1), "nothing was ever read");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_fresh_for_a_moment() {
        let cache = cached(&[1]);
        let stamp = cache.stamp();
        assert!(cache.is_fresh(stamp));
        tokio::time::advance(FRESH_FOR).await;
        assert!(
            !cache.is_fresh(stamp),
            "somebody may have another name by now"
        );
        let stamp = cache.stamp();
        cache.doubt();
        assert!(!cache.is_fresh(stamp));
    }

    /// What happens while a query is under way, its answer, and which keys are known then.
    #[tokio::test]
    async fn an_answer_that_was_overtaken_brings_back_nobody() {
        let found = account(2);
        let overtaken = cached(&[1]);
        let stamp = overtaken.stamp();
        overtaken.replace(owners(&[1]), 2, overtaken.stamp());
        overtaken.learn(&key(2), Some(&found), stamp);
        assert!(!knows(&overtaken, 2), "a newer reading does not have it");

        let doubted = cached(&[1, 2]);
        let stamp = doubted.stamp();
        doubted.doubt();
        assert!(!knows(&doubted, 1));
        assert!(!doubted.confirm(1, stamp), "sent before the doubt");
        assert!(!knows(&doubted, 1));
        doubted.replace(owners(&[1, 2]), 2, stamp);
        assert!(!knows(&doubted, 1), "read before the doubt");
        let stamp = doubted.stamp();
        assert!(!doubted.confirm(2, stamp), "so it has to be read again");
        let replaced = doubted.replace(owners(&[1]), 2, doubted.stamp());
        assert!(knows(&doubted, 1) && !knows(&doubted, 2));
        assert!(!doubted.confirm(2, doubted.stamp()), "not enforced yet");
        doubted.mark_enforced(replaced);
        assert!(doubted.confirm(2, doubted.stamp()));
        assert!(!doubted.confirm(3, doubted.stamp()));
        assert!(!knows(&doubted, 1), "something changed that was not read");
    }

    #[tokio::test]
    async fn lookups_add_a_bounded_number_of_keys() {
        let cache = cached(&[0]);
        for n in 1..=MAX_LEARNED + 1 {
            cache.learn(&key(n), Some(&account(n)), cache.stamp());
        }
        assert!(knows(&cache, 0) && knows(&cache, MAX_LEARNED));
        assert!(!knows(&cache, MAX_LEARNED + 1));
        let renamed = Account {
            name: Name::new("zoe").unwrap(),
            ..account(0)
        };
        cache.learn(&key(0), Some(&renamed), cache.stamp());
        assert_eq!(cache.owner(&key(0), GRACE), Some(renamed));
        cache.learn(&key(0), None, cache.stamp());
        assert!(!knows(&cache, 0));
        assert!(cache.has_name(&account(1).name) && !cache.has_name(&account(0).name));
    }

    #[test]
    fn accounts_come_out_as_they_went_in() {
        let key = |name: &str| Fingerprint::new(&format!("SHA256:{name:0>43}"));
        let longest = "x".repeat(MAX_NAME);
        let name = |name: &str| Name::new(name).unwrap();
        let plain = Account::new(AccountId(u128::MAX), name("ann"), Role::Member, Time(7));
        let table = [
            plain.clone(),
            Account {
                name: name(&longest),
                role: Role::Operator,
                proof_by: Some(Time(-1)),
                ..plain.clone()
            },
            Account {
                preferences: Preferences {
                    tz: Some("Europe/Berlin".to_owned()),
                    quiet: true,
                    ..Preferences::default()
                },
                ..plain.clone()
            },
        ];
        for account in table {
            let mut index = KeyIndex::default();
            index.insert(&key("a"), &plain);
            index.insert(&key("a"), &account);
            assert_eq!(index.get(&key("a")), Some(account.clone()));
            assert_eq!(index.names().collect::<Vec<_>>(), [account.name]);
            assert_eq!(index.get(&key("b")), None);
            index.remove(&key("a"));
            assert_eq!(index.get(&key("a")), None);
        }
    }

    #[test]
    fn a_malformed_fingerprint_is_ignored() {
        let long = Fingerprint::new(&"SHA256:".repeat(8));
        let ann = Account::new(
            AccountId(1),
            Name::new("ann").unwrap(),
            Role::Member,
            Time(7),
        );
        let mut index = KeyIndex::default();
        index.insert(&long, &ann);
        assert_eq!(index.get(&long), None);
    }

    /// Seven thousand of them fit a table of 1.3 MB.
    #[test]
    fn an_entry_is_small() {
        assert!(size_of::<(ArrayString<{ Fingerprint::LEN }>, PackedAccount)>() <= 160);
    }
}
