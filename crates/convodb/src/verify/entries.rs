//! Verification of ids and index entries: one pass over each table, for its set hash.

use crate::encoding::key::FixedKey;
use crate::error::Result;
use crate::kv::audit::AuditedEntry;
use crate::kv::table::Table;
use crate::tables::Tables;
use crate::verify::report::{Ticker, VerifyReport};
use crate::verify::set_hash::{SetHash, SummedTable};

/// Adds all ids, and looks up those that a lookup might miss.
pub(super) fn verify_ids(
    tables: &Tables,
    set_hash: &mut SetHash<'_>,
    ticker: &mut Ticker<'_>,
) -> Result<()> {
    let ids = &tables.conversations.ids;
    for entry in ids.audit()? {
        let AuditedEntry { key, value, needs_lookup } = entry?;
        ticker.tick();
        set_hash.store(SummedTable::Ids, key.encode().as_ref(), value.value());
        if needs_lookup && ids.get(key)?.is_none() {
            set_hash.distrust(SummedTable::Ids);
        }
    }
    ticker.flush();
    Ok(())
}

/// Adds all entries of an index, and looks up those that a lookup might miss.
pub(super) fn verify_index<K: FixedKey>(
    index: &Table<K, ()>,
    table: SummedTable,
    report: &mut VerifyReport,
    set_hash: &mut SetHash<'_>,
    ticker: &mut Ticker<'_>,
) -> Result<()> {
    for entry in index.audit()? {
        let AuditedEntry { key, needs_lookup, .. } = entry?;
        ticker.tick();
        report.entries += 1;
        set_hash.store(table, key.encode().as_ref(), &[]);
        if needs_lookup && index.get(key)?.is_none() {
            set_hash.distrust(table);
        }
    }
    ticker.flush();
    Ok(())
}
