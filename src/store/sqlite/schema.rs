//! The tables, and migrations from earlier versions.

use rusqlite::{Connection, TransactionBehavior};

/// Identifies our files, in the header's `application_id`: `sshc`.
pub(super) const APPLICATION_ID: i32 = 0x7373_6863;

/// This program's format version, in the header's `user_version`.
pub(super) const VERSION: usize = MIGRATIONS.len();

/// The migration from each version to the next. Never change one that was released.
const MIGRATIONS: &[&str] = &[
    FIRST, PEOPLE, PROOF, INDEXED, ACTORS, COMMITS, MAKERS, SCOPES, SLOW, CLAIMS,
];

const FIRST: &str = "
CREATE TABLE accounts (
    id BLOB PRIMARY KEY,          -- 16 bytes, big endian
    name TEXT NOT NULL,           -- what they are called now
    created INTEGER NOT NULL,     -- all times: ms since 1970, UTC
    preferences TEXT NOT NULL     -- JSON
) STRICT;

-- Every name that an account ever had, by what is left when look-alikes are made equal.
CREATE TABLE names (
    skeleton TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    account BLOB NOT NULL REFERENCES accounts
) STRICT, WITHOUT ROWID;
CREATE INDEX names_by_account ON names (account);

CREATE TABLE keys (
    fingerprint TEXT PRIMARY KEY,
    account BLOB NOT NULL REFERENCES accounts,
    added INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX keys_by_account ON keys (account);

CREATE TABLE rooms (
    name TEXT PRIMARY KEY,
    topic TEXT,
    created INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- A small number for each conversation, so that its rows need not repeat a long key.
CREATE TABLE conversations (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE
) STRICT;

-- `id` grows with every row, whatever the conversation: the order of arrival.
CREATE TABLE messages (
    id INTEGER PRIMARY KEY,
    conversation INTEGER NOT NULL REFERENCES conversations,
    seq INTEGER NOT NULL,
    at INTEGER NOT NULL,
    author BLOB NOT NULL,         -- no reference: a guest has no account
    author_name TEXT NOT NULL,
    to_name TEXT,
    kind INTEGER NOT NULL,        -- 0 said, 1 did, 2 topic, 3 edited, 4 deleted
    body TEXT,                    -- the latest words; none once they are deleted
    target INTEGER,
    edited INTEGER NOT NULL,
    shown INTEGER NOT NULL,       -- whether history has it
    UNIQUE (conversation, seq)
) STRICT;
CREATE INDEX messages_shown ON messages (conversation, seq) WHERE shown;
CREATE INDEX messages_by_author ON messages (conversation, author, seq)
    WHERE shown AND kind IN (0, 1);

CREATE TABLE marks (
    account BLOB NOT NULL REFERENCES accounts,
    conversation INTEGER NOT NULL REFERENCES conversations,
    seq INTEGER NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (account, conversation)
) STRICT, WITHOUT ROWID;

-- The words of what is shown, by messages.id. Only an index: it holds no second copy of the
-- text. `place` is conversations.id, so that a search stays within conversations while it reads
-- the index, instead of looking at every match of a common word.
CREATE VIRTUAL TABLE words USING fts5 (
    text, place,
    content = '', contentless_delete = 1,
    tokenize = 'unicode61 remove_diacritics 2'
);
";

const PEOPLE: &str = "
-- member or operator
ALTER TABLE accounts ADD COLUMN role TEXT NOT NULL DEFAULT 'member';
-- Empty for keys that were added before it was kept.
ALTER TABLE keys ADD COLUMN algorithm TEXT NOT NULL DEFAULT '';
ALTER TABLE keys ADD COLUMN comment TEXT NOT NULL DEFAULT '';

CREATE TABLE invites (
    hash TEXT PRIMARY KEY,        -- SHA-256 of the code, in hexadecimal
    role TEXT NOT NULL,
    remaining INTEGER NOT NULL,
    uses INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    made_by TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE pending (
    fingerprint TEXT PRIMARY KEY,
    algorithm TEXT NOT NULL,
    comment TEXT NOT NULL,
    added INTEGER NOT NULL,
    name TEXT NOT NULL,           -- not reserved: whoever comes first may have it
    origin TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- AUTOINCREMENT: the number of a ban that ended is never that of another.
CREATE TABLE bans (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,           -- account, key, network or client
    subject TEXT NOT NULL,
    name TEXT,                    -- of the account, at that time
    made_by TEXT NOT NULL,
    at INTEGER NOT NULL,
    until INTEGER,                -- none: for good
    reason TEXT
) STRICT;

CREATE TABLE mutes (
    account BLOB PRIMARY KEY,     -- no reference: a guest has no account
    made_by TEXT NOT NULL,
    until INTEGER,
    reason TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE lockdown (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    made_by TEXT NOT NULL,
    until INTEGER
) STRICT;

CREATE TABLE audit (
    id INTEGER PRIMARY KEY,       -- the order of arrival
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;

-- Grows with every change to keys, roles, bans, mutes or the lockdown, in its transaction.
CREATE TABLE revision (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    number INTEGER NOT NULL
) STRICT;
INSERT INTO revision VALUES (1, 1);
";

const PROOF: &str = "
-- Until when somebody has to come in with its key, which nobody has proven to have; none once
-- somebody has.
ALTER TABLE accounts ADD COLUMN proof_by INTEGER;
CREATE INDEX accounts_unproven ON accounts (proof_by) WHERE proof_by IS NOT NULL;
";

const INDEXED: &str = "
-- Up to which of messages.id the table `words` has been made.
CREATE TABLE indexed (last INTEGER NOT NULL) STRICT;
INSERT INTO indexed SELECT coalesce(max(id), 0) FROM messages;
";

const ACTORS: &str = "
-- What kind of actor it was, and which account. None: an entry of an earlier version, whose actor
-- is known by a name only.
ALTER TABLE audit ADD COLUMN actor_kind TEXT;
ALTER TABLE audit ADD COLUMN actor_account BLOB;
";

const COMMITS: &str = "
-- Grows with every transaction that changes something. What was acknowledged last is in
-- `chat.db-commits` too; `identity` says which database it is.
CREATE TABLE commits (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    identity BLOB NOT NULL,       -- 16 random bytes
    number INTEGER NOT NULL
) STRICT;
INSERT INTO commits VALUES (1, randomblob(16), 0);
";

const MAKERS: &str = "
-- Whose account made the room; no reference: a guest has no account. None: an earlier version did.
ALTER TABLE rooms ADD COLUMN made_by BLOB;
";

const SCOPES: &str = "
-- Who is kept out: guests; or everyone new, if there is none.
ALTER TABLE lockdown ADD COLUMN scope TEXT;
";

const SLOW: &str = "
-- Milliseconds between two messages of one person; none: no slow mode.
ALTER TABLE rooms ADD COLUMN slow INTEGER;
";

const CLAIMS: &str = "
-- Keys that accounts claim and whose owners have not confirmed it.
CREATE TABLE claims (
    fingerprint TEXT NOT NULL,
    account BLOB NOT NULL REFERENCES accounts,
    algorithm TEXT NOT NULL,
    comment TEXT NOT NULL,
    added INTEGER NOT NULL,
    PRIMARY KEY (fingerprint, account)
) STRICT, WITHOUT ROWID;
CREATE INDEX claims_by_account ON claims (account);
";

/// Runs the missing migrations in one transaction. Another process may be doing the same, so the
/// version is read again once this one holds the write lock.
pub(super) fn migrate(db: &mut Connection) -> rusqlite::Result<()> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found = version(&transaction)?;
    let missing = MIGRATIONS.get(found..).unwrap_or_default();
    for step in missing {
        transaction.execute_batch(step)?;
    }
    if !missing.is_empty() {
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", i64::try_from(VERSION).unwrap_or(0))?;
    }
    transaction.commit()
}

/// The version in the file's header; an invalid one counts as newer than any.
pub(super) fn version(db: &Connection) -> rusqlite::Result<usize> {
    let version: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    Ok(usize::try_from(version).unwrap_or(usize::MAX))
}

/// Writes the version again: the smallest possible write, for health checks.
pub(super) fn touch(db: &Connection) -> Result<(), crate::store::StoreError> {
    Ok(db.pragma_update(None, "user_version", i64::try_from(VERSION).unwrap_or(0))?)
}
