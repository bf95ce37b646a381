//! The present instant. The engine reads no clock; this is where the server does.

use std::time::{SystemTime, UNIX_EPOCH};

use convodb::Timestamp;

use crate::error::{ApiError, Result};

/// The present instant, to the millisecond.
///
/// # Errors
/// A fault where the machine's clock stands before 1970 or after 2109.
pub(crate) fn now() -> Result<Timestamp> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).ok();
    since
        .and_then(|since| u64::try_from(since.as_millis()).ok())
        .and_then(|millis| Timestamp::from_millis(millis).ok())
        .ok_or_else(|| ApiError::fault("the clock stands outside 1970 to 2109"))
}
