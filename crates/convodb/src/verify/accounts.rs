//! The part of the audit about who owns what: users, assistants, tokens, the look-ups by name and by
//! number, and the number that the next user gets.

use crate::error::Result;
use crate::model::id::{AssistantId, UserId};
use crate::tables::Tables;
use crate::tables::schema::names;
use crate::tables::{accounts, sequences};
use crate::verify::report::VerifyReport;

/// Whose a fault is that is nobody's.
const NOBODY: UserId = UserId::new(0);

/// Checks the account tables.
pub(crate) fn verify(tables: &Tables, report: &mut VerifyReport) -> Result<()> {
    check_users(tables, report)?;
    check_assistants(tables, report)?;
    check_tokens(tables, report)
}

/// Each user decodes and is found by name, and each name leads to its user.
fn check_users(tables: &Tables, report: &mut VerifyReport) -> Result<()> {
    let last = sequences::last_user(&tables.sequences)?;
    for entry in tables.users.iter()? {
        let (id, _) = entry?;
        if u64::from(id.get()) > last {
            report.fault(names::SEQUENCES, "a user's number would be given again", id);
        }
        if let Some(user) = report.found(accounts::user(&tables.users, id), id)? {
            let named = accounts::user_of_name(&tables.users, &tables.user_names, &user.name);
            if report.found(named, id)? != Some(id) {
                report.fault(names::USER_NAMES, "a user's name does not lead to the user", id);
            }
        }
    }
    for entry in tables.user_names.iter()? {
        let (key, stored) = entry?;
        let number = stored.value().try_into().map_or(0, u32::from_be_bytes);
        let user = report.found(accounts::user(&tables.users, UserId::new(number)), NOBODY)?;
        if user.is_none_or(|user| accounts::digest(user.name.as_str()) != key) {
            report.fault(names::USER_NAMES, "a name leads to no user of it", NOBODY);
        }
    }
    Ok(())
}

/// Each assistant decodes, has a user and is found by number, and each number leads to its
/// assistant.
fn check_assistants(tables: &Tables, report: &mut VerifyReport) -> Result<()> {
    for entry in tables.assistants.iter()? {
        let (key, _) = entry?;
        let (user, id) = (key.user, AssistantId::new(key.uuid));
        if tables.users.get(user)?.is_none() {
            report.fault(names::ASSISTANTS, "an assistant's user does not exist", user);
        }
        let assistant = accounts::assistant(&tables.assistants, user, id);
        if let Some(assistant) = report.found(assistant, user)? {
            let (by_id, by_number) = (&tables.assistants, &tables.assistant_numbers);
            let numbered = accounts::assistant_of_number(by_id, by_number, user, assistant.number);
            if report.found(numbered, user)?.is_none_or(|found| found.id != id) {
                let what = "an assistant's number does not lead to it";
                report.fault(names::ASSISTANT_NUMBERS, what, user);
            }
        }
    }
    for entry in tables.assistant_numbers.iter()? {
        let (key, _) = entry?;
        let (by_id, by_number) = (&tables.assistants, &tables.assistant_numbers);
        let found = accounts::assistant_of_number(by_id, by_number, key.user, key.number);
        report.found(found, key.user)?;
    }
    Ok(())
}

/// Each token decodes, is found by its digest, and is a user's.
fn check_tokens(tables: &Tables, report: &mut VerifyReport) -> Result<()> {
    for entry in tables.tokens.iter()? {
        let (key, _) = entry?;
        if let Some(user) = report.found(accounts::user_of_digest(&tables.tokens, key), NOBODY)?
            && tables.users.get(user)?.is_none()
        {
            report.fault(names::TOKENS, "a token's user does not exist", user);
        }
    }
    Ok(())
}
