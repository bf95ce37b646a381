//! What idle, slow and deaf clients do to a server: `crowd BINARY [ci|release]`, where BINARY is the
//! command `convodb`. Fails where a page takes more than twice as long, or the server too much memory.

#![allow(clippy::print_stdout, reason = "the summary is what is asked for")]

use std::error::Error;
use std::path::Path;

use convodb_testkit::crowd::{Crowd, Pace, trial};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (binary, crowd, pace) = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [binary] | [binary, "ci"] => (binary, Crowd::CI, Pace::MEASURED),
        [binary, "release"] => (binary, Crowd::RELEASE, Pace::LARGE),
        _ => return Err("crowd BINARY [ci|release]".into()),
    };
    let directory = tempfile::tempdir()?;
    let mut tell = |line: &str| println!("{line}");
    let finding = trial(Path::new(binary), crowd, pace, directory.path(), &mut tell)?;
    println!("{finding:#?}");
    match finding.violation() {
        Some(violation) => Err(violation.into()),
        None => Ok(()),
    }
}
