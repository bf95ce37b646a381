//! The command `convodb`: serve, import, list and maintain a store of conversations.
//!
//! Results go to standard output, everything else to standard error. `args` has the flags that
//! verbs share; each verb is a file in `commands`, and `serve` a folder.

mod accounts;
mod admin_client;
mod args;
mod commands;
mod console;
mod import_api;
mod io;
mod open_store;
mod postgres_flags;
mod resolve;
mod serve;

use std::io::{BufWriter, ErrorKind, Write};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use mimalloc::MiMalloc;

use crate::args::UsageError;
use crate::commands::{
    assistant, backup, bench, changes, compact, delete, erase, export, import, indexes, list,
    prune, report, restore, show, token, usage, user, verify,
};
use crate::console::{Stdout, say};

/// A tenth fewer instructions for a request than with the allocator of glibc, which also keeps what
/// each thread has freed.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// The exit status of a wrong command line, the same as clap's.
const WRONG_USAGE: u8 = 2;

/// Serve, import, list and maintain an embedded store of conversations
#[derive(Debug, Parser)]
#[command(name = "convodb", version, max_term_width = 100, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

const AFTER_HELP: &str = "\
A flag can also be set by its environment variable, which its help names; the flag wins. Flags that
choose what is deleted have none.
Results go to standard output, everything else to standard error.

Exit status:
  0  success
  1  failure, or a verification with findings
  2  wrong command line or settings
  3  import with rejected lines

Try it: convodb serve --demo";

#[derive(Debug, Subcommand)]
enum Verb {
    Serve(Box<serve::Args>),
    Import(import::Args),
    Export(export::Args),
    List(list::Args),
    Show(show::Args),
    Delete(delete::Args),
    Report(report::Args),
    Changes(changes::Args),
    /// Create, list and rename users, and set their quotas
    #[command(subcommand)]
    User(user::Command),
    /// Create, list, narrow and revoke access tokens
    #[command(subcommand)]
    Token(token::Command),
    /// Create, list, rename and delete assistants
    #[command(subcommand)]
    Assistant(assistant::Command),
    /// List, add and drop optional indexes
    #[command(subcommand)]
    Indexes(indexes::Command),
    Verify(verify::Args),
    Backup(backup::Args),
    Restore(restore::Args),
    // Formerly `stats`, which suggests volumes and costs.
    #[command(alias = "stats")]
    Usage(usage::Args),
    Compact(compact::Args),
    Erase(erase::Args),
    #[command(alias = "retain")]
    Prune(prune::Args),
    Bench(bench::Args),
    /// Create, fill and verify a store on PostgreSQL
    #[cfg(feature = "postgres")]
    #[command(subcommand)]
    Cluster(commands::cluster::Command),
    /// Print the OpenAPI 3.1 description of the server's API
    Openapi,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let reported = io::file_size_limit::report_as_error().context("cannot handle signals");
    match reported.and_then(|()| run(cli.verb)) {
        Ok(code) => code,
        // The reader of a pipe, such as `head`, has closed it: it needs no more.
        Err(_) if Stdout::is_closed() => ExitCode::SUCCESS,
        Err(error) => {
            say(format_args!("error: {}", one_line(&error)));
            let usage = error.is::<UsageError>();
            if usage { ExitCode::from(WRONG_USAGE) } else { ExitCode::FAILURE }
        }
    }
}

