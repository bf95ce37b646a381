//! The HTTP server on both stores: the same requests to an embedded store and to the database that it
//! was imported into, and the responses compared byte by byte.

mod authority;
mod client;
mod history;
mod requests;
mod transfer;
mod waiting;
