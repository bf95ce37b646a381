//! Generators (proptest strategies): conversations, messages, filters and list queries.
//!
//! Values come from small pools, so equal phones, equal times and repeated ids are common.

use convodb::{
    AssistantId, AssistantIds, Channel, ChannelKind, ChannelKinds, Contact, Conversation,
    ConversationId, Cost, Filter, Message, Order, Role, Sort, Timestamp, Variables,
};
use proptest::prelude::*;
use uuid::Uuid;

use crate::oracle::ListQuery;

/// The assistants of generated conversations. A test creates them for each user.
#[must_use]
pub fn assistants() -> Vec<AssistantId> {
    (1..=3).map(|number| AssistantId::new(Uuid::from_u128(number))).collect()
}

/// One of [`assistants`].
pub fn assistant() -> impl Strategy<Value = AssistantId> {
    prop::sample::select(assistants())
}

/// A timestamp; many are equal.
pub fn timestamp() -> impl Strategy<Value = Timestamp> {
    let base = 1_737_800_000_000_u64;
    prop_oneof![
        4 => (0..4_u64).prop_map(move |n| base + n),
        3 => (0..40_u64).prop_map(move |n| base + n * 1_000),
        1 => (0..400_u64).prop_map(move |n| base - n * 86_400_000),
    ]
    .prop_map(|millis| Timestamp::from_millis(millis).unwrap_or(Timestamp::MIN))
}

/// A conversation id; many are equal.
pub fn conversation_id() -> impl Strategy<Value = ConversationId> {
    (0..60_u128).prop_map(|n| ConversationId::new(Uuid::from_u128(n)))
}

fn phone() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["+4915112345678", "+14155559876", "1", "\u{1F600}'\"\0"])
        .prop_map(str::to_owned)
}

fn identifier() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["crm-1", "crm-2", "+4915112345678"]).prop_map(str::to_owned)
}

fn contact() -> impl Strategy<Value = Contact> {
    (prop::option::weighted(0.5, phone()), prop::option::weighted(0.9, phone())).prop_map(
        |(name, phone)| Contact {
            name: name.and_then(|name| name.parse().ok()),
            phone: phone.and_then(|phone| phone.parse().ok()),
        },
    )
}

/// A channel with its contacts or its external identifier.
pub fn channel() -> impl Strategy<Value = Channel> {
    prop_oneof![
        1 => Just(Channel::Test),
        2 => Just(Channel::Widget),
        5 => (contact(), contact())
            .prop_map(|(sender, customer)| Channel::Whatsapp { sender, customer }),
        3 => prop::option::weighted(0.8, identifier()).prop_map(|identifier| Channel::Api {
            external_identifier: identifier.and_then(|text| text.parse().ok())
        }),
    ]
}

/// A conversation with one of [`assistants`].
pub fn conversation() -> impl Strategy<Value = Conversation> {
    let variables = prop::sample::select(vec![None, Some("{}"), Some("{\"a\":[1.10,\"\\n\"]}")]);
    let numbers = (0..9_u32, -5_000_000_000..5_000_000_000_i64, any::<bool>());
    (conversation_id(), assistant(), channel(), timestamp(), variables, numbers).prop_map(
        |(id, assistant, channel, created_at, variables, (message_count, nanos, ai_enabled))| {
            Conversation {
                variables: variables.and_then(|json| Variables::new(json.to_owned()).ok()),
                message_count,
                total_cost: Cost::from_nanos(nanos),
                ai_enabled,
                ..Conversation::new(id, assistant, channel, created_at)
            }
        },
    )
}

/// A message of up to 20 characters.
pub fn message() -> impl Strategy<Value = Message> {
    // Some are longer than a preview.
    let content = prop_oneof![8 => ".{0,20}", 1 => ".{135,150}"];
    (prop::sample::select(Role::ALL.to_vec()), content, 0..1_000_i64, timestamp()).prop_map(
        |(role, content, nanos, at)| {
            let message = Message::new(role, content, at);
            message
                .unwrap_or_else(|_| unreachable!("150 characters are not too long"))
                .with_cost(Cost::from_nanos(nanos))
        },
    )
}

/// One of the 36 combinations of filters that an index answers, with values from the same pools as conversations. Some
/// have several types or assistants.
pub fn filter() -> impl Strategy<Value = Filter> {
    let kinds = prop::sample::subsequence(ChannelKind::ALL.to_vec(), 1..=4);
    let ids = prop::sample::subsequence(assistants(), 1..=3);
    let several = (prop::option::weighted(0.25, kinds), prop::option::weighted(0.25, ids));
    let single = (
        prop::option::of(prop::sample::select(ChannelKind::ALL.to_vec())),
        prop::option::of(assistant()),
        prop::option::weighted(0.3, phone()),
        prop::option::weighted(0.3, phone()),
        prop::option::weighted(0.2, identifier()),
    );
    (single, several, prop::bool::weighted(0.25)).prop_map(
        |((kind, assistant, sender, customer, identifier), (kinds, assistants), ai_off)| Filter {
            kind: kind.filter(|_| kinds.is_none() || assistant.is_none()),
            assistant: assistant.filter(|_| assistants.is_none() || kind.is_none()),
            kinds: kinds.and_then(|kinds| ChannelKinds::new(kinds).ok()),
            assistants: assistants.and_then(|ids| AssistantIds::new(ids).ok()),
            // No index answers these together with an AI that is off.
            sender_phone: sender.filter(|_| !ai_off).and_then(|phone| phone.parse().ok()),
            customer_phone: customer.filter(|_| !ai_off).and_then(|phone| phone.parse().ok()),
            external_identifier: identifier.filter(|_| !ai_off).and_then(|text| text.parse().ok()),
            ai_off,
        },
    )
}

/// Whether there are lists by last activity with this filter.
#[must_use]
pub const fn has_activity_list(filter: &Filter) -> bool {
    let phones = filter.sender_phone.is_some() as u8 + filter.customer_phone.is_some() as u8;
    let has_assistant = filter.assistant.is_some() || filter.assistants.is_some();
    filter.external_identifier.is_none()
        && !filter.ai_off
        && (phones == 0 || phones == 1 && !has_assistant)
}

/// A list query: a filter, a sort that has such lists, an optional time range, and an order.
pub fn list_query() -> impl Strategy<Value = ListQuery> {
    let order = prop::sample::select(vec![Order::Descending, Order::Ascending]);
    let bound = || prop::option::weighted(0.2, timestamp());
    (filter(), any::<bool>(), bound(), bound(), order).prop_map(
        |(filter, by_activity, from, to, order)| {
            let by_activity = by_activity && has_activity_list(&filter);
            let sort = if by_activity { Sort::LastActivity } else { Sort::CreatedAt };
            ListQuery { filter, sort, from, to, order }
        },
    )
}