fn run(verb: Verb) -> anyhow::Result<ExitCode> {
    let mut out = BufWriter::new(Stdout);
    let code = match verb {
        Verb::Serve(args) => success(serve::run(&args, &mut out)),
        Verb::Import(args) => import::run(&args, &mut out),
        Verb::Export(args) => success(export::run(&args, &mut out)),
        Verb::List(args) => success(list::run(&args, &mut out)),
        Verb::Show(args) => success(show::run(&args, &mut out)),
        Verb::Delete(args) => success(delete::run(&args)),
        Verb::Report(args) => success(report::run(&args, &mut out)),
        Verb::Changes(args) => success(changes::run(&args, &mut out)),
        Verb::User(command) => success(user::run(command, &mut out)),
        Verb::Token(command) => success(token::run(command, &mut out)),
        Verb::Assistant(command) => success(assistant::run(command, &mut out)),
        Verb::Indexes(command) => success(indexes::run(command, &mut out)),
        Verb::Verify(args) => verify::run(&args, &mut out),
        Verb::Backup(args) => success(backup::run(&args, &mut out)),
        Verb::Restore(args) => restore::run(&args, &mut out),
        Verb::Usage(args) => success(usage::run(&args, &mut out)),
        Verb::Compact(args) => success(compact::run(&args, &mut out)),
        Verb::Erase(args) => success(erase::run(&args, &mut out)),
        Verb::Prune(args) => success(prune::run(&args, &mut out)),
        Verb::Bench(args) => success(bench::run(&args, &mut out)),
        #[cfg(feature = "postgres")]
        Verb::Cluster(command) => commands::cluster::run(command, &mut out),
        Verb::Openapi => success(writeln!(out, "{}", convodb_http::openapi()).map_err(Into::into)),
    }?;
    match out.flush() {
        // The work is done: a closed pipe must not change the exit status.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to standard output")
        }
        _ => Ok(code),
    }
}

fn success(result: anyhow::Result<()>) -> anyhow::Result<ExitCode> {
    result.map(|()| ExitCode::SUCCESS)
}

