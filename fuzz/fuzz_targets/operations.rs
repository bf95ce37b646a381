//! Fuzz target: a sequence of operations on a store, compared with the oracle.
//!
//! The input selects the operations. A sequence is short, and all lists are checked at its end.
#![no_main]

use arbitrary::{Arbitrary, Result, Unstructured};
use convodb::{
    AssistantIds, Channel, ChannelKind, ChannelKinds, Contact, Conversation, ConversationId,
    Filter, Message, Order, Role, Sort, Timestamp,
};
use convodb_testkit::generators::{assistants, has_activity_list};
use convodb_testkit::operations::{Operation, OperationRunner};
use convodb_testkit::oracle::ListQuery;
use libfuzzer_sys::fuzz_target;
use uuid::Uuid;

const MAX_OPERATIONS: usize = 30;

#[derive(Debug)]
struct Sequence(Vec<Operation>);

impl<'a> Arbitrary<'a> for Sequence {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let mut operations = Vec::new();
        while !u.is_empty() && operations.len() < MAX_OPERATIONS {
            operations.push(operation(u)?);
        }
        Ok(Self(operations))
    }
}

fn operation(u: &mut Unstructured<'_>) -> Result<Operation> {
    let user: bool = u.arbitrary()?;
    Ok(match u.int_in_range(0..=12)? {
        0..3 => Operation::Insert(user, conversation(u)?, vec![message(u)?]),
        3 => Operation::Update(user, id(u)?, channel(u)?, assistant(u)?, u.arbitrary()?),
        4 => Operation::Append(user, id(u)?, message(u)?),
        5 => Operation::Delete(user, id(u)?),
        6 => {
            Operation::BulkLoad(user, vec![(conversation(u)?, vec![]), (conversation(u)?, vec![])])
        }
        7 => Operation::Batch(user, vec![conversation(u)?, conversation(u)?], id(u)?, message(u)?),
        8 => Operation::Aborted(user, conversation(u)?, id(u)?, message(u)?),
        9 => Operation::BeginWalk(user, list_query(u)?, u.int_in_range(1..=4)?),
        10 => Operation::RotateCursorKey,
        11 => Operation::TakeSnapshot(list_query(u)?),
        _ => Operation::TurnPage(user, None),
    })
}

fn id(u: &mut Unstructured<'_>) -> Result<ConversationId> {
    Ok(ConversationId::new(Uuid::from_u128(u.int_in_range(0..=15)?)))
}

fn assistant(u: &mut Unstructured<'_>) -> Result<convodb::AssistantId> {
    Ok(*u.choose(&assistants())?)
}

fn at(u: &mut Unstructured<'_>) -> Result<Timestamp> {
    let millis = 1_737_800_000_000 + u.int_in_range(0..=7)?;
    Ok(Timestamp::from_millis(millis).unwrap_or(Timestamp::MIN))
}

fn text(u: &mut Unstructured<'_>) -> Result<&'static str> {
    Ok(*u.choose(&["1", "2", "\u{1F600}\0"])?)
}

fn contact(u: &mut Unstructured<'_>) -> Result<Contact> {
    Ok(Contact { name: text(u)?.parse().ok(), phone: text(u)?.parse().ok() })
}

fn channel(u: &mut Unstructured<'_>) -> Result<Channel> {
    Ok(match u.int_in_range(0..=3)? {
        0 => Channel::Test,
        1 => Channel::Widget,
        2 => Channel::Api { external_identifier: text(u)?.parse().ok() },
        _ => Channel::Whatsapp { sender: contact(u)?, customer: contact(u)? },
    })
}

fn conversation(u: &mut Unstructured<'_>) -> Result<Conversation> {
    Ok(Conversation::new(id(u)?, assistant(u)?, channel(u)?, at(u)?))
}

fn message(u: &mut Unstructured<'_>) -> Result<Message> {
    let role = *u.choose(&Role::ALL)?;
    Message::new(role, text(u)?.to_owned(), at(u)?).map_err(|_| arbitrary::Error::IncorrectFormat)
}

fn up_to<T>(
    max: usize,
    u: &mut Unstructured<'_>,
    item: impl Fn(&mut Unstructured<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    let count = u.int_in_range(0..=max)?;
    (0..count).map(|_| item(u)).collect()
}

fn list_query(u: &mut Unstructured<'_>) -> Result<ListQuery> {
    let bits: u16 = u.arbitrary()?;
    let has = |bit: u16| bits & 1 << bit != 0;
    let filter = Filter {
        kind: if has(0) { Some(*u.choose(&ChannelKind::ALL)?) } else { None },
        assistant: if has(1) { Some(assistant(u)?) } else { None },
        kinds: ChannelKinds::new(up_to(3, u, |u| u.choose(&ChannelKind::ALL).copied())?).ok(),
        assistants: AssistantIds::new(up_to(2, u, assistant)?).ok(),
        sender_phone: if has(2) { text(u)?.parse().ok() } else { None },
        customer_phone: if has(3) { text(u)?.parse().ok() } else { None },
        external_identifier: if has(4) { text(u)?.parse().ok() } else { None },
        // No index answers the three above together with an AI that is off.
        ai_off: has(8) && ![2, 3, 4].into_iter().any(has),
    };
    let order = if has(5) { Order::Ascending } else { Order::Descending };
    let from = if has(6) { Some(at(u)?) } else { None };
    let to = if has(7) { Some(at(u)?) } else { None };
    let by_activity = u.arbitrary()? && has_activity_list(&filter);
    let sort = if by_activity { Sort::LastActivity } else { Sort::CreatedAt };
    Ok(ListQuery { filter, sort, from, to, order })
}

fuzz_target!(|sequence: Sequence| {
    let mut history = OperationRunner::in_memory();
    for operation in sequence.0 {
        history.run(operation);
    }
    history.check(&[]);
});
