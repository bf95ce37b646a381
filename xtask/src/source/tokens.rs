//! Tokens of reduced Rust code: identifiers, `::` and single characters, with their offsets.

use crate::source::rust_code::is_identifier;

/// A piece of code: an identifier, `::` or one other character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'a> {
    /// The text of the token.
    pub text: &'a str,
    /// Where the token begins.
    pub offset: usize,
}

impl Token<'_> {
    /// Whether the token is an identifier, a keyword or a number.
    pub fn is_identifier(&self) -> bool {
        self.text.bytes().next().is_some_and(is_identifier)
    }
}

/// Splits code into tokens; whitespace separates and does not appear.
pub fn tokens(code: &str) -> Vec<Token<'_>> {
    let bytes = code.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let length = if is_identifier(bytes[at]) {
            bytes[at..].iter().take_while(|byte| is_identifier(**byte)).count()
        } else if bytes[at..].starts_with(b"::") {
            2
        } else {
            1
        };
        if !bytes[at].is_ascii_whitespace() {
            found.push(Token { text: &code[at..at + length], offset: at });
        }
        at += length;
    }
    found
}
