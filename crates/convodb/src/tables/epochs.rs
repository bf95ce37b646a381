//! Epochs: the history of a store, as far as numbers in it can be compared.
//!
//! A process that writes to a store begins an epoch. So a number that was read from a store can be
//! compared with it only if the store knows the epoch of that number, and the epoch did not end
//! before it. See [`StoreVersion`].

use crate::model::version::StoreVersion;

/// The number of epochs that a store remembers. Versions of earlier ones count as foreign.
const MAX_EPOCHS: usize = 512;
/// The last commit of an epoch that has not ended, as stored.
const OPEN: u64 = u64::MAX;

/// The latest epochs of a store, oldest first; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Epochs(Vec<Epoch>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Epoch {
    id: u64,
    /// The last commit of the epoch; [`OPEN`] as long as it lasts.
    last: u64,
}

impl Epochs {
    /// The history of a store that begins here.
    pub(crate) fn new(id: u64) -> Self {
        Self(vec![Epoch { id, last: OPEN }])
    }

    /// Decodes `epoch u64, last commit u64` for each epoch, big-endian.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (epochs, rest) = bytes.as_chunks::<16>();
        let decode = |bytes: &[u8; 16]| {
            let both = u128::from_be_bytes(*bytes);
            #[expect(clippy::cast_possible_truncation, reason = "these are the two halves")]
            Epoch { id: (both >> 64) as u64, last: both as u64 }
        };
        (rest.is_empty() && !epochs.is_empty()).then(|| Self(epochs.iter().map(decode).collect()))
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let words = self.0.iter().flat_map(|epoch| [epoch.id, epoch.last]);
        words.flat_map(u64::to_be_bytes).collect()
    }

    /// Whether the last epoch has not ended.
    pub(crate) fn is_open(&self) -> bool {
        self.0.last().is_some_and(|epoch| epoch.last == OPEN)
    }

    /// The last commit of all epochs that have ended; 0 if none has.
    pub(crate) fn last_ended(&self) -> u64 {
        let ended = self.0.iter().map(|epoch| epoch.last).filter(|last| *last != OPEN);
        ended.max().unwrap_or(0)
    }

    /// Ends the last epoch with this commit, unless it has ended.
    pub(crate) fn end(&mut self, commit: u64) {
        if let Some(epoch) = self.0.last_mut() {
            epoch.last = epoch.last.min(commit);
        }
    }

    /// Ends the last epoch if `known` has ended the same one. On disk an epoch is open until the next
    /// one begins.
    pub(crate) fn end_as(&mut self, known: &Self) {
        if let (Some(epoch), Some(known)) = (self.0.last_mut(), known.0.last())
            && epoch.id == known.id
        {
            epoch.last = epoch.last.min(known.last);
        }
    }

    /// Ends the last epoch with this commit and begins another.
    pub(crate) fn begin(&mut self, id: u64, commit: u64) {
        self.end(commit);
        self.0.push(Epoch { id, last: OPEN });
        let forgotten = self.0.len().saturating_sub(MAX_EPOCHS);
        self.0.drain(..forgotten);
    }

    /// The version of a commit of the last epoch.
    pub(crate) fn version(&self, commit: u64) -> StoreVersion {
        StoreVersion { epoch: self.0.last().map_or(0, |epoch| epoch.id), commit }
    }

    /// Whether `version` is part of this history, whose last commit is `commit`.
    pub(crate) fn contain(&self, version: StoreVersion, commit: u64) -> bool {
        let epoch = self.0.iter().rev().find(|epoch| epoch.id == version.epoch);
        epoch.is_some_and(|epoch| version.commit <= epoch.last.min(commit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn version(epoch: u64, commit: u64) -> StoreVersion {
        StoreVersion { epoch, commit }
    }

    #[test]
    fn a_version_is_known_up_to_the_end_of_its_epoch() {
        let mut epochs = Epochs::new(1);
        assert!(epochs.contain(version(1, 5), 5) && !epochs.contain(version(1, 6), 5));
        epochs.begin(2, 5);
        assert!(epochs.contain(version(1, 5), 9) && !epochs.contain(version(1, 6), 9));
        assert!(epochs.contain(version(2, 9), 9) && !epochs.contain(version(3, 1), 9));
        assert_eq!(epochs.version(9), version(2, 9));
        assert_eq!(Epochs::decode(&epochs.encode()), Some(epochs.clone()));
        assert!(epochs.is_open());
        epochs.end(9);
        assert!(!epochs.is_open() && !epochs.contain(version(2, 10), 11));
        let mut stored = Epochs::decode(&Epochs::new(2).encode()).unwrap();
        stored.end_as(&epochs);
        assert!(!stored.is_open() && !stored.contain(version(2, 10), 11));
        stored.begin(3, 9);
        stored.end_as(&epochs);
        assert!(stored.is_open());
        assert_eq!(Epochs::decode(&[]), None);
        assert_eq!(Epochs::decode(&[0; 17]), None);
    }

    #[test]
    fn the_oldest_epochs_are_forgotten() {
        let mut epochs = Epochs::new(0);
        for id in 1..=MAX_EPOCHS as u64 {
            epochs.begin(id, id);
        }
        assert!(!epochs.contain(version(0, 1), 1000) && epochs.contain(version(1, 1), 1000));
        assert_eq!(epochs.encode().len(), 16 * MAX_EPOCHS);
    }
}
