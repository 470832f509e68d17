-- A file as version 1 of the format left it: its tables word for word, and a few rows.
PRAGMA application_id = 0x73736863;
PRAGMA user_version = 1;

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

INSERT INTO accounts VALUES
    (x'00000000000000000000000000000007', 'alice', 10, '{"timestamps":"seconds"}'),
    (x'00000000000000000000000000000008', 'bob', 20, '{}');
INSERT INTO names VALUES
    ('alice', 'alice', x'00000000000000000000000000000007'),
    ('ally', 'ally', x'00000000000000000000000000000007'),
    ('bob', 'bob', x'00000000000000000000000000000008');
INSERT INTO keys VALUES
    ('SHA256:alice', x'00000000000000000000000000000007', 11),
    ('SHA256:bob', x'00000000000000000000000000000008', 21);
INSERT INTO rooms VALUES ('ops', 'news', 30);
INSERT INTO conversations VALUES (1, 'room/ops');
INSERT INTO messages VALUES
    (1, 1, 1, 40, x'00000000000000000000000000000007', 'alice', NULL, 0, 'hello', NULL, 0, 1);
INSERT INTO words (rowid, text, place) VALUES (1, 'hello', 1);
INSERT INTO marks VALUES (x'00000000000000000000000000000008', 1, 1, 50);
