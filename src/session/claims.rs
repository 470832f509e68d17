//! Asks the owner of a new key on an open server whether an account that claims the key gets it.
//! If only registered keys may sign in, the SSH login asks: see `ssh/login.rs`.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout, timeout_at};

use super::peer::{Inbound, Input, Outbound, Peer};
use super::setup::ClientSetup;
use crate::access::AdminService;
use crate::access::authenticator::MAX_CLAIM_ANSWERS;
use crate::access::authenticator::{CLAIM_NOTICE, ClaimAnswer, claim_question};
use crate::chat::ids::{MAX_NAME, Name};
use crate::term::keys::{Decoder, Key};

/// How long the owner may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);
const NO_ANSWER: &str = "No answer within 2 minutes. Connect again to answer.";

/// The outcome of the question.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ClaimOutcome {
    /// There was nothing to ask, or it was answered: the user signs in.
    Settled,
    /// It could not be asked, or was not answered with a name: the user signs in as if there were
    /// no claims, and is shown this remark.
    Unanswered(String),
    /// The user doesn't sign in, for this reason if there is one to show.
    Leave(Option<String>),
}

/// Asks about the claims on a new key. Without a terminal, the question is left unanswered.
pub(super) async fn confirm_claims(
    orders: &dyn AdminService,
    peer: &Peer,
    setup: &mut ClientSetup,
    stall: Duration,
    input: &mut impl Inbound,
    output: &impl Outbound,
) -> ClaimOutcome {
    if !peer.is_new() {
        return ClaimOutcome::Settled;
    }
    let names = orders.claims(peer.auth_request()).await;
    if names.is_empty() {
        return ClaimOutcome::Settled;
    }
    if !setup.has_terminal() {
        return unanswered(&names);
    }
    let deadline = Instant::now() + ANSWER_TIMEOUT;
    let mut question = format!("{CLAIM_NOTICE}\r\n{}", claim_question(&names));
    for _ in 0..MAX_CLAIM_ANSWERS {
        let line = read_line(setup, stall, input, output, &question);
        let answer = match timeout_at(deadline, line).await {
            Err(_too_late) => return ClaimOutcome::Leave(Some(NO_ANSWER.to_owned())),
            Ok(PromptReply::Line(answer)) => answer,
            Ok(PromptReply::Eof) => return unanswered(&names),
            Ok(PromptReply::Left) => return ClaimOutcome::Leave(None),
        };
        question = match orders.answer_claim(peer.auth_request(), &answer).await {
            ClaimAnswer::Accepted => {
                // It says that the key has no account.
                let _outdated = peer.take_ticket();
                return ClaimOutcome::Settled;
            }
            ClaimAnswer::Refused => return ClaimOutcome::Settled,
            ClaimAnswer::Again(question) => question,
            ClaimAnswer::Failed(error) => return ClaimOutcome::Leave(Some(error)),
        };
    }
    unanswered(&names)
}

fn unanswered(names: &[Name]) -> ClaimOutcome {
    let names: Vec<&str> = names.iter().map(Name::as_str).collect();
    let names = names.join(", ");
    ClaimOutcome::Unanswered(format!(
        "Another account asked to add this key ({names}). No one confirmed that at a terminal, so \
         the key has an account of its own now."
    ))
}

/// The answer to a prompt.
enum PromptReply {
    Line(String),
    Eof,
    /// The client disconnected, or Ctrl-C or Ctrl-D was pressed.
    Left,
}

/// Writes a prompt and reads one line. The terminal is in raw mode, so this echoes the input.
async fn read_line(
    setup: &mut ClientSetup,
    stall: Duration,
    input: &mut impl Inbound,
    output: &impl Outbound,
    prompt: &str,
) -> PromptReply {
    let mut decoder = Decoder::new();
    let (mut keys, mut line) = (Vec::new(), String::new());
    let mut echo = prompt.to_owned();
    loop {
        let written = output.write(Bytes::from(std::mem::take(&mut echo)));
        if !matches!(timeout(stall, written).await, Ok(Ok(()))) {
            return PromptReply::Left;
        }
        match input.next().await {
            None => return PromptReply::Left,
            Some(Input::Eof) => return PromptReply::Eof,
            Some(Input::Resize { cols, rows }) => setup.resize(cols, rows),
            Some(Input::Data(bytes)) => decoder.feed(&bytes, &mut keys),
            Some(_) => {}
        }
        for key in keys.drain(..) {
            match key {
                Key::Char(char) if char.is_ascii_graphic() && line.len() <= MAX_NAME => {
                    line.push(char);
                    echo.push(char);
                }
                Key::Backspace if line.pop().is_some() => echo.push_str("\u{8} \u{8}"),
                Key::Ctrl('c' | 'd') => {
                    let _disconnected = timeout(stall, output.write("\r\n".into())).await;
                    return PromptReply::Left;
                }
                Key::Enter => {
                    echo.push_str("\r\n");
                    let _disconnected = timeout(stall, output.write(echo.into())).await;
                    return PromptReply::Line(line);
                }
                _ => {}
            }
        }
    }
}
