//! Clock: the current time. The engine reads no clock; the server does it here.

use std::time::{SystemTime, UNIX_EPOCH};

use convodb::Timestamp;

use crate::error::{ApiError, Result};

/// Returns the current time, to the millisecond.
///
/// # Errors
/// 422 if the system clock is before 1970 or after 2109: no time that the request would get can be
/// stored. The log has it, too.
pub(crate) fn now() -> Result<Timestamp> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).ok();
    since
        .and_then(|since| u64::try_from(since.as_millis()).ok())
        .and_then(|millis| Timestamp::from_millis(millis).ok())
        .ok_or_else(ApiError::clock_out_of_range)
}
