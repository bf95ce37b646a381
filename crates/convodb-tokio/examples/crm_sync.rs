//! Two-way synchronization of a CRM and a store, by the CRM's own identifiers.
//!
//! Twice a day the CRM sends its deals. Each is looked up by its external identifier, which is one
//! index range, and created or updated in one write, so that two concurrent syncs create no
//! duplicates. In the other direction, the CRM stores the cursor of the change feed as a token, and
//! receives all changes since, by any writer. No change is missed, and unchanged conversations are
//! not read.
//!
//! Run it: `cargo run -p convodb-tokio --example crm_sync`

#![expect(clippy::print_stdout, reason = "an example shows what it found")]

use std::error::Error;

use convodb_tokio::AsyncStore;
use convodb_tokio::convodb::{
    AssistantId, ChangeKind, ChangesSince, Channel, Conversation, ConversationId, Filter,
    ListRequest, Message, PageSize, Role, Store, Timestamp, UserId, Variables,
};

/// A deal as the CRM sends it.
#[derive(Clone)]
struct Deal {
    identifier: String,
    stage: &'static str,
    note: &'static str,
}

/// The result of a sync.
#[derive(Debug, Default, PartialEq, Eq)]
struct Synced {
    created: usize,
    updated: usize,
    unchanged: usize,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let store = AsyncStore::open(directory.path().join("crm.convodb")).await?;
    let morning: Timestamp = "2025-01-25 08:00:00".parse()?;
    let evening: Timestamp = "2025-01-25 18:00:00".parse()?;
    let user = store.create_user("Acme", morning).await?.id;
    let bot = AssistantId::generate(morning);
    store.create_assistant(user, bot, "Sales").await?;

    let deal = |n: usize, stage, note| Deal { identifier: format!("deal-{n}"), stage, note };
    let deals: Vec<Deal> = (0..200).map(|n| deal(n, "new", "A first call was made.")).collect();
    let synced = sync(&store, user, bot, deals.clone(), morning).await?;
    println!("08:00 {synced:?}");
    check(synced == Synced { created: 200, ..Synced::default() }, "all deals are new")?;
    let cursor = cursor_of_now(store.store(), user)?;

    // In the evening three deals are won and one is new, and the CRM sends all deals twice.
    let mut deals = deals;
    for n in [3, 50, 199] {
        deals[n] = deal(n, "won", "Signed.");
    }
    deals.push(deal(200, "new", "They called us."));
    let (one, two) = tokio::join!(
        sync(&store, user, bot, deals.clone(), evening),
        sync(&store, user, bot, deals, evening)
    );
    let (one, two) = (one?, two?);
    println!("18:00 {one:?}\n18:00 {two:?} (at the same time)");
    check(
        (one.created + two.created, one.updated + two.updated) == (1, 3),
        "every deal changes once",
    )?;

    let deleted = find(store.store(), user, "deal-7")?.ok_or("deal-7 does not exist")?;
    store.delete(user, deleted.id).await?;

    let (lines, cursor) = changed_since(store.store(), user, &cursor)?;
    println!("\nfor the CRM, since 08:00:");
    for line in &lines {
        println!("  {line}");
    }
    check(lines.len() == 5, "four deals changed in the evening, and one was deleted")?;
    check(changed_since(store.store(), user, &cursor)?.0.is_empty(), "the feed has ended")?;
    check(find(store.store(), user, "deal-3")?.is_some(), "a deal is found by its identifier")?;
    check(find(store.store(), user, "deal-999")?.is_none(), "an unknown identifier is not found")?;
    store.close().await?;
    Ok(())
}

/// Writes all deals into the store. The writes run concurrently and share commits.
async fn sync(
    store: &AsyncStore,
    user: UserId,
    bot: AssistantId,
    deals: Vec<Deal>,
    now: Timestamp,
) -> Result<Synced, Box<dyn Error>> {
    let mut writes = tokio::task::JoinSet::new();
    for deal in deals {
        let store = store.clone();
        writes.spawn(async move { sync_one(&store, user, bot, deal, now).await });
    }
    let mut synced = Synced::default();
    while let Some(done) = writes.join_next().await {
        match done?? {
            Change::Created => synced.created += 1,
            Change::Updated => synced.updated += 1,
            Change::None => synced.unchanged += 1,
        }
    }
    Ok(synced)
}

