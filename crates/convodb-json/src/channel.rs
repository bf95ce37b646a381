//! Channel fields of an item: those that only WhatsApp or API conversations have.

use convodb::{Channel, ChannelKind, Contact};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::field::{BLANK, InvalidField, object, optional, parsed};

/// Why a contact is invalid in a conversation of another type.
pub const NOT_WHATSAPP: &str = "must be left out where the type is not whatsapp";
/// Why an external identifier is invalid in a conversation of another type.
pub const NOT_API: &str = "must be left out where the type is not api";

/// The fields of an item that belong to its channel, except its type.
#[derive(Clone, Copy, Debug)]
pub struct ChannelFields<'a> {
    /// The end that belongs to the user.
    pub whatsapp_sender: Option<&'a RawValue>,
    /// The end that belongs to the customer.
    pub customer: Option<&'a RawValue>,
    /// The conversation's id in another system.
    pub external_identifier: Option<&'a RawValue>,
}

impl ChannelFields<'_> {
    /// Parses the channel of this kind. Appends every broken rule to `invalid`; if it appends any,
    /// the returned channel is incomplete and must not be used.
    pub fn parse(&self, kind: ChannelKind, invalid: &mut Vec<InvalidField>) -> Channel {
        let sender = ContactFields::SENDER.parse(self.whatsapp_sender, invalid);
        let customer = ContactFields::CUSTOMER.parse(self.customer, invalid);
        let identifier = "external_identifier";
        let external_identifier =
            valid(optional(identifier, self.external_identifier, parsed), invalid);
        if kind != ChannelKind::Whatsapp {
            for (field, contact) in [("whatsapp_sender", &sender), ("customer", &customer)] {
                if *contact != Contact::default() {
                    invalid.push(InvalidField { field, reason: NOT_WHATSAPP });
                }
            }
        }
        if kind != ChannelKind::Api && external_identifier.is_some() {
            invalid.push(InvalidField { field: identifier, reason: NOT_API });
        }
        match kind {
            ChannelKind::Test => Channel::Test,
            ChannelKind::Widget => Channel::Widget,
            ChannelKind::Whatsapp => Channel::Whatsapp { sender, customer },
            ChannelKind::Api => Channel::Api { external_identifier },
        }
    }
}

/// The names of a contact and of its two parts in errors.
#[derive(Clone, Copy, Debug)]
pub struct ContactFields {
    /// The contact.
    pub contact: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Its phone number.
    pub phone: &'static str,
}

#[derive(Deserialize)]
struct WireContact<'a> {
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    phone: Option<&'a RawValue>,
}

impl ContactFields {
    /// The end that belongs to the user.
    pub const SENDER: Self = Self {
        contact: "whatsapp_sender",
        name: "whatsapp_sender.name",
        phone: "whatsapp_sender.phone",
    };
    /// The end that belongs to the customer.
    pub const CUSTOMER: Self =
        Self { contact: "customer", name: "customer.name", phone: "customer.phone" };

    fn parse(self, json: Option<&RawValue>, invalid: &mut Vec<InvalidField>) -> Contact {
        let Some(json) = json.filter(|json| json.get() != BLANK) else {
            return Contact::default();
        };
        let wire: WireContact<'_> = match object(json.get()) {
            Ok(wire) => wire,
            Err(reason) => {
                invalid.push(InvalidField { field: self.contact, reason });
                return Contact::default();
            }
        };
        Contact {
            name: valid(optional(self.name, wire.name, parsed), invalid),
            phone: valid(optional(self.phone, wire.phone, parsed), invalid),
        }
    }
}

/// Returns the value, or moves the error to `invalid`.
fn valid<T>(result: Result<Option<T>, InvalidField>, invalid: &mut Vec<InvalidField>) -> Option<T> {
    result.unwrap_or_else(|error| {
        invalid.push(error);
        None
    })
}
