//! Settings file of `serve`: TOML, below flags and environment variables.
//!
//! Every flag of `serve` is a setting of the same name, and its [`Args`] are
//! the only list of them: a setting of the file becomes a flag that is not on the command line, and
//! is checked like one.

use std::ffi::{OsStr, OsString};
use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args as _, Command, FromArgMatches};
use toml::de::{DeTable, DeValue};

use crate::args::UsageError;
use crate::serve::args::Args;
use crate::serve::log_filter;

/// Flags that are not settings.
const NOT_SETTINGS: [&str; 4] = ["config", "check_config", "help", "version"];

/// A setting of the file.
#[derive(Debug, PartialEq, Eq)]
struct Setting {
    key: String,
    /// The flag with its value; `None` for a switch that is off.
    flag: Option<String>,
    line: usize,
}

/// The effective settings.
pub(crate) struct Settings {
    pub(crate) args: Args,
    /// The same in TOML, with the origin of each as a comment.
    pub(crate) listing: String,
}

/// Merges the command line (the program's name first), the environment and the file that they name.
pub(crate) fn effective(arguments: impl Iterator<Item = OsString>) -> Result<Settings> {
    // Without the program's name: `serve` is first.
    let mut arguments: Vec<OsString> = arguments.skip(1).collect();
    let given = parse(&arguments)?;
    let path = given.get_one::<PathBuf>("config").cloned();
    let mut from_file = Vec::new();
    if let Some(path) = &path {
        for setting in read(path)? {
            let arg = check(&setting).map_err(|why| wrong(path, setting.line, &why))?;
            let source = given.value_source(arg.get_id().as_str());
            let overridden =
                matches!(source, Some(ValueSource::CommandLine | ValueSource::EnvVariable));
            if !overridden {
                from_file.push((arg.get_id().to_string(), setting.line));
                arguments.extend(setting.flag.map(OsString::from));
            }
        }
    }
    let all = parse(&arguments)?;
    let args = Args::from_arg_matches(&all).context("cannot read the settings")?;
    let origin = |arg: &Arg| {
        let id = arg.get_id().as_str();
        let in_file = from_file.iter().find(|(key, _)| key == id);
        match (in_file, given.value_source(id)) {
            (Some((_, line)), _) => {
                format!("{}:{line}", path.as_deref().unwrap_or(Path::new("")).display())
            }
            (None, Some(ValueSource::CommandLine)) => format!("--{}", name(arg)),
            (None, Some(ValueSource::EnvVariable)) => {
                arg.get_env().unwrap_or_default().to_string_lossy().into_owned()
            }
            _ => "default".to_owned(),
        }
    };
    let listing = list(&all, origin);
    Ok(Settings { args, listing })
}

/// Parses the arguments of `serve`.
fn parse(arguments: &[OsString]) -> Result<ArgMatches> {
    serve_command()
        .try_get_matches_from(arguments)
        .map_err(|error| anyhow!(UsageError(first_lines(&error))))
}

fn serve_command() -> Command {
    Args::augment_args(Command::new("serve"))
}

fn name(arg: &Arg) -> String {
    arg.get_long().unwrap_or_default().to_owned()
}

fn settings() -> Vec<Arg> {
    let command = serve_command();
    let all = command.get_arguments();
    all.filter(|arg| !NOT_SETTINGS.contains(&arg.get_id().as_str())).cloned().collect()
}

fn wrong(path: &Path, line: usize, why: &str) -> anyhow::Error {
    anyhow!(UsageError(format!("{}:{line}: {why}", path.display())))
}

/// Reads the settings of a file, in their order.
fn read(path: &Path) -> Result<Vec<Setting>> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    parse_file(&text).map_err(|(line, why)| wrong(path, line, &why))
}

fn parse_file(text: &str) -> Result<Vec<Setting>, (usize, String)> {
    let line_of = |at: usize| text[..at.min(text.len())].matches('\n').count() + 1;
    let table = DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_of(span.start));
        (line, error.message().to_owned())
    })?;
    let mut found = Vec::new();
    for (key, value) in table.get_ref() {
        let line = line_of(key.span().start);
        let key = key.get_ref().to_string();
        let flag = match value.get_ref() {
            DeValue::String(text) => Some(text.to_string()),
            DeValue::Integer(number) => Some(number.to_string()),
            DeValue::Boolean(on) => {
                found.push(Setting { flag: on.then(|| format!("--{key}")), key, line });
                continue;
            }
            _ => {
                return Err((line, format!("{key} must be a string, an integer, true or false")));
            }
        };
        let flag = flag.map(|value| format!("--{key}={value}"));
        found.push(Setting { key, flag, line });
    }
    found.sort_by_key(|setting| setting.line);
    Ok(found)
}

