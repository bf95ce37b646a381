//! Frame: what every screen of a signed-in person has around its content.

use std::time::Duration;

use crate::assets;
use crate::format;
use crate::text;

/// A screen of the menu.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Screen {
    /// The list, and a conversation of it.
    Conversations,
    /// The conversations of one phone.
    Customer,
    /// Statistics.
    Volumes,
    /// Access tokens.
    Tokens,
    /// The health of the server.
    Health,
}

/// What the session's token allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abilities {
    /// The scope `read`.
    pub read: bool,
    /// The scope `write`.
    pub write: bool,
    /// The scope `stats`.
    pub stats: bool,
    /// The scope `tokens`.
    pub tokens: bool,
    /// The scope `health`.
    pub health: bool,
}

/// The surroundings of a screen.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The path of the public URL, before `/console`; empty at the root of a host.
    pub base: String,
    /// The name of the account.
    pub account: String,
    /// The screen.
    pub screen: Screen,
    /// What the token allows.
    pub abilities: Abilities,
    /// The same request of the API as a curl command.
    pub curl: Option<String>,
    /// How long the server read, so far.
    pub took: Duration,
    /// The entries and rows that a page of the list read, and their bound.
    pub cost: Option<(usize, usize)>,
}

impl Frame {
    /// The URL of a path of the console.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}/console{path}", self.base)
    }

    /// The URL of an asset, which changes with its content.
    pub(crate) fn asset(&self, name: &str) -> String {
        assets::url(&self.base, name)
    }

    pub(crate) fn is(&self, screen: Screen) -> bool {
        self.screen == screen
    }

    /// `0.42 ms`
    pub(crate) fn took(&self) -> String {
        format!("{:.2} ms", self.took.as_secs_f64() * 1000.0)
    }

    /// What the page read: `26 of at most 260 entries read`.
    pub(crate) fn work(&self) -> Option<String> {
        let (read, bound) = self.cost?;
        let [read, bound] = [read, bound].map(|number| format::count(number as u64));
        Some(format!("{read} of at most {bound} {}", text::ENTRIES_READ))
    }
}
