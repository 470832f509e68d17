//! What a session leaves behind when it has ended.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tracing::Instrument as _;

use super::driver::Working;
use crate::chat::ids::{AccountId, Conversation};
use crate::chat::preferences::Preferences;
use crate::store::{ReadMarker, Store};

/// How long a client that leaves waits for it to be saved. Who comes back at once finds it then.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is still to be saved of a session that is out of the chat.
pub(super) struct Parting {
    /// Whose it is.
    pub account: AccountId,
    /// Orders that were given and not carried out yet, in this order. Nobody hears of them.
    pub orders: Vec<Working>,
    /// Settings that were not saved yet.
    pub preferences: Option<Preferences>,
    /// How far each room was read.
    pub marks: Vec<(Conversation, ReadMarker)>,
}

impl Parting {
    /// Saves it. What takes long goes on behind the client's back.
    pub(super) async fn save(self, store: Arc<dyn Store>) {
        let saving = tokio::spawn(self.write(store).in_current_span());
        let _goes_on = timeout(PATIENCE, saving).await;
    }

    async fn write(self, store: Arc<dyn Store>) {
        let account = self.account;
        for order in self.orders {
            order.await;
        }
        if let Some(preferences) = &self.preferences
            && let Err(error) = store.save_preferences(account, preferences).await
        {
            tracing::warn!(event = "preferences_not_saved", %error, "the last settings are not saved");
        }
        let marks = self.marks.into_iter();
        let marks: Vec<_> = marks
            .map(|(conversation, mark)| (account, conversation, mark))
            .collect();
        if !marks.is_empty()
            && let Err(error) = store.save_marks(marks).await
        {
            tracing::warn!(event = "marks_not_saved", %error, "where the visit ended is not saved");
        }
    }
}
