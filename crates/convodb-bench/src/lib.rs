//! The benchmark of convodb, as a library: a generated dataset, measurements of pages and writes,
//! and their report. The command `convodb bench` runs it, and the benches of the repository share
//! its parts.
//!
//! * [`dataset`] generates conversations; [`lists`] and [`starts`] choose what is read of a store.
//! * [`engine`] is what reads pages; [`pages`], [`cold`], [`readers`], [`counts`] and [`writes`]
//!   measure.
//! * [`run`] does all of it and returns a [`result::BenchResult`], which [`html`] makes a page of.
//! * [`chart`] draws charts as SVG, and [`document_block`] puts tables into a document.

#[cfg(feature = "sqlite")]
pub mod against;
pub mod chart;
pub mod cold;
pub mod counts;
pub mod dataset;
pub mod document_block;
pub mod engine;
#[cfg(feature = "sqlite")]
pub mod filter;
pub mod html;
pub mod latency;
pub mod lists;
pub mod pages;
pub mod readers;
pub mod result;
pub mod row;
pub mod run;
#[cfg(feature = "sqlite")]
pub mod sql;
#[cfg(feature = "sqlite")]
pub mod sqlite;
pub mod starts;
pub mod system;
pub mod writes;
