//! The store as the source of a server.
//!
//! A read has the time and the repetition of its session, a write those of its lane.

use std::sync::Arc;
use std::time::{Duration, Instant};

use convodb::{
    Access, Assistant, AssistantId, AssistantRef, ChangeCursor, ChangesSince, ConversationId,
    Count, ListRequest, Name, PageCursor, PageSize, Stats, StatsRequest, Timestamp, TokenId,
    UserId,
};
use convodb_json::Messages;
use convodb_service::{
    Account, AssistantPage, BoxFuture, ConversationHistory, ExportItem, Followed, Idempotent,
    ListReader, Listed, ReadAccess, RecalledAccess, Remote, RemoteCounter, Source, Write,
    WriteAuthority, Written,
};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::accounts::UserAccount;
use crate::cluster::Cluster;
use crate::error::Error;
use crate::list_export::ListExport;

/// The time of a readiness probe.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

impl From<Cluster> for Source {
    fn from(cluster: Cluster) -> Self {
        Self::Remote(Arc::new(cluster))
    }
}

impl Cluster {
    /// The same store for reads by this access.
    fn reaching(&self, access: &ReadAccess) -> Self {
        let mut cluster = self.clone();
        cluster.restriction = access.restriction;
        cluster.recalled.clone_from(&access.recalled);
        cluster
    }
}

impl Remote for Cluster {
    fn seal_cursor(&self, cursor: &PageCursor) -> String {
        self.keys().seal_cursor(cursor)
    }

    fn open_cursor(&self, user: UserId, token: &str) -> convodb::Result<PageCursor> {
        self.keys().open_cursor(user, token)
    }

    fn seal_change_cursor(&self, cursor: &ChangeCursor) -> String {
        self.keys().seal_change_cursor(cursor)
    }

    fn open_change_cursor(&self, user: UserId, token: &str) -> convodb::Result<ChangeCursor> {
        self.keys().open_change_cursor(user, token)
    }

    fn authenticate<'a>(&'a self, token: &'a str, now: Timestamp) -> BoxFuture<'a, Option<Access>> {
        Box::pin(async move { Ok(self.authenticate(token, now).await?) })
    }

