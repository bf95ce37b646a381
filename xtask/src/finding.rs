//! Finding: one violation of a rule, with its place.

use std::fmt;

/// One violation of a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// A path from the root of the repository, with `:line` where the line is known.
    pub place: String,
    /// The rule, the value that breaks it and, where one exists, the value that would be right.
    pub text: String,
}

impl Finding {
    /// A finding about a whole file, folder or package.
    pub fn new(place: impl Into<String>, text: impl Into<String>) -> Self {
        Finding { place: place.into(), text: text.into() }
    }

    /// A finding in one line of a file; the first line is 1.
    pub fn at(path: &str, line: usize, text: impl Into<String>) -> Self {
        Finding::new(format!("{path}:{line}"), text)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}
