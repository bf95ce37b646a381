//! The `cargo xtask` command: runs the repository's checks and prints what they find.

#![expect(clippy::print_stdout, reason = "findings are the output of the command")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use xtask::checks::{layers, licences, tidy, words};
use xtask::finding::Finding;
use xtask::lists::LAYERS;
use xtask::source::repository::Repository;

const USAGE: &str = "\
Checks of the convodb repository.

Usage: cargo xtask <COMMAND> [ROOT]

Commands:
  tidy      Check layers, names, words, documents and manifests
  licences  Check licences, sources and number of dependencies, without the network
  words     Print how often each banned phrase occurs
  graph     Print which folders of each crate import which, top layer first

ROOT is the repository to check; the default is the one that contains xtask.
Exits with 1 if a check finds something, with 2 if it cannot run.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let root = arguments.get(1).map_or_else(Repository::root, PathBuf::from);
    let outcome = match arguments.first().map(String::as_str) {
        Some("tidy") => run_tidy(&root),
        Some("licences") => run_licences(&root),
        Some("words") => print_words(&root),
        Some("graph") => print_graph(&root),
        _ => Err(USAGE.to_owned()),
    };
    match outcome {
        Ok(findings) if findings.is_empty() => ExitCode::SUCCESS,
        Ok(findings) => {
            for finding in &findings {
                println!("{finding}");
            }
            println!("{} findings", findings.len());
            ExitCode::from(1)
        }
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(2)
        }
    }
}

fn run_tidy(root: &Path) -> Result<Vec<Finding>, String> {
    Ok(tidy(&read(root)?))
}

fn run_licences(root: &Path) -> Result<Vec<Finding>, String> {
    licences::check(root, &read(root)?)
}

fn print_words(root: &Path) -> Result<Vec<Finding>, String> {
    let counts = words::count_banned(root).map_err(|error| error.to_string())?;
    for (phrase, count) in &counts {
        println!("{count:>6}  {phrase}");
    }
    println!("{:>6}  all", counts.values().sum::<usize>());
    Ok(Vec::new())
}

fn print_graph(root: &Path) -> Result<Vec<Finding>, String> {
    let repository = read(root)?;
    for layered in LAYERS {
        let imports = layers::folder_imports(&repository, layered);
        let folders: Vec<&str> = layered.layers.iter().rev().copied().flatten().copied().collect();
        println!("{}: {} folders, {} imports", layered.folder, folders.len(), imports.len());
        for folder in folders {
            let of_folder = imports.iter().filter(|((from, _), _)| from == folder);
            let names: Vec<String> =
                of_folder.map(|((_, to), files)| format!("{to} ({files})")).collect();
            println!("  {folder} -> {}", names.join(", "));
        }
    }
    Ok(Vec::new())
}

fn read(root: &Path) -> Result<Repository, String> {
    Repository::read(root).map_err(|error| error.to_string())
}