    fn access(&self, token: TokenId, now: Timestamp) -> BoxFuture<'_, Option<Access>> {
        Box::pin(async move { Ok(self.access(token, now).await?) })
    }

    fn recall(&self, token: &str, now: Timestamp) -> Option<RecalledAccess> {
        self.recall_token(token, now)
    }

    fn check<'a>(&'a self, recalled: &'a RecalledAccess) -> BoxFuture<'a, ()> {
        Box::pin(async move { Ok(self.check_token(recalled).await?) })
    }

    fn list<'a>(
        &'a self,
        user: UserId,
        access: &'a ReadAccess,
        request: &'a ListRequest,
    ) -> BoxFuture<'a, Listed> {
        let cluster = self.reaching(access);
        Box::pin(async move {
            let (page, names) = cluster.list_with_names(user, request).await?;
            Ok(Listed { page, names })
        })
    }

    fn export<'a>(
        &'a self,
        user: UserId,
        access: &'a ReadAccess,
        request: &'a ListRequest,
        messages: Messages,
        deadline: Instant,
    ) -> BoxFuture<'a, Box<dyn ListReader>> {
        let cluster = self.reaching(access);
        Box::pin(async move {
            let export = cluster.export_list(user, request, messages, deadline.into()).await?;
            Ok(Box::new(export) as Box<dyn ListReader>)
        })
    }

    fn count<'a>(
        &'a self,
        user: UserId,
        access: &'a ReadAccess,
        request: &'a ListRequest,
    ) -> BoxFuture<'a, Count> {
        let cluster = self.reaching(access);
        Box::pin(async move { Ok(cluster.count(user, request).await?) })
    }

    fn history<'a>(
        &'a self,
        user: UserId,
        access: &'a ReadAccess,
        id: ConversationId,
    ) -> BoxFuture<'a, Option<ConversationHistory>> {
        let cluster = self.reaching(access);
        Box::pin(async move { Ok(cluster.history_of(user, id).await?) })
    }

    fn changes_since<'a>(
        &'a self,
        user: UserId,
        access: &'a ReadAccess,
        since: ChangesSince,
        size: PageSize,
    ) -> BoxFuture<'a, Followed> {
        let cluster = self.reaching(access);
        Box::pin(async move { Ok(cluster.follow(user, since, size).await?) })
    }

    fn stats<'a>(
        &'a self,
        user: UserId,
        access: &'a ReadAccess,
        request: &'a StatsRequest,
    ) -> BoxFuture<'a, Stats> {
        let cluster = self.reaching(access);
        Box::pin(async move { Ok(cluster.stats(user, request).await?) })
    }

    fn resolve_assistant<'a>(
        &'a self,
        user: UserId,
        access: &'a ReadAccess,
        assistant: AssistantRef,
    ) -> BoxFuture<'a, Option<Assistant>> {
        let cluster = self.reaching(access);
        Box::pin(async move { Ok(cluster.resolve_assistant(user, assistant).await?) })
    }

    fn assistants<'a>(
        &'a self,
        user: UserId,
        access: &'a ReadAccess,
        offset: u32,
        limit: usize,
    ) -> BoxFuture<'a, AssistantPage> {
        let cluster = self.reaching(access);
        Box::pin(async move { Ok(cluster.assistants(user, offset, limit).await?) })
    }

    fn assistant_names<'a>(
        &'a self,
        user: UserId,
        access: &'a ReadAccess,
        ids: Vec<AssistantId>,
    ) -> BoxFuture<'a, Vec<(AssistantId, Name)>> {
        let cluster = self.reaching(access);
        Box::pin(async move { Ok(cluster.assistant_names(user, &ids).await?) })
    }

    fn account<'a>(
        &'a self,
        user: UserId,
        access: &'a ReadAccess,
    ) -> BoxFuture<'a, Option<Account>> {
        let cluster = self.reaching(access);
        Box::pin(async move {
            let found = cluster.account(user).await?;
            Ok(found.map(|UserAccount { user, usage, quota }| Account { user, usage, quota }))
        })
    }

    fn write(&self, user: UserId, by: WriteAuthority, write: Write) -> BoxFuture<'_, Written> {
        let cluster = self.clone().authorized_by(by);
        Box::pin(async move {
            let written = cluster.write(user, write).await?;
            cluster.news.wake(user);
            Ok(written)
        })
    }

    fn write_once(
        &self,
        user: UserId,
        by: WriteAuthority,
        once: Idempotent,
        write: Write,
    ) -> BoxFuture<'_, Vec<u8>> {
        let cluster = self.clone().authorized_by(by);
        Box::pin(async move {
            let response = cluster.write_once(user, once, write).await?;
            cluster.news.wake(user);
            Ok(response)
        })
    }

    fn news_of(&self, user: UserId) -> watch::Receiver<u64> {
        self.news.subscribe(&self.pool, user)
    }

    fn ready(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let done = timeout(PROBE_TIMEOUT, self.check_ready()).await;
            let no_answer = |_| {
                let seconds = PROBE_TIMEOUT.as_secs();
                convodb_service::Error::Unavailable(format!("no answer within {seconds} s"))
            };
            Ok(done.map_err(no_answer)??)
        })
    }

    fn counters(&self) -> Vec<RemoteCounter> {
        let (metrics, reads) = (self.write_metrics(), self.read_metrics());
        let counter = |name, help, count| RemoteCounter { name, help, count };
        vec![
            counter("database_writes", "Writes that were answered", metrics.writes),
            counter(
                "database_groups",
                "Transactions that were committed, each of one or more writes",
                metrics.groups,
            ),
            counter(
                "database_conflicts",
                "Transactions that ran again because of another one",
                metrics.conflicts,
            ),
            counter(
                "database_lost_connections",
                "Transactions that lost their connection before the commit was sent",
                metrics.lost_connections,
            ),
            counter(
                "database_stalled",
                "Transactions that made no progress and gave their connection up to other users",
                metrics.stalled,
            ),
            counter(
                "database_doubts_landed",
                "Commits in doubt that turned out to be done",
                metrics.doubts_landed,
            ),
            counter(
                "database_doubts_not_written",
                "Commits in doubt that turned out not to be done and were repeated",
                metrics.doubts_not_written,
            ),
            counter(
                "database_doubts_unknown",
                "Commits in doubt that remained so",
                metrics.doubts_unknown,
            ),
            counter("database_statements", "Statements of reads", reads.statements),
            counter(
                "database_round_trips",
                "Waits of reads for an answer, one for statements that are sent at once",
                reads.round_trips,
            ),
            counter(
                "database_repeated_reads",
                "Reads that ran again because they lost their connection",
                reads.repeated,
            ),
            counter(
                "database_standby_reads",
                "Reads that a standby answered, which may lag",
                reads.of_standby,
            ),
            counter(
                "database_standby_failures",
                "Reads that a standby failed and the primary answered",
                reads.standby_failures,
            ),
        ]
    }
}

impl ListReader for ListExport {
    fn next(&mut self) -> BoxFuture<'_, Option<Vec<ExportItem>>> {
        Box::pin(async move { Ok(ListExport::next(self).await?) })
    }
}

impl From<Error> for convodb_service::Error {
    fn from(error: Error) -> Self {
        match error {
            // It names an option of a file that the tables do not have.
            Error::Store(convodb::Error::IndexAbsent { index: "ai-off" }) => {
                let reason = "must be left out: this store has no index of it";
                convodb::Error::Invalid { field: "ai_enabled", reason }.into()
            }
            Error::Store(error) => error.into(),
            Error::ScopeMissing(scope) => Self::ScopeMissing(scope),
            Error::AccessChanged => Self::AccessChanged,
            Error::InDoubt => Self::InDoubt,
            Error::Overloaded => convodb::Error::QueueFull.into(),
            Error::TimedOut
            | Error::ReadTimedOut
            | Error::Abandoned
            | Error::Unavailable(_)
            | Error::SlowPlan { .. } => Self::Unavailable(error.to_string()),
            Error::Postgres(_) if error.is_of_connection() => Self::Unavailable(error.to_string()),
            error => Self::Fault(error.to_string()),
        }
    }
}
