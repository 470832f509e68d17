//! The commands of operators, and those about one's own keys.

use std::sync::Arc;

use super::Exec;
use super::item::Item;
use super::out::End;
use super::request::Run;
use super::say::Stdin;
use crate::access::orders::{self, Report};
use crate::chat::command::Verb;
use crate::clock;
use crate::keys;
use crate::session::peer::Outbound;

impl<O: Outbound> Exec<'_, O> {
    /// Has an order carried out and shows what came of it.
    pub(super) async fn order(&mut self, verb: Verb, run: &Run, stdin: Stdin) -> Result<(), End> {
        let mut args: Vec<&str> = run.args.iter().map(String::as_str).collect();
        let line;
        if run.reads_input() {
            line = short(stdin).await;
            args.truncate(1);
            args.push(&line);
        }
        let read_key = |line: &str| {
            let read = keys::read_public_key(line, clock::now());
            read.map_err(|error| format!("{}: {error}.", run.form.name))
        };
        let Some(order) = orders::read(verb, &args, read_key) else {
            return Err(End::usage(run.form.usage()));
        };
        let order = order.map_err(End::usage)?;
        let requester = self.context.me.requester(self.context.peer);
        let orders = Arc::clone(self.context.orders);
        let report = orders.carry_out(requester, order).await;
        self.report(&report.map_err(End::failed)?).await
    }

    async fn report(&mut self, report: &Report) -> Result<(), End> {
        match report {
            Report::Done(words) => self.out.show(Item::Done(words)).await,
            Report::Invited { code, link, invite } => {
                self.out.invited(invite, code, link.as_deref()).await
            }
            Report::Invites(invites) => self.all(invites.iter().map(Item::Invite)).await,
            Report::Bans(bans) => self.all(bans.iter().map(Item::Ban)).await,
            Report::Pending(pending) => self.all(pending.iter().map(Item::Pending)).await,
            Report::Keys { keys, claimed } => {
                self.all(keys.iter().map(Item::Key)).await?;
                self.all(claimed.iter().map(Item::ClaimedKey)).await
            }
            Report::Status(status) => {
                let server = &self.context.server;
                self.out.show(Item::Status(status, server)).await
            }
            // The newest is read last.
            Report::Audits(audits) => self.all(audits.iter().rev().map(Item::Audit)).await,
        }
    }

    async fn all<'a>(&mut self, items: impl Iterator<Item = Item<'a>> + Send) -> Result<(), End> {
        for item in items {
            self.out.show(item).await?;
        }
        Ok(())
    }
}

/// All of an input that should be short. What is longer than any key stays wrong when cut.
async fn short(mut stdin: Stdin) -> String {
    let mut bytes = Vec::new();
    while bytes.len() <= keys::MAX_INPUT
        && let Some(more) = stdin.recv().await
    {
        bytes.extend_from_slice(&more);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
