//! The two ends of a WhatsApp conversation.

use crate::model::text::{Name, Phone};

/// A person or a business number. Either part may be absent: a WhatsApp user known by a user name
/// has no phone, and a number may have no name.
///
/// ```
/// use convodb::Contact;
/// let customer = Contact { name: Some("Jo".parse()?), phone: None };
/// assert_eq!(customer.name.as_ref().map(|name| name.as_str()), Some("Jo"));
/// # Ok::<(), convodb::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Contact<S = String> {
    /// The display name.
    pub name: Option<Name<S>>,
    /// The phone number, as it was given.
    pub phone: Option<Phone<S>>,
}

impl<S> Default for Contact<S> {
    fn default() -> Self {
        Self { name: None, phone: None }
    }
}

impl<S: AsRef<str>> Contact<S> {
    /// The same contact, borrowed.
    #[must_use]
    pub fn borrowed(&self) -> Contact<&str> {
        Contact {
            name: self.name.as_ref().map(Name::borrowed),
            phone: self.phone.as_ref().map(Phone::borrowed),
        }
    }

    /// The same contact, with its own texts.
    #[must_use]
    pub fn owned(&self) -> Contact {
        Contact {
            name: self.name.as_ref().map(Name::owned),
            phone: self.phone.as_ref().map(Phone::owned),
        }
    }
}
