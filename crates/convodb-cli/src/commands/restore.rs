//! `convodb restore`: a backup becomes a store, once its checksum and its audit are as they must be.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Result, anyhow};
use convodb::{Checksum, Error, restore};

use crate::commands::backup::checksum_name;
use crate::commands::verify;
use crate::console::{entries_bar, say};
use crate::upkeep::Restore;

/// Restores a backup; one with faults is a failure, and no store is made of it.
pub(crate) fn run(verb: &Restore, out: &mut dyn Write) -> Result<ExitCode> {
    let checksum = if verb.without_checksum { Checksum::Ignored } else { Checksum::Required };
    let (bar, follow) = entries_bar();
    let restored = restore(&verb.backup, &verb.to, checksum, follow);
    bar.finish_and_clear();
    let audit = restored.map_err(|error| explain(verb, error))?;
    if audit.is_clean() {
        say(format_args!("restored to {}", verb.to.display()));
    } else {
        let backup = verb.backup.display();
        say(format_args!("nothing was restored: {backup} is what its checksum says, and damaged"));
    }
    verify::tell(&audit, &verb.json, out)
}

fn explain(verb: &Restore, error: Error) -> anyhow::Error {
    let (backup, to) = (verb.backup.display(), verb.to.display());
    match error {
        Error::FileExists(path) if path == verb.to => anyhow!(
            "{to} is there already, and is not overwritten; move it away first, with its log \
             ({to}-log.*)"
        ),
        Error::FileExists(path) => anyhow!(
            "the log of a store that was at {to} is still there ({}); it would be taken for the \
             restored one's, so move it away first",
            path.display()
        ),
        Error::Io(error) if error.kind() == io::ErrorKind::NotFound => {
            if !verb.backup.exists() {
                return anyhow!("there is no backup at {backup}");
            }
            let beside = checksum_name(&verb.backup);
            anyhow!(
                "cannot restore {backup}: {error}; its checksum should be in {beside}, \
                 --without-checksum restores it all the same"
            )
        }
        Error::Corrupted { table: "backup", what } => {
            anyhow!("{backup} was not restored: {what}; take another backup")
        }
        error => anyhow!(error).context(format!("cannot restore {backup} to {to}")),
    }
}
