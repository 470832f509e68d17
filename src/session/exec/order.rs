//! The commands of operators, and those about one's own keys.

use std::sync::Arc;

use super::Exec;
use super::item::Item;
use super::out::{End, Out};
use super::request::Run;
use super::say::Stdin;
use super::table::Action;
use crate::access::orders::{self, Order, OrderReply};
use crate::clock;
use crate::keys;
use crate::session::machine::ServerInfo;
use crate::session::peer::Outbound;

impl<O: Outbound> Exec<'_, O> {
    /// Has an order carried out and shows what came of it.
    pub(super) async fn order(&mut self, run: &Run, stdin: Stdin) -> Result<(), End> {
        let line = if run.reads_input() {
            short(stdin).await
        } else {
            String::new()
        };
        let order = read(run, &line)?;
        let requester = self.context.me.requester(self.context.peer);
        let orders = Arc::clone(self.context.orders);
        let done = orders.execute(requester, order).await;
        let done = done.map_err(End::failed)?;
        report(&mut self.out, &self.context.server, &done).await
    }
}

/// Reads an order. `input` is what came on standard input, if the order [reads](Run::reads_input)
/// that.
pub(super) fn read(run: &Run, input: &str) -> Result<Order, End> {
    let Action::Verb(verb) = run.form.action else {
        return Err(End::usage(run.form.usage()));
    };
    let mut args: Vec<&str> = run.args.iter().map(String::as_str).collect();
    if run.reads_input() {
        args.truncate(1);
        args.push(input);
    }
    let read_key = |line: &str| {
        let read = keys::read_public_key(line, clock::now());
        read.map_err(|error| format!("{}: {error}.", run.form.name))
    };
    match orders::read(verb, &args, read_key) {
        Some(order) => order.map_err(End::usage),
        None => Err(End::usage(run.form.usage())),
    }
}

/// Shows what came of an order.
pub(super) async fn report<O: Outbound>(
    out: &mut Out<'_, O>,
    server: &ServerInfo,
    report: &OrderReply,
) -> Result<(), End> {
    match report {
        OrderReply::Done(words) => out.show(Item::Done(words)).await,
        OrderReply::Invited { code, link, invite } => {
            out.invited(invite, code, link.as_deref()).await
        }
        OrderReply::Invites(invites) => all(out, invites.iter().map(Item::Invite)).await,
        OrderReply::Bans(bans) => all(out, bans.iter().map(Item::Ban)).await,
        OrderReply::Pending(pending) => all(out, pending.iter().map(Item::Pending)).await,
        OrderReply::Keys { keys, claimed } => {
            all(out, keys.iter().map(Item::Key)).await?;
            all(out, claimed.iter().map(Item::ClaimedKey)).await
        }
        OrderReply::Status(status) => out.show(Item::Status(status, server)).await,
        // The newest is read last.
        OrderReply::Audit(audits) => all(out, audits.iter().rev().map(Item::Audit)).await,
    }
}

async fn all<'a, O: Outbound>(
    out: &mut Out<'_, O>,
    items: impl Iterator<Item = Item<'a>> + Send,
) -> Result<(), End> {
    for item in items {
        out.show(item).await?;
    }
    Ok(())
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
