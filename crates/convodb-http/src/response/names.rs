//! Names of assistants for a response: read when they are needed, or before.

use convodb::{AssistantId, Changes, ListRequest, Page, Stats, UserId};
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

/// Returns the names of the assistants of changes, as [`names`].
///
/// # Errors
/// A fault of the store.
pub(crate) async fn names_of_changes(
    view: &View,
    user: UserId,
    changes: &Changes,
) -> Result<AssistantNames> {
    let rows = changes.changes.iter().filter_map(|change| change.conversation.as_ref());
    names(view, user, rows.map(|row| row.assistant)).await
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
