//! The command `convodb`: serve, import, list and look after a store of conversations.
//!
//! Results go to standard output and everything else to standard error. `args` is the command line
//! as data; each verb has its file, and no verb knows another, but for `serve`, which can serve the
//! `demo`.

mod admin_client;
mod args;
mod commands;
mod console;
mod flags;
mod import_api;
mod io;
mod open_store;
mod resolve;
mod serve;
mod upkeep;

use std::io::{BufWriter, ErrorKind, Write, stdout};
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;

use crate::args::{Cli, Usage, Verb};
use crate::commands::{
    assistant, backup, compact, erase, export, import, list, prune, restore, token, usage, user,
    verify,
};
use crate::console::say;

/// The exit status of a wrong command line, as clap has it.
const WRONG_USAGE: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli.verb) {
        Ok(code) => code,
        // Who closed the pipe, as `head` does, has all that was wanted.
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            say(format_args!("error: {}", one_line(&error)));
            if error.is::<Usage>() { ExitCode::from(WRONG_USAGE) } else { ExitCode::FAILURE }
        }
    }
}

fn run(verb: Verb) -> anyhow::Result<ExitCode> {
    let mut out = BufWriter::new(stdout());
    let code = match verb {
        Verb::Serve(verb) => serve::run(&verb, &mut out).map(|()| ExitCode::SUCCESS),
        Verb::Import(verb) if verb.from_api.is_asked_for() => import_api::run(&verb, &mut out),
        Verb::Import(verb) => import::run(&verb, &mut out),
        Verb::User(verb) => user::run(verb, &mut out).map(|()| ExitCode::SUCCESS),
        Verb::Token(verb) => token::run(verb, &mut out).map(|()| ExitCode::SUCCESS),
        Verb::Assistant(verb) => assistant::run(verb, &mut out).map(|()| ExitCode::SUCCESS),
        Verb::List(verb) => list::run(&verb, &mut out).map(|()| ExitCode::SUCCESS),
        Verb::Verify(verb) => verify::run(&verb, &mut out),
        Verb::Openapi => {
            writeln!(out, "{}", convodb_http::openapi())?;
            Ok(ExitCode::SUCCESS)
        }
        Verb::Export(verb) => export::run(&verb, &mut out).map(|()| ExitCode::SUCCESS),
        Verb::Backup(verb) => backup::run(&verb, &mut out).map(|()| ExitCode::SUCCESS),
        Verb::Restore(verb) => restore::run(&verb, &mut out),
        Verb::Stats(verb) => usage::run(&verb, &mut out).map(|()| ExitCode::SUCCESS),
        Verb::Compact(verb) => compact::run(&verb, &mut out).map(|()| ExitCode::SUCCESS),
        Verb::Erase(verb) => erase::run(&verb, &mut out).map(|()| ExitCode::SUCCESS),
        Verb::Retain(verb) => prune::run(&verb, &mut out).map(|()| ExitCode::SUCCESS),
    }?;
    match out.flush() {
        // What was done is done, and its status stands, whoever reads of it.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to standard output")
        }
        _ => Ok(code),
    }
}

/// The error and its causes, without those that are part of what they caused already.
fn one_line(error: &anyhow::Error) -> String {
    let mut line = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !line.ends_with(&cause) {
            line.push_str(": ");
            line.push_str(&cause);
        }
    }
    line
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let kinds =
        error.chain().filter_map(|cause| Some(cause.downcast_ref::<std::io::Error>()?.kind()));
    kinds.into_iter().any(|kind| kind == ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        let cause = || convodb::Error::Io(std::io::Error::other("disk on fire"));
        let error = anyhow::Error::new(cause()).context("cannot open x");
        assert_eq!(one_line(&error), "cannot open x: input or output failed: disk on fire");
        assert!(!is_closed_pipe(&error));
        let closed = std::io::Error::from(ErrorKind::BrokenPipe);
        assert!(is_closed_pipe(&anyhow::Error::new(closed).context("cannot print")));
    }
}
