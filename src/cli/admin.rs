//! `ssh-chat admin` and `ssh-chat audit`: moderation from a shell on the machine.
//!
//! What an order is and how its result is shown is the same as for `ssh host ORDER`. This module doesn't
//! know: `app` connects the two.

use std::fmt::Write as _;

use clap::{Args, value_parser};
use serde::Serialize;

use super::console::{CommandError, Console, JsonTime, Row, format_time};
use super::{Exit, OpenMode};
use crate::chat::access::Actor;
use crate::chat::command::{COMMANDS, Command, Group, Verb};
use crate::chat::ids::Time;
use crate::store::{Change, ChangeAction, PeopleStore};
use crate::text::clean_line;

/// Arguments of `admin`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = orders())]
pub struct AdminArgs {
    /// Order with its arguments, as for `ssh HOST ORDER`. Put -- before words that begin with a dash
    #[arg(value_name = "ORDER", required = true)]
    pub order: Vec<String>,
    /// Print one JSON object per line
    #[arg(long)]
    pub json: bool,
}

impl AdminArgs {
    pub(super) fn store_mode(&self) -> OpenMode {
        let mut words = self.order.iter().map(String::as_str);
        let first = words.next().unwrap_or_default().trim_start_matches('/');
        match (first, words.next()) {
            ("bans" | "pending" | "audit" | "help", _) | ("invite", Some("list")) => OpenMode::Read,
            _ => OpenMode::Write,
        }
    }
}

/// Operators' commands that need the running server.
const SERVER_ONLY: [Verb; 3] = [Verb::Kick, Verb::Announce, Verb::Status];

/// Operators' commands that need only the store.
fn commands() -> impl Iterator<Item = &'static Command> {
    COMMANDS
        .iter()
        .filter(|c| c.group == Group::Operators && !SERVER_ONLY.contains(&c.verb))
}

/// The list of orders for the help.
fn orders() -> String {
    let mut list = String::from("Orders:\n");
    for Command {
        name, usage, help, ..
    } in commands()
    {
        let _to_a_string = match format!("{name} {usage}") {
            long if long.len() > 31 => writeln!(list, "  {long}\n{:34}{help}", ""),
            usage => writeln!(list, "  {usage:<31} {help}"),
        };
    }
    list.push_str(
        "\nA running server reads them from the store and enforces them within two seconds, or within\n\
         aws.refresh on a table. Only the server itself can kick, announce and show its status.",
    );
    list
}

/// A change made with this program, from a shell on the machine.
pub(super) fn console_change(at: Time, action: ChangeAction) -> Change {
    let actor = Actor::Console;
    Change { at, actor, action }
}

/// Arguments of `audit`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct AuditArgs {
    /// Number of entries to show, from the newest
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = value_parser!(u32).range(1..=100_000))]
    limit: u32,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct AuditRow {
    at: JsonTime,
    actor: String,
    actor_kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor_account: Option<String>,
    action: String,
    target: String,
    detail: String,
}

impl Row<5> for AuditRow {
    const HEADER: [&str; 5] = ["AT", "ACTOR", "ACTION", "TARGET", "DETAIL"];

    fn cells(&self) -> [String; 5] {
        [
            format_time(self.at.0),
            self.actor.clone(),
            self.action.clone(),
            self.target.clone(),
            self.detail.clone(),
        ]
    }
}

/// Shows what operators did, the newest last.
pub async fn audit(args: &AuditArgs, people: &dyn PeopleStore, mut console: Console<'_>) -> Exit {
    let result = show_audit(args, people, &mut console).await;
    console.finish(result)
}

async fn show_audit(
    args: &AuditArgs,
    people: &dyn PeopleStore,
    console: &mut Console<'_>,
) -> Result<(), CommandError> {
    let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let entries = people.audits(limit).await?;
    let rows = entries.iter().rev().map(|entry| AuditRow {
        at: JsonTime(entry.at),
        actor: entry.actor.to_string(),
        actor_kind: entry.actor.kind(),
        actor_account: entry.actor.account().map(|id| id.to_string()),
        action: clean_line(&entry.action),
        target: entry.target.to_string(),
        detail: entry.detail.to_string(),
    });
    let rows: Vec<_> = rows.collect();
    Ok(console.rows(args.json, &rows, "the audit log is empty")?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Command as Chosen, tests::parse};

    #[test]
    fn orders_come_as_they_are_typed() {
        for (line, words, json, mode) in [
            (
                "ssh-chat admin ban mallory 7d spam",
                "ban mallory 7d spam",
                false,
                OpenMode::Write,
            ),
            ("ssh-chat admin bans --json", "bans", true, OpenMode::Read),
            (
                "ssh-chat admin --json /audit 5",
                "/audit 5",
                true,
                OpenMode::Read,
            ),
            (
                "ssh-chat admin --data-dir /x invite list",
                "invite list",
                false,
                OpenMode::Read,
            ),
            (
                "ssh-chat admin invite 3 --data-dir /x",
                "invite 3",
                false,
                OpenMode::Write,
            ),
            (
                "ssh-chat admin mute bob -- --json",
                "mute bob --json",
                false,
                OpenMode::Write,
            ),
        ] {
            let command = parse(line.trim_start_matches("ssh-chat "));
            let Chosen::Admin(admin) = &command else {
                panic!("{command:?}");
            };
            assert_eq!((admin.order.join(" ").as_str(), admin.json), (words, json));
            assert_eq!(command.store_mode(), Some(mode), "{line}");
        }
    }

    #[test]
    fn the_help_lists_all_orders() {
        let list = orders();
        for command in COMMANDS.iter().filter(|c| c.group == Group::Operators) {
            assert_eq!(
                list.contains(&format!("\n  {} ", command.name)),
                !SERVER_ONLY.contains(&command.verb),
                "{}",
                command.name
            );
        }
    }
}
