//! `ssh-chat admin`: an order from the machine's console, on the store, with a server beside it or
//! without one.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::access::AccessControl;
use crate::cli::admin::Admin;
use crate::cli::{Console, Exit};
use crate::clock;
use crate::config::Config;
use crate::hub;
use crate::session::at_console;
use crate::session::peer::{DisconnectReason, Disconnected, Outbound};
use crate::store::Store;

/// What `ssh host` ends with when the command line is wrong (`EX_USAGE` of sysexits.h).
const USAGE: u32 = 64;

/// Carries out an order.
pub(super) async fn run(
    args: &Admin,
    store: Arc<dyn Store>,
    config: &Config,
    console: Console<'_>,
) -> Exit {
    // Nobody is online here: a server that runs enforces what it finds in the store.
    let guard = AccessControl::new(store, hub::Handle::detached(), super::rules(config)).await;
    let guard = match guard {
        Ok(guard) => guard,
        Err(error) => return console.failed(&error.to_string()),
    };
    let server = super::about(config, clock::both());
    let written = Written::default();
    let carry_out = async |order| guard.carry_out_at_console(order).await;
    let status = at_console(&args.order, args.json, &server, carry_out, &written).await;
    let (out, err) = (taken(&written.out), taken(&written.err));
    let wrote = console
        .out
        .write_all(&out)
        .and_then(|()| console.out.flush())
        .and_then(|()| console.err.write_all(&err));
    match (status, wrote) {
        (0, Ok(())) => Exit::Good,
        (USAGE, _) => Exit::Usage,
        _ => Exit::Failed,
    }
}

/// What was written so far, to standard output and standard error.
#[derive(Default)]
struct Written {
    out: Mutex<Vec<u8>>,
    err: Mutex<Vec<u8>>,
}

fn taken(to: &Mutex<Vec<u8>>) -> Vec<u8> {
    std::mem::take(&mut to.lock().unwrap_or_else(PoisonError::into_inner))
}

fn add(to: &Mutex<Vec<u8>>, bytes: &Bytes) {
    let mut to = to.lock().unwrap_or_else(PoisonError::into_inner);
    to.extend_from_slice(bytes);
}

impl Outbound for Written {
    async fn write(&self, bytes: Bytes) -> Result<(), Disconnected> {
        add(&self.out, &bytes);
        Ok(())
    }

    async fn write_stderr(&self, bytes: Bytes) -> Result<(), Disconnected> {
        add(&self.err, &bytes);
        Ok(())
    }

    async fn finish(&self, _status: u32) {}

    fn disconnect(&self, _why: DisconnectReason) {}

    async fn closed(&self) {
        std::future::pending::<()>().await;
    }
}
