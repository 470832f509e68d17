//! `ssh-chat invite`: invite codes.

use std::time::Duration;

use clap::{Args, Subcommand, value_parser};
use serde::Serialize;

use super::admin::console_change;
use super::console::{CommandError, Console, JsonTime, Row, format_time};
use super::{Exit, OpenMode};
use crate::chat::access::{Issuer, Role};
use crate::chat::duration;
use crate::chat::ids::Time;
use crate::chat::invite::{Code, Invite, InviteId, MAX_LIFE, MAX_USES};
use crate::config::Config;
use crate::store::{ChangeAction, ChangeError, PeopleStore};

#[cfg(test)]
mod tests;

/// What to do with invites.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum InviteCommand {
    /// Create an invite and show its code, once
    Create(CreateArgs),
    /// List valid invites, without their codes
    List(ListArgs),
    /// Revoke an invite
    Revoke(RevokeArgs),
}

/// Arguments of `invite create`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct CreateArgs {
    /// How many people can use it
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u32).range(1..=i64::from(MAX_USES)))]
    uses: u32,
    /// How long it's valid, such as 90m, 1h30m, 7d or 2w [default: the setting `invite_expires`]
    #[arg(long, value_name = "TIME", value_parser = lifetime)]
    expires: Option<u64>,
    /// Role of the accounts it creates: member or operator
    #[arg(long, value_name = "ROLE", default_value_t = Role::Member)]
    role: Role,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
    /// Create the data store if it doesn't exist
    #[arg(long = "create")]
    create_store: bool,
}

/// Arguments of `invite list`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ListArgs {
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
}

/// Arguments of `invite revoke`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct RevokeArgs {
    /// Invite to revoke, as listed by `ssh-chat invite list`
    #[arg(value_name = "ID")]
    id: InviteId,
}

impl InviteCommand {
    pub(super) fn store_mode(&self) -> OpenMode {
        match self {
            InviteCommand::Create(args) => OpenMode::writing(args.create_store),
            InviteCommand::List(_) => OpenMode::Read,
            InviteCommand::Revoke(_) => OpenMode::Write,
        }
    }
}

/// Parses the lifetime of an invite, in milliseconds.
fn lifetime(raw: &str) -> Result<u64, String> {
    let lifetime = duration::parse_in(
        raw,
        Duration::from_secs(1)..=Duration::from_millis(MAX_LIFE),
    )?;
    Ok(u64::try_from(lifetime.as_millis()).unwrap_or(MAX_LIFE))
}

/// Runs `ssh-chat invite`. `random` is the secret of an invite to create.
pub async fn run(
    command: &InviteCommand,
    people: &dyn PeopleStore,
    config: &Config,
    random: [u8; 16],
    now: Time,
    mut console: Console<'_>,
) -> Exit {
    let result = match command {
        InviteCommand::Create(args) => {
            create(args, people, config, &Code::new(random), now, &mut console).await
        }
        InviteCommand::List(args) => list(args, people, now, &mut console).await,
        InviteCommand::Revoke(args) => revoke(&args.id, people, now, &mut console).await,
    };
    console.finish(result)
}

#[derive(Serialize)]
struct CreatedInvite<'a> {
    id: &'a str,
    code: String,
    role: Role,
    uses: u32,
    expires: JsonTime,
    /// The command that joins the chat.
    join: String,
    /// The URL of the page with the code, if there is a page.
    link: Option<String>,
}

async fn create(
    args: &CreateArgs,
    people: &dyn PeopleStore,
    config: &Config,
    code: &Code,
    now: Time,
    console: &mut Console<'_>,
) -> Result<(), CommandError> {
    let default = u64::try_from(config.invite_expires.as_millis()).unwrap_or(MAX_LIFE);
    let (role, uses) = (args.role, args.uses);
    let invite = Invite {
        hash: code.hash(),
        role,
        left: uses,
        uses,
        expires: now.plus(args.expires.unwrap_or(default)),
        by: Issuer::Console,
        at: now,
    };
    let change = console_change(now, ChangeAction::CreateInvite(invite.clone()));
    people.apply(&change).await?;

    let join = config.ssh_command();
    // Browsers don't send the fragment, so no server logs the code.
    let link = config.web_url.as_ref().map(|url| format!("{url}#{code}"));
    if args.json {
        return Ok(console.json(&CreatedInvite {
            id: invite.id(),
            code: code.to_string(),
            role,
            uses,
            expires: JsonTime(invite.expires),
            join,
            link,
        })?);
    }
    writeln!(
        console.out,
        "{join}   and enter the invite code {code} when asked"
    )?;
    if let Some(link) = link {
        writeln!(console.out, "or in a browser: {link}")?;
    }
    let people = match uses {
        1 => "one person".to_owned(),
        uses => format!("{uses} people"),
    };
    Ok(console.note(&format!(
        "invite {} admits {people} ({role}) until {}; send them the above, the code isn't shown again",
        invite.id(),
        format_time(invite.expires),
    ))?)
}

#[derive(Serialize)]
struct InviteRow {
    id: String,
    role: Role,
    left: u32,
    uses: u32,
    expires: JsonTime,
    by: String,
    at: JsonTime,
}

impl Row<5> for InviteRow {
    const HEADER: [&str; 5] = ["ID", "ROLE", "LEFT", "EXPIRES", "BY"];

    fn cells(&self) -> [String; 5] {
        [
            self.id.clone(),
            self.role.to_string(),
            format!("{} of {}", self.left, self.uses),
            format_time(self.expires.0),
            self.by.clone(),
        ]
    }
}

async fn list(
    args: &ListArgs,
    people: &dyn PeopleStore,
    now: Time,
    console: &mut Console<'_>,
) -> Result<(), CommandError> {
    let invites = people.invites(now).await?;
    let rows = invites.iter().map(|invite| InviteRow {
        id: invite.id().to_owned(),
        role: invite.role,
        left: invite.left,
        uses: invite.uses,
        expires: JsonTime(invite.expires),
        by: invite.by.to_string(),
        at: JsonTime(invite.at),
    });
    let rows: Vec<_> = rows.collect();
    let if_empty = "there are no valid invites; create one with `ssh-chat invite create`";
    Ok(console.rows(args.json, &rows, if_empty)?)
}

async fn revoke(
    id: &InviteId,
    people: &dyn PeopleStore,
    now: Time,
    console: &mut Console<'_>,
) -> Result<(), CommandError> {
    let change = console_change(now, ChangeAction::RevokeInvite(id.clone()));
    match people.apply(&change).await {
        Ok(_) => Ok(console.note(&format!("invite {id} revoked"))?),
        Err(ChangeError::NotFound) => Err(CommandError::NotFound(format!(
            "no invite {id}; `ssh-chat invite list` lists the valid ones"
        ))),
        Err(error) => Err(error.into()),
    }
}
