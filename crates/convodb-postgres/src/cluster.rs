//! The handle of a store on PostgreSQL: open, create and read.

use std::fmt;
use std::sync::Arc;

use convodb::seam::{Contents, Counter, History, Keys, ListPlan, Secrets, StatsPlan};
use convodb::{
    AssistantId, ChangeCursor, Conversation, ListRequest, Name, Page, PageCursor, Quota, Stats,
    StatsRequest, Store, UserId,
};
use convodb_service::{RecalledAccess, WriteAuthority};
use tokio::time::timeout;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Row};

use crate::citus;
use crate::connection::{ClusterOptions, Connector};
use crate::copying::{CopyProgress, CopyReport};
use crate::error::{Error, Result, corrupted};
use crate::import;
use crate::known_tokens::{Guard, KnownTokens};
use crate::news::NewsPoller;
use crate::page_statement::{COLUMN_COUNT, PageStatement, owner};
use crate::pool::{Readers, SessionPool, Statements};
use crate::read_metrics::{ReadCounters, ReadMetrics};
use crate::rows::{self, Columns};
use crate::schema::{ANALYZE, FORMAT, INDEXES, TABLES};
use crate::snapshot_connection::SnapshotConnector;
use crate::values::quoted;
use crate::verify::{self, VerifyReport};
use crate::writes::lane::Lanes;

/// A store of conversations in a PostgreSQL database. Cheap to clone; clones share a pool of
/// connections.
///
/// It is read and written as an embedded store is: the same lists, cursors, changes and statistics, and a cursor
/// of an embedded store that was [imported](Self::import) continues here. Each call reads one
/// committed state; two calls may read two.
///
/// Every method that reads may fail with [`Error::Postgres`], [`Error::Unavailable`] or
/// [`Error::ReadTimedOut`], and with [`convodb::Error::Corrupted`] for rows that no store has written.
/// A read whose connection fails runs once more on another one, within its time.
#[derive(Clone)]
pub struct Cluster {
    pub(crate) pool: Arc<SessionPool>,
    /// Connections to standbys.
    replica: Option<Arc<SessionPool>>,
    state: Arc<State>,
    pub(crate) lanes: Arc<Lanes>,
    pub(crate) news: Arc<NewsPoller>,
    /// The only assistant that reads and writes reach.
    pub(crate) restriction: Option<AssistantId>,
    /// What each write checks first.
    pub(crate) authority: Option<WriteAuthority>,
    /// The access token that reads check beside.
    pub(crate) recalled: Option<Arc<RecalledAccess>>,
}

/// What does not change while a store is open.
struct State {
    secrets: Secrets,
    keys: Arc<Keys>,
    history: History,
    snapshots: SnapshotConnector,
    /// The tokens that were read lately.
    known: KnownTokens,
}

/// Opening and creating.
impl Cluster {
    /// Opens a store.
    ///
    /// # Errors
    /// [`Error::NoStore`]; [`Error::NewerFormat`]; [`Error::Unavailable`] with the step that is
    /// wrong if the database would not read lists by their indexes; or a fault of the database.
    pub async fn open(options: &ClusterOptions) -> Result<Self> {
        let checked = timeout(options.read_timeout, async {
            let client = options.connect().await?;
            check_format(&client, options.schema_name()).await
        });
        checked.await.map_err(|_| Error::ReadTimedOut)??;
        let connector = options.connector()?;
        let counters = Arc::new(ReadCounters::default());
        let pool = Arc::new(SessionPool::new(options, connector.clone(), counters.clone()));
        // The first connection shows whether the database is fit.
        let session = pool.get().await?;
        let sql = "select history, fingerprints, cursor_keys from store";
        let row = session.query_one(sql, &[]).await?;
        drop(session);
        let mut columns = Columns::new(&row, 0, "store");
        let history = History::decode(columns.next()?);
        let history = history.ok_or_else(|| corrupted("store", "the history is damaged"))?;
        let secret = |bytes: &[u8]| -> Result<[u8; 32]> {
            bytes.try_into().map_err(|_| corrupted("store", "a secret is not 32 bytes"))
        };
        let fingerprints = secret(columns.next()?)?;
        let cursors: Vec<&[u8]> = columns.next()?;
        let cursors = cursors.into_iter().map(secret).collect::<Result<Vec<_>>>()?;
        if cursors.is_empty() {
            return Err(corrupted("store", "a secret is missing"));
        }
        let secrets = Secrets { fingerprints, cursors };
        let keys = Arc::new(Keys::new(secrets.clone()));
        let replica = options.replica.as_ref().map(Connector::new).transpose()?;
        let replica = replica
            .map(|connector| Arc::new(SessionPool::new(options, connector, counters.clone())));
        let snapshots = SnapshotConnector::new(options, connector.clone());
        let lanes = Arc::new(Lanes::new(options, connector, keys.clone()));
        let known = KnownTokens::default();
        let state = Arc::new(State { secrets, keys, history, snapshots, known });
        let news = Arc::default();
        let (restriction, authority, recalled) = (None, None, None);
        Ok(Self { pool, replica, state, lanes, news, restriction, authority, recalled })
    }

