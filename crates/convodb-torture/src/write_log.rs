//! Write log: the acknowledged writes of one client, recorded outside of the server.
//!
//! Each client writes only to its own conversations. So the state of every conversation is known,
//! except for the request in progress when the server ends: the server applied it completely or not
//! at all.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::scenario::Violation;

/// The state of a conversation, as far as clients change it. The default is a missing conversation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) exists: bool,
    pub(crate) messages: u64,
    pub(crate) ai_disabled: bool,
}

/// The states of a few conversations before and after the request in progress.
#[derive(Debug)]
struct InProgress {
    before: Vec<(Uuid, State)>,
    after: Vec<(Uuid, State)>,
}

/// The states of a client's conversations.
#[derive(Debug, Default)]
pub(crate) struct WriteLog {
    states: BTreeMap<Uuid, State>,
    in_progress: Option<InProgress>,
}

impl WriteLog {
    /// Records a request before it is sent, with the states that it leads to.
    pub(crate) fn begin(&mut self, after: Vec<(Uuid, State)>) {
        let before = after.iter().map(|(id, _)| (*id, self.state(*id))).collect();
        self.in_progress = Some(InProgress { before, after });
    }

    /// Records that the server acknowledged the request.
    pub(crate) fn acknowledge(&mut self) {
        let after = self.in_progress.take().map_or(Vec::new(), |request| request.after);
        self.states.extend(after);
    }

    /// Records that the server rejected the request, which so has no effect.
    pub(crate) fn reject(&mut self) {
        self.in_progress = None;
    }

    /// Settles the request in progress from the states that the store has.
    ///
    /// # Errors
    /// The request was applied in part.
    pub(crate) fn settle(&mut self, stored: &BTreeMap<Uuid, State>) -> Result<(), Violation> {
        let Some(InProgress { before, after }) = self.in_progress.take() else { return Ok(()) };
        let is_stored = |states: &[(Uuid, State)]| {
            states.iter().all(|(id, state)| stored.get(id).copied().unwrap_or_default() == *state)
        };
        let states = [before, after].into_iter().find(|states| is_stored(states));
        let states = states.ok_or(Violation::new("a write in progress was applied in part"))?;
        self.states.extend(states);
        Ok(())
    }

    /// The state of a conversation.
    pub(crate) fn state(&self, id: Uuid) -> State {
        self.states.get(&id).copied().unwrap_or_default()
    }

    /// All conversations that ever existed, with their states.
    pub(crate) fn states(&self) -> impl Iterator<Item = (Uuid, State)> {
        self.states.iter().map(|(id, state)| (*id, *state))
    }
}
