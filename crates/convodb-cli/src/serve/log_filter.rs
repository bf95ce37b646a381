//! Log filter: a level, or comma-separated `target=level` pairs.

use anyhow::{Result, anyhow};
use tracing_subscriber::filter::{LevelFilter, Targets};

use crate::args::UsageError;

/// Parses the filter of `--log`.
///
/// # Errors
/// Fails with a [`UsageError`] if a level is unknown. A word without `=` is a level: `Targets` would
/// take a mistyped one for a target, and log nothing else.
pub(crate) fn parse(filter: &str) -> Result<Targets> {
    let is_known = |part: &str| {
        // An empty text is a level of its own.
        !part.is_empty() && (part.contains('=') || part.parse::<LevelFilter>().is_ok())
    };
    let parsed = filter.split(',').all(is_known).then(|| filter.parse().ok()).flatten();
    parsed.ok_or_else(|| {
        anyhow!(UsageError(format!(
            "--log {filter}: must be error, warn, info, debug, trace or off, or pairs of target and \
             level, as in info,convodb_http::access=debug"
        )))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    #[test]
    fn a_target_has_its_own_level() {
        let filter = parse("info,convodb_http::access=debug").unwrap();
        assert!(filter.would_enable("convodb_http::access", &Level::DEBUG));
        assert!(filter.would_enable("convodb", &Level::INFO));
        assert!(!filter.would_enable("convodb", &Level::DEBUG));
        assert!(!parse("off").unwrap().would_enable("convodb", &Level::ERROR));
    }

    #[test]
    fn an_unknown_level_is_an_error() {
        for wrong in ["info,convodb=loud", "inof", "info,", "", "convodb_http::access"] {
            let error = parse(wrong).unwrap_err();
            assert!(error.is::<UsageError>(), "{error}");
        }
    }
}
