//! `convodb cluster health`: what it has to say in each state of the cluster.

use std::process::Command;

use serde_json::Value as Json;

use crate::clients::server_process::convodb_command;
use crate::scenario::{Violation, ensure};

/// What `convodb cluster health` says.
pub(super) struct Health {
    /// For people.
    pub(super) text: String,
    json: Json,
    /// The exit status.
    status: Option<i32>,
}

/// What it has to say.
#[derive(Debug)]
pub(super) struct ExpectedHealth {
    /// The state of the cluster.
    state: &'static str,
    durability: &'static str,
    /// The number of standbys, all of them synchronous and with a known lag.
    standbys: usize,
    /// A part of the only warning.
    warning: Option<&'static str>,
}

impl ExpectedHealth {
    /// Strict quorum, with two standbys.
    pub(super) const WHOLE: Self =
        Self { state: "whole", durability: "quorum", standbys: 2, warning: None };
    /// Strict quorum, without a standby.
    pub(super) const WAITING: Self = Self {
        state: "without standbys",
        durability: "quorum",
        standbys: 0,
        warning: Some("writes wait"),
    };
    /// Without standbys, after the operator has turned the synchronous mode off.
    pub(super) const GIVEN_UP: Self = Self {
        state: "without standbys and without synchronous mode",
        durability: "primary",
        standbys: 0,
        warning: Some("no strict quorum"),
    };

    /// Checks what is said, and the exit status.
    pub(super) fn check(&self, health: &Health) -> Result<(), Violation> {
        let Health { json, status, .. } = health;
        let wrong = |what: &str| format!("{what} of a cluster that is {}: {json}", self.state);
        ensure(json["durability"] == self.durability, || wrong("the durability"))?;
        let standbys = json["standbys"].as_array().map(Vec::as_slice).unwrap_or_default();
        let known =
            |standby: &&Json| standby["synchronous"] == true && standby["lag_bytes"].is_u64();
        let is_right = standbys.len() == self.standbys && standbys.iter().all(|one| known(&one));
        ensure(is_right, || wrong("the standbys"))?;
        let warnings = json["warnings"].as_array().map(Vec::as_slice).unwrap_or_default();
        let warning = warnings.first().and_then(Json::as_str);
        let is_expected = match (self.warning, warning) {
            (Some(expected), Some(warning)) => warnings.len() == 1 && warning.contains(expected),
            (None, None) => true,
            _ => false,
        };
        ensure(is_expected, || wrong("the warnings"))?;
        let expected = i32::from(self.warning.is_some());
        ensure(*status == Some(expected), || {
            format!("exit status {status:?} of a cluster that is {}", self.state)
        })
    }
}

/// Asks for the health of the store with these flags.
///
/// # Errors
/// A violation if the answer is no JSON, as that of a command that failed.
pub(super) fn health(store: &[String]) -> Result<Health, Violation> {
    let ask = |json: &[&str]| {
        Command::new(convodb_command()?).args(["cluster", "health"]).args(json).args(store).output()
    };
    // What is shown is not older than what is checked.
    let (for_programs, for_people) = (ask(&["--json"])?, ask(&[])?);
    let json = serde_json::from_slice(&for_programs.stdout).map_err(|_| {
        let error = String::from_utf8_lossy(&for_programs.stderr);
        Violation::new(format!("convodb cluster health failed: {error}"))
    })?;
    let text = String::from_utf8_lossy(&for_people.stdout).trim().to_owned();
    Ok(Health { text, json, status: for_programs.status.code() })
}

/// Checks that the command fails, and with which exit status, while no server accepts writes.
pub(super) fn check_failure(store: &[String]) -> Result<(), Violation> {
    let asked =
        Command::new(convodb_command()?).args(["cluster", "health"]).args(store).output()?;
    let error = String::from_utf8_lossy(&asked.stderr);
    let is_failure = asked.status.code() == Some(1) && asked.stdout.is_empty();
    ensure(is_failure && error.contains("no connection"), || {
        format!("health without a leader: {}, {error}", asked.status)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(expected: &ExpectedHealth, json: &str, status: i32) -> bool {
        let json = serde_json::from_str(json).unwrap();
        expected.check(&Health { text: String::new(), json, status: Some(status) }).is_ok()
    }

    #[test]
    fn health_must_be_as_the_state_of_the_cluster() {
        let whole = r#"{"durability":"quorum","standbys":[
            {"name":"node0","synchronous":true,"lag_bytes":0},
            {"name":"node1","synchronous":true,"lag_bytes":96}],"warnings":[]}"#;
        assert!(check(&ExpectedHealth::WHOLE, whole, 0));
        assert!(!check(&ExpectedHealth::WHOLE, whole, 1), "the exit status");
        assert!(!check(&ExpectedHealth::WAITING, whole, 0));
        for (what, other) in [(":96", ":null"), ("true,\"lag_bytes\":0", "false,\"lag_bytes\":0")] {
            assert!(!check(&ExpectedHealth::WHOLE, &whole.replace(what, other), 0), "{other}");
        }
        let waiting = r#"{"durability":"quorum","standbys":[],
            "warnings":["no synchronous standby is connected: writes wait"]}"#;
        assert!(check(&ExpectedHealth::WAITING, waiting, 1));
        assert!(!check(&ExpectedHealth::GIVEN_UP, waiting, 1), "the durability");
        let silent = waiting.replace("\"no synchronous standby is connected: writes wait\"", "");
        assert!(!check(&ExpectedHealth::WAITING, &silent, 1), "the warning");
    }
}
