//! The question whether somebody else's account gets the key of a newcomer, where anybody may come
//! in. Where only registered keys may, the login asks: see `ssh/login.rs`.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout, timeout_at};

use super::peer::{Inbound, Input, Outbound, Peer};
use super::setup::Setup;
use crate::access::AdminService;
use crate::access::authenticator::MAX_CLAIM_ANSWERS;
use crate::access::authenticator::{CLAIM_NOTICE, ClaimAnswer, claim_question};
use crate::chat::ids::{MAX_NAME, Name};
use crate::term::keys::{Decoder, Key};

/// How long they may take to answer.
const TIME_TO_ANSWER: Duration = Duration::from_secs(120);
const NO_ANSWER: &str = "No answer within 2 minutes. Connect again when you have one.";

/// What came of the question.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// There was nothing to ask, or it was answered: they sign in.
    Settled,
    /// It could not be asked, or was not answered with a name: they sign in as without the claims,
    /// and are told this.
    Unanswered(String),
    /// They don't sign in: the words, if any.
    Leave(Option<String>),
}

/// Asks the owner of a new key that accounts claim. Without a terminal, nobody is asked.
pub(super) async fn ask(
    orders: &dyn AdminService,
    peer: &Peer,
    setup: &mut Setup,
    stall: Duration,
    input: &mut impl Inbound,
    output: &impl Outbound,
) -> Asked {
    if !peer.is_new() {
        return Asked::Settled;
    }
    let names = orders.claims(peer.auth_request()).await;
    if names.is_empty() {
        return Asked::Settled;
    }
    if !setup.has_terminal() {
        return unanswered(&names);
    }
    let deadline = Instant::now() + TIME_TO_ANSWER;
    let mut question = format!("{CLAIM_NOTICE}\r\n{}", claim_question(&names));
    for _ in 0..MAX_CLAIM_ANSWERS {
        let line = read_line(setup, stall, input, output, &question);
        let answer = match timeout_at(deadline, line).await {
            Err(_too_late) => return Asked::Leave(Some(NO_ANSWER.to_owned())),
            Ok(Line::Typed(answer)) => answer,
            Ok(Line::End) => return unanswered(&names),
            Ok(Line::Leave) => return Asked::Leave(None),
        };
        question = match orders.answer_claim(peer.auth_request(), &answer).await {
            ClaimAnswer::Accepted => {
                // It says that the key is nobody's.
                let _outdated = peer.take_ticket();
                return Asked::Settled;
            }
            ClaimAnswer::Refused => return Asked::Settled,
            ClaimAnswer::Again(question) => question,
            ClaimAnswer::Failed(words) => return Asked::Leave(Some(words)),
        };
    }
    unanswered(&names)
}

fn unanswered(names: &[Name]) -> Asked {
    let names: Vec<&str> = names.iter().map(Name::as_str).collect();
    let names = names.join(", ");
    Asked::Unanswered(format!(
        "Another account wanted to add this key ({names}). It has an account of its own now, since \
         nobody confirmed that at a terminal."
    ))
}

/// What came of waiting for a line.
enum Line {
    Typed(String),
    /// Nothing more will be typed.
    End,
    /// They left.
    Leave,
}

/// Writes a prompt and reads one line, with the terminal in raw mode: what is typed is echoed here.
async fn read_line(
    setup: &mut Setup,
    stall: Duration,
    input: &mut impl Inbound,
    output: &impl Outbound,
    prompt: &str,
) -> Line {
    let mut decoder = Decoder::new();
    let (mut keys, mut line) = (Vec::new(), String::new());
    let mut echo = prompt.to_owned();
    loop {
        let written = output.write(Bytes::from(std::mem::take(&mut echo)));
        if !matches!(timeout(stall, written).await, Ok(Ok(()))) {
            return Line::Leave;
        }
        match input.next().await {
            None => return Line::Leave,
            Some(Input::Eof) => return Line::End,
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
                    let _gone = timeout(stall, output.write("\r\n".into())).await;
                    return Line::Leave;
                }
                Key::Enter => {
                    echo.push_str("\r\n");
                    let _gone = timeout(stall, output.write(echo.into())).await;
                    return Line::Typed(line);
                }
                _ => {}
            }
        }
    }
}
