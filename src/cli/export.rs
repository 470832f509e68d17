//! `ssh-chat export`: everything that was said, and who is who, as JSON lines.
//!
//! Each line is an object with `"v":1` and a `type`: first one `export`, then `account`s, `room`s
//! and `message`s by conversation in their order, and last one `end` with the number of messages,
//! by which a whole export is known. Fields may be added within a version; none is taken away.
//! No secret is in it: keys are public, and codes of invites are not kept at all.

use std::io::{BufWriter, Write};

use clap::Args;
use serde::Serialize;

use super::Exit;
use super::console::{Console, Failure, json, stamp};
use crate::chat::access::Role;
use crate::chat::event::{Body, Message};
use crate::chat::ids::{AccountId, Conversation, Seq, Time};
use crate::store::{Store, StoreError};

#[cfg(test)]
mod tests;

/// The version of the lines.
const VERSION: u32 = 1;
/// How many messages are in memory at a time.
const PAGE: usize = 500;

/// How to export: there is one way only, so far.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Export {}

/// One line.
#[derive(Debug, Serialize)]
struct Line<'a> {
    v: u32,
    #[serde(flatten)]
    what: What<'a>,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum What<'a> {
    Export {
        at: String,
        server: &'a str,
    },
    Account {
        id: AccountId,
        name: &'a str,
        role: Role,
        created: String,
        keys: Vec<Key<'a>>,
    },
    Room {
        name: &'a str,
        topic: Option<&'a str>,
        created: String,
    },
    Message {
        #[serde(flatten)]
        place: Place<'a>,
        seq: u64,
        at: String,
        author: &'a str,
        author_id: AccountId,
        #[serde(flatten)]
        body: Words<'a>,
        /// Whether other words stood here first.
        edited: bool,
    },
    End {
        messages: u64,
    },
}

#[derive(Debug, Serialize)]
struct Key<'a> {
    fingerprint: &'a str,
    algorithm: &'a str,
    comment: &'a str,
    added: String,
}

/// Where something was said.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Place<'a> {
    Room {
        room: &'a str,
    },
    Direct {
        between: [AccountId; 2],
        to: Option<&'a str>,
    },
}

/// What was said.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Words<'a> {
    Said { text: &'a str },
    Did { text: &'a str },
    Topic { text: Option<&'a str> },
    Edited { target: u64, text: &'a str },
    Deleted { target: u64 },
}

/// Writes everything to standard output, a page at a time. What is said meanwhile may be in it or
/// not.
pub async fn run(store: &dyn Store, now: Time, console: Console<'_>) -> Exit {
    let result = export(store, now, &mut BufWriter::new(&mut *console.out)).await;
    console.finish(result)
}

async fn export(store: &dyn Store, now: Time, out: &mut dyn Write) -> Result<(), Failure> {
    let server = env!("CARGO_PKG_VERSION");
    let at = stamp(now);
    line(out, What::Export { at, server })?;
    accounts(store, out).await?;
    for room in store.rooms().await? {
        let what = What::Room {
            name: room.name.as_str(),
            topic: room.topic.as_ref().map(crate::text::Text::as_str),
            created: stamp(room.created),
        };
        line(out, what)?;
    }
    let mut messages = 0;
    for conversation in store.conversations().await? {
        messages += log(store, &conversation, out).await?;
    }
    line(out, What::End { messages })?;
    Ok(out.flush()?)
}

fn line(out: &mut dyn Write, what: What<'_>) -> std::io::Result<()> {
    json(out, &Line { v: VERSION, what })
}

async fn accounts(store: &dyn Store, out: &mut dyn Write) -> Result<(), Failure> {
    for account in store.accounts().await? {
        let keys = store.keys_of(account.id).await?;
        let keys = keys.iter().map(|key| Key {
            fingerprint: key.fingerprint.as_str(),
            algorithm: &key.algorithm,
            comment: key.comment.as_str(),
            added: stamp(key.added),
        });
        let what = What::Account {
            id: account.id,
            name: account.name.as_str(),
            role: account.role,
            created: stamp(account.created),
            keys: keys.collect(),
        };
        line(out, what)?;
    }
    Ok(())
}

/// Writes what was said in one conversation. Returns how many messages it has.
async fn log(
    store: &dyn Store,
    conversation: &Conversation,
    out: &mut dyn Write,
) -> Result<u64, Failure> {
    let (mut after, mut count) = (Seq(0), 0);
    loop {
        let page = store.log_after(conversation, after, PAGE).await?;
        let Some(last) = page.last() else {
            return Ok(count);
        };
        // Or it would go on for ever.
        if last.seq <= after {
            let words = format!("{conversation} goes back after {after}");
            return Err(StoreError::Corrupt(words).into());
        }
        after = last.seq;
        for entry in &page {
            line(out, message(entry))?;
            count += 1;
        }
    }
}

fn message(entry: &Message) -> What<'_> {
    What::Message {
        place: match &entry.conversation {
            Conversation::Room(room) => Place::Room {
                room: room.as_str(),
            },
            Conversation::Direct(a, b) => Place::Direct {
                between: [*a, *b],
                to: entry.to.as_ref().map(crate::chat::ids::Name::as_str),
            },
        },
        seq: entry.seq.0,
        at: stamp(entry.at),
        author: entry.author.name.as_str(),
        author_id: entry.author.account,
        body: match &entry.body {
            Body::Said(text) => Words::Said {
                text: text.as_str(),
            },
            Body::Did(text) => Words::Did {
                text: text.as_str(),
            },
            Body::Topic(text) => Words::Topic {
                text: text.as_ref().map(crate::text::Text::as_str),
            },
            Body::Edited { target, text } => Words::Edited {
                target: target.0,
                text: text.as_str(),
            },
            Body::Deleted { target } => Words::Deleted { target: target.0 },
        },
        edited: entry.edited,
    }
}
