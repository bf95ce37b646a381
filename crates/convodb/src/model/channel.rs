//! The channel of a conversation, with the fields that only that channel has.
//!
//! The type states two rules that filters rely on: only WhatsApp has phones, and only the API has
//! an external identifier. Other combinations cannot be represented.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::model::contact::Contact;
use crate::model::text::{ExternalIdentifier, Phone};

/// The channel of a conversation, with the fields that only that channel has.
///
/// Serde: an object with the fields of the variant and the channel's kind as `type`, as in
/// `{"type": "widget"}`.
///
/// ```
/// use convodb::{Channel, ChannelKind};
/// let channel = Channel::whatsapp("+14155551234", "+4915112345678")?;
/// assert_eq!(channel.kind(), ChannelKind::Whatsapp);
/// assert_eq!(channel.customer_phone(), Some("+4915112345678"));
/// assert_eq!(channel.external_identifier(), None);
/// # Ok::<(), convodb::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(
    feature = "serde",
    serde(
        tag = "type",
        rename_all = "lowercase",
        bound(
            serialize = "S: AsRef<str>",
            deserialize = "S: AsRef<str> + serde::Deserialize<'de>"
        )
    )
)]
pub enum Channel<S = String> {
    /// A test of an assistant by its user.
    Test,
    /// The chat widget on a web site.
    Widget,
    /// WhatsApp, between a business number of the user and a customer.
    Whatsapp {
        /// The user's business number.
        sender: Contact<S>,
        /// The customer.
        customer: Contact<S>,
    },
    /// The user's own program.
    Api {
        /// The user's identifier of the conversation, for look-ups from a CRM.
        external_identifier: Option<ExternalIdentifier<S>>,
    },
}

impl Channel {
    /// WhatsApp, between these two numbers, with no names. Takes a `&str`, a `String` or a
    /// [`Phone`] each; build [`Channel::Whatsapp`] for contacts with names or without a number.
    ///
    /// # Errors
    /// [`Error::Invalid`] if a number is not a valid [`Phone`].
    pub fn whatsapp<S, C>(sender_phone: S, customer_phone: C) -> Result<Self>
    where
        S: TryInto<Phone>,
        C: TryInto<Phone>,
        Error: From<S::Error> + From<C::Error>,
    {
        Ok(Channel::Whatsapp {
            sender: Contact::with_phone(sender_phone)?,
            customer: Contact::with_phone(customer_phone)?,
        })
    }

    /// The API, with this external identifier. Takes a `&str`, a `String` or an
    /// [`ExternalIdentifier`]; build [`Channel::Api`] for a conversation without one.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the identifier is not a valid [`ExternalIdentifier`].
    ///
    /// ```
    /// let channel = convodb::Channel::api("crm-4711")?;
    /// assert_eq!(channel.external_identifier(), Some("crm-4711"));
    /// # Ok::<(), convodb::Error>(())
    /// ```
    pub fn api<E>(external_identifier: E) -> Result<Self>
    where
        E: TryInto<ExternalIdentifier>,
        Error: From<E::Error>,
    {
        Ok(Channel::Api { external_identifier: Some(external_identifier.try_into()?) })
    }
}

impl<S> Channel<S> {
    /// The kind of this channel: the API's `type`.
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
    /// The customer's phone number, if the channel is WhatsApp and the number is known.
    #[must_use]
    pub fn customer_phone(&self) -> Option<&str> {
        match self {
            Channel::Whatsapp { customer, .. } => customer.phone.as_ref().map(Phone::as_str),
            Channel::Test | Channel::Widget | Channel::Api { .. } => None,
        }
    }

    /// The user's phone number, if the channel is WhatsApp and the number is known.
    #[must_use]
    pub fn sender_phone(&self) -> Option<&str> {
        match self {
            Channel::Whatsapp { sender, .. } => sender.phone.as_ref().map(Phone::as_str),
            Channel::Test | Channel::Widget | Channel::Api { .. } => None,
        }
    }

    /// The user's identifier of the conversation, if the channel is the API and has one.
    #[must_use]
    pub fn external_identifier(&self) -> Option<&str> {
        match self {
            Channel::Api { external_identifier } => {
                external_identifier.as_ref().map(ExternalIdentifier::as_str)
            }
            Channel::Test | Channel::Widget | Channel::Whatsapp { .. } => None,
        }
    }

    /// Returns the same channel, borrowing its texts.
    #[must_use]
    pub fn borrowed(&self) -> Channel<&str> {
        match self {
            Channel::Test => Channel::Test,
            Channel::Widget => Channel::Widget,
            Channel::Whatsapp { sender, customer } => {
                Channel::Whatsapp { sender: sender.borrowed(), customer: customer.borrowed() }
            }
            Channel::Api { external_identifier } => Channel::Api {
                external_identifier: external_identifier.as_ref().map(ExternalIdentifier::borrowed),
            },
        }
    }

    /// Returns the same channel with its own copies of the texts.
    #[must_use]
    pub fn owned(&self) -> Channel {
        match self {
            Channel::Test => Channel::Test,
            Channel::Widget => Channel::Widget,
            Channel::Whatsapp { sender, customer } => {
                Channel::Whatsapp { sender: sender.owned(), customer: customer.owned() }
            }
            Channel::Api { external_identifier } => Channel::Api {
                external_identifier: external_identifier.as_ref().map(ExternalIdentifier::owned),
            },
        }
    }
}

/// The kind of a [`Channel`]: the API's `type`.
///
/// ```
/// use convodb::ChannelKind;
/// assert_eq!("whatsapp".parse::<ChannelKind>()?, ChannelKind::Whatsapp);
/// assert_eq!(ChannelKind::Api.to_string(), "api");
/// # Ok::<(), convodb::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
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
    /// All kinds, in the order of the documentation.
    pub const ALL: [ChannelKind; 4] =
        [ChannelKind::Test, ChannelKind::Widget, ChannelKind::Whatsapp, ChannelKind::Api];

    /// The kind's name in the API.
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
