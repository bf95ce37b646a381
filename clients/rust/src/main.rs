//! The client that openapi-generator makes for Rust: `-g rust`, blocking.

use std::env;
use std::error::Error;
use std::fs;

use convodb_client::apis::configuration::Configuration;
use convodb_client::apis::conversations_api::{
    self as api, AppendMessageParams, ChangeConversationParams, CreateConversationParams,
    DeleteConversationParams, ListConversationsParams, ReadConversationParams,
    ReadStatisticsParams,
};
use convodb_client::apis::user_and_assistants_api::{self, ListAssistantsParams};
use convodb_client::models::{
    AssistantRef, Conversation, ConversationChange, ConversationType, GivenContact, Grouping,
    MessageContent, NewConversation, NewMessage, Role,
};
use serde_json::Value;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let configuration = Configuration {
        base_path: env::var("CONVODB_URL")?,
        bearer_access_token: Some(env::var("CONVODB_TOKEN")?),
        ..Configuration::default()
    };
    let stored = stored()?;
    let (forward, back) = walk(&configuration)?;
    assert_eq!(values(&forward), stored);
    assert_eq!(values(&back), stored);
    read(&configuration, &forward)?;
    write(&configuration)
}

/// The stored conversations as lists contain them, newest first.
fn stored() -> Result<Vec<Value>> {
    let lines = fs::read_to_string(env::var("CONVODB_STORED")?)?;
    let items = lines.lines().rev().map(|line| {
        let mut item: Value = serde_json::from_str(line)?;
        item.as_object_mut().ok_or("a line is not an object")?.remove("messages");
        Ok(item)
    });
    items.collect()
}

fn values(conversations: &[Conversation]) -> Vec<Value> {
    conversations.iter().map(|item| serde_json::to_value(item).unwrap()).collect()
}

/// The list without any parameter, for those that a request names. The generated struct has no default.
const EVERYTHING: ListConversationsParams = ListConversationsParams {
    r#type: None,
    assistant_id: None,
    customer_phone: None,
    whatsapp_sender_phone: None,
    external_identifier: None,
    ai_enabled: None,
    created_from: None,
    created_to: None,
    sort: None,
    active_from: None,
    active_to: None,
    order: None,
    per_page: None,
    cursor: None,
    include: None,
    count: None,
    fields: None,
    prefer: None,
    if_none_match: None,
};

/// Reads the whole list by its cursors, forward to the end and back to the beginning.
fn walk(configuration: &Configuration) -> Result<(Vec<Conversation>, Vec<Conversation>)> {
    let page = |params| api::list_conversations(configuration, params);
    let at = |cursor| ListConversationsParams { cursor, ..EVERYTHING };
    let mut current = page(ListConversationsParams { per_page: Some(40), ..EVERYTHING })?;
    let mut forward = current.data.clone();
    while current.next_cursor.is_some() {
        current = page(at(current.next_cursor))?;
        forward.extend(current.data.clone());
    }
    let mut back = current.data;
    while current.prev_cursor.is_some() {
        current = page(at(current.prev_cursor))?;
        back.splice(0..0, current.data);
    }
    Ok((forward, back))
}

/// Reads the list by a phone, and statistics.
fn read(configuration: &Configuration, all: &[Conversation]) -> Result<()> {
    let by_phone = ListConversationsParams {
        r#type: Some(vec![ConversationType::Whatsapp]),
        customer_phone: Some("+14155550049".to_owned()),
        ..EVERYTHING
    };
    let found = api::list_conversations(configuration, by_phone)?;
    assert_eq!(found.data[0].message_count, 4);
    let of_types = ReadStatisticsParams {
        from: Some("2025-01-01".parse()?),
        to: None,
        group_by: Some(vec![Grouping::Month, Grouping::Type]),
        r#type: None,
        assistant_id: None,
        if_none_match: None,
    };
    let statistics = api::read_statistics(configuration, of_types)?;
    let sum: f64 = all.iter().map(|item| item.total_cost).sum();
    assert!((statistics.total.total_cost - sum).abs() < 1e-9);
    Ok(())
}

/// Creates a conversation, appends a message, changes it, reads it and deletes it.
fn write(configuration: &Configuration) -> Result<()> {
    let first = ListAssistantsParams { page: None, per_page: None, if_none_match: None };
    let assistants = user_and_assistants_api::list_assistants(configuration, first)?;
    let assistant = assistants.data.first().ok_or("no assistant")?;
    let text = |text: &str| Some(Some(text.to_owned()));
    let customer = GivenContact { name: text("Jo"), phone: text("+14155559876") };
    let new = NewConversation {
        r#type: Some(Some(ConversationType::Whatsapp)),
        customer: Some(Some(Box::new(customer))),
        ..NewConversation::new(AssistantRef::String(assistant.uuid.to_string()))
    };
    let create = CreateConversationParams {
        new_conversation: new,
        idempotency_key: Some("generated-rust".to_owned()),
    };
    let created = api::create_conversation(configuration, create)?;
    let uuid = created.conversation_id.to_string();
    let message = NewMessage {
        role: Some(Some(Role::Assistant)),
        content: Some(Some(Box::new(MessageContent::String("One moment.".to_owned())))),
        cost: Some(Some(0.0008)),
        ..NewMessage::new()
    };
    let append =
        AppendMessageParams { uuid: uuid.clone(), new_message: message, idempotency_key: None };
    let appended = api::append_message(configuration, append)?;
    assert_eq!(appended.message_count, 1);
    let name = GivenContact { name: text("Joanna"), phone: None };
    let change =
        ConversationChange { customer: Some(Some(Box::new(name))), ..ConversationChange::new() };
    let change = ChangeConversationParams { uuid: uuid.clone(), conversation_change: change };
    let changed = api::change_conversation(configuration, change)?;
    let customer = changed.customer.ok_or("no customer")?;
    assert_eq!(customer.name.as_deref(), Some("Joanna"));
    assert_eq!(customer.phone.as_deref(), Some("+14155559876"));
    let whole = || ReadConversationParams {
        uuid: uuid.clone(),
        per_page: None,
        cursor: None,
        if_none_match: None,
    };
    let conversation = api::read_conversation(configuration, whole())?;
    assert_eq!(conversation.history[0].content, "One moment.");
    assert_eq!(conversation.total_cost, 0.0008);
    let delete = DeleteConversationParams { uuid: uuid.clone() };
    api::delete_conversation(configuration, delete)?;
    match api::read_conversation(configuration, whole()) {
        Err(convodb_client::apis::Error::ResponseError(error)) => assert_eq!(error.status, 404),
        other => return Err(format!("a deleted conversation can be read: {other:?}").into()),
    }
    Ok(())
}
