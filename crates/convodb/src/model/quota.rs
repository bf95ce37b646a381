//! Quotas: what a user's data takes, and how much it may take.

/// What the data of a user takes: exact, and changed by the same writes as the data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct StorageUsage {
    /// Conversations.
    pub conversations: u64,
    /// Bytes of keys and records of what a client can add without end: conversations, messages,
    /// assistants and the responses of writes with an idempotency key. Index entries, counters and
    /// the change feed, whose size these bound, are not included: a file has about twice as many
    /// bytes.
    pub bytes: u64,
}

/// How much each user may store: `None` is no limit.
///
/// ```
/// use convodb::{Quota, QuotaLimit, UserQuota};
/// let default = Quota { conversations: Some(1_000_000), bytes: None };
/// let own = UserQuota { bytes: QuotaLimit::AtMost(1 << 30), ..UserQuota::default() };
/// let expected = Quota { conversations: Some(1_000_000), bytes: Some(1 << 30) };
/// assert_eq!(own.over(default), expected);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Quota {
    /// The most conversations.
    pub conversations: Option<u64>,
    /// The most bytes, as [`StorageUsage::bytes`] counts them.
    pub bytes: Option<u64>,
}

/// A limit of one user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum QuotaLimit {
    /// That of the store: [`StoreOptions::quota`](crate::StoreOptions::quota).
    #[default]
    Default,
    /// None.
    Unlimited,
    /// This number.
    AtMost(u64),
}

impl QuotaLimit {
    const fn over(self, default: Option<u64>) -> Option<u64> {
        match self {
            QuotaLimit::Default => default,
            QuotaLimit::Unlimited => None,
            QuotaLimit::AtMost(limit) => Some(limit),
        }
    }
}

/// The limits of one user, stored with the user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct UserQuota {
    /// The most conversations.
    pub conversations: QuotaLimit,
    /// The most bytes, as [`StorageUsage::bytes`] counts them.
    pub bytes: QuotaLimit,
}

impl UserQuota {
    /// The limits that apply where `default` is the quota of the store.
    #[must_use]
    pub const fn over(self, default: Quota) -> Quota {
        Quota {
            conversations: self.conversations.over(default.conversations),
            bytes: self.bytes.over(default.bytes),
        }
    }
}
