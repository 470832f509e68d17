//! How fast messages are sent, and waiting for their arrival.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout, timeout_at};

use super::crowd::{Board, Client, Crowd, MOST_MESSAGES};

/// Time limit for messages to arrive after the last one was sent.
const ARRIVAL: Duration = Duration::from_secs(30);
/// Polling interval while waiting for arrivals.
const LOOK: Duration = Duration::from_millis(2);
/// A message that no client has received after this long is given up, and its sender continues.
const GIVEN_UP: Duration = Duration::from_secs(10);

/// The pace of sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Each sender has this many messages in flight, and types the next when one was displayed.
    Flat(u32),
    /// This many messages a second, with the senders taking turns.
    Rate(u32),
}

/// The result of a run.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    /// Number of messages sent.
    pub messages: u64,
    /// Time from the first message to the last arrival.
    pub took: Duration,
}

/// The id of a sender's message. The first round's ids belong to [`one_each`].
fn id(senders: u32, sender: u32, nth: u32) -> Option<u32> {
    let id = nth.checked_mul(senders)?.checked_add(sender)?;
    (id < MOST_MESSAGES).then_some(id)
}

/// Each sender sends one message. Returns how many deliveries are missing.
///
/// # Errors
/// Fails if a connection is lost.
pub async fn one_each(crowd: &Crowd) -> Result<u64> {
    let before = crowd.board.deliveries();
    let mut said = 0;
    for (sender, client) in (0..).zip(crowd.senders()) {
        client.say(sender, &crowd.board).await?;
        said += 1;
    }
    Ok(arrived(crowd, before, said).await)
}

/// Sends messages for the given time; returns when they have arrived, or half a minute later.
///
/// # Errors
/// Fails if a sender's connection is lost.
pub async fn send(crowd: &Crowd, pace: Pace, length: Duration) -> Result<Sent> {
    let before = crowd.board.deliveries();
    let start = Instant::now();
    let messages = match pace {
        Pace::Flat(window) => flat(crowd, window, start + length).await?,
        Pace::Rate(rate) => at_rate(crowd, rate, start + length).await?,
    };
    arrived(crowd, before, messages).await;
    Ok(Sent {
        messages,
        took: start.elapsed(),
    })
}

async fn flat(crowd: &Crowd, window: u32, end: Instant) -> Result<u64> {
    let senders: Vec<_> = crowd.senders().cloned().collect();
    let count = u32::try_from(senders.len())?;
    let mut sending = JoinSet::new();
    for (sender, client) in (0..count).zip(senders) {
        let board = Arc::clone(&crowd.board);
        sending.spawn(flat_sender(client, board, sender, count, window, end));
    }
    let mut messages = 0;
    while let Some(sent) = sending.join_next().await {
        messages += sent??;
    }
    Ok(messages)
}

async fn flat_sender(
    client: Arc<Client>,
    board: Arc<Board>,
    sender: u32,
    senders: u32,
    window: u32,
    end: Instant,
) -> Result<u64> {
    let shown = board.window(sender).context("no such sender")?;
    // One permit is left from the message before.
    shown.add_permits(window.saturating_sub(1) as usize);
    let mut sent = 0;
    for nth in 1.. {
        let given_up = (Instant::now() + GIVEN_UP).min(end);
        match timeout_at(given_up.into(), shown.acquire()).await {
            Ok(permit) => permit?.forget(),
            Err(_) if Instant::now() >= end => break,
            // A server that drops messages must not end the measurement.
            Err(_) => {}
        }
        let Some(id) = id(senders, sender, nth) else {
            break;
        };
        client.say(id, &board).await?;
        sent += 1;
    }
    Ok(sent)
}

async fn at_rate(crowd: &Crowd, rate: u32, end: Instant) -> Result<u64> {
    let senders: Vec<_> = crowd.senders().cloned().collect();
    let count = u32::try_from(senders.len())?;
    let mut ticks = interval(Duration::from_secs(1) / rate.max(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut messages = 0;
    for nth in 1.. {
        for (sender, client) in (0..).zip(&senders) {
            ticks.tick().await;
            let Some(id) = id(count, sender, nth).filter(|_| Instant::now() < end) else {
                return Ok(messages);
            };
            client.say(id, &crowd.board).await?;
            messages += 1;
        }
        if senders.is_empty() {
            break;
        }
    }
    Ok(messages)
}

/// Waits until this many messages have reached every client, up to a time limit. Returns how many
/// deliveries are missing.
async fn arrived(crowd: &Crowd, before: u64, messages: u64) -> u64 {
    let expected = before + messages * crowd.readers();
    let all = async {
        while crowd.board.deliveries() < expected {
            tokio::time::sleep(LOOK).await;
        }
    };
    let _what_is_missing_is_counted = timeout(ARRIVAL, all).await;
    expected.saturating_sub(crowd.board.deliveries())
}