    /// Creates an empty store with new secrets, in one transaction.
    ///
    /// # Errors
    /// [`Error::NotEmpty`] if the schema contains tables of these names; or a fault of the database.
    pub async fn create(options: &ClusterOptions) -> Result<()> {
        let random = || -> Result<[u8; 32]> {
            let mut secret = [0; 32];
            let filled = getrandom::fill(&mut secret);
            filled.map_err(|error| Error::Unavailable(format!("no random numbers: {error}")))?;
            Ok(secret)
        };
        let secrets = Secrets { fingerprints: random()?, cursors: vec![random()?] };
        let history = History::new(epoch()?);
        let mut client = options.connect().await?;
        if options.is_distributed {
            citus::set_role(&mut client).await?;
        }
        let transaction = client.transaction().await?;
        create_tables(&transaction, options).await?;
        create_indexes(&transaction).await?;
        import::put_store(&transaction, &secrets, &history, 0, (None, None)).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Copies an embedded store into the database, in one transaction: all users with their
    /// assistants, tokens, conversations, messages, counters, change feeds, idempotency records and
    /// quotas, with the secrets, positions and numbers that they have. So tokens, cursors and
    /// idempotency keys of clients stay valid.
    ///
    /// Copies a snapshot: what is written to `store` during or after the import is not copied. Reads
    /// the store on the calling task.
    ///
    /// # Errors
    /// [`Error::NotEmpty`]; [`Error::UnfinishedInserts`]; [`Error::TooLarge`]; a fault of the store;
    /// or a fault of the database. Nothing is created then.
    pub async fn import(
        options: &ClusterOptions,
        store: &Store,
        progress: impl FnMut(CopyProgress) + Send,
    ) -> Result<CopyReport> {
        let snapshot = store.snapshot();
        let contents = Contents::new(&snapshot);
        if contents.has_unfinished_inserts()? {
            return Err(Error::UnfinishedInserts);
        }
        let mut client = options.connect().await?;
        if options.is_distributed {
            citus::set_role(&mut client).await?;
        }
        let transaction = client.transaction().await?;
        create_tables(&transaction, options).await?;
        let mut history = contents.history();
        history.begin(epoch()?);
        let report = import::copy(&transaction, contents, &history, progress).await?;
        create_indexes(&transaction).await?;
        transaction.commit().await?;
        client.batch_execute(ANALYZE).await?;
        Ok(report)
    }

    /// Audits the store, as of one moment: rows against their fingerprints, message counts, counters
    /// and quotas, and the change feeds for gaps. Reads every row.
    ///
    /// # Errors
    /// [`Error::NoStore`], or a fault of the database. Damage is a finding of the report.
    pub async fn verify(options: &ClusterOptions) -> Result<VerifyReport> {
        let cluster = Self::open(options).await?;
        let mut client = options.connect().await?;
        client.batch_execute(citus::ONE_SNAPSHOT).await?;
        verify::verify(&mut client, &cluster.state.keys).await
    }

    /// The same store, restricted to one assistant, as [`convodb::Snapshot::restricted_to`].
    #[must_use]
    pub fn restricted_to(self, assistant: AssistantId) -> Self {
        Self { restriction: Some(assistant), ..self }
    }
}

/// Cursors.
impl Cluster {
    /// As [`convodb::Snapshot::seal_cursor`]: the token is valid in the embedded store that was
    /// imported, too.
    #[must_use]
    pub fn seal_cursor(&self, cursor: &PageCursor) -> String {
        self.state.keys.seal_cursor(cursor)
    }

    /// As [`convodb::Snapshot::open_cursor`], also for tokens of the embedded store that was
    /// imported.
    ///
    /// # Errors
    /// [`convodb::Error::InvalidCursor`].
    pub fn open_cursor(&self, user: UserId, token: &str) -> Result<PageCursor> {
        Ok(self.state.keys.open_cursor(user, token)?)
    }

    /// As [`convodb::Snapshot::seal_change_cursor`].
    #[must_use]
    pub fn seal_change_cursor(&self, cursor: &ChangeCursor) -> String {
        self.state.keys.seal_change_cursor(cursor)
    }

