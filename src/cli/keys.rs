//! `ssh-chat keys`: accounts and their keys.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::Serialize;
use zeroize::Zeroizing;

use super::admin::console_change;
use super::console::{CommandError, Console, JsonTime, Row, format_time};
use super::{Exit, OpenMode};
use crate::chat::access::{KeyRecord, Role};
use crate::chat::ids::{AccountId, Fingerprint, Name, Time};
use crate::keys::{MAX_INPUT, read_public_key};
use crate::store::{Account, AppliedChange, ChangeAction, ChangeError, ChangeOutcome, Store};

#[cfg(test)]
mod tests;

/// What to do with keys.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum KeysCommand {
    /// List accounts and their keys
    List(ListArgs),
    /// Add a public key to an account, and create the account if it doesn't exist
    Add(AddArgs),
    /// Revoke a key
    Revoke(RevokeArgs),
}

/// Arguments of `keys list`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ListArgs {
    /// List only this account's keys
    #[arg(long, value_name = "NAME", value_parser = Name::existing)]
    account: Option<Name>,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
}

/// Arguments of `keys add`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct AddArgs {
    /// Account that owns the key
    #[arg(long, value_name = "NAME", value_parser = Name::existing)]
    account: Name,
    /// Role of the account: member or operator [default: member for a new account, otherwise
    /// unchanged]
    #[arg(long, value_name = "ROLE")]
    role: Option<Role>,
    /// File with the public key, such as `id_ed25519.pub`. Omit it or use - for standard input
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Create the data store if it doesn't exist
    #[arg(long = "create")]
    create_store: bool,
}

/// Arguments of `keys revoke`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct RevokeArgs {
    /// Fingerprint of the key, as printed by `ssh-chat keys list`: SHA256: and 43 characters
    #[arg(value_name = "FINGERPRINT")]
    key: Fingerprint,
}

impl KeysCommand {
    pub(super) fn store_mode(&self) -> OpenMode {
        match self {
            KeysCommand::List(_) => OpenMode::Read,
            KeysCommand::Add(args) => OpenMode::writing(args.create_store),
            KeysCommand::Revoke(_) => OpenMode::Write,
        }
    }
}

/// Runs `ssh-chat keys`. `input` is standard input, `random` the ID of an account to create.
pub async fn run(
    command: &KeysCommand,
    store: &dyn Store,
    input: &mut dyn Read,
    random: u128,
    now: Time,
    mut console: Console<'_>,
) -> Exit {
    let result = match command {
        KeysCommand::List(args) => list(args, store, &mut console).await,
        KeysCommand::Add(args) => add(args, store, input, random, now, &mut console).await,
        KeysCommand::Revoke(args) => revoke(&args.key, store, now, &mut console).await,
    };
    console.finish(result)
}

#[derive(Serialize)]
struct KeyRow {
    account: String,
    role: Role,
    fingerprint: String,
    algorithm: String,
    comment: String,
    added: JsonTime,
    /// The account's deadline for its first login, if it hasn't had one.
    #[serde(skip_serializing_if = "Option::is_none")]
    proof_by: Option<JsonTime>,
}

impl Row<6> for KeyRow {
    const HEADER: [&str; 6] = ["ACCOUNT", "ROLE", "FINGERPRINT", "TYPE", "ADDED", "COMMENT"];

    fn cells(&self) -> [String; 6] {
        [
            self.account.clone(),
            self.role.to_string(),
            self.fingerprint.clone(),
            self.algorithm.clone(),
            format_time(self.added.0),
            self.comment.clone(),
        ]
    }
}

