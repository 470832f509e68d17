//! How messages are sent, and how their arrival is awaited.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout, timeout_at};

use super::Options;
use super::client::{Board, Client, Crowd, MOST_MESSAGES};

/// How long messages may take to arrive after the last was sent.
const ARRIVAL: Duration = Duration::from_secs(30);
/// How often it is looked whether all have arrived.
const LOOK: Duration = Duration::from_millis(2);

/// What is to be sent.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    senders: u32,
    window: u32,
    rate: u32,
    length: Duration,
}

/// What was sent.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    /// Messages.
    pub messages: u64,
    /// From the first to the last arrival.
    pub took: Duration,
}

impl Load {
    /// What the options say.
    pub fn new(options: &Options) -> Load {
        Load {
            senders: options.senders,
            window: options.window,
            rate: options.rate,
            length: Duration::from_secs(options.seconds),
        }
    }

    /// The id of a sender's message. Ids of the first round of messages are those of
    /// [`Load::one_each`].
    fn id(&self, sender: u32, nth: u32) -> Option<u32> {
        let id = nth.checked_mul(self.senders)?.checked_add(sender)?;
        (id < MOST_MESSAGES).then_some(id)
    }

    /// Each sender says one thing. Returns how often it did not arrive.
    pub async fn one_each(&self, crowd: &Crowd) -> Result<u64> {
        let before = crowd.board.deliveries();
        for (sender, client) in (0..).zip(crowd.senders()) {
            let id = self.id(sender, 0).context("too many senders")?;
            client.say(id, &crowd.board).await?;
        }
        Ok(arrived(crowd, before, self.senders.into()).await)
    }

    /// Each sender has a few messages under way, for the whole time.
    pub async fn flat(&self, crowd: &Crowd) -> Result<Sent> {
        let before = crowd.board.deliveries();
        let start = Instant::now();
        let mut sending = JoinSet::new();
        for (sender, client) in (0..).zip(crowd.senders()) {
            let (client, board) = (Arc::clone(client), Arc::clone(&crowd.board));
            sending.spawn(self.flat_sender(sender, client, board, start));
        }
        let mut messages = 0;
        while let Some(sent) = sending.join_next().await {
            messages += u64::from(sent??);
        }
        arrived(crowd, before, messages).await;
        Ok(Sent {
            messages,
            took: start.elapsed(),
        })
    }

    async fn flat_sender(
        self,
        sender: u32,
        client: Arc<Client>,
        board: Arc<Board>,
        start: Instant,
    ) -> Result<u32> {
        let window = board.window(sender).context("no such sender")?;
        // One is there from the message before.
        window.add_permits(self.window.saturating_sub(1) as usize);
        let end = start + self.length;
        let mut sent = 0;
        while let Ok(permit) = timeout_at(end.into(), window.acquire()).await {
            permit?.forget();
            let Some(id) = self.id(sender, sent + 1) else {
                break;
            };
            client.say(id, &board).await?;
            sent += 1;
        }
        Ok(sent)
    }

    /// Senders take turns, at even intervals.
    pub async fn light(&self, crowd: &Crowd) -> Result<Sent> {
        let before = crowd.board.deliveries();
        let start = Instant::now();
        let mut ticks = interval(Duration::from_secs(1) / self.rate);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut messages = 0;
        'sending: for nth in 1.. {
            for (sender, client) in (0..).zip(crowd.senders()) {
                ticks.tick().await;
                if start.elapsed() >= self.length {
                    break 'sending;
                }
                let Some(id) = self.id(sender, nth) else {
                    break 'sending;
                };
                client.say(id, &crowd.board).await?;
                messages += 1;
            }
        }
        arrived(crowd, before, messages).await;
        Ok(Sent {
            messages,
            took: start.elapsed(),
        })
    }
}

/// Waits until so many messages have come to everybody; not for ever. Returns how many deliveries
/// are missing.
async fn arrived(crowd: &Crowd, before: u64, messages: u64) -> u64 {
    let expected = before + messages * crowd.len();
    let all = async {
        while crowd.board.deliveries() < expected {
            tokio::time::sleep(LOOK).await;
        }
    };
    let _what_is_missing_is_counted = timeout(ARRIVAL, all).await;
    expected.saturating_sub(crowd.board.deliveries())
}
