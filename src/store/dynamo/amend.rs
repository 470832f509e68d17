//! Changing what was said: the entry itself, and a new one that says so, in one transaction.
//!
//! One whose answer never came stands if it was done: its author is told that it was not and
//! repeats it, which makes no difference.

use tokio::time::sleep;

use super::Dynamo;
use super::log::turn_taking;
use super::read::Reader;
use super::segment::{Entry, Segment};
use super::table::{Proof, WriteError};
use crate::chat::event::{Body, Draft, Message};
use crate::chat::ids::{AccountId, Conversation, Seq};
use crate::store::{EditError, MessageEdit, PurgeFilter, PurgeStep, StoreError};

/// How often to look again because somebody else was first.
const CONFLICTS: u32 = 30;
/// How many segments one step of a purge looks at.
const PURGED: usize = 25;
/// How many entries back somebody's last words are looked for.
const LOOK_BACK: usize = 5_000;

impl Dynamo {
    pub(super) async fn amend_entry(&self, amendment: MessageEdit) -> Result<Message, EditError> {
        let conversation = &amendment.conversation;
        let account = amendment.author.account;
        let mut tails = self.tails.lock().await;
        for turn in 0..CONFLICTS {
            let found = match amendment.target {
                Some(target) => self
                    .segment_of(conversation, target)
                    .await?
                    .map(|s| (s, target)),
                None => self.last_words(conversation, account).await?,
            };
            let (mut segment, target) = found.ok_or(EditError::NotFound)?;
            let oldest = self.oldest();
            let entry = segment
                .entry_mut(target)
                .filter(|entry| entry.is_speech_of(account) && entry.at() >= oldest)
                .ok_or(EditError::NotFound)?;
            if entry.is_gone() {
                return Err(EditError::Gone);
            }
            entry.change(amendment.text.as_ref());
            let draft = Draft {
                conversation: conversation.clone(),
                at: amendment.at,
                author: amendment.author.clone(),
                to: amendment.to.clone(),
                body: match amendment.text.clone() {
                    Some(text) => Body::Edited { target, text },
                    None => Body::Deleted { target },
                },
            };
            let last = self.tail(&mut tails, conversation).await?.last;
            let write = format!("{:032x}", rand::random::<u128>());
            let new = Segment {
                conversation: conversation.clone(),
                first: Seq(last.0.saturating_add(1)),
                entries: vec![Entry::of(&draft)],
                version: 1,
                write: write.clone(),
            };
            let key = new.key();
            let writes = vec![segment.replace()?, new.create()?];
            match self.table.write(writes, Some(&Proof { key, write })).await {
                Ok(()) => {
                    let place = new.first;
                    self.advance(&mut tails, &[new]);
                    return Ok(draft.at_place(place));
                }
                Err(WriteError::Refused(_)) => {
                    tails.remove(conversation);
                    sleep(turn_taking(turn)).await;
                }
                Err(WriteError::Failed { error, .. }) => {
                    tails.remove(conversation);
                    return Err(error.into());
                }
            }
        }
        let words = "others write to it all the time".to_owned();
        Err(StoreError::Unavailable(words).into())
    }

    /// Takes the words out of some entries: of those of one page of segments.
    pub(super) async fn purge_back(
        &self,
        conversation: &Conversation,
        purge: &PurgeFilter,
        before: Option<Seq>,
    ) -> Result<PurgeStep, StoreError> {
        let mut reader = Reader::before(self, conversation, before).paged(PURGED);
        let mut step = PurgeStep {
            removed: 0,
            before: None,
        };
        while let Some(segments) = reader.page().await? {
            let Some(first) = segments.last().map(|segment| segment.first) else {
                continue;
            };
            // One alone says little: it may have been said while the clock was wrong.
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
        mut segment: Segment,
        purge: &PurgeFilter,
    ) -> Result<u64, StoreError> {
        for turn in 0..CONFLICTS {
            let removed = segment.purge(purge);
            if removed == 0 {
                return Ok(0);
            }
            match self.table.write(vec![segment.replace()?], None).await {
                Ok(()) => return Ok(removed),
                Err(WriteError::Failed { error, .. }) => return Err(error),
                Err(WriteError::Refused(_)) => sleep(turn_taking(turn)).await,
            }
            let again = self
                .segment_of(&segment.conversation, segment.first)
                .await?;
            let Some(again) = again else {
                return Ok(0);
            };
            segment = again;
        }
        let words = "others write to it all the time".to_owned();
        Err(StoreError::Unavailable(words))
    }

    /// The last thing that somebody said and has not taken back.
    async fn last_words(
        &self,
        conversation: &Conversation,
        account: AccountId,
    ) -> Result<Option<(Segment, Seq)>, StoreError> {
        let mut looked_at = 0;
        let mut reader = Reader::before(self, conversation, None);
        while looked_at < LOOK_BACK
            && let Some(segments) = reader.page().await?
        {
            for segment in segments {
                looked_at += segment.entries.len();
                let theirs = |entry: &Entry| entry.is_speech() && entry.is_speech_of(account);
                let mut entries = segment.places().rev();
                if let Some((place, _)) = entries.find(|(_, entry)| theirs(entry)) {
                    drop(entries);
                    return Ok(Some((segment, place)));
                }
            }
        }
        Ok(None)
    }
}
