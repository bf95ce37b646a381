//! Names of assistants for a response: read when they are needed, or before.

use convodb::{AssistantId, Changes, ChangesSince, ListRequest, Page, PageSize, Stats, UserId};
use convodb_json::AssistantNames;
use convodb_service::{Result, View};

/// Returns the names of the assistants `ids`. Those of an embedded store are read when they are needed;
/// otherwise one statement reads them.
///
/// # Errors
/// A fault of the store.
pub(crate) async fn names(
    view: &View,
    user: UserId,
    ids: impl Iterator<Item = AssistantId>,
) -> Result<AssistantNames> {
    match view {
        View::Embedded(snapshot) => Ok(AssistantNames::new(snapshot.clone(), user)),
        View::Remote(view) => {
            let mut ids: Vec<AssistantId> = ids.collect();
            ids.sort_unstable();
            ids.dedup();
            Ok(AssistantNames::known(view.assistant_names(user, ids).await?))
        }
    }
}

/// Returns the names of the assistants of statistics, as [`names`].
///
/// # Errors
/// A fault of the store.
pub(crate) async fn names_of_stats(
    view: &View,
    user: UserId,
    stats: &Stats,
) -> Result<AssistantNames> {
    names(view, user, stats.rows.iter().filter_map(|row| row.assistant)).await
}

/// Reads a page with the names of its assistants, as [`names`].
///
/// # Errors
/// Those of misuse of [`convodb::Snapshot::list`], or a fault of the store.
pub(crate) async fn page(
    view: &View,
    user: UserId,
    request: &ListRequest,
) -> Result<(Page, AssistantNames)> {
    match view {
        View::Embedded(snapshot) => {
            Ok((snapshot.list(user, request)?, AssistantNames::new(snapshot.clone(), user)))
        }
        View::Remote(view) => {
            let listed = view.list(user, request).await?;
            Ok((listed.page, AssistantNames::known(listed.names)))
        }
    }
}

/// Reads a part of the change feed with the names of the assistants of its conversations, as [`names`].
///
/// # Errors
/// Those of misuse of [`convodb::Snapshot::changes_since`], or a fault of the store.
pub(crate) async fn changes(
    view: &View,
    user: UserId,
    since: ChangesSince,
    size: PageSize,
) -> Result<(Changes, AssistantNames)> {
    match view {
        View::Embedded(snapshot) => {
            let changes = snapshot.changes_since(user, since, size)?;
            Ok((changes, AssistantNames::new(snapshot.clone(), user)))
        }
        View::Remote(view) => {
            let followed = view.changes_since(user, since, size).await?;
            Ok((followed.changes, AssistantNames::known(followed.names)))
        }
    }
}
