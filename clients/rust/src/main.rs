//! The client that openapi-generator makes for Rust: `-g rust`, blocking.

use std::env;
use std::error::Error;
use std::fs;

use convodb_client::apis::configuration::Configuration;
use convodb_client::apis::{conversations_api as api, user_and_assistants_api};
use convodb_client::models::{
    AssistantRef, Conversation, ConversationChange, ConversationPage, ConversationType,
    GivenContact, Grouping, MessageContent, NewConversation, NewMessage, Role,
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

/// Reads a page of the list.
fn page(
    configuration: &Configuration,
    kinds: Option<Vec<ConversationType>>,
    phone: Option<&str>,
    size: Option<i32>,
    cursor: Option<String>,
) -> Result<ConversationPage> {
    let cursor = cursor.as_deref();
    let page = api::list_conversations(
        configuration,
        kinds,
        None,
        phone,
        None,
        None,
        None,
        None,
        None,
        None,
        None,
        None,
        None,
        size,
        cursor,
        None,
        None,
        None,
        None,
        None,
    )?;
    Ok(page)
}

/// Reads the whole list by its cursors, forward to the end and back to the beginning.
fn walk(configuration: &Configuration) -> Result<(Vec<Conversation>, Vec<Conversation>)> {
    let mut current = page(configuration, None, None, Some(40), None)?;
    let mut forward = current.data.clone();
    while current.next_cursor.is_some() {
        current = page(configuration, None, None, None, current.next_cursor)?;
        forward.extend(current.data.clone());
    }
    let mut back = current.data;
    while current.prev_cursor.is_some() {
        current = page(configuration, None, None, None, current.prev_cursor)?;
        back.splice(0..0, current.data);
    }
    Ok((forward, back))
}

/// Reads the list by a phone, and statistics.
fn read(configuration: &Configuration, all: &[Conversation]) -> Result<()> {
    let kinds = Some(vec![ConversationType::Whatsapp]);
    let found = page(configuration, kinds, Some("+14155550049"), None, None)?;
    assert_eq!(found.data[0].message_count, 4);
    let groups = Some(vec![Grouping::Month, Grouping::Type]);
    let from = Some("2025-01-01".parse()?);
    let statistics = api::read_statistics(configuration, from, None, groups, None, None, None)?;
    let sum: f64 = all.iter().map(|item| item.total_cost).sum();
    assert!((statistics.total.total_cost - sum).abs() < 1e-9);
    Ok(())
}

/// Creates a conversation, appends a message, changes it, reads it and deletes it.
fn write(configuration: &Configuration) -> Result<()> {
    let assistants = user_and_assistants_api::list_assistants(configuration, None, None, None)?;
    let assistant = assistants.data.first().ok_or("no assistant")?;
    let text = |text: &str| Some(Some(text.to_owned()));
    let customer = GivenContact { name: text("Jo"), phone: text("+14155559876") };
    let new = NewConversation {
        r#type: Some(Some(ConversationType::Whatsapp)),
        customer: Some(Some(Box::new(customer))),
        ..NewConversation::new(AssistantRef::String(assistant.uuid.to_string()))
    };
    let created = api::create_conversation(configuration, new, Some("generated-rust"))?;
    let uuid = created.conversation_id.to_string();
    let message = NewMessage {
        role: Some(Some(Role::Assistant)),
        content: Some(Some(Box::new(MessageContent::String("One moment.".to_owned())))),
        cost: Some(Some(0.0008)),
        ..NewMessage::new()
    };
    let appended = api::append_message(configuration, &uuid, message, None)?;
    assert_eq!(appended.message_count, 1);
    let name = GivenContact { name: text("Joanna"), phone: None };
    let change =
        ConversationChange { customer: Some(Some(Box::new(name))), ..ConversationChange::new() };
    let changed = api::change_conversation(configuration, &uuid, change)?;
    let customer = changed.customer.ok_or("no customer")?;
    assert_eq!(customer.name.as_deref(), Some("Joanna"));
    assert_eq!(customer.phone.as_deref(), Some("+14155559876"));
    let conversation = api::read_conversation(configuration, &uuid, None, None, None)?;
    assert_eq!(conversation.history[0].content, "One moment.");
    assert_eq!(conversation.total_cost, 0.0008);
    api::delete_conversation(configuration, &uuid)?;
    match api::read_conversation(configuration, &uuid, None, None, None) {
        Err(convodb_client::apis::Error::ResponseError(error)) => assert_eq!(error.status, 404),
        other => return Err(format!("a deleted conversation can be read: {other:?}").into()),
    }
    Ok(())
}
