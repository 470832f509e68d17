//! Operator commands and `keys`, given over SSH or at the machine's console.

use std::sync::Arc;
use std::time::Duration;

use super::Exec;
use super::command_line::{CommandLine, Invocation};
use super::output::OutputRecord;
use super::stdio::{EXIT_OK, EXIT_TEMPFAIL, ExecError, OutputWriter, Stdin};
use super::table::ExecAction;
use crate::access::orders::{self, Order, OrderReply};
use crate::chat::command::Group;
use crate::chat::event::Author;
use crate::chat::ids::{AccountId, Name};
use crate::chat::preferences::Preferences;
use crate::clock;
use crate::keys;
use crate::session::machine::ServerInfo;
use crate::session::peer::Outbound;

/// How long a write at the console may wait. It goes to memory.
const CONSOLE_STALL: Duration = Duration::from_secs(60);

impl<O: Outbound> Exec<'_, O> {
    /// Has an order carried out and writes its report.
    pub(super) async fn order(&mut self, run: &Invocation, stdin: Stdin) -> Result<(), ExecError> {
        let input = if run.reads_input() {
            read_key_line(stdin).await
        } else {
            String::new()
        };
        let order = parse_order(run, &input)?;
        let requester = self.context.me.requester(self.context.peer);
        let orders = Arc::clone(self.context.orders);
        let report = orders.execute(requester, order).await;
        let report = report.map_err(ExecError::failed)?;
        write_report(&mut self.out, &self.context.server, &report).await
    }
}

/// `ssh-chat admin COMMAND`: parses an operator's command from `words`, has it carried out, and
/// writes the report. `json` asks for JSON. Returns the exit status that `ssh host COMMAND` would
/// have.
pub async fn at_console<O: Outbound>(
    words: &[String],
    json: bool,
    server: &ServerInfo,
    carry_out: impl AsyncFnOnce(Order) -> Result<OrderReply, String>,
    output: &O,
) -> u32 {
    // The console has no account. It matters only to messages, which no report contains.
    let reader = Author {
        account: AccountId(0),
        name: Name::guest(0),
    };
    let preferences = Preferences::default();
    let mut out = OutputWriter::new(output, CONSOLE_STALL, &preferences, reader, false);
    let run = async {
        let run = parse_console_command(words)?;
        out.set_json(json || run.json);
        let order = parse_order(&run, "")?;
        let report = carry_out(order).await.map_err(ExecError::failed)?;
        write_report(&mut out, server, &report).await?;
        out.flush().await
    };
    match run.await {
        Ok(()) => EXIT_OK,
        Err(ExecError::Failed { status, message }) => {
            let written = out.diagnostic(&message).await;
            written.map_or(EXIT_TEMPFAIL, |()| status)
        }
        Err(ExecError::Disconnected | ExecError::Stalled) => EXIT_TEMPFAIL,
    }
}

fn parse_console_command(words: &[String]) -> Result<Invocation, ExecError> {
    match CommandLine::from_words(words).map_err(ExecError::usage)? {
        CommandLine::Run(run) if run.command.group == Group::Operators => Ok(run),
        CommandLine::Run(run) => Err(ExecError::usage(format!(
            "{} isn't an operator command. Try ssh-chat admin --help.",
            run.command.name
        ))),
        CommandLine::Help(_) => Err(ExecError::usage("Try ssh-chat admin --help.")),
    }
}

/// Parses an order. `input` is what came on standard input, if the command
/// [reads](Invocation::reads_input) it.
fn parse_order(run: &Invocation, input: &str) -> Result<Order, ExecError> {
    let ExecAction::Verb(verb) = run.command.action else {
        return Err(ExecError::usage(run.command.usage()));
    };
    let mut args: Vec<&str> = run.args.iter().map(String::as_str).collect();
    if run.reads_input() {
        args.truncate(1);
        args.push(input);
    }
    let read_key = |line: &str| {
        let key = keys::read_public_key(line, clock::now());
        key.map_err(|error| format!("{}: {error}.", run.command.name))
    };
    match orders::read(verb, &args, read_key) {
        Some(order) => order.map_err(ExecError::usage),
        None => Err(ExecError::usage(run.command.usage())),
    }
}

async fn write_report<O: Outbound>(
    out: &mut OutputWriter<'_, O>,
    server: &ServerInfo,
    report: &OrderReply,
) -> Result<(), ExecError> {
    match report {
        OrderReply::Done(sentence) => out.write(OutputRecord::Done(sentence)).await,
        OrderReply::Invited { code, link, invite } => {
            out.new_invite(invite, code, link.as_deref()).await
        }
        OrderReply::Invites(invites) => {
            out.write_all(invites.iter().map(OutputRecord::Invite))
                .await
        }
        OrderReply::Bans(bans) => out.write_all(bans.iter().map(OutputRecord::Ban)).await,
        OrderReply::Pending(keys) => out.write_all(keys.iter().map(OutputRecord::Pending)).await,
        OrderReply::Keys { keys, claimed } => {
            let keys = keys.iter().map(OutputRecord::Key);
            let claimed = claimed.iter().map(OutputRecord::ClaimedKey);
            out.write_all(keys.chain(claimed)).await
        }
        OrderReply::Status(status) => out.write(OutputRecord::Status(status, server)).await,
        // Stored newest first, read newest last.
        OrderReply::Audit(entries) => {
            let entries = entries.iter().rev();
            out.write_all(entries.map(OutputRecord::Audit)).await
        }
    }
}

/// Reads standard input, up to a little more than the longest key line: a longer one is invalid
/// even when cut.
async fn read_key_line(mut stdin: Stdin) -> String {
    let mut bytes = Vec::new();
    while bytes.len() <= keys::MAX_INPUT
        && let Some(chunk) = stdin.recv().await
    {
        bytes.extend_from_slice(&chunk);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
