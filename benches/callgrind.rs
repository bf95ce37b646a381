//! Instruction counts of a child process, by callgrind of valgrind.

use std::error::Error;
use std::process::Command;

/// The function whose instructions are counted for inserts. Commits and checkpoints are not counted,
/// because their number depends on time.
pub const INSERT_FUNCTION: &str = "convodb::transaction::Transaction::insert*";

/// Runs this program again under callgrind, with the environment variables `environment`, and returns
/// the instructions within a function and what it calls. The name of the function may have wildcards.
///
/// # Errors
/// Fails without valgrind, if the child process fails, or if the function was not called.
pub fn instructions(function: &str, environment: &[(&str, &str)]) -> Result<u64, Box<dyn Error>> {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    command.arg(format!("--toggle-collect={function}"));
    command.arg(std::env::current_exe()?).envs(environment.iter().copied());
    let output = command.output()?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    let collected = stderr.lines().find_map(|line| line.split_once("Collected :"));
    match collected {
        Some((_, count)) if output.status.success() => match count.trim().parse()? {
            0 => Err(format!("{function} was not called").into()),
            count => Ok(count),
        },
        _ => Err(format!("{environment:?}: {stderr}").into()),
    }
}