enum Change {
    Created,
    Updated,
    None,
}

/// Writes one deal into the store.
///
/// The id of its conversation is derived from the CRM's identifier. Of two concurrent syncs, the
/// second one therefore finds the conversation of the first one within its write, which is
/// isolated.
async fn sync_one(
    store: &AsyncStore,
    user: UserId,
    bot: AssistantId,
    deal: Deal,
    now: Timestamp,
) -> Result<Change, convodb::Error> {
    let known = find(store.store(), user, &deal.identifier)?;
    let id = known.map_or_else(|| id_of(&deal.identifier), |row| Ok(row.id))?;
    let variables = Variables::new(format!("{{\"stage\":\"{}\"}}", deal.stage))?;
    let external_identifier = Some(deal.identifier.parse()?);
    let note = Message::new(Role::System, deal.note.to_owned(), now)?;
    let write = move |transaction: &mut convodb::Transaction<'_>| {
        let change = match transaction.conversation(user, id)? {
            Some(row) if row.variables.as_ref() == Some(&variables) => return Ok(Change::None),
            Some(_) => Change::Updated,
            None => {
                let channel = Channel::Api { external_identifier };
                transaction.insert(user, Conversation::new(id, bot, channel, now), Vec::new())?;
                Change::Created
            }
        };
        transaction.append_message(user, id, &note)?;
        transaction.update(user, id, Timestamp::MIN, |row| {
            row.variables = Some(variables);
            Ok(())
        })?;
        Ok(change)
    };
    store.write(write).await
}

/// The conversation of a deal: a page of one, at the same cost for any size of the store.
fn find(store: &Store, user: UserId, identifier: &str) -> convodb::Result<Option<Conversation>> {
    let filter = Filter { external_identifier: Some(identifier.parse()?), ..Filter::default() };
    let page = store.snapshot().list(user, &ListRequest { filter, ..ListRequest::default() })?;
    Ok(page.conversations().next().map(|row| row.owned()))
}

/// The current end of the user's change feed, as a token that the CRM stores.
fn cursor_of_now(store: &Store, user: UserId) -> convodb::Result<String> {
    let snapshot = store.snapshot();
    let end = snapshot.changes_since(user, ChangesSince::Now, PageSize::MIN)?.next_cursor;
    Ok(snapshot.seal_change_cursor(&end))
}

/// The changes since a cursor, one line for each conversation, and the cursor for the next call.
fn changed_since(
    store: &Store,
    user: UserId,
    cursor: &str,
) -> convodb::Result<(Vec<String>, String)> {
    let snapshot = store.snapshot();
    let mut cursor = snapshot.open_change_cursor(user, cursor)?;
    let mut lines = Vec::new();
    loop {
        let since = ChangesSince::Cursor(cursor);
        let part = snapshot.changes_since(user, since, PageSize::MAX)?;
        lines.extend(part.changes.iter().map(|change| match &change.conversation {
            Some(row) => describe(change.kind, row),
            None => format!("{:<8} {}", change.kind.as_str(), change.id),
        }));
        cursor = part.next_cursor;
        if !part.has_more {
            return Ok((lines, snapshot.seal_change_cursor(&cursor)));
        }
    }
}

fn describe(kind: ChangeKind, row: &Conversation) -> String {
    let identifier = row.channel.external_identifier().unwrap_or_default();
    let stage = row.variables.as_ref().map_or("", Variables::as_str);
    format!("{:<8} {identifier:<9} {stage:<16} {} messages", kind.as_str(), row.message_count)
}

/// Derives an id from an identifier. A CRM with UUIDs of its own would use those.
fn id_of(identifier: &str) -> convodb::Result<ConversationId> {
    let mut hash: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    for byte in identifier.bytes() {
        hash = (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
    }
    let hex = format!("{hash:032x}");
    format!("{}-{}-8{}-8{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..])
        .parse()
}

fn check(holds: bool, what: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(format!("check failed: {what}")) }
}
