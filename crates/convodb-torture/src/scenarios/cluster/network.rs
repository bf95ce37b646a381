//! Network namespaces of one machine, each the network of a server, with an address on one bridge.
//!
//! `.ci/cluster` gives the whole run network, mounts and process ids of its own, so nothing of it
//! outlives it.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::scenario::{Violation, ensure};

/// The user that runs the servers: PostgreSQL refuses root.
const USER: &str = "postgres";

/// Creates the bridge, whose own address is the one of the clients.
pub(super) fn create_bridge() -> Result<(), Violation> {
    ip(&["link", "set", "lo", "up"])?;
    ip(&["link", "add", "bridge0", "type", "bridge"])?;
    ip(&["addr", "add", "10.77.0.254/24", "dev", "bridge0"])?;
    ip(&["link", "set", "bridge0", "up"])
}

/// Creates a namespace with a link to the bridge.
pub(super) fn connect(number: usize) -> Result<(), Violation> {
    let (name, link) = (namespace(number), format!("veth{number}"));
    let address = format!("{}/24", address(number));
    ip(&["netns", "add", &name])?;
    ip(&["link", "add", &link, "type", "veth", "peer", "name", "eth0", "netns", &name])?;
    ip(&["link", "set", &link, "master", "bridge0", "up"])?;
    ip(&["-n", &name, "addr", "add", &address, "dev", "eth0"])?;
    ip(&["-n", &name, "link", "set", "eth0", "up"])?;
    ip(&["-n", &name, "link", "set", "lo", "up"])
}

/// Removes a namespace, if it exists.
pub(super) fn remove_namespace(number: usize) {
    let _ = ip(&["netns", "del", &namespace(number)]);
}

/// Removes the bridge, if it exists.
pub(super) fn remove_bridge() {
    let _ = ip(&["link", "del", "bridge0"]);
}

/// Runs `ip`.
pub(super) fn ip(arguments: &[&str]) -> Result<(), Violation> {
    let done = Command::new("ip").args(arguments).output()?;
    ensure(done.status.success(), || {
        let error = String::from_utf8_lossy(&done.stderr);
        format!("ip {} failed: {error}", arguments.join(" "))
    })
}

/// The name of a namespace.
pub(super) fn namespace(number: usize) -> String {
    format!("node{number}")
}

/// The address of a namespace.
pub(super) fn address(number: usize) -> String {
    format!("10.77.0.{}", number + 1)
}

/// A program in a namespace, as the user of the servers, with a log in `home`.
pub(super) fn command(number: usize, program: &str, home: &Path) -> Result<Command, Violation> {
    let log = home.join(format!("{program}.log"));
    let log = fs::OpenOptions::new().create(true).append(true).open(log)?;
    let path = find(program).ok_or_else(|| Violation::new(format!("no program {program}")))?;
    let mut command = Command::new("ip");
    command
        .args(["netns", "exec", &namespace(number), "setpriv", "--reuid", USER])
        .args(["--regid", USER, "--clear-groups"])
        .arg(path)
        .env("HOME", home)
        .current_dir(home)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    Ok(command)
}

/// Makes the user of the servers the owner of a directory.
pub(super) fn give_to_servers(directory: &Path) -> Result<(), Violation> {
    let id = Command::new("id").args(["-u", USER]).output()?;
    let id = String::from_utf8_lossy(&id.stdout).trim().parse();
    let id = id.map_err(|_| Violation::new(format!("there is no user {USER}: run .ci/cluster")))?;
    Ok(chown(directory, Some(id), None)?)
}

/// The path of a program.
pub(super) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}
