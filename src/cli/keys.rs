//! `ssh-chat keys`: who can come in with which key.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::Serialize;
use zeroize::Zeroizing;

use super::console::{Console, Failure, shown, stamp};
use super::{Exit, OpenMode, audit};
use crate::chat::access::{KeyRecord, Role};
use crate::chat::ids::{AccountId, Fingerprint, Name, Time};
use crate::keys::{MAX_INPUT, read_public_key};
use crate::store::{Account, Action, Applied, ChangeError, ChangeOutcome, Store};

#[cfg(test)]
mod tests;

/// What to do with keys.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Keys {
    /// List accounts and their keys
    List(List),
    /// Let somebody in: give a public key to an account, which is made if there is none
    Add(Add),
    /// Take a key from its account
    Revoke(Revoke),
}

/// Which keys to list.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct List {
    /// Only the keys of this account
    #[arg(long, value_name = "NAME", value_parser = Name::existing)]
    account: Option<Name>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// Which key to give to whom.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Add {
    /// Whose key it is
    #[arg(long, value_name = "NAME", value_parser = Name::existing)]
    account: Name,
    /// What the account may do: member or operator [default: member for a new account, else as
    /// it is]
    #[arg(long, value_name = "ROLE")]
    role: Option<Role>,
    /// The file with the public key, such as `id_ed25519.pub`; - or nothing is standard input
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Make the data store if there is none
    #[arg(long = "create")]
    make_store: bool,
}

/// Which key to take away.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Revoke {
    /// The key's fingerprint: SHA256: and 43 characters, as `ssh-chat keys list` shows it
    #[arg(value_name = "FINGERPRINT")]
    key: Fingerprint,
}

impl Keys {
    pub(super) fn store_mode(&self) -> OpenMode {
        match self {
            Keys::List(_) => OpenMode::Read,
            Keys::Add(args) => OpenMode::writing(args.make_store),
            Keys::Revoke(_) => OpenMode::Write,
        }
    }
}

/// Carries out a command about keys. `input` is standard input, `random` the identity of an
/// account that may have to be made.
pub async fn run(
    command: &Keys,
    store: &dyn Store,
    input: &mut dyn Read,
    random: u128,
    now: Time,
    mut console: Console<'_>,
) -> Exit {
    let result = match command {
        Keys::List(args) => list(args, store, &mut console).await,
        Keys::Add(args) => add(args, store, input, random, now, &mut console).await,
        Keys::Revoke(args) => revoke(&args.key, store, now, &mut console).await,
    };
    console.finish(result)
}

/// A key as `keys list --json` shows it.
#[derive(Debug, Serialize)]
struct Line<'a> {
    account: &'a str,
    role: Role,
    fingerprint: &'a str,
    algorithm: &'a str,
    comment: &'a str,
    added: String,
    /// Until when somebody has to come in with it, if nobody has yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    proof_by: Option<String>,
}

async fn list(args: &List, store: &dyn Store, console: &mut Console<'_>) -> Result<(), Failure> {
    let accounts = if let Some(name) = &args.account {
        let account = existing(store, name).await?;
        let keys = store.keys_of(account.id).await?;
        vec![(account, keys)]
    } else {
        let all = store.accounts_with_keys().await?.into_iter();
        all.collect::<Result<_, _>>()?
    };
    let (mut rows, mut waiting) = (Vec::new(), Vec::new());
    for (account, keys) in accounts {
        waiting.extend(waits(&account).filter(|_| !args.json));
        for key in keys {
            if args.json {
                console.json(&Line {
                    account: account.name.as_str(),
                    role: account.role,
                    fingerprint: key.fingerprint.as_str(),
                    algorithm: key.algorithm.as_str(),
                    comment: key.comment.as_str(),
                    added: stamp(key.added),
                    proof_by: account.proof_by.map(stamp),
                })?;
            } else {
                rows.push([
                    account.name.to_string(),
                    account.role.to_string(),
                    key.fingerprint.to_string(),
                    key.algorithm.to_string(),
                    shown(key.added),
                    key.comment.to_string(),
                ]);
            }
        }
    }
    if rows.is_empty() && !args.json {
        console.say("there are no keys; `ssh-chat keys add` lets somebody in")?;
    }
    let head = ["ACCOUNT", "ROLE", "FINGERPRINT", "TYPE", "ADDED", "COMMENT"];
    console.table(head, &rows)?;
    for words in waiting {
        console.say(&words)?;
    }
    Ok(())
}

/// That nobody has come in as this account yet, if so.
fn waits(account: &Account) -> Option<String> {
    let (name, by) = (&account.name, shown(account.proof_by?));
    Some(format!(
        "{name} was made on the web page, and goes with its keys unless somebody comes in by {by}"
    ))
}

/// The account of exactly this name: a look-alike is somebody else.
async fn existing(store: &dyn Store, name: &Name) -> Result<Account, Failure> {
    match store.account_by_name(name).await? {
        Some(account) if account.name == *name => Ok(account),
        Some(other) => Err(Failure::Missing(similar(name, &other.name))),
        None => Err(Failure::Missing(format!("there is no account {name}"))),
    }
}

fn similar(name: &Name, other: &Name) -> String {
    format!(
        "there is no account {name}, and there can't be one: {other} owns that name, or one that \
         looks like it"
    )
}