    /// As [`convodb::Snapshot::open_change_cursor`], also for tokens of the embedded store that was
    /// imported.
    ///
    /// # Errors
    /// [`convodb::Error::InvalidCursor`] or [`convodb::Error::ChangesExpired`].
    pub fn open_change_cursor(&self, user: UserId, token: &str) -> Result<ChangeCursor> {
        Ok(self.state.keys.open_change_cursor(user, token)?)
    }
}

/// Reading.
impl Cluster {
    /// One page of the user's conversations, as [`convodb::Snapshot::list`]. One statement, which
    /// reads page size + 1 entries and one behind the cursor, at any depth; of a list with several
    /// types or assistants, as many for each of its ranges.
    ///
    /// # Errors
    /// Those of misuse of [`convodb::Snapshot::list`].
    pub async fn list(&self, user: UserId, request: &ListRequest) -> Result<Page> {
        Ok(self.list_with_names(user, request).await?.0)
    }

    /// [`Cluster::list`] with the current name of each assistant of a row, each once. The same
    /// statement.
    ///
    /// # Errors
    /// As [`Cluster::list`].
    pub async fn list_with_names(
        &self,
        user: UserId,
        request: &ListRequest,
    ) -> Result<(Page, Vec<(AssistantId, Name)>)> {
        let plan = self.state.keys.plan(user, request, self.restriction)?;
        let mut rows = plan.rows(&self.state.keys);
        let mut names = Vec::new();
        let Some(statement) = PageStatement::of(&plan)? else {
            return Ok((rows.into_page(false, false, 0), names));
        };
        let sql = statement.sql();
        let (mut gap, mut behind, mut entries) = (plan.gap(), None, 0);
        loop {
            let wanted = plan.page_size() - rows.len();
            let values = sql.values(user, &plan, gap, wanted + 1)?;
            let values: Vec<_> = values.iter().map(crate::values::Value::as_sql).collect();
            let found = self.readers(user).rows(&sql.text, &values).await?;
            let is_behind = found.first().is_some_and(|row| matches!(row.try_get(0), Ok(true)));
            let is_behind = *behind.get_or_insert(is_behind);
            let mut page = decode_page(&found, &plan)?;
            rows::add_names(&found, 2, &mut names)?;
            entries += page.len() + usize::from(is_behind);
            let continues = page.len() > wanted;
            page.truncate(wanted);
            for (range, position, conversation) in &page {
                rows.push(*range, *position, &conversation.borrowed())?;
                gap = if plan.is_ascending() { position.saturating_add(1) } else { *position };
            }
            // Only if rows of another list have the same fingerprints does a page need more.
            if !continues || rows.len() == plan.page_size() {
                return Ok((rows.into_page(is_behind, continues, entries), names));
            }
        }
    }

    /// Volumes and costs, as [`convodb::Snapshot::stats`]. One statement, which reads the counters
    /// of the requested days or months.
    ///
    /// # Errors
    /// A fault of the database.
    pub async fn stats(&self, user: UserId, request: &StatsRequest) -> Result<Stats> {
        self.sum_counters(&self.readers(user), user, request).await
    }

    /// Adds up the counters of a request, within a transaction or without one.
    pub(crate) async fn sum_counters(
        &self,
        statements: &impl Statements,
        user: UserId,
        request: &StatsRequest,
    ) -> Result<Stats> {
        let plan = StatsPlan::new(request, self.restriction);
        let (first, last): (Vec<i64>, Vec<i64>) =
            plan.ranges().map(|(first, last)| (i64::from(first), i64::from(last))).unzip();
        let assistants = plan.assistants();
        let only = if assistants.is_some() { "and assistant = any ($4)" } else { "" };
        let sql = format!(
            "select t.span, t.assistant, t.kind, t.conversations, t.messages, t.cost::text \
             from unnest($2::bigint[], $3::bigint[]) with ordinality as r (first, last, n) \
             cross join lateral (select * from total where owner = $1 \
             and span between r.first and r.last {only} order by owner, span, assistant, kind) t \
             order by r.n, t.span, t.assistant, t.kind"
        );
        let owner = owner(user)?;
        let found = match &assistants {
            Some(ids) => statements.rows(&sql, &[&owner, &first, &last, ids]).await?,
            None => statements.rows(&sql, &[&owner, &first, &last]).await?,
        };
        let counters = found.iter().map(rows::counter).collect::<Result<Vec<Counter>>>()?;
        Ok(plan.sum(counters)?)
    }

    /// The same store without standbys: for what must not miss what was written last.
    pub(crate) fn of_primary(&self) -> Self {
        Self { replica: None, ..self.clone() }
    }

