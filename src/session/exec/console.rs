//! `ssh-chat admin ORDER`: what operators order with `ssh host ORDER`, read and shown the same, for
//! someone with a shell on the machine.

use std::time::Duration;

use super::order::{read, report};
use super::out::{DONE, End, Out, TRY_LATER};
use super::request::Request;
use crate::access::orders::{Order, OrderReply};
use crate::chat::command::Group;
use crate::chat::event::Author;
use crate::chat::ids::{AccountId, Name};
use crate::chat::preferences::Preferences;
use crate::session::machine::ServerInfo;
use crate::session::peer::Outbound;

/// How long a write may wait: it goes to memory.
const STALL: Duration = Duration::from_secs(60);

/// Reads an operator's command from `words`, has it carried out, and shows what came of it: data on
/// standard output, sentences on standard error. `json` asks for objects. Returns the status that
/// `ssh host` would end with.
pub async fn at_console<O: Outbound>(
    words: &[String],
    json: bool,
    server: &ServerInfo,
    carry_out: impl AsyncFnOnce(Order) -> Result<OrderReply, String>,
    output: &O,
) -> u32 {
    // Whose messages these are; no order shows any.
    let reader = Author {
        account: AccountId(0),
        name: Name::guest(0),
    };
    let mut out = Out::new(output, STALL, &Preferences::default(), reader, false);
    let done = match obey(words, json, server, carry_out, &mut out).await {
        Ok(()) => out.flush().await,
        end => end,
    };
    match done {
        Ok(()) => DONE,
        Err(End::Told(status, words)) => out.tell(&words).await.map_or(TRY_LATER, |()| status),
        Err(End::Gone | End::Stalled) => TRY_LATER,
    }
}

async fn obey<O: Outbound>(
    words: &[String],
    json: bool,
    server: &ServerInfo,
    carry_out: impl AsyncFnOnce(Order) -> Result<OrderReply, String>,
    out: &mut Out<'_, O>,
) -> Result<(), End> {
    let run = match Request::of(words).map_err(End::usage)? {
        Request::Run(run) if run.form.group == Group::Operators => run,
        Request::Run(run) => {
            return Err(End::usage(format!(
                "{} is nothing that operators order. ssh-chat admin --help lists what is.",
                run.form.name
            )));
        }
        Request::Help(_) => {
            return Err(End::usage(
                "ssh-chat admin --help lists what can be ordered.",
            ));
        }
    };
    out.set_json(json || run.json);
    let order = read(&run, "")?;
    let done = carry_out(order).await.map_err(End::failed)?;
    report(out, server, &done).await
}
