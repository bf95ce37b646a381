//! Verification of accounts: users, assistants and tokens against their lookups and sequences.

use crate::encoding::key::{FixedKey, UuidKey};
use crate::error::Result;
use crate::model::id::{AssistantId, UserId};
use crate::tables::Tables;
use crate::tables::accounts;
use crate::tables::quotas::CountedUsage;
use crate::tables::schema::{ASSISTANT_NUMBERS, ASSISTANTS, SEQUENCES, TOKENS, USER_NAMES};
use crate::verify::report::VerifyReport;

/// The user of a finding that belongs to no known user.
pub(super) const NOBODY: UserId = UserId::new(0);

/// Verifies users, assistants and tokens.
pub(crate) fn verify(
    tables: &Tables,
    report: &mut VerifyReport,
    usage: &mut CountedUsage,
) -> Result<()> {
    check_users(tables, report)?;
    check_names(tables, report)?;
    check_assistants(tables, report, usage)?;
    check_tokens(tables, report)
}

/// Each user decodes, is found by name, and has a number that was assigned.
fn check_users(tables: &Tables, report: &mut VerifyReport) -> Result<()> {
    let last = tables.sequences.last_user()?;
    for entry in tables.accounts.users.iter()? {
        let (id, _) = entry?;
        if u64::from(id.get()) > last {
            report.add_finding(SEQUENCES.name, "a user's number would be assigned again", id);
        }
        if let Some(user) = report.found(tables.accounts.user(id), id)? {
            let named = tables.accounts.user_by_name(&user.name);
            if report.found(named, id)? != Some(id) {
                let what = "a user's name does not lead to the user";
                report.add_finding(USER_NAMES.name, what, id);
            }
        }
    }
    Ok(())
}

/// Each name leads to a user with this name.
fn check_names(tables: &Tables, report: &mut VerifyReport) -> Result<()> {
    for entry in tables.accounts.user_names.iter()? {
        let (key, stored) = entry?;
        let number = stored.value().try_into().map_or(0, u32::from_be_bytes);
        let user = report.found(tables.accounts.user(UserId::new(number)), NOBODY)?;
        if user.is_none_or(|user| accounts::digest(user.name.as_str()) != key) {
            report.add_finding(USER_NAMES.name, "a name leads to no user with this name", NOBODY);
        }
    }
    Ok(())
}

/// Each assistant decodes, has its user and is found by number, and each number leads to its
/// assistant.
fn check_assistants(
    tables: &Tables,
    report: &mut VerifyReport,
    usage: &mut CountedUsage,
) -> Result<()> {
    let accounts = &tables.accounts;
    for entry in accounts.assistants.iter()? {
        let (key, record) = entry?;
        let (user, id) = (key.user, AssistantId::new(key.uuid));
        usage.add(user, UuidKey::WIDTH, record.value().len());
        if !accounts.has_user(user)? {
            report.add_finding(ASSISTANTS.name, "an assistant's user does not exist", user);
        }
        if let Some(assistant) = report.found(accounts.assistant(user, id), user)? {
            let numbered = accounts.assistant_by_number(user, assistant.number);
            if report.found(numbered, user)?.is_none_or(|found| found.id != id) {
                let what = "an assistant's number does not lead to it";
                report.add_finding(ASSISTANT_NUMBERS.name, what, user);
            }
        }
    }
    for entry in accounts.assistant_numbers.iter()? {
        let (key, _) = entry?;
        report.found(accounts.assistant_by_number(key.user, key.number), key.user)?;
    }
    Ok(())
}

/// Each token decodes, is found by its id, and has its user.
fn check_tokens(tables: &Tables, report: &mut VerifyReport) -> Result<()> {
    for token in tables.accounts.tokens()? {
        let Some(token) = report.found(token.map(Some), NOBODY)? else { continue };
        let token = token.token;
        if !tables.accounts.has_user(token.user)? {
            report.add_finding(TOKENS.name, "a token's user does not exist", token.user);
        }
        let found = report.found(tables.accounts.token_by_id(token.id), token.user)?;
        if found.is_none_or(|found| found.token != token) {
            report.add_finding(TOKENS.name, "a token's id does not lead to it", token.user);
        }
    }
    Ok(())
}
