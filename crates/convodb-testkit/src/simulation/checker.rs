//! State checker: compares everything that a store returns with the oracle.
//!
//! It compares conversations, messages, statistics, filtered lists page by page, their counts and
//! the change feed, and runs `verify`.

use std::collections::BTreeMap;

use convodb::{
    ChangesSince, ChannelKind, Conversation, CostSum, Day, Error, Filter, IndexFamily, IndexState,
    ListRequest, PageSize, Snapshot, StatsRequest, Volume,
};

use crate::oracle::{ListQuery, Oracle, assistant_bytes};
use crate::simulation::workload::{USERS, user};

/// Why a check failed.
#[derive(Debug)]
pub(super) enum CheckError {
    /// The store reports damage itself: a read fails, or `verify` has findings.
    Reported(String),
    /// The files were reopened during the check. A new snapshot can be checked instead.
    SnapshotInvalidated,
    /// The store reports no error and returns wrong data.
    Mismatch(String),
}

impl From<Error> for CheckError {
    fn from(error: Error) -> Self {
        match error {
            Error::SnapshotInvalidated => CheckError::SnapshotInvalidated,
            error => CheckError::Reported(error.to_string()),
        }
    }
}

impl From<CheckError> for String {
    fn from(error: CheckError) -> Self {
        match error {
            CheckError::Reported(error) => format!("store reports an error: {error}"),
            CheckError::SnapshotInvalidated => "snapshot invalidated without a fault".to_owned(),
            CheckError::Mismatch(mismatch) => mismatch,
        }
    }
}

/// Returns the index of the candidate that equals the state of the store. If `may_be_empty`, a
/// store without users is accepted as candidate 0.
///
/// # Errors
/// The store reports an error, the snapshot was invalidated, or no candidate matches.
pub(super) fn check_state(
    snapshot: &Snapshot,
    candidates: &[Oracle],
    may_be_empty: bool,
) -> Result<usize, CheckError> {
    let verified = snapshot.verify()?;
    if !verified.is_clean() {
        return Err(CheckError::Reported(format!("{:?}", verified.findings)));
    }
    let empty = Oracle::default();
    if snapshot.users()?.is_empty() && may_be_empty {
        if verified.conversations + verified.messages + verified.entries > 0 {
            return Err(CheckError::Mismatch("store has rows but no users".to_owned()));
        }
        return Ok(0);
    }
    let mut stored = Vec::new();
    for (number, name) in USERS.iter().enumerate() {
        let user = user(number);
        if snapshot.user(user)?.is_none_or(|found| found.name.as_str() != *name)
            || snapshot.assistant_count(user)? != 3
        {
            return Err(CheckError::Mismatch(format!("user {name} is incomplete")));
        }
        let rows = snapshot.conversations(user, &ListRequest::default());
        stored.push(rows.collect::<Result<Vec<Conversation>, Error>>()?);
    }
    let mut found = None;
    for (number, oracle) in candidates.iter().enumerate() {
        if matches(snapshot, &stored, oracle)? {
            found = Some((number, oracle));
        }
    }
    let Some((number, oracle)) = found else {
        let rows: usize = stored.iter().map(Vec::len).sum();
        let expected: Vec<usize> = candidates
            .iter()
            .chain([&empty])
            .map(|oracle| oracle.conversations().count())
            .collect();
        return Err(CheckError::Mismatch(format!(
            "no candidate matches {rows} rows; candidates have {expected:?} rows: {stored:#?}"
        )));
    };
    check_stats(snapshot, oracle)?;
    check_usage(snapshot, oracle)?;
    check_previews(snapshot, oracle)?;
    check_pages(snapshot, oracle)?;
    check_feed(snapshot, oracle)?;
    Ok(number)
}

