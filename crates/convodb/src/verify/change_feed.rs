//! The part of the audit about what is kept for a time: each user's changes decode and have no gap,
//! from the first that is not forgotten to the last that was noted, and answers decode.

use crate::encoding::key::ChangeKey;
use crate::error::Result;
use crate::model::id::UserId;
use crate::tables::Tables;
use crate::tables::schema::names;
use crate::tables::{change_feed, idempotency, sequences};
use crate::verify::report::VerifyReport;

/// Checks the tables of changes and of answers. `tick` is called for each of their entries.
pub(crate) fn verify(
    tables: &Tables,
    report: &mut VerifyReport,
    mut tick: impl FnMut(),
) -> Result<()> {
    let mut before: Option<ChangeKey> = None;
    for entry in tables.changes.iter()? {
        let (key, record) = entry?;
        tick();
        report.changes += 1;
        let decoded = change_feed::decode(key, record.value()).map(Some);
        report.found(decoded, key.user)?;
        if tables.changes.get(key)?.is_none() {
            report.fault(names::CHANGES, "a change is not found by its key", key.user);
        }
        let expected = match before {
            Some(before) if before.user == key.user => before.number,
            before => {
                check_end(tables, report, before)?;
                let forgotten = sequences::last_forgotten(&tables.sequences, key.user).map(Some);
                report.found(forgotten, key.user)?.unwrap_or(0)
            }
        };
        if key.number != expected.wrapping_add(1) {
            report.fault(names::CHANGES, "a change is missing", key.user);
        }
        before = Some(key);
    }
    check_end(tables, report, before)?;
    for user in tables.users.iter()? {
        let (user, _) = user?;
        check_empty(tables, report, user)?;
    }
    for entry in tables.idempotency.iter()? {
        let (key, record) = entry?;
        tick();
        report.found(idempotency::at(key, record.value()).map(Some), key.user)?;
    }
    Ok(())
}

/// The last change of a user is the last one that was noted.
fn check_end(tables: &Tables, report: &mut VerifyReport, last: Option<ChangeKey>) -> Result<()> {
    let Some(ChangeKey { user, number }) = last else { return Ok(()) };
    let records = sequences::last_change(&tables.sequences, user).map(Some);
    if report.found(records, user)? != Some(number) {
        report.fault(names::CHANGES, "the last change is not the last that was noted", user);
    }
    Ok(())
}

/// A user without changes has forgotten all that were noted.
fn check_empty(tables: &Tables, report: &mut VerifyReport, user: UserId) -> Result<()> {
    let all = ChangeKey { user, number: 0 }..=ChangeKey { user, number: u64::MAX };
    if tables.changes.last(all)?.is_some() {
        return Ok(());
    }
    let records = report.found(sequences::last_change(&tables.sequences, user).map(Some), user)?;
    let forgotten = sequences::last_forgotten(&tables.sequences, user).map(Some);
    if records != report.found(forgotten, user)? {
        report.fault(names::CHANGES, "all changes are missing", user);
    }
    Ok(())
}
