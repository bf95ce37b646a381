//! The change feed of a user.

use std::collections::HashMap;

use convodb::seam::{self, FeedPart, FeedRecord};
use convodb::{AssistantId, ChangeKind, Changes, ChangesSince, ConversationId, PageSize, UserId};
use convodb_service::Followed;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::cluster::Cluster;
use crate::error::{Result, corrupted};
use crate::page_statement::{ASSISTANT, COLUMNS, owner};
use crate::pool::Statements as _;
use crate::rows::{self, Columns};
use crate::values::position;

/// The change feed.
impl Cluster {
    /// A part of the user's change feed, as [`convodb::Snapshot::changes_since`]. One statement,
    /// which reads the change records and the conversation of each.
    ///
    /// # Errors
    /// [`convodb::Error::InvalidCursor`]; [`convodb::Error::ChangesExpired`], also for a cursor that
    /// the imported store issued after the import; or a fault of the database.
    pub async fn changes_since(
        &self,
        user: UserId,
        since: ChangesSince,
        size: PageSize,
    ) -> Result<Changes> {
        Ok(self.follow(user, since, size).await?.changes)
    }

    /// [`Cluster::changes_since`] with the names of the assistants of the conversations. The same
    /// statement.
    pub(crate) async fn follow(
        &self,
        user: UserId,
        since: ChangesSince,
        size: PageSize,
    ) -> Result<Followed> {
        // The newest change is known only afterwards, so the start is checked afterwards.
        let after = match since {
            ChangesSince::Beginning => 0,
            ChangesSince::Now => u64::MAX,
            ChangesSince::Cursor(cursor) => seam::change_number(&cursor),
        };
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        let limit = i64::try_from(size.get()).unwrap_or(i64::MAX);
        let sql = format!(
            "select h.feed, h.trimmed, x.number, x.kind, x.id, x.pos, x.left_assistant, {COLUMNS}, \
             a.name from head h left join lateral (select * from change where owner = $1 and number > $2 \
             order by owner, number limit $3) x on true left join lateral (select * \
             from conversation where owner = $1 and id = x.id limit 1) c on true {ASSISTANT} \
             where h.owner = $1 order by x.number"
        );
        let found = self.primary().rows(&sql, &[&owner(user)?, &after, &limit]).await?;
        let mut numbers = (0, 0);
        let (mut records, mut present) = (Vec::new(), HashMap::new());
        for row in &found {
            let mut columns = Columns::new(row, 0, "head");
            numbers = (columns.unsigned()?, columns.unsigned()?);
            let Some(record) = decode_change(row, 2)? else { continue };
            if let Some((_, conversation)) = rows::conversation(row, 7)? {
                present.insert(record.id, conversation);
            }
            records.push(record);
        }
        let part = FeedPart::begin(user, since, numbers, self.history())?;
        let first = part.after();
        if (first + 1..).zip(&records).any(|(number, record)| record.number != number) {
            return Err(corrupted("change", "a change is missing"));
        }
        let present = |id| Ok(present.get(&id).cloned());
        let changes = part.read(&records, self.restriction, present)?;
        let mut names = Vec::new();
        rows::add_names(&found, 7, &mut names)?;
        Ok(Followed { changes, names })
    }
}

/// The change of the columns `number, kind, id, pos, left_assistant` from number `at` on; `None` if an
/// outer join found none.
pub(crate) fn decode_change(row: &Row, at: usize) -> Result<Option<FeedRecord>> {
    let mut columns = Columns::new(row, at, "change");
    let Some(number) = columns.next::<Option<i64>>()? else { return Ok(None) };
    let number = u64::try_from(number).map_err(|_| corrupted("change", "a number is negative"))?;
    let kind: i16 = columns.next()?;
    let kinds = [ChangeKind::Created, ChangeKind::Updated, ChangeKind::Deleted];
    let kind = kinds.into_iter().find(|known| rows::change_number(*known) == kind);
    let kind = kind.ok_or_else(|| corrupted("change", "a change has an unknown kind"))?;
    let id = ConversationId::new(columns.next()?);
    let position = position(columns.next()?);
    let left: Option<Uuid> = columns.next()?;
    Ok(Some(FeedRecord { number, kind, id, position, left: left.map(AssistantId::new) }))
}
