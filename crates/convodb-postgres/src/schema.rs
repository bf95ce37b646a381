//! Schema: the tables of a store, as SQL.
//!
//! - A position is an unsigned number of 64 bits, stored with its sign bit flipped as `bigint`: the
//!   order of the column is the order of positions, also from September 2039 on.
//! - Lists are read by fingerprints, which cursors contain, never by texts. So a cursor of an
//!   embedded store continues here.
//! - Texts of clients are `bytea`: `text` cannot contain U+0000, which a stored text may.
//! - `origin` is the random number of the group of writes that wrote a row last; an import has none.
//! - No triggers, sequences, foreign keys, or code in the database.

/// The format that this version writes and reads.
pub(crate) const FORMAT: i32 = 1;

/// Creates the tables.
pub(crate) const TABLES: &str = "
create table store (one boolean primary key default true check (one), format integer not null,
  history bytea not null, fingerprints bytea not null, cursor_keys bytea[] not null,
  last_user bigint not null, retention_ms bigint, retention_until_ms bigint);
create table account (id integer primary key, name bytea not null unique, created_ms bigint not null,
  closed boolean not null);
create table token (digest bytea primary key, owner integer not null, name bytea, prefix text,
  scopes smallint not null, assistant uuid, created_ms bigint not null, expires_ms bigint,
  last_used_ms bigint);
create table head (owner integer primary key, feed bigint not null, trimmed bigint not null,
  assistants integer not null, conversations bigint not null, bytes bigint not null,
  max_conversations bigint, max_bytes bigint, origin bigint) with (fillfactor = 50);
create table assistant (owner integer not null, number integer not null, id uuid not null,
  fp bigint not null, name bytea not null, primary key (owner, number), unique (owner, id),
  unique (owner, fp));
create table conversation (owner integer not null, pos bigint not null, id uuid not null,
  kind smallint not null, assistant integer not null, sender_fp bigint, customer_fp bigint,
  external_fp bigint, message_count bigint not null, stored bigint not null, cost bigint not null,
  ai boolean not null, updated_ms bigint not null, sender_name bytea, sender_phone bytea,
  customer_name bytea, customer_phone bytea, external bytea, variables bytea,
  primary key (owner, pos)) with (fillfactor = 85);
create table message (owner integer not null, pos bigint not null, number bigint not null,
  role smallint not null, content bytea not null, calls bytea, cost bigint not null,
  created_ms bigint not null, primary key (owner, pos, number));
create table total (owner integer not null, span bigint not null, assistant uuid not null,
  kind smallint not null, conversations bigint not null, messages bigint not null,
  cost numeric(39, 0) not null, primary key (owner, span, assistant, kind)) with (fillfactor = 50);
create table change (owner integer not null, number bigint not null, kind smallint not null,
  id uuid not null, pos bigint not null, left_assistant uuid, origin bigint,
  primary key (owner, number));
create table change_mark (owner integer not null, hour bigint not null, number bigint not null,
  primary key (owner, hour));
create table answer (owner integer not null, key uuid not null, request bytea not null,
  answer bytea not null, at_ms bigint not null, primary key (owner, key));
";

/// Gathers statistics of the tables, and of no others.
pub(crate) const ANALYZE: &str = "analyze store, account, token, head, assistant, conversation, \
     message, total, change, change_mark, answer";

/// Creates the secondary indexes; an import runs it after it has copied the rows. Those of lists are
/// the ones of [`crate::shape::Shape`], which a test compares.
pub(crate) const INDEXES: &str = "
create unique index conversation_id on conversation (owner, id);
create index conversation_k on conversation (owner, kind, pos);
create index conversation_a on conversation (owner, assistant, pos);
create index conversation_ak on conversation (owner, assistant, kind, pos);
create index conversation_s on conversation (owner, sender_fp, pos)
  where sender_fp is not null;
create index conversation_sa on conversation (owner, sender_fp, assistant, pos)
  where sender_fp is not null;
create index conversation_c on conversation (owner, customer_fp, pos)
  where customer_fp is not null;
create index conversation_ca on conversation (owner, customer_fp, assistant, pos)
  where customer_fp is not null;
create index conversation_cs on conversation (owner, customer_fp, sender_fp, pos)
  where customer_fp is not null and sender_fp is not null;
create index conversation_csa on conversation (owner, customer_fp, sender_fp, assistant, pos)
  where customer_fp is not null and sender_fp is not null;
create index conversation_e on conversation (owner, external_fp, pos)
  where external_fp is not null;
create index conversation_ea on conversation (owner, external_fp, assistant, pos)
  where external_fp is not null;
create index token_owner on token (owner);
create index answer_time on answer (owner, at_ms);
";
