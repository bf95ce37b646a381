//! Word lists: what prose and names may not say. The one file that is exempt from these checks.

/// A refused word or phrase, and words that serve instead.
#[derive(Clone, Copy, Debug)]
pub struct Banned {
    /// Lower-case words, separated by single spaces.
    pub phrase: &'static str,
    /// What to write instead.
    pub instead: &'static str,
}

const fn ban(phrase: &'static str, instead: &'static str) -> Banned {
    Banned { phrase, instead }
}

/// The phrases that sources, documents, help texts and messages may not contain.
pub const BANNED: &[Banned] = &[
    ban("told", "says, returns, reports, receives"),
    ban("tells", "says, returns, reports, describes"),
    ban("tell of", "describe, report, document"),
    ban("whoever", "a caller that, the thread that"),
    ban("for who", "for callers that"),
    ban("so many", "as many, the number of"),
    ban("let go of", "dropped, released"),
    ban("lets go of", "drops, releases"),
    ban("letting go of", "dropping, releasing"),
    ban("taken back", "rolled back, reverted"),
    ban("take back", "roll back, revert"),
    ban("takes back", "rolls back, reverts"),
    ban("goes on", "continues"),
    ban("of which", "whose, or two sentences"),
    ban("as there", "because, the number of"),
    ban("what is not", "the noun itself"),
    ban("descent", "B-tree lookup"),
    ban("descents", "B-tree lookups"),
    ban("the house", "the crate, the workspace"),
    ban("floor", "layer"),
    ban("floors", "layers"),
    ban("see the head of this file", "document the item itself"),
];

/// Banned words that are also methods of the standard library: `.floor()` of a number is allowed.
pub const METHODS: &[&str] = &["floor"];

/// Words that say nothing in the name of a type, also as the beginning of a longer word.
pub const EMPTY_WORDS: &[&str] = &["Manager", "Helper", "Util", "Common", "Info"];

/// A word that says nothing where it stands alone; `Database` is a word of its own.
pub const EMPTY_LAST_WORD: &str = "Data";

/// Marks of work that is not finished.
pub const UNFINISHED: &[&str] =
    &["todo!", "unimplemented!", "dbg!", "FIXME", "TODO", "XXX", "#[ignore"];

#[cfg(test)]
mod tests {
    use crate::checks::words::occurrences;

    /// Checks the phrases that a text contains, with their lines.
    #[track_caller]
    fn check(text: &str, expected: &[(&str, usize)]) {
        let found: Vec<(&str, usize)> =
            occurrences(text).iter().map(|found| (found.banned.phrase, found.line)).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn words_are_found_whole_and_in_any_case() {
        check("Told, it\ntells.", &[("told", 1), ("tells", 2)]);
        check("untold retells foretold Whoevers", &[]);
    }

    #[test]
    fn words_are_found_in_identifiers() {
        check(
            "fn is_told() { ToldRate::new(); WHOEVER }",
            &[("told", 1), ("told", 1), ("whoever", 1)],
        );
        check("fn lets_go_of_it() { takeBack() }", &[("lets go of", 1), ("take back", 1)]);
    }

    #[test]
    fn phrases_are_found_across_lines_of_a_comment() {
        check("/// a table of\n    /// which all", &[("of which", 1)]);
        check("# goes\n# on", &[("goes on", 1)]);
        check("\"a tail of \\\n which\"", &[("of which", 1)]);
    }

    #[test]
    fn punctuation_ends_a_phrase() {
        check("a list of. Which is", &[]);
        check("it goes, on", &[]);
    }

    #[test]
    fn methods_of_numbers_are_allowed() {
        check("x.log10().floor() * floor(x)", &[("floor", 1)]);
    }
}