/// The error and its causes, except causes that the message before already ends with.
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Arg, Command, CommandFactory};
    use std::collections::HashMap;

    #[test]
    fn a_cause_is_printed_once() {
        let cause = || convodb::Error::from(std::io::Error::other("disk on fire"));
        let error = anyhow::Error::new(cause()).context("cannot open x");
        let line = one_line(&error);
        assert!(line.starts_with("cannot open x: "), "{line}");
        assert_eq!(line.matches("disk on fire").count(), 1, "{line}");
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    /// Each flag of each verb, by the verb's words.
    fn flags() -> Vec<(String, Arg)> {
        fn walk(command: &Command, path: &str, all: &mut Vec<(String, Arg)>) {
            for flag in command.get_arguments().filter(|arg| !arg.is_positional()) {
                if !["help", "version"].contains(&flag.get_id().as_str()) {
                    all.push((path.to_owned(), flag.clone()));
                }
            }
            for verb in command.get_subcommands() {
                let path = format!("{path} {}", verb.get_name());
                walk(verb, path.trim_start(), all);
            }
        }
        let mut all = Vec::new();
        walk(&Cli::command(), "", &mut all);
        assert!(all.len() > 60, "{}", all.len());
        all
    }

    /// The flags that choose what is deleted, that a check is skipped, or that what is otherwise only
    /// shown is set: they have no variable.
    const WITHOUT_VARIABLE: [(&str, &str); 29] = [
        ("token narrow", "id"),
        ("token narrow", "scopes"),
        ("token narrow", "assistant"),
        ("token narrow", "expires"),
        ("user quota", "max-conversations"),
        ("user quota", "max-bytes"),
        ("serve", "keep"),
        ("serve", "keep-changes"),
        ("delete", "user"),
        ("delete", "yes"),
        ("token revoke", "id"),
        ("token revoke", "prefix"),
        ("token revoke", "user"),
        ("token revoke", "all"),
        ("token revoke", "yes"),
        ("assistant delete", "user"),
        ("verify", "without-wal"),
        ("restore", "without-checksum"),
        ("restore", "revoke-tokens"),
        ("erase", "user"),
        ("erase", "customer-phone"),
        ("erase", "external-identifier"),
        ("erase", "everything"),
        ("erase", "yes"),
        ("erase", "no-compact"),
        ("prune", "keep"),
        ("prune", "user"),
        ("prune", "confirm-retention"),
        ("serve", "confirm-retention"),
    ];

    /// Those of `convodb cluster`.
    #[cfg(feature = "postgres")]
    const OF_CLUSTER_WITHOUT_VARIABLE: &[(&str, &str)] = &[
        ("cluster token revoke", "id"),
        ("cluster token revoke", "prefix"),
        ("cluster token revoke", "user"),
        ("cluster token revoke", "all"),
        ("cluster token revoke", "yes"),
        ("cluster token narrow", "id"),
        ("cluster token narrow", "scopes"),
        ("cluster token narrow", "assistant"),
        ("cluster token narrow", "expires"),
        ("cluster user quota", "max-conversations"),
        ("cluster user quota", "max-bytes"),
        ("cluster user remove", "user"),
        ("cluster user remove", "yes"),
        ("cluster erase", "user"),
        ("cluster erase", "customer-phone"),
        ("cluster erase", "external-identifier"),
        ("cluster erase", "everything"),
        ("cluster erase", "yes"),
        ("cluster prune", "keep"),
        ("cluster prune", "user"),
        ("cluster prune", "confirm-retention"),
    ];
    #[cfg(not(feature = "postgres"))]
    const OF_CLUSTER_WITHOUT_VARIABLE: &[(&str, &str)] = &[];

    #[test]
    fn each_flag_has_help_and_a_variable_unless_it_chooses_what_is_deleted() {
        let mut without: Vec<(String, String)> = Vec::new();
        for (verb, flag) in flags() {
            let long = flag.get_long().unwrap().to_owned();
            assert!(flag.get_help().is_some(), "{verb} --{long} has no help");
            let deletes = ["delete", "erase", "prune", "remove", "revoke"];
            let deletes = verb.split(' ').any(|word| deletes.contains(&word));
            let place = ["db", "admin-socket", "json"];
            // Those of a connection choose the database, and nothing in it.
            let connection = [
                "pg-url",
                "pg-schema",
                "pg-read-url",
                "pg-connections",
                "pg-write-connections",
                "pg-read-timeout",
                "pg-write-timeout",
            ];
            let names_the_place =
                place.contains(&long.as_str()) || connection.contains(&long.as_str());
            match flag.get_env() {
                None => without.push((verb, long)),
                Some(variable) => {
                    let variable = variable.to_str().unwrap();
                    let forbidden = deletes && !names_the_place || long == "yes";
                    assert!(!forbidden, "{verb} --{long} deletes, and can be set by {variable}");
                }
            }
        }
        let of_cluster = OF_CLUSTER_WITHOUT_VARIABLE.iter().copied();
        let expected = WITHOUT_VARIABLE.into_iter().chain(of_cluster);
        let mut expected: Vec<_> =
            expected.map(|(verb, flag)| (verb.to_owned(), flag.to_owned())).collect();
        without.sort();
        expected.sort();
        assert_eq!(without, expected);
    }

    /// One variable has one meaning: flags share it only if they take the same kind of value.
    #[test]
    fn a_variable_is_named_for_its_flag_and_for_its_verb_where_meanings_differ() {
        let mut meanings: HashMap<String, (String, String)> = HashMap::new();
        for (verb, flag) in flags() {
            let Some(variable) = flag.get_env().map(|name| name.to_str().unwrap().to_owned())
            else {
                continue;
            };
            let word = |text: &str| text.replace('-', "_").to_uppercase();
            let long = word(flag.get_long().unwrap());
            // The verbs of `cluster` share the variables of those for a file.
            let verb = verb.strip_prefix("cluster ").unwrap_or(&verb);
            let verb = word(verb.split(' ').next().unwrap());
            let names = [format!("CONVODB_{long}"), format!("CONVODB_{verb}_{long}")];
            assert!(names.contains(&variable), "{variable} of {verb} --{long}");
            let meaning = format!(
                "{:?} {:?} {:?}",
                flag.get_value_names(),
                flag.get_action(),
                flag.get_value_parser().type_id()
            );
            let (first, expected) =
                meanings.entry(variable.clone()).or_insert((verb.clone(), meaning.clone()));
            assert_eq!(meaning, *expected, "{variable} of {verb} is not that of {first}");
        }
        assert_eq!(meanings["CONVODB_BACKUP_TO"].0, "BACKUP");
        assert_eq!(meanings["CONVODB_RESTORE_TO"].0, "RESTORE");
    }

    #[test]
    fn old_names_of_verbs_still_work() {
        for (old, new) in [("stats", "usage"), ("retain", "prune")] {
            assert_eq!(Cli::command().find_subcommand(old).unwrap().get_name(), new);
        }
    }
}
