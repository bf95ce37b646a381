//! The source of a server: an embedded store or a remote one.

use std::sync::Arc;

use convodb::{Store, UserId};
use convodb_tokio::AsyncStore;

use crate::news::News;
use crate::remote::Remote;
use crate::view::{RemoteView, View};

/// The store of a server. Cheap to clone; all clones are the same store.
///
/// ```
/// use convodb_service::{Source, View};
/// let source = Source::from(convodb::Store::in_memory()?);
/// assert!(source.embedded().is_some());
/// assert!(matches!(source.view(), View::Embedded(_)));
/// # Ok::<(), convodb::Error>(())
/// ```
#[derive(Clone, Debug)]
pub enum Source {
    /// A store in this process.
    Embedded(AsyncStore),
    /// A store on another database.
    Remote(Arc<dyn Remote>),
}

impl From<Store> for Source {
    fn from(store: Store) -> Self {
        Self::Embedded(store.into())
    }
}

impl From<AsyncStore> for Source {
    fn from(store: AsyncStore) -> Self {
        Self::Embedded(store)
    }
}

impl Source {
    /// The store if it is in this process.
    #[must_use]
    pub const fn embedded(&self) -> Option<&AsyncStore> {
        match self {
            Self::Embedded(store) => Some(store),
            Self::Remote(_) => None,
        }
    }

    /// A view of what is committed now. That of an embedded store is a snapshot; each call of a
    /// remote one reads one committed state, and two calls may read two.
    #[must_use]
    pub fn view(&self) -> View {
        match self {
            Self::Embedded(store) => View::Embedded(store.snapshot()),
            Self::Remote(remote) => View::Remote(RemoteView::new(remote.clone())),
        }
    }

    /// Notifications about the changes of a user's conversations from now on.
    #[must_use]
    pub fn news_of(&self, user: UserId) -> News {
        match self {
            Self::Embedded(store) => News::Embedded(store.commits_of(user)),
            Self::Remote(remote) => News::Remote(remote.news_of(user)),
        }
    }
}
