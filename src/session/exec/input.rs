//! What the client sends while a command works: text that is wanted, the end of it, and that the
//! client is gone.

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::session::peer::{Inbound, Input};

/// The largest piece that is kept, in bytes.
const PIECE: usize = 16 * 1024;
/// How many pieces may wait: 256 KiB. With more the connection is not read on, until there is
/// room again.
const AHEAD: usize = 16;

/// Ctrl-C and Ctrl-D, from clients that have a terminal in raw mode.
const INTERRUPT: u8 = 0x03;
const END_OF_INPUT: u8 = 0x04;

/// The way from the client to the command. Closed by the command if it wants nothing (more).
pub(super) fn channel() -> (mpsc::Sender<Bytes>, mpsc::Receiver<Bytes>) {
    mpsc::channel(AHEAD)
}

/// Hands on what comes, until the client is gone. `terminal`: it types rather than pipes.
pub(super) async fn pump(input: &mut impl Inbound, wanted: mpsc::Sender<Bytes>, terminal: bool) {
    let mut wanted = Some(wanted);
    while let Some(arrived) = input.next().await {
        match arrived {
            Input::Data(mut bytes) => {
                let typed = |key: u8| bytes.iter().position(|b| terminal && *b == key);
                if typed(INTERRUPT).is_some() {
                    return;
                }
                let end = typed(END_OF_INPUT);
                bytes.truncate(end.unwrap_or(bytes.len()));
                hand_on(&mut wanted, bytes).await;
                if end.is_some() {
                    wanted = None;
                }
            }
            Input::Eof => wanted = None,
            Input::Pty { .. }
            | Input::Env { .. }
            | Input::Shell
            | Input::Exec(_)
            | Input::Resize { .. } => {}
        }
    }
}

async fn hand_on(wanted: &mut Option<mpsc::Sender<Bytes>>, mut bytes: Bytes) {
    while let Some(sender) = wanted
        && !bytes.is_empty()
    {
        let piece = bytes.split_to(bytes.len().min(PIECE));
        if sender.send(piece).await.is_err() {
            *wanted = None;
        }
    }
}
