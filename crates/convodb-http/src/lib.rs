//! Serves a convodb store over HTTP.
