//! `ssh-chat invite`: codes with which people come in.

use clap::{Args, Subcommand, value_parser};
use serde::Serialize;

use super::console::{Console, Failure, shown, stamp};
use super::{Exit, OpenMode, audit};
use crate::chat::access::{Issuer, Role};
use crate::chat::duration;
use crate::chat::ids::Time;
use crate::chat::invite::{Code, InviteId, MAX_LIFE, MAX_USES};
use crate::config::Config;
use crate::store::{ChangeAction, ChangeError, PeopleStore};

/// What to do with invites.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Invite {
    /// Make an invite, and show its code this once
    Create(Create),
    /// List the invites that are still good, without their codes
    List(List),
    /// End an invite
    Revoke(Revoke),
}

/// What invite to make.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Create {
    /// How many people can come in with it
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u32).range(1..=i64::from(MAX_USES)))]
    uses: u32,
    /// How long it is good, such as 90m, 1h30m, 7d or 2w [default: the setting `invite_expires`]
    #[arg(long, value_name = "TIME", value_parser = life)]
    expires: Option<u64>,
    /// What they become who come in with it: member or operator
    #[arg(long, value_name = "ROLE", default_value_t = Role::Member)]
    role: Role,
    /// One JSON object
    #[arg(long)]
    json: bool,
    /// Make the data store if there is none
    #[arg(long = "create")]
    make_store: bool,
}

/// How to list invites.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct List {
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// Which invite to end.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Revoke {
    /// The invite, as `ssh-chat invite list` names it
    #[arg(value_name = "ID")]
    id: InviteId,
}

impl Invite {
    pub(super) fn store_mode(&self) -> OpenMode {
        match self {
            Invite::Create(args) => OpenMode::writing(args.make_store),
            Invite::List(_) => OpenMode::Read,
            Invite::Revoke(_) => OpenMode::Write,
        }
    }
}

/// Reads how long an invite is to be good, in milliseconds.
fn life(raw: &str) -> Result<u64, String> {
    match duration::parse_millis(raw) {
        Some(millis) if millis <= MAX_LIFE => Ok(millis),
        Some(_) => Err("an invite is good for a year (365d) at the most".to_owned()),
        None => Err(format!(
            "a time has numbers with their units, such as {}",
            duration::EXAMPLES
        )),
    }
}

/// Carries out a command about invites. `random` is the secret of one that is to be made.
pub async fn run(
    command: &Invite,
    people: &dyn PeopleStore,
    config: &Config,
    random: [u8; 16],
    now: Time,
    mut console: Console<'_>,
) -> Exit {
    let result = match command {
        Invite::Create(args) => {
            create(args, people, config, &Code::new(random), now, &mut console).await
        }
        Invite::List(args) => list(args, people, now, &mut console).await,
        Invite::Revoke(args) => revoke(&args.id, people, now, &mut console).await,
    };
    console.finish(result)
}

/// A new invite as `invite create --json` shows it.
#[derive(Debug, Serialize)]
struct Made<'a> {
    id: &'a str,
    code: String,
    role: Role,
    uses: u32,
    expires: String,
    /// What to type.
    join: String,
    /// The page with the code in it, if there is one.
    link: Option<String>,
}

async fn create(
    args: &Create,
    people: &dyn PeopleStore,
    config: &Config,
    code: &Code,
    now: Time,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let usual = u64::try_from(config.invite_expires.as_millis()).unwrap_or(MAX_LIFE);
    let (role, uses) = (args.role, args.uses);
    let invite = crate::chat::invite::Invite {
        hash: code.hash(),
        role,
        left: uses,
        uses,
        expires: now.plus(args.expires.unwrap_or(usual)),
        by: Issuer::Console,
        at: now,
    };
    let change = audit::change(now, ChangeAction::CreateInvite(invite.clone()));
    people.apply(&change).await.map_err(refused)?;

    let join = join(config);
    // In the fragment, which browsers keep to themselves: no server's log has it.
    let link = config.web_url.as_ref().map(|url| format!("{url}#{code}"));
    if args.json {
        return Ok(console.json(&Made {
            id: invite.id(),
            code: code.to_string(),
            role,
            uses,
            expires: stamp(invite.expires),
            join,
            link,
        })?);
    }
    writeln!(
        console.out,
        "{join}   and when asked, the invite code {code}"
    )?;
    if let Some(link) = link {
        writeln!(console.out, "or in a browser: {link}")?;
    }
    let people = match uses {
        1 => "one person".to_owned(),
        uses => format!("{uses} people"),
    };
    Ok(console.say(&format!(
        "invite {} lets {people} in ({role}) until {}; send them the above, the code is not shown again",
        invite.id(),
        shown(invite.expires),
    ))?)
}

/// What somebody types to come in.
fn join(config: &Config) -> String {
    let host = &config.host_name;
    match config.listen.first().map(std::net::SocketAddr::port) {
        None | Some(0 | 22) => format!("ssh {host}"),
        Some(port) => format!("ssh -p {port} {host}"),
    }
}

/// An invite as `invite list --json` shows it.
#[derive(Debug, Serialize)]
struct Line<'a> {
    id: &'a str,
    role: Role,
    left: u32,
    uses: u32,
    expires: String,
    by: String,
    at: String,
}

async fn list(
    args: &List,
    people: &dyn PeopleStore,
    now: Time,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let invites = people.invites(now).await?;
    if args.json {
        for invite in &invites {
            console.json(&Line {
                id: invite.id(),
                role: invite.role,
                left: invite.left,
                uses: invite.uses,
                expires: stamp(invite.expires),
                by: invite.by.to_string(),
                at: stamp(invite.at),
            })?;
        }
        return Ok(());
    }
    if invites.is_empty() {
        console.say("no invite is good any more; `ssh-chat invite create` makes one")?;
    }
    let rows: Vec<_> = invites
        .iter()
        .map(|invite| {
            [
                invite.id().to_owned(),
                invite.role.to_string(),
                format!("{} of {}", invite.left, invite.uses),
                shown(invite.expires),
                invite.by.to_string(),
            ]
        })
        .collect();
    Ok(console.table(["ID", "ROLE", "LEFT", "EXPIRES", "BY"], &rows)?)
}

async fn revoke(
    id: &InviteId,
    people: &dyn PeopleStore,
    now: Time,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let change = audit::change(now, ChangeAction::RevokeInvite(id.clone()));
    match people.apply(&change).await {
        Ok(_) => Ok(console.say(&format!("the invite {id} is ended"))?),
        Err(ChangeError::NotFound) => Err(Failure::Missing(format!(
            "there is no invite {id}; `ssh-chat invite list` shows those there are"
        ))),
        Err(error) => Err(refused(error)),
    }
}

fn refused(error: ChangeError) -> Failure {
    match error {
        ChangeError::Store(error) => error.into(),
        error => Failure::Refused(error.to_string()),
    }
}

#[cfg(test)]
mod tests;
