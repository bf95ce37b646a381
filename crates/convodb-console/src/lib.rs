//! Screens of the convodb console: HTML pages from typed templates.
//!
//! Each screen is one struct; rendering it returns the page. The crate reads no store and knows no
//! HTTP: its caller passes the engine's values, already read, and sends the text. A template escapes
//! every value, so a text of a customer is never markup. No page has inline scripts or styles, so
//! that a content security policy can forbid them.

pub mod assets;
mod chart;
mod conversation;
mod customer;
mod format;
mod frame;
mod health;
mod list;
mod markup;
mod query;
mod session;
pub mod text;
mod tokens;
mod volumes;

pub use crate::conversation::{ConversationScreen, MessagePart, Neighbours};
pub use crate::customer::{CustomerScreen, CustomerTotals};
pub use crate::frame::{Abilities, Frame, Screen};
pub use crate::health::{Health, HealthScreen};
pub use crate::list::{AssistantChoice, FieldMessage, ListScreen, LiveStart, Row};
pub use crate::markup::kind_name;
pub use crate::query::Query;
pub use crate::session::{ErrorScreen, SignInScreen};
pub use crate::tokens::{
    CreatedTokenScreen, NewTokenScreen, TokenForm, TokenRow, TokenScreen, TokensScreen,
};
pub use crate::volumes::{Comparison, Group, Measure, Split, StatementScreen, VolumesScreen};

/// The content security policy of every page and asset.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";