async fn add(
    args: &Add,
    store: &dyn Store,
    input: &mut dyn Read,
    random: u128,
    now: Time,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let key = read(args.file.as_deref(), input, now)?;
    let account = match store.account_by_name(&args.account).await? {
        Some(account) if account.name == args.account => account,
        Some(other) => return Err(Failure::Refused(similar(&args.account, &other.name))),
        None => return make(args, store, &key, AccountId(random), now, console).await,
    };
    let name = &account.name;
    let add = Action::AddKey {
        account: account.id,
        name: name.clone(),
        key: key.clone(),
    };
    let key = &key.fingerprint;
    match store.apply(&audit::change(now, add)).await {
        Ok(Applied {
            outcome: ChangeOutcome::Unchanged,
            ..
        }) => console.say(&format!("{key} is a key of {name} already"))?,
        Ok(_) => {
            console.say(&format!("{name} can come in with {key}"))?;
            if let Some(words) = waits(&account) {
                console.say(&words)?;
            }
        }
        Err(ChangeError::KeyTaken) => {
            return Err(taken(key, store.account_by_key(key).await?));
        }
        Err(ChangeError::Store(error)) => return Err(error.into()),
        Err(error) => return Err(Failure::Refused(format!("{error}; {REVOKE_ONE}"))),
    }
    match args.role {
        Some(role) if role != account.role => set_role(&account, role, store, now, console).await,
        _ => Ok(()),
    }
}

const REVOKE_ONE: &str = "take one away with `ssh-chat keys revoke FINGERPRINT`";

fn taken(key: &Fingerprint, owner: Option<Account>) -> Failure {
    let owner = owner.map_or("another account".to_owned(), |owner| owner.name.to_string());
    Failure::Refused(format!(
        "{key} belongs to {owner}; take it away first with `ssh-chat keys revoke {key}`"
    ))
}

async fn make(
    args: &Add,
    store: &dyn Store,
    key: &KeyRecord,
    id: AccountId,
    now: Time,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let name = &args.account;
    if let Err(error) = name.can_be_chosen() {
        let words = format!("can't make an account {name}: {error}; choose another name");
        return Err(Failure::Refused(words));
    }
    let account = Account::new(id, name.clone(), args.role.unwrap_or_default(), now);
    let role = account.role;
    let create = Action::CreateAccount {
        account,
        key: key.clone(),
    };
    match store.apply(&audit::change(now, create)).await {
        Ok(_) => {}
        Err(ChangeError::KeyTaken) => {
            let owner = store.account_by_key(&key.fingerprint).await?;
            return Err(taken(&key.fingerprint, owner));
        }
        Err(ChangeError::Store(error)) => return Err(error.into()),
        Err(error) => return Err(Failure::Refused(format!("can't make {name}: {error}"))),
    }
    let key = &key.fingerprint;
    Ok(console.say(&format!(
        "{name} is a new {role} and can come in with {key}"
    ))?)
}

async fn set_role(
    account: &Account,
    role: Role,
    store: &dyn Store,
    now: Time,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let name = &account.name;
    let set = Action::SetRole {
        account: account.id,
        name: name.clone(),
        role,
    };
    match store.apply(&audit::change(now, set)).await {
        Ok(_) => Ok(console.say(&format!(
            "{name} is now {}, and was {}",
            role.with_article(),
            account.role.with_article()
        ))?),
        Err(ChangeError::Store(error)) => Err(error.into()),
        Err(error) => Err(Failure::Refused(format!(
            "{name} stays {}: {error}",
            account.role
        ))),
    }
}

/// The key in a file or in what is piped in. Wiped afterwards: it may be a private one.
fn read(file: Option<&Path>, input: &mut dyn Read, now: Time) -> Result<KeyRecord, Failure> {
    let file = file.filter(|path| *path != Path::new("-"));
    let place = file.map_or("standard input".to_owned(), |path| {
        path.display().to_string()
    });
    let wrong = |error: &dyn std::fmt::Display| Failure::Refused(format!("{place}: {error}"));
    let mut raw = Zeroizing::new(Vec::with_capacity(MAX_INPUT + 1));
    let most = MAX_INPUT as u64 + 1;
    match file {
        Some(path) => File::open(path).and_then(|file| file.take(most).read_to_end(&mut raw)),
        None => input.take(most).read_to_end(&mut raw),
    }
    .map_err(|error: io::Error| wrong(&error))?;
    let text = str::from_utf8(&raw).map_err(|_| wrong(&"this is no text, so no public key"))?;
    read_public_key(text, now).map_err(|error| wrong(&error))
}

async fn revoke(
    key: &Fingerprint,
    store: &dyn Store,
    now: Time,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let missing = || Failure::Missing(format!("no account has the key {key}"));
    let account = store.account_by_key(key).await?.ok_or_else(missing)?;
    let name = &account.name;
    let remove = Action::RemoveKey {
        account: account.id,
        name: name.clone(),
        key: key.clone(),
        last: true,
    };
    match store.apply(&audit::change(now, remove)).await {
        Ok(_) => {}
        Err(ChangeError::NoKey) => return Err(missing()),
        Err(ChangeError::Store(error)) => return Err(error.into()),
        Err(error) => return Err(Failure::Refused(error.to_string())),
    }
    console.say(&format!("{name} can't come in with {key} any more"))?;
    if store.keys_of(account.id).await?.is_empty() {
        let role = account.role;
        console.say(&format!(
            "warning: it was the only key of {name} ({role}): nobody can come in as {name} until \
             `ssh-chat keys add --account {name}` gives the account another"
        ))?;
    }
    Ok(())
}
