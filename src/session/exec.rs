//! `ssh host COMMAND`: one command without a terminal, for scripts. Data on standard output,
//! diagnostics on standard error, an exit status; `docs/scripting.md` documents the interface.
//!
//! A command runs sequentially, unlike a terminal's session: [`stdio::pump`] meanwhile reads the
//! channel, so that the connection never waits for the command, and ends the command when the
//! client is gone.

mod admin;
mod command_line;
mod output;
mod participant;
mod query;
mod send;
mod splitter;
mod stdio;
mod table;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

pub use self::admin::at_console;
use self::command_line::{CommandLine, Invocation};
use self::output::OutputRecord;
use self::stdio::{EXIT_OK, EXIT_TEMPFAIL, ExecError, OutputWriter, Stdin};
use self::table::ExecAction;
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

/// How long a command waits for the command rate limit.
const RATE_LIMIT_WAIT: Duration = Duration::from_secs(2);

/// The command that monitoring runs every minute, logged only if it fails.
const PROBE_COMMAND: &str = "ping";

/// What a command runs with.
pub(super) struct ExecContext<'a> {
    /// The hub.
    pub hub: &'a hub::Handle,
    /// The message store.
    pub store: &'a dyn Store,
    /// Carries out operator commands and `keys`.
    pub orders: &'a Arc<dyn AdminService>,
    /// The user.
    pub me: SessionUser,
    /// Their client.
    pub peer: &'a Peer,
    /// The id of their session, if the command takes part in the chat.
    pub session: SessionId,
    /// The server's description.
    pub server: Arc<ServerInfo>,
    /// The command rate limit.
    pub commands: CommandShare,
    /// Whether the client has a terminal in raw mode (`ssh -t`).
    pub terminal: bool,
    /// How long a write may wait for the client.
    pub stall: Duration,
    /// The user's preferences.
    pub preferences: Preferences,
}

/// A running command.
struct Exec<'a, O> {
    context: &'a ExecContext<'a>,
    out: OutputWriter<'a, O>,
}

/// Runs a command and returns its exit status.
pub(super) async fn run<I: Inbound, O: Outbound>(
    context: ExecContext<'_>,
    command: &[u8],
    input: &mut I,
    output: &O,
) -> u32 {
    let command_line = CommandLine::parse(command);
    let name = match &command_line {
        Ok(CommandLine::Run(run)) => run.command.name,
        Ok(CommandLine::Help(_)) => "help",
        Err(_) => "none",
    };
    // A change to what others may do is completed even if the client leaves.
    let complete = matches!(&command_line, Ok(CommandLine::Run(run)) if run.command.is_admin());
    let (sender, stdin) = stdio::stdin();
    let mut exec = Exec {
        context: &context,
        out: OutputWriter::new(
            output,
            context.stall,
            &context.preferences,
            context.me.author.clone(),
            context.terminal,
        ),
    };
    let status = {
        let work = exec.run(command_line, stdin);
        tokio::pin!(work);
        tokio::select! {
            biased;
            status = &mut work => status,
            () = stdio::pump(input, sender, context.terminal) => {
                if complete { work.await } else { Some(EXIT_OK) }
            }
        }
    };
    let status = status.unwrap_or_else(|| {
        output.disconnect(DisconnectReason::Stalled);
        EXIT_TEMPFAIL
    });
    let me = &context.me.author;
    if name == PROBE_COMMAND && status == EXIT_OK {
        tracing::debug!(event = "command", account = %me.account, name = %me.name, command = name, status, "exec command finished");
    } else {
        tracing::info!(event = "command", account = %me.account, name = %me.name, command = name, status, "exec command finished");
    }
    status
}

impl<O: Outbound> Exec<'_, O> {
    /// Runs the command and writes its output. Returns the exit status; `None` if the client
    /// stopped reading.
    async fn run(
        &mut self,
        command_line: Result<CommandLine, String>,
        stdin: Stdin,
    ) -> Option<u32> {
        let mut result = self.dispatch(command_line, stdin).await.map(|()| EXIT_OK);
        // The output before an error comes first.
        if matches!(result, Ok(_) | Err(ExecError::Failed { .. })) {
            result = match (self.out.flush().await, result) {
                (Ok(()), Err(ExecError::Failed { status, message })) => {
                    self.out.diagnostic(&message).await.map(|()| status)
                }
                (flushed, result) => flushed.and(result),
            };
        }
        match result {
            Ok(status) => Some(status),
            Err(ExecError::Stalled) => None,
            Err(ExecError::Disconnected | ExecError::Failed { .. }) => Some(EXIT_OK),
        }
    }

    async fn dispatch(
        &mut self,
        command_line: Result<CommandLine, String>,
        stdin: Stdin,
    ) -> Result<(), ExecError> {
        if let Some(remark) = &self.context.me.remark {
            self.out.diagnostic(remark).await?;
        }
        match command_line.map_err(ExecError::usage)? {
            CommandLine::Help(None) => self.out.print(&table::help(self.context.me.role)).await,
            CommandLine::Help(Some(command)) => {
                self.out.print(&table::command_help(&command)).await
            }
            CommandLine::Run(run) => self.invoke(&run, stdin).await,
        }
    }

    /// Takes the command's cost from the rate limit. Commands that send messages wait as long as
    /// needed, others for [`RATE_LIMIT_WAIT`], so that scripts need no pauses of their own.
    async fn rate_limit(&self, run: &Invocation) -> Result<(), ExecError> {
        let (cost, sends) = match run.command.action {
            ExecAction::Send | ExecAction::Verb(Verb::Msg | Verb::Me) => (1, true),
            ExecAction::Verb(verb) => (cost(verb, run.arg(1)), false),
            ExecAction::Tail => (cost(Verb::History, Some(&run.last.to_string())), false),
            ExecAction::Whoami | ExecAction::Ping => (1, false),
        };
        let start = clock::monotonic();
        loop {
            let now = clock::monotonic();
            let Err(refusal) = self.context.commands.take(cost, now) else {
                return Ok(());
            };
            let left = RATE_LIMIT_WAIT.saturating_sub(now.saturating_duration_since(start));
            match refusal.retry_after() {
                Some(wait) if sends || wait <= left => tokio::time::sleep(wait).await,
                _ => return Err(refusal.into()),
            }
        }
    }

    async fn invoke(&mut self, run: &Invocation, mut stdin: Stdin) -> Result<(), ExecError> {
        self.out.set_json(run.json);
        self.rate_limit(run).await?;
        if !run.reads_input() {
            stdin.close();
        }
        match run.command.action {
            ExecAction::Send => self.send(run, stdin, false).await,
            ExecAction::Tail => self.tail(run).await,
            ExecAction::Ping => self.ping().await,
            ExecAction::Whoami => self.out.write(OutputRecord::Whoami(&self.context.me)).await,
            ExecAction::Verb(verb) => match verb {
                Verb::Msg => self.message(run, stdin).await,
                Verb::Me => self.send(run, stdin, true).await,
                Verb::Topic => self.topic(run).await,
                Verb::Nick => self.nick(run).await,
                Verb::Who => self.who(run).await,
                Verb::Whois => self.whois(run).await,
                Verb::Rooms => self.query(Query::Rooms).await,
                Verb::History => self.history(run).await,
                Verb::Search => self.search(run).await,
                Verb::Motd => self.motd().await,
                Verb::Version | Verb::Uptime => {
                    self.out
                        .write(OutputRecord::Server(&self.context.server))
                        .await
                }
                _ => self.order(run, stdin).await,
            },
        }
    }
}
