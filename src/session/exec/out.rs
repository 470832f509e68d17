//! What leaves: data on standard output in one of two forms, sentences on standard error. Nothing
//! that leaves moves a cursor, and nothing waits for ever for a client that does not read.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use super::item::Item;
use super::json;
use super::plain::Plain;
use crate::access::NotAdmitted;
use crate::chat::event::Author;
use crate::chat::intent::Refusal;
use crate::chat::invite::Invite;
use crate::chat::preferences::Preferences;
use crate::clock;
use crate::session::peer::{Disconnected, Outbound};
use crate::store::StoreError;
use crate::text::clean;

/// How many bytes one write joins, about.
const JOINED: usize = 16 * 1024;

/// Done.
pub(super) const DONE: u32 = 0;
/// Refused, or failed.
pub(super) const FAILED: u32 = 1;
/// The command line is wrong (`EX_USAGE` of sysexits.h).
pub(super) const USAGE: u32 = 64;
/// It can't be done now; the same command may work later (`EX_TEMPFAIL`).
pub(super) const TRY_LATER: u32 = 75;

/// Why a command ends early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// The client is gone.
    Gone,
    /// The client takes nothing.
    Stalled,
    /// It can't be done: an exit status, and why.
    Told(u32, String),
}

impl End {
    /// It was refused, or it failed.
    pub fn failed(why: impl fmt::Display) -> End {
        End::Told(FAILED, why.to_string())
    }

    /// The command line is wrong.
    pub fn usage(why: impl fmt::Display) -> End {
        End::Told(USAGE, why.to_string())
    }
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> End {
        let status = match refusal {
            Refusal::TooFast { .. }
            | Refusal::AddressTooFast { .. }
            | Refusal::TooManyNewRooms { .. }
            | Refusal::TooMuch(_)
            | Refusal::Busy
            | Refusal::Stopping
            | Refusal::NotSaved(_) => TRY_LATER,
            _ => FAILED,
        };
        // Two of them speak of what one types in the chat.
        let words = match refusal {
            Refusal::NoRoom(room) => format!("There is no room {room}. rooms lists them."),
            Refusal::NobodyCalled(name) => format!("Nobody called {name} is online."),
            refusal => refusal.to_string(),
        };
        End::Told(status, words)
    }
}

impl From<StoreError> for End {
    fn from(error: StoreError) -> End {
        let status = match error {
            StoreError::Unavailable(_) | StoreError::AlmostFull => TRY_LATER,
            StoreError::Full
            | StoreError::ReadOnly(_)
            | StoreError::Corrupt(_)
            | StoreError::Rejected(_)
            | StoreError::Internal(_) => FAILED,
        };
        End::Told(status, format!("Not done: {error}."))
    }
}

impl From<NotAdmitted> for End {
    fn from(error: NotAdmitted) -> End {
        let status = match error {
            NotAdmitted::Refused(_) => FAILED,
            NotAdmitted::NotNow => TRY_LATER,
        };
        End::Told(status, error.to_string())
    }
}

/// A client's standard output and standard error.
pub(super) struct Out<'a, O> {
    output: &'a O,
    /// How long a write may wait.
    stall: Duration,
    plain: Plain,
    /// Objects instead of lines, as far as they were not written yet.
    json: Option<String>,
    newline: &'static str,
}

impl<'a, O: Outbound> Out<'a, O> {
    /// `me` is who reads, `terminal` whether they read on a terminal in raw mode.
    pub fn new(
        output: &'a O,
        stall: Duration,
        preferences: &Preferences,
        me: Author,
        terminal: bool,
    ) -> Out<'a, O> {
        Out {
            output,
            stall,
            plain: Plain::new(preferences, me),
            json: None,
            newline: if terminal { "\r\n" } else { "\n" },
        }
    }

    /// Objects from now on, or lines.
    pub fn set_json(&mut self, json: bool) {
        self.json = json.then(String::new);
    }

    /// Whether it is objects.
    pub fn is_json(&self) -> bool {
        self.json.is_some()
    }

    /// Shows an item. It may wait for [`Out::flush`].
    pub async fn show(&mut self, item: Item<'_>) -> Result<(), End> {
        let waiting = if let Some(json) = &mut self.json {
            json.push_str(&json::line(&item));
            json.push('\n');
            json.len()
        } else {
            self.plain.show(&item, clock::now());
            if item.is_report() {
                let words = self.plain.take();
                return self.tell(String::from_utf8_lossy(&words).trim_end()).await;
            }
            self.plain.pending()
        };
        if waiting >= JOINED {
            self.flush().await?;
        }
        Ok(())
    }

    /// Shows an invite that was just made: its code is data, what it is good for is not.
    pub async fn invited(
        &mut self,
        invite: &Invite,
        code: &str,
        link: Option<&str>,
    ) -> Result<(), End> {
        self.show(Item::Invited(invite, code, link)).await?;
        if self.json.is_none() {
            self.flush().await?;
            let words = self.plain.about_invite(invite, clock::now());
            self.tell(&words).await?;
        }
        Ok(())
    }

    /// Writes what was shown.
    pub async fn flush(&mut self) -> Result<(), End> {
        let waiting = match &mut self.json {
            Some(json) => std::mem::take(json),
            None => String::from_utf8_lossy(&self.plain.take()).into_owned(),
        };
        self.print(&waiting).await
    }

    /// Writes words that are data, as they are.
    pub async fn print(&mut self, words: &str) -> Result<(), End> {
        if words.is_empty() {
            return Ok(());
        }
        let bytes = self.printable(words);
        self.deliver(self.output.write(bytes)).await
    }

    /// Writes a sentence, or several lines of them, to standard error.
    pub async fn tell(&self, words: &str) -> Result<(), End> {
        // It may repeat what somebody typed.
        let bytes = self.printable(&format!("{}\n", clean(words)));
        self.deliver(self.output.write_stderr(bytes)).await
    }

    /// Nothing but what can be seen, whatever the caller believes.
    fn printable(&self, words: &str) -> Bytes {
        let mut printable = String::with_capacity(words.len());
        for c in words.chars() {
            match c {
                '\n' => printable.push_str(self.newline),
                c if c.is_control() => {}
                c => printable.push(c),
            }
        }
        printable.into()
    }

    async fn deliver(
        &self,
        writing: impl Future<Output = Result<(), Disconnected>> + Send,
    ) -> Result<(), End> {
        match timeout(self.stall, writing).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(Disconnected)) => Err(End::Gone),
            Err(_) => Err(End::Stalled),
        }
    }
}