/// Whether conversations and messages equal those of the oracle.
fn matches(
    snapshot: &Snapshot,
    stored: &[Vec<Conversation>],
    oracle: &Oracle,
) -> Result<bool, CheckError> {
    for (number, rows) in stored.iter().enumerate() {
        let user = user(number);
        if *rows != oracle.list(user, &ListQuery::default()) {
            return Ok(false);
        }
        for row in rows {
            let messages = snapshot.messages(user, row.id)?;
            if messages.as_deref() != oracle.messages(user, row.id) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

fn check_stats(snapshot: &Snapshot, oracle: &Oracle) -> Result<(), CheckError> {
    for number in 0..USERS.len() {
        let request = StatsRequest::new(Day::new(0), Day::new(u32::MAX));
        let stats = snapshot.stats(user(number), &request)?;
        let own = || oracle.conversations().filter(|(of, _)| *of == user(number));
        let counted = Volume {
            conversations: own().count() as u64,
            messages: own().map(|(_, row)| u64::from(row.message_count)).sum(),
            cost: own().map(|(_, row)| row.total_cost).sum::<CostSum>(),
        };
        if stats.total != counted {
            return Err(CheckError::Mismatch(format!(
                "statistics are {:?}, expected {counted:?}",
                stats.total
            )));
        }
    }
    Ok(())
}

/// Compares what each user's data takes.
fn check_usage(snapshot: &Snapshot, oracle: &Oracle) -> Result<(), CheckError> {
    for number in 0..USERS.len() {
        let user = user(number);
        let mut expected = oracle.usage(user);
        for assistant in snapshot.assistants(user, 0, 100)? {
            expected.bytes += assistant_bytes(assistant.name.as_str());
        }
        let usage = snapshot.storage_usage(user)?;
        if usage != expected {
            return Err(CheckError::Mismatch(format!("usage is {usage:?}, not {expected:?}")));
        }
    }
    Ok(())
}

/// Compares the previews of all rows, whether rows keep them or not.
fn check_previews(snapshot: &Snapshot, oracle: &Oracle) -> Result<(), CheckError> {
    for number in 0..USERS.len() {
        let user = user(number);
        for page in snapshot.pages(user, ListRequest::new().previews()) {
            let page = page?;
            for (row, preview) in page.conversations().zip(page.previews()) {
                let preview = preview.map(|preview| preview.owned());
                if preview != oracle.preview(user, row.id) {
                    return Err(CheckError::Mismatch(format!("preview is {preview:?}")));
                }
            }
        }
    }
    Ok(())
}

/// Compares filtered lists, in pages of two rows.
fn check_pages(snapshot: &Snapshot, oracle: &Oracle) -> Result<(), CheckError> {
    let customer = Filter { customer_phone: "+491".parse().ok(), ..Filter::default() };
    check_list(snapshot, oracle, &customer)?;
    let sender = Filter { sender_phone: "+491".parse().ok(), ..Filter::default() };
    check_list(snapshot, oracle, &sender)?;
    let ai_off = Filter::new().ai_off();
    if snapshot.index_state(IndexFamily::AiOff) == IndexState::Ready {
        check_list(snapshot, oracle, &ai_off)?;
        return check_list(snapshot, oracle, &ai_off.kind(ChannelKind::Whatsapp));
    }
    match snapshot.list(user(0), &ListRequest::new().filter(ai_off)) {
        Err(Error::IndexAbsent { .. } | Error::IndexBuilding { .. }) => Ok(()),
        other => Err(CheckError::Mismatch(format!("an index that is not ready lists {other:?}"))),
    }
}

fn check_list(snapshot: &Snapshot, oracle: &Oracle, filter: &Filter) -> Result<(), CheckError> {
    for number in 0..USERS.len() {
        let request = ListRequest {
            filter: filter.clone(),
            page_size: PageSize::new(2).ok(),
            ..ListRequest::default()
        };
        let mut rows = Vec::new();
        for page in snapshot.pages(user(number), request) {
            rows.extend(page?.conversations().map(|row| row.owned()));
        }
        let query = ListQuery { filter: filter.clone(), ..ListQuery::default() };
        if rows != oracle.list(user(number), &query) {
            return Err(CheckError::Mismatch("a filtered list differs from the oracle".into()));
        }
        let count = snapshot.count(user(number), &ListRequest::new().filter(filter.clone()))?;
        if (count.conversations, count.is_exact) != (rows.len() as u64, true) {
            let len = rows.len();
            return Err(CheckError::Mismatch(format!("a list of {len} has the count {count:?}")));
        }
    }
    Ok(())
}

/// Follows the change feed from its beginning, and compares the resulting copy.
fn check_feed(snapshot: &Snapshot, oracle: &Oracle) -> Result<(), CheckError> {
    for number in 0..USERS.len() {
        let mut followed = BTreeMap::new();
        let mut since = ChangesSince::Beginning;
        loop {
            let page = snapshot.changes_since(user(number), since, PageSize::default())?;
            for change in page.changes {
                match change.conversation {
                    Some(conversation) => followed.insert(change.id, conversation),
                    None => followed.remove(&change.id),
                };
            }
            since = ChangesSince::Cursor(page.next_cursor);
            if !page.has_more {
                break;
            }
        }
        let own = oracle.conversations().filter(|(of, _)| *of == user(number));
        let own: BTreeMap<_, _> = own.map(|(_, row)| (row.id, row.clone())).collect();
        if followed != own {
            return Err(CheckError::Mismatch(
                "a follower of the change feed has other conversations".into(),
            ));
        }
    }
    Ok(())
}