async fn list(
    args: &ListArgs,
    store: &dyn Store,
    console: &mut Console<'_>,
) -> Result<(), CommandError> {
    let accounts = if let Some(name) = &args.account {
        let account = existing_account(store, name).await?;
        let keys = store.keys_of(account.id).await?;
        vec![(account, keys)]
    } else {
        let all = store.accounts_with_keys().await?.into_iter();
        all.collect::<Result<_, _>>()?
    };
    let row = |account: &Account, key: &KeyRecord| KeyRow {
        account: account.name.to_string(),
        role: account.role,
        fingerprint: key.fingerprint.to_string(),
        algorithm: key.algorithm.to_string(),
        comment: key.comment.to_string(),
        added: JsonTime(key.added),
        proof_by: account.proof_by.map(JsonTime),
    };
    let rows: Vec<_> = accounts
        .iter()
        .flat_map(|(account, keys)| keys.iter().map(move |key| row(account, key)))
        .collect();
    let if_empty = "there are no keys; add one with `ssh-chat keys add`";
    console.rows(args.json, &rows, if_empty)?;
    let notes = accounts.iter().filter_map(|(account, _)| unproven(account));
    for note in notes.filter(|_| !args.json) {
        console.note(&note)?;
    }
    Ok(())
}

/// A note if nobody has logged in to this account yet.
fn unproven(account: &Account) -> Option<String> {
    let (name, by) = (&account.name, format_time(account.proof_by?));
    Some(format!(
        "{name} was created on the web page, and is deleted with its keys unless someone logs in to it \
         by {by}"
    ))
}

/// The account with exactly this name: one with a similar name belongs to another user.
async fn existing_account(store: &dyn Store, name: &Name) -> Result<Account, CommandError> {
    match store.account_by_name(name).await? {
        Some(account) if account.name == *name => Ok(account),
        Some(other) => Err(CommandError::NotFound(similar_name(name, &other.name))),
        None => Err(CommandError::NotFound(format!("no account {name}"))),
    }
}

fn similar_name(name: &Name, other: &Name) -> String {
    format!(
        "no account {name}, and it can't be created: {other} owns that name or one that looks like it"
    )
}

async fn add(
    args: &AddArgs,
    store: &dyn Store,
    input: &mut dyn Read,
    random: u128,
    now: Time,
    console: &mut Console<'_>,
) -> Result<(), CommandError> {
    let key = read_key(args.file.as_deref(), input, now)?;
    let account = match store.account_by_name(&args.account).await? {
        Some(account) if account.name == args.account => account,
        Some(other) => {
            let message = similar_name(&args.account, &other.name);
            return Err(CommandError::Refused(message));
        }
        None => return create_account(args, store, &key, AccountId(random), now, console).await,
    };
    let name = &account.name;
    let add = ChangeAction::AddKey {
        account: account.id,
        name: name.clone(),
        key: key.clone(),
    };
    let key = &key.fingerprint;
    match store.apply(&console_change(now, add)).await {
        Ok(AppliedChange {
            outcome: ChangeOutcome::Unchanged,
            ..
        }) => console.note(&format!("{name} already has the key {key}"))?,
        Ok(_) => {
            console.note(&format!("{name} can log in with {key}"))?;
            if let Some(note) = unproven(&account) {
                console.note(&note)?;
            }
        }
        Err(ChangeError::KeyTaken) => {
            return Err(key_taken(key, store.account_by_key(key).await?));
        }
        Err(ChangeError::Store(error)) => return Err(error.into()),
        Err(error) => {
            return Err(CommandError::Refused(format!(
                "{error}; remove one with `ssh-chat keys revoke FINGERPRINT`"
            )));
        }
    }
    match args.role {
        Some(role) if role != account.role => set_role(&account, role, store, now, console).await,
        _ => Ok(()),
    }
}

fn key_taken(key: &Fingerprint, owner: Option<Account>) -> CommandError {
    let owner = owner.map_or("another account".to_owned(), |owner| owner.name.to_string());
    CommandError::Refused(format!(
        "{key} belongs to {owner}; revoke it first with `ssh-chat keys revoke {key}`"
    ))
}

