//! A convodb store in a PostgreSQL database: the same lists, cursors, changes and statistics as in an
//! embedded store, for those that outgrow one machine.
//!
//! An embedded store is [imported](Cluster::import) with its secrets, positions and numbers, so each
//! cursor and each access token that a client has stays valid. A page is one statement that reads one
//! index range, at any depth and with any filters: the plan does not depend on statistics, and each
//! new connection [refuses to serve](Error::SlowPlan) if the database would read anything else.
//!
//! [Writes](Cluster::write) follow the rules of an embedded store. Those of one user that wait are
//! committed together, in two round trips, and number the user's changes without holes. A connection
//! that fails during a commit leaves no doubt that is not resolved or [reported](Error::InDoubt).
//!
//! ```no_run
//! use convodb::{Filter, ListRequest, Store, UserId};
//! use convodb_postgres::{Cluster, ClusterOptions};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let options = ClusterOptions::new("postgresql://convodb@localhost/convodb")?;
//! let store = Store::open("conversations.convodb")?;
//! let report = Cluster::import(&options, &store, |_| {}).await?;
//! println!("{} conversations", report.conversations);
//!
//! let cluster = Cluster::open(&options).await?;
//! let filter = Filter::new().customer_phone("+4915112345678")?;
//! let page = cluster.list(UserId::new(1), &ListRequest::new().filter(filter)).await?;
//! for conversation in page.conversations() {
//!     println!("{}", conversation.id);
//! }
//! # Ok(())
//! # }
//! ```

mod accounts;
mod citus;
mod cluster;
mod cluster_writes;
mod connection;
mod conversation_row;
mod conversations;
mod copying;
mod count;
mod erasure;
mod error;
mod expiry;
mod explain;
mod export;
mod feed;
mod health;
mod import;
mod known_tokens;
mod list_export;
mod news;
mod page_statement;
mod plan_check;
mod pool;
mod read_metrics;
mod remote;
mod requests;
mod rows;
mod schema;
mod shape;
mod snapshot_connection;
mod tls;
mod values;
mod verify;
mod writes;

pub use crate::accounts::UserAccount;
pub use crate::cluster::Cluster;
pub use crate::connection::ClusterOptions;
pub use crate::copying::{CopyProgress, CopyReport};
pub use crate::error::{Error, Result};
pub use crate::explain::PageExplanation;
pub use crate::health::{ClusterDurability, ClusterHealth, Standby};
pub use crate::list_export::ListExport;
pub use crate::read_metrics::ReadMetrics;
pub use crate::verify::{Finding, VerifyReport};
pub use crate::writes::metrics::WriteMetrics;
pub use convodb_json::Messages;
pub use convodb_service::{
    AssistantPage, ConversationChange, ExportItem, Idempotent, Write, WriteAuthority,
    WriteResponse, Written,
};
