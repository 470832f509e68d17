//! What the client sends while a command works: text that is wanted, the end of it, and that the
//! client is gone.

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::session::peer::{Inbound, Input};

/// How many pieces may wait, each no larger than the packet that it came in. With more no text is
/// taken from the client until there is room again.
const AHEAD: usize = 8;

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
    loop {
        let arrived = if wanted.as_ref().is_some_and(|wanted| wanted.capacity() == 0) {
            tokio::select! {
                is_open = has_room(wanted.as_ref()) => {
                    wanted = wanted.filter(|_| is_open);
                    continue;
                }
                arrived = input.next_except_data() => arrived,
            }
        } else {
            input.next().await
        };
        match arrived {
            None => return,
            Some(Input::Data(mut bytes)) => {
                let typed = |key: u8| bytes.iter().position(|b| terminal && *b == key);
                if typed(INTERRUPT).is_some() {
                    return;
                }
                let end = typed(END_OF_INPUT);
                bytes.truncate(end.unwrap_or(bytes.len()));
                // There is room, or nobody who wants it.
                wanted = wanted.filter(|wanted| wanted.try_send(bytes).is_ok() && end.is_none());
            }
            Some(Input::Eof) => wanted = None,
            Some(
                Input::Pty { .. }
                | Input::Env { .. }
                | Input::Shell
                | Input::Exec(_)
                | Input::Resize { .. },
            ) => {}
        }
    }
}

/// Waits until there is room. Returns whether anything is wanted at all.
async fn has_room(wanted: Option<&mpsc::Sender<Bytes>>) -> bool {
    match wanted {
        Some(wanted) => wanted.reserve().await.is_ok(),
        None => false,
    }
}