async fn create_account(
    args: &AddArgs,
    store: &dyn Store,
    key: &KeyRecord,
    id: AccountId,
    now: Time,
    console: &mut Console<'_>,
) -> Result<(), CommandError> {
    let name = &args.account;
    let refused = |why: &str| CommandError::Refused(format!("can't create {name}: {why}"));
    if let Err(error) = name.can_be_chosen() {
        return Err(refused(&format!("{error}; choose another name")));
    }
    let account = Account::new(id, name.clone(), args.role.unwrap_or_default(), now);
    let role = account.role;
    let create = ChangeAction::CreateAccount {
        account,
        key: key.clone(),
    };
    let key = &key.fingerprint;
    match store.apply(&console_change(now, create)).await {
        Ok(_) => Ok(console.note(&format!("{name} is a new {role} and can log in with {key}"))?),
        Err(ChangeError::KeyTaken) => Err(key_taken(key, store.account_by_key(key).await?)),
        Err(ChangeError::Store(error)) => Err(error.into()),
        Err(error) => Err(refused(&error.to_string())),
    }
}

async fn set_role(
    account: &Account,
    role: Role,
    store: &dyn Store,
    now: Time,
    console: &mut Console<'_>,
) -> Result<(), CommandError> {
    let Account {
        name, role: old, ..
    } = account;
    let set = ChangeAction::SetRole {
        account: account.id,
        name: name.clone(),
        role,
    };
    match store.apply(&console_change(now, set)).await {
        Ok(_) => Ok(console.note(&format!(
            "{name} is now {} (was {old})",
            role.with_article(),
        ))?),
        Err(ChangeError::Store(error)) => Err(error.into()),
        Err(error) => Err(CommandError::Refused(format!(
            "{name} stays {old}: {error}"
        ))),
    }
}

/// Reads the key from a file or standard input. The input is wiped afterwards: it may be a private key.
fn read_key(
    file: Option<&Path>,
    input: &mut dyn Read,
    now: Time,
) -> Result<KeyRecord, CommandError> {
    let file = file.filter(|path| *path != Path::new("-"));
    let place = file.map_or("standard input".to_owned(), |path| {
        path.display().to_string()
    });
    let invalid =
        |error: &dyn std::fmt::Display| CommandError::Refused(format!("{place}: {error}"));
    let mut raw = Zeroizing::new(Vec::with_capacity(MAX_INPUT + 1));
    let limit = MAX_INPUT as u64 + 1;
    match file {
        Some(path) => File::open(path).and_then(|file| file.take(limit).read_to_end(&mut raw)),
        None => input.take(limit).read_to_end(&mut raw),
    }
    .map_err(|error: io::Error| invalid(&error))?;
    let text = str::from_utf8(&raw).map_err(|_| invalid(&"not text, so not a public key"))?;
    read_public_key(text, now).map_err(|error| invalid(&error))
}

async fn revoke(
    key: &Fingerprint,
    store: &dyn Store,
    now: Time,
    console: &mut Console<'_>,
) -> Result<(), CommandError> {
    let not_found = || CommandError::NotFound(format!("no account has the key {key}"));
    let account = store.account_by_key(key).await?.ok_or_else(not_found)?;
    let Account { name, role, .. } = &account;
    let remove = ChangeAction::RemoveKey {
        account: account.id,
        name: name.clone(),
        key: key.clone(),
        last: true,
    };
    match store.apply(&console_change(now, remove)).await {
        Ok(_) => {}
        Err(ChangeError::NoKey) => return Err(not_found()),
        Err(error) => return Err(error.into()),
    }
    console.note(&format!("{name} can no longer log in with {key}"))?;
    if store.keys_of(account.id).await?.is_empty() {
        console.note(&format!(
            "warning: it was the only key of {name} ({role}): nobody can log in as {name} until you add \
             another with `ssh-chat keys add --account {name}`"
        ))?;
    }
    Ok(())
}
