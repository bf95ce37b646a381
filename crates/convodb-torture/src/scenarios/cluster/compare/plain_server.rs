//! One PostgreSQL server without standbys, in a network namespace as each node.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use crate::scenario::{Violation, ensure};
use crate::scenarios::cluster::network::{self, address};
use crate::scenarios::cluster::nodes::{NODES, SETTINGS, await_that};
use crate::scenarios::cluster::operator::{Operator, SUPERUSER};

/// The number of its namespace.
const NUMBER: usize = NODES;
/// The time to start, and the pause between two attempts to connect.
const START: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(100);

/// A running server, with the settings of the nodes. Killed when dropped.
pub(super) struct PlainServer {
    server: Child,
    home: PathBuf,
}

impl PlainServer {
    /// Creates a database below `directory`, starts the server, and waits until it accepts connections.
    pub(super) fn start(directory: &Path) -> Result<Self, Violation> {
        network::connect(NUMBER)?;
        let home = directory.join("plain");
        fs::create_dir(&home)?;
        network::give_to_servers(&home)?;
        let data = home.join("data");
        let mut initdb = network::command(NUMBER, "initdb", &home)?;
        let initdb = initdb.args(["-E", "UTF8", "-A", "trust", "-U", SUPERUSER, "-k", "-D"]);
        let status = initdb.arg(&data).status()?;
        ensure(status.success(), || format!("initdb failed: {}", log_of(&home, "initdb")))?;
        let clients = "host all all 0.0.0.0/0 trust\n";
        fs::write(data.join("pg_hba.conf"), clients)?;
        let mut server = network::command(NUMBER, "postgres", &home)?;
        server.args(["-c", "listen_addresses=*", "-k"]).arg(&home).arg("-D").arg(&data);
        for (name, value) in SETTINGS {
            server.args(["-c", &format!("{name}={value}")]);
        }
        let server = Self { server: server.spawn()?, home: home.clone() };
        let operator = await_that("a plain server to start", START, PAUSE, || {
            Operator::connect(&url(SUPERUSER)).ok()
        });
        operator
            .map_err(|violation| {
                Violation::new(format!("{violation}: {}", log_of(&home, "postgres")))
            })?
            .create_store_role()?;
        Ok(server)
    }
}

impl Drop for PlainServer {
    fn drop(&mut self) {
        // The first process; the others end with it.
        let _ = self.server.kill();
        let _ = self.server.wait();
        network::remove_namespace(NUMBER);
        let _ = fs::remove_dir_all(&self.home);
    }
}

/// The URL of its database for a role.
pub(super) fn url(role: &str) -> String {
    format!("postgresql://{role}@{}/postgres", address(NUMBER))
}

fn log_of(home: &Path, program: &str) -> String {
    fs::read_to_string(home.join(format!("{program}.log"))).unwrap_or_default()
}
