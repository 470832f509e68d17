//! Edits and deletions: of single messages by their authors, and purges.
//!
//! An edit changes the entry and appends a new one that records it, in one transaction. If its
//! response is lost and it was done, it stands: the author is told that it failed and repeats it,
//! which makes no difference.

use super::Dynamo;
use super::plan::Attempts;
use super::read::LogReader;
use super::segment::{Segment, SegmentEntry};
use super::table::{WriteError, WriteProof, new_write_id};
use crate::chat::event::{Body, Draft, Message};
use crate::chat::ids::{AccountId, Conversation, Seq};
use crate::store::{EditError, MessageEdit, PurgeFilter, PurgeStep, StoreError};

/// How many segments one step of a purge reads.
const PURGE_PAGE: usize = 25;
/// How many entries back an author's last message is looked for.
const MAX_LOOKBACK: usize = 5_000;

impl Dynamo {
    pub(super) async fn edit_entry(&self, edit: MessageEdit) -> Result<Message, EditError> {
        let conversation = &edit.conversation;
        let account = edit.author.account;
        let mut tails = self.tails.lock().await;
        let mut attempts = Attempts::default();
        loop {
            attempts.next().await?;
            let found = match edit.target {
                Some(target) => self
                    .segment_of(conversation, target)
                    .await?
                    .map(|segment| (segment, target)),
                None => self.last_message_of(account, conversation).await?,
            };
            let (mut segment, target) = found.ok_or(EditError::NotFound)?;
            let oldest = self.oldest();
            let entry = segment
                .entry_mut(target)
                .filter(|entry| entry.is_speech_of(account) && entry.at() >= oldest)
                .ok_or(EditError::NotFound)?;
            if entry.is_deleted() {
                return Err(EditError::Gone);
            }
            entry.edit(edit.text.as_ref());
            let draft = Draft {
                conversation: conversation.clone(),
                at: edit.at,
                author: edit.author.clone(),
                to: edit.to.clone(),
                body: match edit.text.clone() {
                    Some(text) => Body::Edited { target, text },
                    None => Body::Deleted { target },
                },
            };
            let last = self.tail(&mut tails, conversation).await?.last;
            let write_id = new_write_id();
            let mut new = Segment::after(last, conversation.clone(), &write_id);
            new.entries.push(SegmentEntry::of(&draft));
            let key = new.key();
            let writes = vec![segment.replace()?, new.create()?];
            let proof = WriteProof { key, write_id };
            match self.table.write(writes, Some(&proof)).await {
                Ok(()) => {
                    let seq = new.first;
                    self.advance(&mut tails, &[new]);
                    return Ok(draft.at_place(seq));
                }
                Err(error) => {
                    tails.remove(conversation);
                    if let WriteError::Failed { error, .. } = error {
                        return Err(error.into());
                    }
                }
            }
        }
    }

    /// Purges the entries of one page of segments.
    pub(super) async fn purge_step(
        &self,
        conversation: &Conversation,
        purge: &PurgeFilter,
        before: Option<Seq>,
    ) -> Result<PurgeStep, StoreError> {
        let mut reader = LogReader::before(self, conversation, before).page_size(PURGE_PAGE);
        let mut step = PurgeStep {
            removed: 0,
            before: None,
        };
        while let Some(segments) = reader.page().await? {
            let Some(first) = segments.last().map(|segment| segment.first) else {
                continue;
            };
            // Only if all of them are older: one may have been written while the clock was wrong.
            let mut all_older = true;
            for segment in segments {
                all_older &= segment.newest() < purge.since;
                step.removed += self.purge_segment(segment, purge).await?;
            }
            step.before = Some(first).filter(|_| !all_older && !reader.is_at_end());
            break;
        }
        Ok(step)
    }

    async fn purge_segment(
        &self,
        segment: Segment,
        purge: &PurgeFilter,
    ) -> Result<u64, StoreError> {
        let (conversation, first) = (segment.conversation.clone(), segment.first);
        let mut current = Some(segment);
        let mut attempts = Attempts::default();
        loop {
            attempts.next().await?;
            if current.is_none() {
                current = self.segment_of(&conversation, first).await?;
            }
            let Some(mut segment) = current.take() else {
                return Ok(0);
            };
            let removed = segment.purge(purge);
            if removed == 0 {
                return Ok(0);
            }
            if self.table.write_if(vec![segment.replace()?]).await? {
                return Ok(removed);
            }
        }
    }

    /// The last message of an account that isn't deleted.
    async fn last_message_of(
        &self,
        account: AccountId,
        conversation: &Conversation,
    ) -> Result<Option<(Segment, Seq)>, StoreError> {
        let mut read = 0;
        let mut reader = LogReader::before(self, conversation, None);
        while read < MAX_LOOKBACK
            && let Some(segments) = reader.page().await?
        {
            for segment in segments {
                read += segment.entries.len();
                let is_own =
                    |entry: &SegmentEntry| entry.is_speech() && entry.is_speech_of(account);
                let last = segment.numbered().rev().find(|(_, entry)| is_own(entry));
                if let Some(seq) = last.map(|(seq, _)| seq) {
                    return Ok(Some((segment, seq)));
                }
            }
        }
        Ok(None)
    }
}
