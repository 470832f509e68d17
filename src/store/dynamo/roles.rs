//! Who is an operator, and that there is always one.
//!
//! An account has its role, and one item has the set of all operators: so one condition on that
//! item sees whether some are left, whoever else is changing roles. Accounts that wait for their
//! proof are not in that set.

use super::Dynamo;
use super::change::ChangePlan;
use super::item::{set, text};
use super::key::Key;
use super::write::{Condition, Write};
use crate::chat::access::Role;
use crate::chat::ids::AccountId;
use crate::store::{Account, ChangeError, StoreError};

/// Where the write about the operators is among those that change a role.
const OPERATORS: usize = 0;

impl Dynamo {
    /// Gives an account another role; one that it has already is no change.
    pub(super) async fn change_role(
        &self,
        account: AccountId,
        role: Role,
    ) -> Result<ChangePlan, ChangeError> {
        let record = self.record(account).await?;
        let record = record.ok_or(ChangeError::NoAccount)?;
        if record.account.role == role {
            return Ok(ChangePlan::unchanged());
        }
        let kept = text(kept(role)?);
        let mut plan = ChangePlan::done(vec![record.change().set("role", kept)]);
        if record.account.proof_by.is_none() {
            let operators = match role {
                Role::Operator => joins(account),
                Role::Member | Role::Guest => leaves(account),
            };
            plan.writes.insert(OPERATORS, operators);
            // The account is as it was read, so nobody else made it less.
            plan.refusal = Some((OPERATORS, ChangeError::LastOperator));
        }
        Ok(plan)
    }
}

/// A role as it is kept. A guest has no account and can't be invited to be one: an item that says
/// so could not be read again.
pub(super) fn kept(role: Role) -> Result<&'static str, StoreError> {
    match role {
        Role::Member | Role::Operator => Ok(role.as_str()),
        Role::Guest => Err(StoreError::Internal(
            "no account can be a guest's".to_owned(),
        )),
    }
}

/// What an account brings with it if it is an operator's from now on. Who has not proven to be one
/// is none.
pub(super) fn joining(account: &Account) -> Option<Write> {
    let counts = account.role == Role::Operator && account.proof_by.is_none();
    counts.then(|| joins(account.id))
}

fn joins(account: AccountId) -> Write {
    Write::update(Key::operators()).add("accounts", set(account))
}

/// Only if another stays.
fn leaves(account: AccountId) -> Write {
    let account_id = text(account.to_string());
    Write::update(Key::operators())
        .take("accounts", set(account))
        .when(Condition::OneOfSeveral("accounts", account_id))
}
