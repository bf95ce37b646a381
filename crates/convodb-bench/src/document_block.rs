//! Generated blocks of a document, between the lines `<!-- begin NAME -->` and `<!-- end NAME -->`.
//! The text outside of the blocks is never changed.

use anyhow::{Context, Result};

/// Replaces the content of a block and returns the new document.
///
/// # Errors
/// Fails if the document has no such block.
pub fn replace(document: &str, name: &str, inside: &str) -> Result<String> {
    let (begin, end) = (format!("<!-- begin {name} -->\n"), format!("<!-- end {name} -->"));
    let missing = || format!("block {name} not found in the document");
    let (before, rest) = document.split_once(&begin).with_context(missing)?;
    let (_, after) = rest.split_once(&end).with_context(missing)?;
    Ok(format!("{before}{begin}\n{}\n\n{end}{after}", inside.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replace_changes_only_the_block_and_is_idempotent() {
        let document = "a\n<!-- begin x -->\nold\n<!-- end x -->\nb\n";
        let once = replace(document, "x", "new").unwrap();
        assert_eq!(once, "a\n<!-- begin x -->\n\nnew\n\n<!-- end x -->\nb\n");
        assert_eq!(replace(&once, "x", "new").unwrap(), once);
        assert!(replace(document, "y", "new").is_err());
    }
}
