//! The parts of an item that only some types have, and what they come to.

use convodb::{Channel, ChannelKind, Contact};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::item::field::{Broken, object, optional, parsed};

pub(crate) const NOT_WHATSAPP: &str = "must be left out where the type is not whatsapp";
pub(crate) const NOT_API: &str = "must be left out where the type is not api";

/// What an item tells of its channel beside its type.
pub(crate) struct ChannelParts<'a> {
    pub(crate) whatsapp_sender: Option<&'a RawValue>,
    pub(crate) customer: Option<&'a RawValue>,
    pub(crate) external_identifier: Option<&'a RawValue>,
}

impl ChannelParts<'_> {
    /// The channel of this kind. What its parts break is added to `broken`; where anything is, what
    /// this gives counts for nothing.
    pub(crate) fn read(&self, kind: ChannelKind, broken: &mut Vec<Broken>) -> Channel {
        let sender = ContactFields::SENDER.read(self.whatsapp_sender, broken);
        let customer = ContactFields::CUSTOMER.read(self.customer, broken);
        let identifier = "external_identifier";
        let external_identifier =
            kept(broken, optional(identifier, self.external_identifier, parsed));
        if kind != ChannelKind::Whatsapp {
            for (field, contact) in [("whatsapp_sender", &sender), ("customer", &customer)] {
                if *contact != Contact::default() {
                    broken.push(Broken { field, reason: NOT_WHATSAPP });
                }
            }
        }
        if kind != ChannelKind::Api && external_identifier.is_some() {
            broken.push(Broken { field: identifier, reason: NOT_API });
        }
        match kind {
            ChannelKind::Test => Channel::Test,
            ChannelKind::Widget => Channel::Widget,
            ChannelKind::Whatsapp => Channel::Whatsapp { sender, customer },
            ChannelKind::Api => Channel::Api { external_identifier },
        }
    }
}

/// The names that a contact and its two parts have in an error.
#[derive(Clone, Copy)]
pub(crate) struct ContactFields {
    pub(crate) whole: &'static str,
    pub(crate) name: &'static str,
    pub(crate) phone: &'static str,
}

#[derive(Deserialize)]
struct WireContact<'a> {
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    phone: Option<&'a RawValue>,
}

impl ContactFields {
    /// The owner's end.
    pub(crate) const SENDER: Self = Self {
        whole: "whatsapp_sender",
        name: "whatsapp_sender.name",
        phone: "whatsapp_sender.phone",
    };
    /// The other end.
    pub(crate) const CUSTOMER: Self =
        Self { whole: "customer", name: "customer.name", phone: "customer.phone" };

    fn read(self, json: Option<&RawValue>, broken: &mut Vec<Broken>) -> Contact {
        let Some(json) = json else {
            return Contact::default();
        };
        let wire: WireContact<'_> = match object(json.get()) {
            Ok(wire) => wire,
            Err(reason) => {
                broken.push(Broken { field: self.whole, reason });
                return Contact::default();
            }
        };
        Contact {
            name: kept(broken, optional(self.name, wire.name, parsed)),
            phone: kept(broken, optional(self.phone, wire.phone, parsed)),
        }
    }
}

/// What was read, or none, with the rule that it breaks added to `broken`.
fn kept<T>(broken: &mut Vec<Broken>, read: Result<Option<T>, Broken>) -> Option<T> {
    read.unwrap_or_else(|rule| {
        broken.push(rule);
        None
    })
}
