//! A contact: one of the two parties of a WhatsApp conversation.

use crate::error::{Error, Result};
use crate::model::text::{Name, Phone};

/// A person or a business number.
///
/// Both parts are optional: a WhatsApp user known by a user name has no phone, and a number may
/// have no name. All fields are public, because any combination is a valid contact.
///
/// ```
/// use convodb::{Contact, Name};
/// let customer = Contact::with_phone("+4915112345678")?.named("Jo")?;
/// assert_eq!(customer.name, Some(Name::new("Jo")?));
/// let anonymous = Contact { name: Some("Jo".parse()?), phone: None };
/// assert_ne!(customer, anonymous);
/// # Ok::<(), convodb::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(
    feature = "serde",
    serde(bound(
        serialize = "S: AsRef<str>",
        deserialize = "S: AsRef<str> + serde::Deserialize<'de>"
    ))
)]
pub struct Contact<S = String> {
    /// The display name.
    pub name: Option<Name<S>>,
    /// The phone number, as the caller gave it.
    pub phone: Option<Phone<S>>,
}

impl<S> Default for Contact<S> {
    fn default() -> Self {
        Self { name: None, phone: None }
    }
}

impl Contact {
    /// A contact with this phone number and no name. Takes a `&str`, a `String` or a [`Phone`].
    ///
    /// # Errors
    /// [`Error::Invalid`] if the number is not a valid [`Phone`].
    pub fn with_phone<P>(phone: P) -> Result<Self>
    where
        P: TryInto<Phone>,
        Error: From<P::Error>,
    {
        Ok(Self { name: None, phone: Some(phone.try_into()?) })
    }

    /// Returns the same contact with this name. Takes a `&str`, a `String` or a [`Name`].
    ///
    /// # Errors
    /// [`Error::Invalid`] if the name is not a valid [`Name`].
    pub fn named<N>(self, name: N) -> Result<Self>
    where
        N: TryInto<Name>,
        Error: From<N::Error>,
    {
        Ok(Self { name: Some(name.try_into()?), ..self })
    }
}

impl<S: AsRef<str>> Contact<S> {
    /// Returns the same contact, borrowing its texts.
    #[must_use]
    pub fn borrowed(&self) -> Contact<&str> {
        Contact {
            name: self.name.as_ref().map(Name::borrowed),
            phone: self.phone.as_ref().map(Phone::borrowed),
        }
    }

    /// Returns the same contact with its own copies of the texts.
    #[must_use]
    pub fn owned(&self) -> Contact {
        Contact {
            name: self.name.as_ref().map(Name::owned),
            phone: self.phone.as_ref().map(Phone::owned),
        }
    }
}
