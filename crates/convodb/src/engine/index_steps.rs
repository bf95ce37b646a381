//! When the writer thread builds or drops indexes, in steps between groups of writes.

use std::time::{Duration, Instant};

use crate::engine::checkpoint::CheckpointBackoff;
use crate::error::Result;
use crate::tables::families::Families;
use crate::tables::index_build::Step;

/// The interval between the starts of two steps.
const INTERVAL: Duration = Duration::from_millis(50);
/// The interval after a step that failed.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// When to take the next step. Reads no clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum IndexSteps {
    /// Now, if an index is unfinished.
    #[default]
    Due,
    At(Instant),
    /// Not before the files are opened again: a row cannot be read.
    Stopped,
}

impl IndexSteps {
    /// When the next step is due, if any index is unfinished.
    pub(crate) fn due(self, now: Instant, families: &Families) -> Option<Instant> {
        families.unfinished().next()?;
        match self {
            IndexSteps::Due => Some(now),
            IndexSteps::At(at) => Some(at),
            IndexSteps::Stopped => None,
        }
    }

    /// Records the outcome of a step that began at `now`.
    pub(crate) fn took(
        &mut self,
        now: Instant,
        stepped: Result<Step>,
        backoff: &mut CheckpointBackoff,
    ) {
        *self = match stepped {
            Ok(Step::Idle | Step::Done(_)) => IndexSteps::At(now + INTERVAL),
            Ok(Step::Stopped(error)) => {
                tracing::error!(%error, "cannot build an index; verify the store");
                IndexSteps::Stopped
            }
            Err(error) => {
                tracing::warn!(%error, "cannot build or drop an index; retrying later");
                backoff.failed();
                IndexSteps::At(now + RETRY_INTERVAL)
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::model::index_family::IndexFamily;
    use crate::tables::families::{self, FamilyState};
    use crate::testing::RawStore;

    #[test]
    fn steps_pause_and_stop_at_damage() {
        let (now, mut steps) = (Instant::now(), IndexSteps::default());
        let store = RawStore::new();
        let families = || Families::open(&store.read()).unwrap();
        assert_eq!(steps.due(now, &families()), None, "every index is ready");
        store
            .write(|write| families::put(write, IndexFamily::AiOff, FamilyState::begin()).unwrap());
        let families = families();
        assert_eq!(steps.due(now, &families), Some(now));
        let backoff = &mut CheckpointBackoff::default();
        steps.took(now, Ok(Step::Done(7)), backoff);
        assert_eq!(steps.due(now, &families), Some(now + INTERVAL));
        steps.took(now, Err(Error::Closed), backoff);
        assert_eq!(steps.due(now, &families), Some(now + RETRY_INTERVAL));
        steps.took(now, Ok(Step::Stopped(Error::Closed)), backoff);
        assert_eq!(steps.due(now, &families), None);
    }
}
