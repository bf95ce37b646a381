//! Verification of staged inserts: each decodes, has its user, and has no row yet.

use crate::error::Result;
use crate::tables::Tables;
use crate::tables::schema::STAGED_INSERTS;
use crate::tables::staged_inserts;
use crate::verify::report::VerifyReport;

/// Verifies the staged inserts of all users.
pub(super) fn verify(tables: &Tables, report: &mut VerifyReport) -> Result<()> {
    for entry in tables.staged.table.iter()? {
        let (key, record) = entry?;
        let decoded = staged_inserts::decode(key, record.value()).map(Some);
        report.found(decoded, key.user)?;
        let mut finding = |what| report.add_finding(STAGED_INSERTS.name, what, key.user);
        if tables.conversations.rows.get(key)?.is_some() {
            finding("a staged insert has a row");
        }
        if !tables.accounts.has_user(key.user)? {
            finding("a staged insert's user does not exist");
        }
    }
    Ok(())
}
