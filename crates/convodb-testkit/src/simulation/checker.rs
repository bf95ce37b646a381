//! Whether a store is what the oracle says: rows, histories, reports, a filtered list by pages, the
//! feed of changes, and the audit.

use std::collections::BTreeMap;

use convodb::{
    ChangesSince, Conversation, CostSum, Day, Error, Filter, ListRequest, PageSize, ReportRequest,
    Snapshot, Volume,
};

use crate::oracle::{ListQuery, Oracle};
use crate::simulation::workload::{USERS, user};

/// Why a store is not right.
#[derive(Debug)]
pub(super) enum CheckError {
    /// The store says so itself, with an error or in its audit.
    Reported(String),
    /// The files were opened again meanwhile: a new snapshot answers.
    SnapshotInvalidated,
    /// It says that all is well, and shows what is not so.
    Mismatch(String),
}

impl From<Error> for CheckError {
    fn from(error: Error) -> Self {
        match error {
            Error::SnapshotLost => CheckError::SnapshotInvalidated,
            error => CheckError::Reported(error.to_string()),
        }
    }
}

impl From<CheckError> for String {
    fn from(fault: CheckError) -> Self {
        match fault {
            CheckError::Reported(why) => format!("the store tells of a fault: {why}"),
            CheckError::SnapshotInvalidated => {
                "a snapshot was lost, and no fault came up".to_owned()
            }
            CheckError::Mismatch(why) => why,
        }
    }
}

/// Which of the states that a store may be in it is in: its number among `candidates`. The users
/// were acknowledged, or `may_be_empty`.
///
/// # Errors
/// A [`CheckError`] if it is in none.
pub(super) fn check_state(
    snapshot: &Snapshot,
    candidates: &[Oracle],
    may_be_empty: bool,
) -> Result<usize, CheckError> {
    let audit = snapshot.verify(|_, _| {})?;
    if !audit.is_clean() {
        return Err(CheckError::Reported(format!("{:?}", audit.faults)));
    }
    let empty = Oracle::default();
    if snapshot.users()?.is_empty() && may_be_empty {
        if audit.conversations + audit.messages + audit.entries > 0 {
            return Err(CheckError::Mismatch("rows without users".to_owned()));
        }
        return Ok(0);
    }
    let mut shown = Vec::new();
    for (number, name) in USERS.iter().enumerate() {
        let user = user(number);
        if snapshot.user(user)?.is_none_or(|found| found.name.as_str() != *name)
            || snapshot.assistant_count(user)? != 3
        {
            return Err(CheckError::Mismatch(format!("user {name} is not whole")));
        }
        let rows = snapshot.rows(user, &ListRequest::default());
        shown.push(rows.collect::<Result<Vec<Conversation>, Error>>()?);
    }
    let mut found = None;
    for (number, oracle) in candidates.iter().enumerate() {
        if is_of(snapshot, &shown, oracle)? {
            found = Some((number, oracle));
        }
    }
    let Some((number, oracle)) = found else {
        let rows: usize = shown.iter().map(Vec::len).sum();
        let expected: Vec<usize> = candidates
            .iter()
            .chain([&empty])
            .map(|oracle| oracle.conversations().count())
            .collect();
        return Err(CheckError::Mismatch(format!(
            "{rows} rows are none of the states that may be, which have {expected:?}: {shown:#?}"
        )));
    };
    check_report(snapshot, oracle)?;
    check_pages(snapshot, oracle)?;
    check_feed(snapshot, oracle)?;
    Ok(number)
}

/// Whether rows and histories are the oracle's.
fn is_of(
    snapshot: &Snapshot,
    shown: &[Vec<Conversation>],
    oracle: &Oracle,
) -> Result<bool, CheckError> {
    for (number, rows) in shown.iter().enumerate() {
        let user = user(number);
        if *rows != oracle.list(user, &ListQuery::default()) {
            return Ok(false);
        }
        for row in rows {
            let history = snapshot.history(user, row.id)?;
            if history.as_deref() != oracle.messages(user, row.id) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

fn check_report(snapshot: &Snapshot, oracle: &Oracle) -> Result<(), CheckError> {
    for number in 0..USERS.len() {
        let request = ReportRequest::new(Day::new(0), Day::new(u32::MAX));
        let report = snapshot.report(user(number), &request)?;
        let own = || oracle.conversations().filter(|(owner, _)| *owner == user(number));
        let counted = Volume {
            conversations: own().count() as u64,
            messages: own().map(|(_, row)| u64::from(row.message_count)).sum(),
            cost: own().map(|(_, row)| row.total_cost).sum::<CostSum>(),
        };
        if report.total != counted {
            return Err(CheckError::Mismatch(format!(
                "{:?} reported of {counted:?}",
                report.total
            )));
        }
    }
    Ok(())
}

/// One customer's list, by pages of two.
fn check_pages(snapshot: &Snapshot, oracle: &Oracle) -> Result<(), CheckError> {
    let filter = Filter { customer_phone: "+491".parse().ok(), ..Filter::default() };
    for number in 0..USERS.len() {
        let request = ListRequest {
            filter: filter.clone(),
            page_size: PageSize::new(2).ok(),
            ..ListRequest::default()
        };
        let mut rows = Vec::new();
        for page in snapshot.pages(user(number), request) {
            rows.extend(page?.rows().map(|row| row.owned()));
        }
        let asked = ListQuery { filter: filter.clone(), ..ListQuery::default() };
        if rows != oracle.list(user(number), &asked) {
            return Err(CheckError::Mismatch(
                "a filtered list is not the rows that it should be".into(),
            ));
        }
    }
    Ok(())
}

/// Who follows the feed from its beginning has all conversations, and no other.
fn check_feed(snapshot: &Snapshot, oracle: &Oracle) -> Result<(), CheckError> {
    for number in 0..USERS.len() {
        let mut followed = BTreeMap::new();
        let mut since = ChangesSince::Beginning;
        loop {
            let part = snapshot.changes_since(user(number), since, PageSize::default())?;
            for change in part.changes {
                match change.conversation {
                    Some(conversation) => followed.insert(change.id, conversation),
                    None => followed.remove(&change.id),
                };
            }
            since = ChangesSince::Cursor(part.next);
            if !part.more {
                break;
            }
        }
        let own = oracle.conversations().filter(|(owner, _)| *owner == user(number));
        let own: BTreeMap<_, _> = own.map(|(_, row)| (row.id, row.clone())).collect();
        if followed != own {
            return Err(CheckError::Mismatch(
                "who follows the feed has other conversations".into(),
            ));
        }
    }
    Ok(())
}
