//! Screens without a session: signing in, and errors.

use askama::Template;

use crate::assets;
use crate::text;

/// The form that asks for a token.
#[derive(Clone, Debug, Template)]
#[template(path = "sign_in.html")]
pub struct SignInScreen {
    /// The path of the public URL, before `/console`.
    pub base: String,
    /// The path to open afterwards; blank for the first screen.
    pub next: String,
    /// Why the form is shown again; blank at first.
    pub notice: &'static str,
    /// Whether the notice is an error.
    pub is_error: bool,
}

impl SignInScreen {
    fn asset(&self, name: &str) -> String {
        assets::url(&self.base, name)
    }
}

/// An error as a page.
#[derive(Clone, Debug, Template)]
#[template(path = "error.html")]
pub struct ErrorScreen {
    /// The path of the public URL, before `/console`.
    pub base: String,
    /// The HTTP status.
    pub status: u16,
    /// The message of the error.
    pub message: String,
    /// The id of the request, for the log.
    pub request_id: String,
}

impl ErrorScreen {
    fn asset(&self, name: &str) -> String {
        assets::url(&self.base, name)
    }

    fn title(&self) -> &'static str {
        match self.status {
            401 => text::SIGN_IN,
            403 => text::FORBIDDEN,
            404 => text::NOT_FOUND,
            429 | 503 => text::UNAVAILABLE,
            _ => text::WENT_WRONG,
        }
    }

    fn hint(&self) -> &'static str {
        match self.status {
            401 => text::SESSION_ENDED,
            404 => text::NOT_FOUND_HINT,
            429 | 503 => text::UNAVAILABLE_HINT,
            _ => "",
        }
    }
}