/// Returns the flag of a setting if it accepts the setting's value.
fn check(setting: &Setting) -> Result<Arg, String> {
    let key = setting.key.as_str();
    let all = settings();
    let Some(arg) = all.iter().find(|arg| arg.get_long() == Some(key)) else {
        let names: Vec<String> = all.iter().map(name).collect();
        return Err(format!("unknown setting {key}; the settings are {}", names.join(", ")));
    };
    if setting.flag.is_none() && arg.get_action().takes_values() {
        return Err(format!("{key} must be a string or an integer"));
    }
    if let Some(flag) = &setting.flag
        && let Err(error) = serve_command().try_get_matches_from(["serve", flag.as_str()])
    {
        return Err(first_lines(&error));
    }
    Ok(arg.clone())
}

/// The message of a parser's error, without its hint at `--help`.
fn first_lines(error: &clap::Error) -> String {
    let text = error.to_string();
    let lines = text.lines().map(str::trim).take_while(|line| !line.starts_with("For more"));
    let joined = lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    joined.strip_prefix("error: ").unwrap_or(&joined).to_owned()
}

/// The effective settings as a settings file.
fn list(all: &ArgMatches, origin: impl Fn(&Arg) -> String) -> String {
    let mut listing = String::new();
    for arg in settings() {
        let (id, name) = (arg.get_id().as_str(), name(&arg));
        let value = if arg.get_action().takes_values() {
            all.get_raw(id).map(|values| {
                let values: Vec<_> = values.map(OsStr::to_string_lossy).collect();
                quoted(&values.join(","))
            })
        } else {
            Some(all.get_flag(id).to_string())
        };
        // Writing to a string cannot fail.
        let _ = match value {
            // A password may be in it.
            Some(_) if arg.is_hide_env_values_set() => {
                writeln!(listing, "# {name} is set, and not shown  # {}", origin(&arg))
            }
            Some(value) => writeln!(listing, "{name} = {value}  # {}", origin(&arg)),
            None => writeln!(listing, "# {name} is not set"),
        };
    }
    listing
}

/// A value in TOML: an integer, or a basic string, whose escapes are those of JSON.
fn quoted(value: &str) -> String {
    match value.parse::<u32>() {
        Ok(number) => number.to_string(),
        Err(_) => serde_json::Value::from(value).to_string(),
    }
}

/// Maximum of each flag that limits memory: more than any machine has.
const MAX_MEMORY_BYTES: usize = 16 << 40;

/// Fails if a setting cannot be served: an address that is none, an unknown log level, more memory
/// than a machine has, or settings that contradict each other. Neither binds an address nor opens a
/// file: a server may be running with the same settings.
pub(crate) fn check_served(args: &Args) -> Result<()> {
    let addresses =
        [("--listen", Some(&args.listen)), ("--metrics-listen", args.metrics_listen.as_ref())];
    for (flag, address) in addresses {
        if let Some(address) = address {
            check_address(flag, address)?;
        }
    }
    log_filter::parse(&args.log)?;
    let sizes = [
        ("--cache-bytes", args.cache_bytes),
        ("--max-buffered-bytes", args.max_buffered_bytes),
        ("--response-cache-bytes", args.response_cache_bytes),
    ];
    if let Some((flag, _)) = sizes.iter().find(|(_, size)| size.0 > MAX_MEMORY_BYTES) {
        bail!(UsageError(format!("{flag}: must be at most 16384GiB, and less than the memory")));
    }
    if args.backup_dir.is_some() && args.admin_socket.is_none() {
        bail!(UsageError(
            "--backup-dir needs --admin-socket, which receives the requests for backups".to_owned()
        ));
    }
    check_store(args)
}

