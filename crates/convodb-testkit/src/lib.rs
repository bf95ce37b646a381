//! What convodb is tested with.
