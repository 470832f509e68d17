//! Entries as an archive has them.

use super::{Entry, Kind, MOST_BYTES, bad, cost};
use crate::chat::ids::{Conversation, Name, Seq, Time};
use crate::store::StoreError;
use crate::store::archive::{self, ArchivedBody};
use crate::text::Text;

/// The most entries of a segment that comes out of an archive. Few, because whoever enters a room
/// reads its last segments whole.
const MOST_RESTORED: usize = 32;

impl Entry {
    /// What an archive says.
    pub fn restored(entry: &archive::ArchivedMessage) -> Entry {
        let (kind, edited, gone) = match &entry.body {
            ArchivedBody::Said { edited, .. } => (Kind::Said, *edited, false),
            ArchivedBody::Did { edited, .. } => (Kind::Did, *edited, false),
            ArchivedBody::Topic(_) => (Kind::Topic, false, false),
            ArchivedBody::Gone => (Kind::Said, false, true),
            ArchivedBody::Edited { .. } => (Kind::Edited, false, false),
            ArchivedBody::Deleted { .. } => (Kind::Deleted, false, false),
        };
        Entry {
            at: entry.at.0,
            by: entry.author.account,
            name: entry.author.name.to_string(),
            to: entry.to.as_ref().map(Name::to_string),
            kind,
            text: words(&entry.body).map(Text::to_string),
            target: entry.body.target().map(|target| target.0),
            edited,
            gone,
        }
    }

    /// What an archive says of it, given where it stands.
    pub fn kept(
        &self,
        conversation: &Conversation,
        seq: Seq,
    ) -> Result<archive::ArchivedMessage, StoreError> {
        let text = self.text.as_deref().map(Text::stored);
        let (target, edited) = (self.target.map(Seq), self.edited);
        let kept = match (self.kind, text, target) {
            _ if self.gone => ArchivedBody::Gone,
            (Kind::Said, Some(text), _) => ArchivedBody::Said { text, edited },
            (Kind::Did, Some(text), _) => ArchivedBody::Did { text, edited },
            (Kind::Topic, topic, _) => ArchivedBody::Topic(topic),
            (Kind::Edited, _, Some(target)) => ArchivedBody::Edited { target },
            (Kind::Deleted, _, Some(target)) => ArchivedBody::Deleted { target },
            (Kind::Said | Kind::Did, None, _) => return Err(bad(conversation, seq, "no text")),
            (Kind::Edited | Kind::Deleted, _, None) => {
                return Err(bad(conversation, seq, "nothing that it is about"));
            }
        };
        let (author, to) = self.people(conversation, seq)?;
        Ok(archive::ArchivedMessage {
            conversation: conversation.clone(),
            seq,
            at: Time(self.at),
            author,
            to,
            body: kept,
        })
    }
}

/// How many of these, from the first on, one segment takes. At least one.
pub(in crate::store::dynamo) fn restorable(entries: &[archive::ArchivedMessage]) -> usize {
    let mut bytes = 0_usize;
    let fit = entries.iter().take(MOST_RESTORED).take_while(|entry| {
        bytes = bytes.saturating_add(cost(words(&entry.body)));
        bytes <= MOST_BYTES
    });
    fit.count().max(1)
}

fn words(kept: &ArchivedBody) -> Option<&Text> {
    match kept {
        ArchivedBody::Said { text, .. } | ArchivedBody::Did { text, .. } => Some(text),
        ArchivedBody::Topic(topic) => topic.as_ref(),
        ArchivedBody::Gone | ArchivedBody::Edited { .. } | ArchivedBody::Deleted { .. } => None,
    }
}
