//! How a conversation is held. The documented filters are invariants of this type: a phone implies
//! WhatsApp, an external identifier implies the API. What cannot be is not representable.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::model::contact::Contact;
use crate::model::text::{ExternalIdentifier, Text};

/// The channel of a conversation, with what only that channel has.
///
/// ```
/// use convodb::{Channel, ChannelKind, Contact};
/// let customer = Contact { name: None, phone: Some("+4915112345678".parse()?) };
/// let channel: Channel = Channel::Whatsapp { sender: Contact::default(), customer };
/// assert_eq!(channel.kind(), ChannelKind::Whatsapp);
/// assert_eq!(channel.customer_phone(), Some("+4915112345678"));
/// assert_eq!(channel.external_identifier(), None);
/// # Ok::<(), convodb::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Channel<S = String> {
    /// A test of an assistant by its owner.
    Test,
    /// The widget on a web site.
    Widget,
    /// WhatsApp, between a number of the owner's and a customer.
    Whatsapp {
        /// The owner's number.
        sender: Contact<S>,
        /// The other end.
        customer: Contact<S>,
    },
    /// A conversation held by the owner's own program.
    Api {
        /// The owner's identifier of it, for look-ups from a CRM.
        external_identifier: Option<ExternalIdentifier<S>>,
    },
}

impl<S> Channel<S> {
    /// Which channel it is: the API's `type`.
    #[must_use]
    pub const fn kind(&self) -> ChannelKind {
        match self {
            Channel::Test => ChannelKind::Test,
            Channel::Widget => ChannelKind::Widget,
            Channel::Whatsapp { .. } => ChannelKind::Whatsapp,
            Channel::Api { .. } => ChannelKind::Api,
        }
    }
}

impl<S: AsRef<str>> Channel<S> {
    /// The customer's phone number, on WhatsApp, where it is known.
    #[must_use]
    pub fn customer_phone(&self) -> Option<&str> {
        match self {
            Channel::Whatsapp { customer, .. } => customer.phone.as_ref().map(Text::as_str),
            Channel::Test | Channel::Widget | Channel::Api { .. } => None,
        }
    }

    /// The owner's phone number, on WhatsApp, where it is known.
    #[must_use]
    pub fn sender_phone(&self) -> Option<&str> {
        match self {
            Channel::Whatsapp { sender, .. } => sender.phone.as_ref().map(Text::as_str),
            Channel::Test | Channel::Widget | Channel::Api { .. } => None,
        }
    }

    /// The owner's identifier, on the API, where one was given.
    #[must_use]
    pub fn external_identifier(&self) -> Option<&str> {
        match self {
            Channel::Api { external_identifier } => external_identifier.as_ref().map(Text::as_str),
            Channel::Test | Channel::Widget | Channel::Whatsapp { .. } => None,
        }
    }

    /// The same channel, borrowed.
    #[must_use]
    pub fn borrowed(&self) -> Channel<&str> {
        match self {
            Channel::Test => Channel::Test,
            Channel::Widget => Channel::Widget,
            Channel::Whatsapp { sender, customer } => {
                Channel::Whatsapp { sender: sender.borrowed(), customer: customer.borrowed() }
            }
            Channel::Api { external_identifier } => Channel::Api {
                external_identifier: external_identifier.as_ref().map(|e| e.borrowed()),
            },
        }
    }

    /// The same channel, with its own texts.
    #[must_use]
    pub fn owned(&self) -> Channel {
        match self {
            Channel::Test => Channel::Test,
            Channel::Widget => Channel::Widget,
            Channel::Whatsapp { sender, customer } => {
                Channel::Whatsapp { sender: sender.owned(), customer: customer.owned() }
            }
            Channel::Api { external_identifier } => {
                Channel::Api { external_identifier: external_identifier.as_ref().map(Text::owned) }
            }
        }
    }
}

/// The API's `type`: which [`Channel`] a conversation is on.
///
/// ```
/// use convodb::ChannelKind;
/// assert_eq!("whatsapp".parse::<ChannelKind>()?, ChannelKind::Whatsapp);
/// assert_eq!(ChannelKind::Api.to_string(), "api");
/// # Ok::<(), convodb::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChannelKind {
    /// `test`
    Test,
    /// `widget`
    Widget,
    /// `whatsapp`
    Whatsapp,
    /// `api`
    Api,
}

impl ChannelKind {
    /// All kinds, in the order of their documentation.
    pub const ALL: [ChannelKind; 4] =
        [ChannelKind::Test, ChannelKind::Widget, ChannelKind::Whatsapp, ChannelKind::Api];

    /// The word that the API uses.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            ChannelKind::Test => "test",
            ChannelKind::Widget => "widget",
            ChannelKind::Whatsapp => "whatsapp",
            ChannelKind::Api => "api",
        }
    }
}

impl fmt::Display for ChannelKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for ChannelKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        ChannelKind::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(Error::Invalid {
            field: "type",
            reason: "must be one of test, widget, whatsapp, api",
        })
    }
}
