//! `convodb restore`: turns a backup into a store after verifying its checksum and its content.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, anyhow};
use convodb::{ChecksumPolicy, Error, checksum_path};

use crate::args::JsonFlag;
use crate::commands::verify;
use crate::console::{entries_bar, say};

/// Restore a store from a backup
///
/// Verifies the backup against its checksum (BACKUP.b3), copies it, and verifies the copy as
/// `convodb verify` does; the store appears only if both succeed. An existing file is never
/// overwritten: move an old store away first, together with its write-ahead log (FILE-log.*). The
/// exit status is 1 if the verification finds anything.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: convodb restore /backups/chats-2025-01-25.convodb --to chats.convodb"
)]
pub(crate) struct Args {
    /// File of the backup
    #[arg(value_name = "BACKUP")]
    backup: PathBuf,
    /// File of the store, which must not exist
    #[arg(long, env = "CONVODB_RESTORE_TO", value_name = "FILE")]
    to: PathBuf,
    /// Restore a backup whose checksum file was lost; its content is still verified
    #[arg(long)]
    without_checksum: bool,
    /// Revoke all access tokens in the restored store: some of them may have been revoked since the
    /// backup
    #[arg(long)]
    revoke_tokens: bool,
    #[command(flatten)]
    json: JsonFlag,
}

/// Restores a backup. One with findings is a failure and creates no store.
pub(crate) fn run(args: &Args, out: &mut dyn Write) -> Result<ExitCode> {
    let checksum =
        if args.without_checksum { ChecksumPolicy::Ignored } else { ChecksumPolicy::Required };
    let (bar, progress) = entries_bar();
    let mut options = convodb::MaintenanceOptions::new().checksum(checksum).progress(progress);
    if args.revoke_tokens {
        options = options.revoke_tokens();
    }
    let restored = convodb::restore_with(&args.backup, &args.to, options);
    bar.finish_and_clear();
    let found = restored.map_err(|error| explain(args, error))?;
    if found.is_clean() {
        let tokens = if args.revoke_tokens { ", without its access tokens" } else { "" };
        say(format_args!("restored to {}{tokens}", args.to.display()));
    } else {
        let backup = args.backup.display();
        let checksum = if args.without_checksum { "was not compared with" } else { "matches" };
        say(format_args!(
            "nothing was restored: {backup} {checksum} its checksum, and its content is damaged; \
             restore another backup"
        ));
    }
    verify::print(&found, &args.json, out)
}

fn explain(args: &Args, error: Error) -> anyhow::Error {
    let (backup, to) = (args.backup.display(), args.to.display());
    match error {
        Error::FileExists(path) if path == args.to => anyhow!(
            "{to} already exists and is not overwritten; move it away first, with its write-ahead \
             log ({to}-log.*)"
        ),
        Error::FileExists(path) => anyhow!(
            "the write-ahead log of an earlier store at {to} still exists ({}) and would be \
             replayed into the restored one; move it away first",
            path.display()
        ),
        Error::Io(error) if error.kind() == io::ErrorKind::NotFound => {
            if !args.backup.exists() {
                return anyhow!("no backup at {backup}");
            }
            let checksum = checksum_path(&args.backup);
            anyhow!(
                "cannot restore {backup}: no checksum file {} ({error}); --without-checksum \
                 restores it anyway",
                checksum.display()
            )
        }
        Error::Corrupted { table: "backup", what } => {
            anyhow!("cannot restore {backup}: {what}; use another backup")
        }
        error => anyhow!(error).context(format!("cannot restore {backup} to {to}")),
    }
}
