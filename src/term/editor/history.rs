//! What was sent before: bounded, newest last.

use std::collections::VecDeque;

/// The most entries kept.
const MAX_ENTRIES: usize = 200;

/// The most bytes kept in all entries: what a session may cost. The newest entry always stays.
const MAX_BYTES: usize = 64 * 1024;

/// Earlier lines, and the place in them while going up and down.
#[derive(Debug, Default)]
pub(super) struct History {
    entries: VecDeque<String>,
    bytes: usize,
    /// The entry that is shown.
    at: Option<usize>,
    /// What was being typed when the way up began. Changes made to entries are not kept.
    draft: String,
}

impl History {
    /// Adds a line, unless it is blank or the same as the one before it.
    pub(super) fn remember(&mut self, text: &str) {
        self.leave();
        if text.trim().is_empty() || self.entries.back().is_some_and(|last| last == text) {
            return;
        }
        self.entries.push_back(text.to_owned());
        self.bytes += text.len();
        while self.entries.len() > MAX_ENTRIES || (self.bytes > MAX_BYTES && self.entries.len() > 1)
        {
            let oldest = self.entries.pop_front();
            self.bytes -= oldest.map_or(0, |entry| entry.len());
        }
    }

    /// The way up or down is over.
    pub(super) fn leave(&mut self) {
        self.at = None;
        self.draft = String::new();
    }

    /// The entry before the one shown; the first step up keeps `current` for the way back.
    pub(super) fn older(&mut self, current: &str) -> Option<&str> {
        let at = self.at.unwrap_or(self.entries.len()).checked_sub(1)?;
        if self.at.is_none() {
            current.clone_into(&mut self.draft);
        }
        self.at = Some(at);
        self.entries.get(at).map(String::as_str)
    }

    /// The entry after the one shown, and after the newest what was being typed.
    pub(super) fn newer(&mut self) -> Option<&str> {
        let next = self.at? + 1;
        self.at = (next < self.entries.len()).then_some(next);
        Some(self.entries.get(next).unwrap_or(&self.draft))
    }

    /// The newest entry before the `before`th that contains `query`, with the offset of the query.
    pub(super) fn find(&self, query: &str, before: usize) -> Option<(usize, &str, usize)> {
        let mut entries = self.entries.iter().enumerate().take(before).rev();
        entries.find_map(|(index, entry)| Some((index, entry.as_str(), entry.find(query)?)))
    }
}