/// Fails unless the settings name one store, and only what it has.
fn check_store(args: &Args) -> Result<()> {
    if args.pg_url.is_none() {
        if args.db.is_none() && !args.demo {
            bail!(UsageError("--db FILE or --pg-url URL is required without --demo".to_owned()));
        }
        return Ok(());
    }
    if !cfg!(feature = "postgres") {
        let needs = "--pg-url: this binary has no PostgreSQL; build it with --features postgres";
        bail!(UsageError(needs.to_owned()));
    }
    let refused = [
        ("--db", args.db.is_some(), "give one of both: they name two stores"),
        ("--demo", args.demo, "a demo is served from a file"),
        ("--indexes", args.indexes.is_some(), "the tables in PostgreSQL have no optional indexes"),
        (
            "--admin-socket",
            args.admin_socket.is_some(),
            "use `convodb cluster user`, `token`, `erase`",
        ),
        ("--keep", args.keep.is_some(), "run `convodb cluster prune --keep DAYS` every day"),
        (
            "--confirm-retention",
            args.confirm_retention.is_some(),
            "it is a flag of `convodb cluster prune` there",
        ),
    ];
    match refused.iter().find(|(_, is_set, _)| *is_set) {
        Some((flag, _, why)) => bail!(UsageError(format!("{flag} with --pg-url: {why}"))),
        None => Ok(()),
    }
}

/// Fails unless `address` is a host and a port. The name of a host is not looked up.
fn check_address(flag: &str, address: &str) -> Result<()> {
    let is_address = address.parse::<SocketAddr>().is_ok()
        || address.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty() && !host.contains([':', '[', ']', '/']) && port.parse::<u16>().is_ok()
        });
    if is_address {
        return Ok(());
    }
    bail!(UsageError(format!(
        "{flag} {address}: must be an address and a port, as in 127.0.0.1:8080 or [::1]:8080"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_host_and_a_port() {
        for right in ["127.0.0.1:8080", "0.0.0.0:0", "[::1]:80", "localhost:8080", "a.example:1"] {
            check_address("--listen", right).unwrap();
        }
        for wrong in [
            "8080",
            ":8080",
            "",
            "127.0.0.1",
            "localhost:http",
            "[::1]",
            "::1:80",
            "a:65536",
            "http://a:1",
        ] {
            let error = check_address("--listen", wrong).unwrap_err();
            assert!(error.is::<UsageError>(), "{wrong}: {error}");
        }
    }

    #[track_caller]
    fn check_file(text: &str, expected: Result<&[&str], &str>) {
        let read = parse_file(text).and_then(|settings| {
            settings
                .into_iter()
                .map(|setting| match check(&setting) {
                    Ok(_) => Ok(setting.flag.unwrap_or_default()),
                    Err(why) => Err((setting.line, why)),
                })
                .collect::<Result<Vec<_>, _>>()
        });
        match (read, expected) {
            (Ok(flags), Ok(expected)) => assert_eq!(flags, expected),
            (Err((line, why)), Err(expected)) => {
                let found = format!("{line}: {why}");
                assert!(found.starts_with(expected), "{found}");
            }
            (read, expected) => panic!("{read:?}, not {expected:?}"),
        }
    }

    #[test]
    fn a_setting_becomes_a_flag() {
        check_file("", Ok(&[]));
        let text = "# a comment\ndb = \"a b.convodb\"\nkeep = 30\ndemo = false\n";
        check_file(text, Ok(&["--db=a b.convodb", "--keep=30", ""]));
    }

    #[test]
    fn an_invalid_setting_is_reported_with_its_line() {
        check_file(
            "db = 1\n\nlistne = \"x\"",
            Err("3: unknown setting listne; the settings are db, pg-url, listen"),
        );
        check_file("config = \"x\"", Err("1: unknown setting config"));
        check_file(
            "\ncache-bytes = \"64MB\"",
            Err("2: invalid value '64MB' for '--cache-bytes <SIZE>'"),
        );
        check_file("keep = 0", Err("1: invalid value '0'"));
        check_file("keep = true", Err("1: a value is required"));
        check_file("keep = false", Err("1: keep must be a string"));
        check_file("demo = \"yes\"", Err("1: unexpected value 'yes'"));
        check_file(
            "log-format = \"xml\"",
            Err("1: invalid value 'xml' for '--log-format <FORMAT>' [possible"),
        );
        check_file("[server]\ndb = \"x\"", Err("1: server must be a string"));
        check_file("db = \"x\"\ndb = \"y\"", Err("2: "));
        check_file("db = ", Err("1: "));
    }
}