    /// The connections that the user's data is read with, except tokens and changes. A read of a standby
    /// checks the access token on the primary.
    pub(crate) fn readers(&self, user: UserId) -> Readers<'_> {
        let replica = self.replica.as_deref().filter(|_| !self.lanes.has_written_lately(user));
        Readers { replica, ..self.primary() }
    }

    /// The connections to the primary, for what a standby may not know yet.
    pub(crate) fn primary(&self) -> Readers<'_> {
        Readers { replica: None, primary: &self.pool, guard: self.guard() }
    }

    fn guard(&self) -> Option<Guard<'_>> {
        let recalled = self.recalled.as_deref()?;
        Some(Guard { recalled, known: &self.state.known })
    }

    pub(crate) fn known_tokens(&self) -> &KnownTokens {
        &self.state.known
    }

    /// What the reads of this store and its clones have cost since it was opened.
    #[must_use]
    pub fn read_metrics(&self) -> ReadMetrics {
        self.pool.metrics()
    }

    /// The limits of users who have no own ones.
    pub(crate) fn default_quota(&self) -> Quota {
        self.lanes.default_quota()
    }

    pub(crate) fn secrets(&self) -> &Secrets {
        &self.state.secrets
    }

    pub(crate) fn history(&self) -> &History {
        &self.state.history
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.state.keys
    }

    pub(crate) fn shared_keys(&self) -> Arc<Keys> {
        self.state.keys.clone()
    }

    /// What opens connections of their own.
    pub(crate) fn snapshots(&self) -> &SnapshotConnector {
        &self.state.snapshots
    }

    pub(crate) fn reaches(&self, assistant: AssistantId) -> bool {
        self.restriction.is_none_or(|only| only == assistant)
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("restriction", &self.restriction).finish_non_exhaustive()
    }
}

/// The rows of a page statement in the order of the scan: the number of the range, the position and
/// the conversation. An outer join may have returned them in another order.
pub(crate) fn decode_page(
    found: &[Row],
    plan: &ListPlan<'_>,
) -> Result<Vec<(usize, u64, Conversation)>> {
    let mut page = Vec::with_capacity(found.len());
    for row in found {
        debug_assert_eq!(row.len(), 2 + COLUMN_COUNT + 1);
        let Some((position, conversation)) = rows::conversation(row, 2)? else { continue };
        let range = Columns::new(row, 1, "conversation").unsigned()?;
        page.push((usize::try_from(range).unwrap_or(usize::MAX), position, conversation));
    }
    page.sort_by_key(|(_, position, _)| *position);
    if !plan.is_ascending() {
        page.reverse();
    }
    Ok(page)
}

/// Creates the schema, if it does not exist, and all tables in it, and distributes them as the options
/// say.
async fn create_tables(
    transaction: &tokio_postgres::Transaction<'_>,
    options: &ClusterOptions,
) -> Result<()> {
    let schema = options.schema_name();
    transaction.batch_execute(&format!("create schema if not exists {}", quoted(schema))).await?;
    transaction.batch_execute(TABLES).await.map_err(|error| match error.code() {
        Some(&SqlState::DUPLICATE_TABLE) => Error::NotEmpty(schema.to_owned()),
        _ => error.into(),
    })?;
    if options.is_distributed {
        citus::distribute(transaction).await?;
    }
    Ok(())
}

/// Creates the indexes, one at a time: Citus sends the text that contains a statement to its workers.
async fn create_indexes(transaction: &tokio_postgres::Transaction<'_>) -> Result<()> {
    for sql in INDEXES.split_terminator(';').filter(|sql| !sql.trim().is_empty()) {
        transaction.batch_execute(sql).await?;
    }
    Ok(())
}

/// Checks that the schema contains a store whose format this version knows.
async fn check_format(client: &Client, schema: &str) -> Result<()> {
    let missing = |error: tokio_postgres::Error| match error.code() {
        Some(&(SqlState::UNDEFINED_TABLE | SqlState::INVALID_SCHEMA_NAME)) => {
            Error::NoStore(schema.to_owned())
        }
        _ => error.into(),
    };
    let row = client.query_opt("select format from store", &[]).await.map_err(missing)?;
    let row = row.ok_or_else(|| Error::NoStore(schema.to_owned()))?;
    match Columns::new(&row, 0, "store").next()? {
        FORMAT => Ok(()),
        found if found > FORMAT => Err(Error::NewerFormat { found, supported: FORMAT }),
        _ => Err(corrupted("store", "the format is unknown")),
    }
}

/// A random number of an epoch.
fn epoch() -> Result<u64> {
    let number = getrandom::u64();
    number.map_err(|error| Error::Unavailable(format!("no random numbers: {error}")))
}
