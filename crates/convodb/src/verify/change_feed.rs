//! Verification of change feeds and idempotency records.
//!
//! Each user's changes decode and have no gap, from the first that is not trimmed to the last that
//! was appended. Each idempotency record decodes.

use std::ops::RangeInclusive;

use crate::encoding::key::{ChangeKey, FixedKey, UuidKey};
use crate::error::Result;
use crate::kv::audit::AuditedEntry;
use crate::model::id::UserId;
use crate::tables::Tables;
use crate::tables::quotas::CountedUsage;
use crate::tables::schema::CHANGES;
use crate::tables::{change_feed, idempotency};
use crate::verify::report::{Ticker, VerifyReport};
use crate::verify::user_ranges::keys_of;

/// Verifies the change feeds of some users.
pub(super) fn verify(
    tables: &Tables,
    users: &RangeInclusive<UserId>,
    report: &mut VerifyReport,
    ticker: &mut Ticker<'_>,
) -> Result<()> {
    let mut before: Option<ChangeKey> = None;
    for entry in tables.change_feed.changes.audit_range(keys_of(users))? {
        let AuditedEntry { key, value: record, needs_lookup } = entry?;
        ticker.tick();
        report.changes += 1;
        let decoded = change_feed::decode(key, record.value()).map(Some);
        report.found(decoded, key.user)?;
        if needs_lookup && tables.change_feed.changes.get(key)?.is_none() {
            report.add_finding(CHANGES.name, "a change is not found by its key", key.user);
        }
        let last = match before {
            Some(before) if before.user == key.user => before.number,
            before => {
                check_end(tables, report, before)?;
                let trimmed = tables.sequences.last_trimmed(key.user).map(Some);
                report.found(trimmed, key.user)?.unwrap_or(0)
            }
        };
        if key.number != last.wrapping_add(1) {
            report.add_finding(CHANGES.name, "a change is missing", key.user);
        }
        before = Some(key);
    }
    check_end(tables, report, before)?;
    for entry in tables.accounts.users.range(users.clone())? {
        let (user, _) = entry?;
        check_empty(tables, report, user)?;
    }
    ticker.flush();
    Ok(())
}

/// Verifies idempotency records.
pub(super) fn verify_idempotency(
    tables: &Tables,
    report: &mut VerifyReport,
    usage: &mut CountedUsage,
    ticker: &mut Ticker<'_>,
) -> Result<()> {
    for entry in tables.idempotency.table.iter()? {
        let (key, record) = entry?;
        ticker.tick();
        usage.add(key.user, UuidKey::WIDTH, record.value().len());
        report.found(idempotency::recorded_at(key, record.value()).map(Some), key.user)?;
    }
    ticker.flush();
    Ok(())
}

/// The last change of a user is the last that was appended.
fn check_end(tables: &Tables, report: &mut VerifyReport, last: Option<ChangeKey>) -> Result<()> {
    let Some(ChangeKey { user, number }) = last else { return Ok(()) };
    let appended = tables.sequences.last_change(user).map(Some);
    if report.found(appended, user)? != Some(number) {
        let what = "the last change is not the last that was appended";
        report.add_finding(CHANGES.name, what, user);
    }
    Ok(())
}

/// A user without changes has none that was appended and not trimmed.
fn check_empty(tables: &Tables, report: &mut VerifyReport, user: UserId) -> Result<()> {
    let all = ChangeKey { user, number: 0 }..=ChangeKey { user, number: u64::MAX };
    if tables.change_feed.changes.last(all)?.is_some() {
        return Ok(());
    }
    let appended = report.found(tables.sequences.last_change(user).map(Some), user)?;
    let trimmed = report.found(tables.sequences.last_trimmed(user).map(Some), user)?;
    if appended != trimmed {
        report.add_finding(CHANGES.name, "all changes are missing", user);
    }
    Ok(())
}
