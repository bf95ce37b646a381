//! Name cache: the assistants' names that the items of one response need, each read once.

use std::ops::Range;

use convodb::{AssistantId, Error, Name, Result, Snapshot, UserId};

use crate::json;

/// Initial capacities: the assistants of a typical page, the bytes of a typical name, and those of
/// both fields of an assistant.
const TYPICAL_ASSISTANTS: usize = 16;
const TYPICAL_NAME_BYTES: usize = 24;
const TYPICAL_FIELDS_BYTES: usize = 110;

/// The names of a user's assistants as of one snapshot, or names that were read before. Create one for
/// each page or export.
#[derive(Debug)]
pub struct AssistantNames {
    /// Where the others are read.
    rest: Option<(Snapshot, UserId)>,
    /// The names read so far, concatenated.
    names: String,
    /// The fields of the assistants as JSON, concatenated.
    fields: Vec<u8>,
    known: Vec<Known>,
}

#[derive(Debug)]
struct Known {
    id: AssistantId,
    /// The place of its name.
    name: Range<usize>,
    /// The place of its fields; empty before they are needed.
    fields: Range<usize>,
}

impl AssistantNames {
    /// Returns an empty cache. Reads nothing.
    #[must_use]
    pub fn new(snapshot: Snapshot, user: UserId) -> Self {
        let names = String::with_capacity(TYPICAL_ASSISTANTS * TYPICAL_NAME_BYTES);
        let known = Vec::with_capacity(TYPICAL_ASSISTANTS);
        Self { rest: Some((snapshot, user)), names, fields: Vec::new(), known }
    }

    /// Returns a cache of these names, which reads no others.
    ///
    /// ```
    /// use convodb::{AssistantId, Name, Timestamp};
    /// use convodb_json::AssistantNames;
    /// let (one, other) = (AssistantId::generate(Timestamp::MIN), AssistantId::generate(Timestamp::MIN));
    /// let mut names = AssistantNames::known([(one, Name::new("Bot")?)]);
    /// assert_eq!(names.name(one)?, "Bot");
    /// assert!(names.name(other).is_err());
    /// # Ok::<(), convodb::Error>(())
    /// ```
    #[must_use]
    pub fn known(read: impl IntoIterator<Item = (AssistantId, Name)>) -> Self {
        let (mut names, mut known) = (String::new(), Vec::new());
        for (id, name) in read {
            let start = names.len();
            names.push_str(name.as_str());
            known.push(Known { id, name: start..names.len(), fields: 0..0 });
        }
        Self { rest: None, names, fields: Vec::new(), known }
    }

    /// Returns the current name of the assistant. One B-tree lookup for the first call with an id.
    ///
    /// # Errors
    /// [`Error::AssistantNotFound`] if the user has no assistant with this id. The assistant of a
    /// stored conversation always exists, so there this means a damaged store. Fails if the store
    /// cannot be read.
    #[inline]
    pub fn name(&mut self, id: AssistantId) -> Result<&str> {
        let at = self.find(id)?;
        Ok(&self.names[self.known[at].name.clone()])
    }

    /// Returns the fields of the assistant in an item, after a comma.
    ///
    /// # Errors
    /// As [`AssistantNames::name`].
    #[inline]
    pub(crate) fn fields(&mut self, id: AssistantId) -> Result<&[u8]> {
        let at = self.find(id)?;
        let known = &mut self.known[at];
        if known.fields.is_empty() {
            let start = self.fields.len();
            if start == 0 {
                self.fields.reserve(TYPICAL_ASSISTANTS * TYPICAL_FIELDS_BYTES);
            }
            write_assistant(&mut self.fields, id, &self.names[known.name.clone()]);
            known.fields = start..self.fields.len();
        }
        Ok(&self.fields[known.fields.clone()])
    }

    /// Returns the index of the assistant in `known`.
    #[inline]
    fn find(&mut self, id: AssistantId) -> Result<usize> {
        match self.known.iter().position(|known| known.id == id) {
            Some(at) => Ok(at),
            None => self.read(id),
        }
    }

    fn read(&mut self, id: AssistantId) -> Result<usize> {
        let start = self.names.len();
        let found = match &self.rest {
            Some((snapshot, user)) => snapshot.assistant_name(*user, id, &mut self.names)?,
            None => false,
        };
        if !found {
            return Err(Error::AssistantNotFound);
        }
        self.known.push(Known { id, name: start..self.names.len(), fields: 0..0 });
        Ok(self.known.len() - 1)
    }
}

/// Appends the fields of an assistant in an item, after a comma.
pub(crate) fn write_assistant(out: &mut Vec<u8>, assistant: AssistantId, name: &str) {
    json::raw(out, ",\"assistant_id\":");
    json::uuid(out, assistant.uuid());
    json::raw(out, ",\"assistant_name\":");
    json::string(out, name);
}
