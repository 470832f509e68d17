//! `ssh host COMMAND`: one command without a terminal, for scripts. Data on standard output,
//! sentences on standard error, an exit status; `docs/scripting.md` is the promise.
//!
//! Sequential, unlike a terminal's session: a command reads, asks or says one thing after the
//! other, while [`input::pump`] sees to it that the connection never waits for us and that the
//! end of the client is the end of the command.

mod console;
mod cut;
mod input;
mod item;
mod json;
mod look;
mod order;
mod out;
mod part;
mod plain;
mod request;
mod say;
mod table;
mod tail;
mod words;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

pub use self::console::at_console;
use self::item::Item;
use self::out::{DONE, End, Out, TRY_LATER};
use self::request::{Request, Run};
use self::say::Stdin;
use self::table::Action;
use super::machine::{ServerInfo, SessionUser};
use super::peer::{DisconnectReason, Inbound, Outbound, Peer};
use super::usage::{CommandShare, cost};
use crate::access::AdminService;
use crate::chat::command::Verb;
use crate::chat::ids::SessionId;
use crate::chat::intent::Query;
use crate::chat::preferences::Preferences;
use crate::clock;
use crate::hub;
use crate::store::Store;

/// How long a command waits for its account's or its address's share of the command rate.
const PATIENCE: Duration = Duration::from_secs(2);

/// What probes do every minute: of no interest while it works.
const PROBED: &str = "ping";

/// What a command works with.
pub(super) struct ExecContext<'a> {
    /// The chat.
    pub hub: &'a hub::Handle,
    /// What was said.
    pub store: &'a dyn Store,
    /// Who carries out orders.
    pub orders: &'a Arc<dyn AdminService>,
    /// Who gives the command.
    pub me: SessionUser,
    /// Where they are.
    pub peer: &'a Peer,
    /// By which number the chat knows them if they take part.
    pub session: SessionId,
    /// What the server is.
    pub server: Arc<ServerInfo>,
    /// How often commands may be given.
    pub commands: CommandShare,
    /// Whether they have a terminal after all (`ssh -t`), in raw mode.
    pub terminal: bool,
    /// How long a write may wait.
    pub stall: Duration,
    /// What they set for themselves.
    pub preferences: Preferences,
}

/// A command at work.
struct Exec<'a, O> {
    context: &'a ExecContext<'a>,
    out: Out<'a, O>,
}

/// Carries out a command and returns its exit status.
pub(super) async fn run<I: Inbound, O: Outbound>(
    context: ExecContext<'_>,
    command: &[u8],
    input: &mut I,
    output: &O,
) -> u32 {
    let request = Request::read(command);
    let name = match &request {
        Ok(Request::Run(run)) => run.form.name,
        Ok(Request::Help(_)) => "help",
        Err(_) => "none",
    };
    // What changes the rights of others is finished, whoever still listens.
    let finish = matches!(&request, Ok(Request::Run(run)) if run.form.is_order());
    let (wanted, stdin) = input::channel();
    let mut exec = Exec {
        context: &context,
        out: Out::new(
            output,
            context.stall,
            &context.preferences,
            context.me.author.clone(),
            context.terminal,
        ),
    };
    let status = {
        let work = exec.finish(request, stdin);
        tokio::pin!(work);
        tokio::select! {
            biased;
            status = &mut work => status,
            () = input::pump(input, wanted, context.terminal) => {
                if finish { work.await } else { Some(DONE) }
            }
        }
    };
    let status = status.unwrap_or_else(|| {
        output.disconnect(DisconnectReason::Stalled);
        TRY_LATER
    });
    let me = &context.me.author;
    if name == PROBED && status == DONE {
        tracing::debug!(event = "command", account = %me.account, name = %me.name, command = name, status, "a command was given");
    } else {
        tracing::info!(event = "command", account = %me.account, name = %me.name, command = name, status, "a command was given");
    }
    status
}

impl<O: Outbound> Exec<'_, O> {
    /// Does what is asked for and tells what came of it. `None` if the client takes nothing.
    async fn finish(&mut self, request: Result<Request, String>, stdin: Stdin) -> Option<u32> {
        let done = match self.carry_out(request, stdin).await {
            Ok(()) => self.out.flush().await,
            end => end,
        };
        let end = match done {
            Err(End::Told(status, words)) => {
                // What was shown before it went wrong comes first.
                let told = match self.out.flush().await {
                    Ok(()) => self.out.tell(&words).await,
                    end => end,
                };
                told.map(|()| status)
            }
            done => done.map(|()| DONE),
        };
        match end {
            Ok(status) => Some(status),
            Err(End::Stalled) => None,
            Err(End::Gone | End::Told(..)) => Some(DONE),
        }
    }

    async fn carry_out(
        &mut self,
        request: Result<Request, String>,
        stdin: Stdin,
    ) -> Result<(), End> {
        if let Some(remark) = &self.context.me.remark {
            self.out.tell(remark).await?;
        }
        match request.map_err(End::usage)? {
            Request::Help(None) => self.out.print(&table::help(self.context.me.role)).await,
            Request::Help(Some(form)) => self.out.print(&table::help_one(&form)).await,
            Request::Run(run) => self.command(&run, stdin).await,
        }
    }

    /// Takes what a command costs. What says something waits until it can, as messages do; all
    /// else waits for [`PATIENCE`] at most, so that a script needs no pauses of its own.
    async fn allow(&self, run: &Run) -> Result<(), End> {
        let (cost, waits) = match run.form.action {
            Action::Send | Action::Verb(Verb::Msg | Verb::Me) => (1, true),
            Action::Verb(verb) => (cost(verb, run.arg(1)), false),
            Action::Tail => (cost(Verb::History, Some(&run.last.to_string())), false),
            Action::Whoami | Action::Ping => (1, false),
        };
        let begin = clock::monotonic();
        loop {
            let now = clock::monotonic();
            let Err(refusal) = self.context.commands.take(cost, now) else {
                return Ok(());
            };
            let left = PATIENCE.saturating_sub(now.saturating_duration_since(begin));
            match refusal.retry_after() {
                Some(wait) if waits || wait <= left => tokio::time::sleep(wait).await,
                _ => return Err(refusal.into()),
            }
        }
    }

    async fn command(&mut self, run: &Run, mut stdin: Stdin) -> Result<(), End> {
        self.out.set_json(run.json);
        self.allow(run).await?;
        if !run.reads_input() {
            stdin.close();
        }
        match run.form.action {
            Action::Send => self.send(run, stdin, false).await,
            Action::Tail => self.tail(run).await,
            Action::Ping => self.ping().await,
            Action::Whoami => self.out.show(Item::Me(&self.context.me)).await,
            Action::Verb(verb) => match verb {
                Verb::Msg => self.message(run, stdin).await,
                Verb::Me => self.send(run, stdin, true).await,
                Verb::Topic => self.topic(run).await,
                Verb::Nick => self.nick(run).await,
                Verb::Who => self.who(run).await,
                Verb::Whois => self.whois(run).await,
                Verb::Rooms => self.ask(Query::Rooms).await,
                Verb::History => self.history(run).await,
                Verb::Search => self.search(run).await,
                Verb::Motd => self.motd().await,
                Verb::Version | Verb::Uptime => {
                    self.out.show(Item::Server(&self.context.server)).await
                }
                _ => self.order(run, stdin).await,
            },
        }
    }
}
