//! Verification of quotas: what each user's data takes, against what the other checks counted.

use crate::error::Result;
use crate::model::quota::StorageUsage;
use crate::tables::Tables;
use crate::tables::quotas::{self, CountedUsage};
use crate::tables::schema::QUOTAS;
use crate::verify::report::VerifyReport;

/// Verifies the usage of each user.
pub(super) fn verify(
    tables: &Tables,
    report: &mut VerifyReport,
    mut counted: CountedUsage,
) -> Result<()> {
    for entry in tables.quotas.table.iter()? {
        let (user, record) = entry?;
        let counted = counted.take(user);
        let decoded = quotas::decode(user, record.value()).map(Some);
        if let Some(quota) = report.found(decoded, user)? {
            let (conversations, bytes) = (quota.conversations, quota.bytes);
            if counted != (StorageUsage { conversations, bytes }) {
                report.add_finding(QUOTAS.name, "a user's usage is wrong", user);
            }
        }
        if !tables.accounts.has_user(user)? {
            report.add_finding(QUOTAS.name, "a quota's user does not exist", user);
        }
    }
    for (user, _) in counted.all() {
        report.add_finding(QUOTAS.name, "a user's usage is missing", user);
    }
    Ok(())
}
