//! Whether a store is what the oracle says: rows, histories, reports, a filtered list by pages, the
//! feed of changes, and the audit.

use std::collections::BTreeMap;

use convodb::{
    ChangesSince, Conversation, CostSum, Day, Error, Filter, ListRequest, PageSize, Snapshot,
    StatsRequest, Volume,
};

use super::script::{USERS, user};
use crate::oracle::{Asked, Oracle};

/// Why a store is not right.
#[derive(Debug)]
pub(super) enum Fault {
    /// The store says so itself, with an error or in its audit.
    Told(String),
    /// The files were opened again meanwhile: a new snapshot answers.
    Lost,
    /// It says that all is well, and shows what is not so.
    Wrong(String),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error {
            Error::SnapshotInvalidated => Fault::Lost,
            error => Fault::Told(error.to_string()),
        }
    }
}

impl From<Fault> for String {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Told(why) => format!("the store tells of a fault: {why}"),
            Fault::Lost => "a snapshot was lost, and no fault came up".to_owned(),
            Fault::Wrong(why) => why,
        }
    }
}

/// Which of the states that a store may be in it is in: its number among `candidates`. The users
/// were acknowledged, or `may_be_empty`.
///
/// # Errors
/// A [`Fault`] if it is in none.
pub(super) fn judge(
    snapshot: &Snapshot,
    candidates: &[Oracle],
    may_be_empty: bool,
) -> Result<usize, Fault> {
    let audit = snapshot.verify(|_, _| {})?;
    if !audit.is_clean() {
        return Err(Fault::Told(format!("{:?}", audit.findings)));
    }
    let empty = Oracle::default();
    if snapshot.users()?.is_empty() && may_be_empty {
        if audit.conversations + audit.messages + audit.entries > 0 {
            return Err(Fault::Wrong("rows without users".to_owned()));
        }
        return Ok(0);
    }
    let mut shown = Vec::new();
    for (number, name) in USERS.iter().enumerate() {
        let user = user(number);
        if snapshot.user(user)?.is_none_or(|found| found.name.as_str() != *name)
            || snapshot.assistant_count(user)? != 3
        {
            return Err(Fault::Wrong(format!("user {name} is not whole")));
        }
        let rows = snapshot.conversations(user, &ListRequest::default());
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
        let expected: Vec<usize> =
            candidates.iter().chain([&empty]).map(|oracle| oracle.all().count()).collect();
        return Err(Fault::Wrong(format!(
            "{rows} rows are none of the states that may be, which have {expected:?}: {shown:#?}"
        )));
    };
    check_report(snapshot, oracle)?;
    check_pages(snapshot, oracle)?;
    check_feed(snapshot, oracle)?;
    Ok(number)
}

/// Whether rows and histories are the oracle's.
fn is_of(snapshot: &Snapshot, shown: &[Vec<Conversation>], oracle: &Oracle) -> Result<bool, Fault> {
    for (number, rows) in shown.iter().enumerate() {
        let user = user(number);
        if *rows != oracle.list(user, &Asked::default()) {
            return Ok(false);
        }
        for row in rows {
            let history = snapshot.messages(user, row.id)?;
            if history.as_deref() != oracle.history(user, row.id) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

fn check_report(snapshot: &Snapshot, oracle: &Oracle) -> Result<(), Fault> {
    for number in 0..USERS.len() {
        let request = StatsRequest::new(Day::new(0), Day::new(u32::MAX));
        let report = snapshot.stats(user(number), &request)?;
        let own = || oracle.all().filter(|(owner, _)| *owner == user(number));
        let counted = Volume {
            conversations: own().count() as u64,
            messages: own().map(|(_, row)| u64::from(row.message_count)).sum(),
            cost: own().map(|(_, row)| row.total_cost).sum::<CostSum>(),
        };
        if report.total != counted {
            return Err(Fault::Wrong(format!("{:?} reported of {counted:?}", report.total)));
        }
    }
    Ok(())
}

/// One customer's list, by pages of two.
fn check_pages(snapshot: &Snapshot, oracle: &Oracle) -> Result<(), Fault> {
    let filter = Filter { customer_phone: "+491".parse().ok(), ..Filter::default() };
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
        let asked = Asked { filter: filter.clone(), ..Asked::default() };
        if rows != oracle.list(user(number), &asked) {
            return Err(Fault::Wrong("a filtered list is not the rows that it should be".into()));
        }
    }
    Ok(())
}

/// Who follows the feed from its beginning has all conversations, and no other.
fn check_feed(snapshot: &Snapshot, oracle: &Oracle) -> Result<(), Fault> {
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
            since = ChangesSince::Cursor(part.next_cursor);
            if !part.has_more {
                break;
            }
        }
        let own = oracle.all().filter(|(owner, _)| *owner == user(number));
        let own: BTreeMap<_, _> = own.map(|(_, row)| (row.id, row.clone())).collect();
        if followed != own {
            return Err(Fault::Wrong("who follows the feed has other conversations".into()));
        }
    }
    Ok(())
}
