//! Blocks of a document that are written by a program: between `<!-- begin NAME -->` and
//! `<!-- end NAME -->`, each on a line of its own. What stands around them is never touched.

use anyhow::{Context, Result};

/// The document with what stands in the block replaced.
///
/// # Errors
/// When the document has no such block.
pub(crate) fn replace(document: &str, name: &str, inside: &str) -> Result<String> {
    let (begin, end) = (format!("<!-- begin {name} -->\n"), format!("<!-- end {name} -->"));
    let missing = || format!("the document has no block {name}");
    let (before, rest) = document.split_once(&begin).with_context(missing)?;
    let (_, after) = rest.split_once(&end).with_context(missing)?;
    Ok(format!("{before}{begin}\n{}\n\n{end}{after}", inside.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_block_changes_and_twice_is_once() {
        let document = "a\n<!-- begin x -->\nold\n<!-- end x -->\nb\n";
        let once = replace(document, "x", "new").unwrap();
        assert_eq!(once, "a\n<!-- begin x -->\n\nnew\n\n<!-- end x -->\nb\n");
        assert_eq!(replace(&once, "x", "new").unwrap(), once);
        assert!(replace(document, "y", "new").is_err());
    }
}
