//! Requests that write: creates, deletes and changes of the biggest user's conversations.

use convodb::{ConversationId, Timestamp};
use convodb_bench::dataset::Dataset;
use hyper::Method;

use crate::load_generator::AnyRequest;

/// The path of conversations.
pub const CREATE: &str = "/api/conversations";

/// A request that posts a JSON body.
#[must_use]
pub fn post(target: &str, body: String) -> AnyRequest {
    AnyRequest { method: Method::POST, target: target.to_owned(), body }
}

/// A request that deletes a conversation.
#[must_use]
pub fn delete(id: ConversationId) -> AnyRequest {
    let target = format!("{CREATE}/{id}");
    AnyRequest { method: Method::DELETE, target, body: String::new() }
}

/// A request that gives a conversation to the user's assistant of this number, which moves its
/// index entries.
#[must_use]
pub fn reassign(id: ConversationId, number: usize) -> AnyRequest {
    let body = format!(r#"{{"assistant_id":"{}"}}"#, Dataset::assistant(0, number));
    AnyRequest { method: Method::PATCH, target: format!("{CREATE}/{id}"), body }
}

/// A new WhatsApp conversation of the biggest user.
#[must_use]
pub fn create_body(number: u64) -> String {
    let now = Timestamp::now();
    let (id, at) = (ConversationId::generate(now), now.to_rfc3339());
    let place = usize::try_from(number % 100_000).unwrap_or_default();
    let assistant = Dataset::assistant(0, place % Dataset::assistants(0));
    let (line, sender) = (place % 20, Dataset::sender_phone(0, place % 20));
    let customer = Dataset::customer_phone(0, place);
    format!(
        r#"{{"id":"{id}","assistant_id":"{assistant}","type":"whatsapp","created_at":"{at}","variables":{{"plan":"tier-1","order":{place},"language":"en"}},"whatsapp_sender":{{"name":"Line {line}","phone":"{sender}"}},"customer":{{"name":"Customer {place}","phone":"{customer}"}}}}"#
    )
}
