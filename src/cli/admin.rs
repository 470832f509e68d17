//! `ssh-chat admin`: operators' orders for whoever has a shell on the machine.
//!
//! What an order is and how it is shown is the same as with `ssh host ORDER`, and not known here:
//! the composition root joins the two.

use std::fmt::Write as _;

use clap::Args;

use super::OpenMode;
use crate::chat::command::{COMMANDS, Command, Group, Verb};

/// What to order.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = orders())]
pub struct Admin {
    /// The order with what belongs to it, as operators give it with `ssh HOST ORDER`; put -- before
    /// words that begin with a dash
    #[arg(value_name = "ORDER", required = true)]
    pub order: Vec<String>,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

impl Admin {
    pub(super) fn store_mode(&self) -> OpenMode {
        let mut words = self.order.iter().map(String::as_str);
        let first = words.next().unwrap_or_default().trim_start_matches('/');
        match (first, words.next()) {
            ("bans" | "pending" | "audit" | "help", _) | ("invite", Some("list")) => OpenMode::Read,
            _ => OpenMode::Write,
        }
    }
}

/// What only the running server itself can do.
const ELSEWHERE: [Verb; 3] = [Verb::Kick, Verb::Announce, Verb::Status];

/// The operators' part of the command table, as far as it needs only the store.
fn commands() -> impl Iterator<Item = &'static Command> {
    COMMANDS
        .iter()
        .filter(|c| c.group == Group::Operators && !ELSEWHERE.contains(&c.verb))
}

/// What there is to order.
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
        "\nA running server finds them in the store and enforces them: within two seconds, or within\n\
         aws.refresh on a table. Only the server itself can kick, announce and show its status.",
    );
    list
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
                !ELSEWHERE.contains(&command.verb),
                "{}",
                command.name
            );
        }
    }
}
