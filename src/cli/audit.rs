//! `ssh-chat audit`: what operators did, on this machine and in the chat.

use clap::{Args, value_parser};
use serde::Serialize;

use super::Exit;
use super::console::{Console, Failure, shown, stamp};
use crate::chat::access::Actor;
use crate::chat::ids::Time;
use crate::store::{Change, ChangeAction, PeopleStore};
use crate::text::clean_line;

/// How much to show.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Show {
    /// At most this many, the newest
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = value_parser!(u32).range(1..=100_000))]
    limit: u32,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// An entry as `audit --json` shows it.
#[derive(Debug, Serialize)]
struct Line {
    at: String,
    actor: String,
    actor_kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor_account: Option<String>,
    action: String,
    target: String,
    detail: String,
}

/// Shows what was done, the newest last.
pub async fn run(args: &Show, people: &dyn PeopleStore, mut console: Console<'_>) -> Exit {
    let result = show(args, people, &mut console).await;
    console.finish(result)
}

async fn show(
    args: &Show,
    people: &dyn PeopleStore,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let mut rows = Vec::new();
    for entry in people.audits(limit).await?.iter().rev() {
        let actor = entry.actor.to_string();
        let action = clean_line(&entry.action);
        let [target, detail] = [&entry.target, &entry.detail].map(ToString::to_string);
        if args.json {
            let at = stamp(entry.at);
            console.json(&Line {
                at,
                actor,
                actor_kind: entry.actor.kind(),
                actor_account: entry.actor.account().map(|id| id.to_string()),
                action,
                target,
                detail,
            })?;
        } else {
            rows.push([shown(entry.at), actor, action, target, detail]);
        }
    }
    if rows.is_empty() && !args.json {
        console.say("nothing was done yet")?;
    }
    Ok(console.table(["AT", "WHO", "WHAT", "WHOM", "DETAIL"], &rows)?)
}

/// A change that is made with this program, by someone with a shell on the machine.
pub(super) fn change(at: Time, action: ChangeAction) -> Change {
    let actor = Actor::Console;
    Change { at, actor, action }
}
