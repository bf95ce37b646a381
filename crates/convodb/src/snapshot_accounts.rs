//! Who is who in a snapshot: users, their tokens and their assistants.

use crate::error::Result;
use crate::model::account::{Assistant, User};
use crate::model::id::{AssistantId, UserId};
use crate::model::text::Name;
use crate::snapshot::Snapshot;
use crate::storage::accounts;

impl Snapshot {
    /// The user that an access token acts for; `None` for any text that is no valid token. One
    /// descent.
    ///
    /// ```
    /// # let store = convodb::Store::in_memory()?;
    /// # let at = "2025-01-25".parse()?;
    /// # let user = store.create_user("Acme".parse()?, at)?.id;
    /// let token = store.create_token(user, at)?;
    /// assert_eq!(store.snapshot().authenticate(&token)?, Some(user));
    /// assert_eq!(store.snapshot().authenticate("cvdb_guess")?, None);
    /// # Ok::<(), convodb::Error>(())
    /// ```
    ///
    /// # Errors
    /// A fault of the store.
    pub fn authenticate(&self, token: &str) -> Result<Option<UserId>> {
        accounts::user_of_token(&self.view().tables.tokens, token)
    }

    /// The user of this number. One descent.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn user(&self, id: UserId) -> Result<Option<User>> {
        accounts::user(&self.view().tables.users, id)
    }

    /// The user of this name. Two descents.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn user_by_name(&self, name: &Name) -> Result<Option<UserId>> {
        accounts::user_of_name(&self.view().tables.users, &self.view().tables.user_names, name)
    }

    /// All users, by number, in memory at once.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn users(&self) -> Result<Vec<User>> {
        accounts::users(&self.view().tables.users)
    }

    /// The user's assistant of this id. One descent.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn assistant(&self, user: UserId, id: AssistantId) -> Result<Option<Assistant>> {
        accounts::assistant(&self.view().tables.assistants, user, id)
    }

    /// Appends the present name of the user's assistant to `out`, and tells whether the user has
    /// that assistant. One descent, the first time after an assistant changed; nothing is allocated
    /// later but what `out` grows by.
    ///
    /// ```
    /// # use convodb::{AssistantId, Store, Timestamp};
    /// # let store = Store::in_memory()?;
    /// # let at: Timestamp = "2025-01-25".parse()?;
    /// # let user = store.create_user("Acme".parse()?, at)?.id;
    /// let bot = store.create_assistant(user, AssistantId::generate(at), "Bot".parse()?)?.id;
    /// let mut names = String::new();
    /// assert!(store.snapshot().assistant_name(user, bot, &mut names)?);
    /// assert_eq!(names, "Bot");
    /// # Ok::<(), convodb::Error>(())
    /// ```
    ///
    /// # Errors
    /// A fault of the store.
    pub fn assistant_name(&self, user: UserId, id: AssistantId, out: &mut String) -> Result<bool> {
        accounts::assistant_name(&self.view().tables, user, id, out)
    }

    /// The user's assistant of this number in the assistants list. Two descents.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn assistant_by_number(&self, user: UserId, number: u32) -> Result<Option<AssistantId>> {
        let tables = &self.view().tables;
        let found = accounts::assistant_of_number(
            &tables.assistants,
            &tables.assistant_numbers,
            user,
            number,
        )?;
        Ok(found.map(|assistant| assistant.id))
    }

    /// How many assistants the user has. They are numbered from 1 without a gap, so this is also
    /// the number of the newest. One descent.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn assistant_count(&self, user: UserId) -> Result<u32> {
        accounts::last_assistant_number(&self.view().tables.assistant_numbers, user)
    }

    /// The user's assistants with a number above `after`, by number, at most `limit`. A step and a
    /// descent for each.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn assistants(&self, user: UserId, after: u32, limit: usize) -> Result<Vec<Assistant>> {
        let tables = &self.view().tables;
        accounts::assistants_after(
            &tables.assistants,
            &tables.assistant_numbers,
            user,
            after,
            limit,
        )
    }
}
