//! Access tokens: life cycle, scopes, expiry, and the restriction to one assistant.

use std::collections::BTreeMap;

use convodb::{
    AssistantId, Change, ChangesSince, Channel, Conversation, ConversationId, Day, Error, Filter,
    ListRequest, MaintenanceOptions, Message, PageSize, Period, Role, Scope, Scopes, Snapshot,
    StatsRequest, Store, Timestamp, TokenId, TokenNarrowing, TokenOptions, TokenSelector, UserId,
    restore_with,
};
use proptest::prelude::*;
use uuid::Uuid;

use crate::{TestUser, user_of};

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis).unwrap()
}

#[test]
fn a_token_authenticates_until_it_is_revoked() {
    let store = Store::in_memory().unwrap();
    let acme = TestUser::of(&store);
    let token = store.create_token(acme.user, Timestamp::MIN).unwrap();
    assert_eq!(token.len(), "cvdb_".len() + 43, "256 bits");
    assert_eq!(user_of(&store.snapshot(), &token), Some(acme.user));
    for wrong in ["", "cvdb_", &token[1..], &format!("{token} ")] {
        assert_eq!(user_of(&store.snapshot(), wrong), None);
    }
    let before = store.snapshot();
    store.revoke_token(token.clone()).unwrap();
    assert_eq!(user_of(&store.snapshot(), &token), None);
    assert_eq!(user_of(&before, &token), Some(acme.user), "a snapshot does not change");
    assert!(matches!(store.revoke_token(token), Err(Error::TokenNotFound)));
    let nobody = store.create_token(UserId::new(99), Timestamp::MIN);
    assert!(matches!(nobody, Err(Error::UserNotFound)));
}

#[test]
fn a_token_is_narrowed_and_never_widened() {
    let store = Store::in_memory().unwrap();
    let acme = TestUser::of(&store);
    let second = store.create_assistant(acme.user, AssistantId::generate(at(1)), "B").unwrap().id;
    let other = TestUser::of_name(&store, "Other");
    let created = store.create_token_with(acme.user, at(1), TokenOptions::default()).unwrap();
    let nothing = TokenNarrowing::default;
    let narrow = |narrowing: TokenNarrowing| store.narrow_token(created.id, narrowing);
    let scopes = |text: &str| TokenNarrowing { scopes: Some(text.parse().unwrap()), ..nothing() };
    let until = |time| TokenNarrowing { expires_at: Some(at(time)), ..nothing() };
    let only = |assistant| TokenNarrowing { assistant: Some(assistant), ..nothing() };

    let before = store.snapshot();
    assert_eq!(narrow(nothing()).unwrap().scopes, Scopes::DATA, "nothing changes");
    assert_eq!(narrow(scopes("read,stats")).unwrap().scopes.to_string(), "read,stats");
    assert_eq!(narrow(until(2000)).unwrap().expires_at, Some(at(2000)));
    assert!(matches!(narrow(only(other.assistant)), Err(Error::AssistantNotFound)));
    assert_eq!(narrow(only(second)).unwrap().assistant, Some(second));
    for (wider, named) in [
        (scopes("read,write"), "scopes"),
        (until(2001), "expires_at"),
        (only(acme.assistant), "assistant"),
    ] {
        let refused = narrow(wider);
        assert!(matches!(refused, Err(Error::Invalid { field, .. }) if field == named), "{named}");
    }
    let access = store.snapshot().authenticate(&created.token, at(1999)).unwrap().unwrap();
    assert_eq!(
        (access.scopes.to_string().as_str(), access.assistant),
        ("read,stats", Some(second))
    );
    assert_eq!(store.snapshot().authenticate(&created.token, at(2000)).unwrap(), None);
    let unchanged = before.authenticate(&created.token, at(9999)).unwrap().unwrap();
    assert_eq!(unchanged.scopes, Scopes::DATA, "a snapshot does not change");
    narrow(until(1)).unwrap();
    assert_eq!(store.snapshot().authenticate(&created.token, at(1)).unwrap(), None);
    let [listed] = &store.snapshot().tokens().unwrap()[..] else { panic!("one token") };
    assert_eq!(listed.prefix.as_deref(), created.token.get(..9), "it stays recognizable");
    let nobody = store.narrow_token("0123456789abcdef".parse().unwrap(), nothing());
    assert!(matches!(nobody, Err(Error::TokenNotFound)));
    assert!(store.snapshot().verify().unwrap().is_clean());
}

#[test]
fn a_token_has_its_options_and_expires_at_its_time() {
    let store = Store::in_memory().unwrap();
    let acme = TestUser::of(&store);
    let options = TokenOptions {
        name: Some("reports".parse().unwrap()),
        scopes: "read,stats".parse().unwrap(),
        assistant: Some(acme.assistant),
        expires_at: Some(at(2000)),
    };
    let created = store.create_token_with(acme.user, at(1000), options.clone()).unwrap();
    let access = store.snapshot().authenticate(&created.token, at(1999)).unwrap().unwrap();
    assert_eq!((access.user, access.token), (acme.user, created.id));
    assert_eq!((access.scopes, access.assistant), (options.scopes, options.assistant));
    assert_eq!(store.snapshot().access(created.id, at(1999)).unwrap(), Some(access));
    for expired in [2000, 9999] {
        let snapshot = store.snapshot();
        assert_eq!(snapshot.authenticate(&created.token, at(expired)).unwrap(), None);
        assert_eq!(snapshot.access(created.id, at(expired)).unwrap(), None);
    }
    let [listed] = &store.snapshot().tokens().unwrap()[..] else { panic!("one token") };
    assert_eq!((listed.id, listed.user, &listed.name), (created.id, acme.user, &options.name));
    assert_eq!(listed.prefix.as_deref(), created.token.get(..9));
    assert_eq!((listed.created_at, listed.expires_at), (at(1000), Some(at(2000))));
    assert_eq!(listed.last_used_at, None);
    assert!(!format!("{created:?} {listed:?}").contains(&created.token[9..]));

    let wrong = |options| store.create_token_with(acme.user, at(1000), options);
    let past = TokenOptions { expires_at: Some(at(1000)), ..TokenOptions::default() };
    assert!(matches!(wrong(past), Err(Error::Invalid { field: "expires_at", .. })));
    let other = TestUser::of_name(&store, "Other");
    let foreign = TokenOptions { assistant: Some(other.assistant), ..TokenOptions::default() };
    assert!(matches!(wrong(foreign), Err(Error::AssistantNotFound)));
}

#[test]
fn the_last_use_is_the_latest_one() {
    let store = Store::in_memory().unwrap();
    let acme = TestUser::of(&store);
    let created = store.create_token_with(acme.user, at(0), TokenOptions::default()).unwrap();
    for (used, last) in [(50, 50), (20, 50), (70, 70)] {
        store.write(move |write| write.record_token_use(created.id, at(used))).unwrap();
        let access = store.snapshot().access(created.id, at(0)).unwrap().unwrap();
        assert_eq!(access.last_used_at, Some(at(last)));
    }
    store.revoke_tokens(TokenSelector::Id(created.id)).unwrap();
    store.write(move |write| write.record_token_use(created.id, at(80))).unwrap();
    assert!(store.snapshot().tokens().unwrap().is_empty(), "a use does not bring it back");
}

#[test]
fn tokens_are_revoked_by_id_prefix_user_or_all() {
    let store = Store::in_memory().unwrap();
    let (acme, other) = (TestUser::of(&store), TestUser::of_name(&store, "Other"));
    let create =
        |user| store.create_token_with(user, Timestamp::MIN, TokenOptions::default()).unwrap();
    let tokens: Vec<_> =
        [acme.user, acme.user, acme.user, other.user].map(create).into_iter().collect();
    let valid = || {
        let snapshot = store.snapshot();
        tokens.iter().map(|t| user_of(&snapshot, &t.token).is_some()).collect::<Vec<_>>()
    };
    let revoke = |selector| store.revoke_tokens(selector).unwrap();
    assert_eq!(revoke(TokenSelector::Id(tokens[0].id)), 1);
    assert_eq!(revoke(TokenSelector::Id(tokens[0].id)), 0);
    assert_eq!(valid(), [false, true, true, true]);
    assert_eq!(revoke(TokenSelector::Prefix(tokens[1].token.parse().unwrap())), 1);
    assert_eq!(valid(), [false, false, true, true]);
    assert_eq!(revoke(TokenSelector::User(acme.user)), 1);
    assert_eq!(valid(), [false, false, false, true]);
    assert_eq!(revoke(TokenSelector::All), 1);
    assert_eq!(valid(), [false; 4]);
    assert!(store.snapshot().verify().unwrap().is_clean());
}

#[test]
fn a_restored_store_keeps_or_revokes_its_tokens() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let store = Store::in_memory().unwrap();
    let acme = TestUser::of(&store);
    let token = store.create_token(acme.user, Timestamp::MIN).unwrap();
    store.snapshot().backup(path("backup")).unwrap();
    restore_with(path("backup"), path("kept"), MaintenanceOptions::new()).unwrap();
    restore_with(path("backup"), path("revoked"), MaintenanceOptions::new().revoke_tokens())
        .unwrap();
    for (name, user) in [("kept", Some(acme.user)), ("revoked", None)] {
        let restored = Store::open(path(name)).unwrap();
        assert_eq!(user_of(&restored.snapshot(), &token), user, "{name}");
        assert!(restored.snapshot().user(acme.user).unwrap().is_some());
        restored.close().unwrap();
    }
    let mut names: Vec<String> = std::fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["backup", "backup.b3", "kept", "revoked"], "no file of a WAL is left");
}

// ---- the restriction to one assistant ----------------------------------------------------------

/// A step of a random history: on one of eight conversations, with one of three assistants.
#[derive(Clone, Copy, Debug)]
enum Step {
    Insert(u8, u8),
    Move(u8, u8),
    Append(u8),
    Delete(u8),
    Follow,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (row, bot) = (0..8_u8, 0..3_u8);
    prop::collection::vec(
        prop_oneof![
            4 => (row.clone(), bot.clone()).prop_map(|(row, bot)| Step::Insert(row, bot)),
            2 => (row.clone(), bot).prop_map(|(row, bot)| Step::Move(row, bot)),
            1 => row.clone().prop_map(Step::Append),
            2 => row.prop_map(Step::Delete),
            1 => Just(Step::Follow),
        ],
        1..60,
    )
}

fn bot(number: u8) -> AssistantId {
    AssistantId::new(Uuid::from_u128(0xB0 + u128::from(number)))
}

fn row_id(row: u8) -> ConversationId {
    ConversationId::new(Uuid::from_u128(u128::from(row) << 64 | 1))
}

/// A follower of the feed of one assistant, and its copy.
struct Follower {
    only: AssistantId,
    since: ChangesSince,
    copy: BTreeMap<ConversationId, Conversation>,
}

impl Follower {
    fn follow(&mut self, snapshot: &Snapshot, user: UserId, size: PageSize) {
        let snapshot = snapshot.clone().restricted_to(self.only);
        loop {
            let part = snapshot.changes_since(user, self.since, size).unwrap();
            for Change { id, conversation, .. } in part.changes {
                match conversation {
                    Some(conversation) => {
                        assert_eq!(conversation.assistant, self.only);
                        self.copy.insert(id, conversation);
                    }
                    None => drop(self.copy.remove(&id)),
                }
            }
            self.since = ChangesSince::Cursor(part.next_cursor);
            if !part.has_more {
                break;
            }
        }
    }
}

fn apply(store: &Store, user: UserId, step: Step, clock: u64) {
    match step {
        Step::Insert(row, number) => {
            let channel = [Channel::Widget, Channel::Test][usize::from(row % 2)].clone();
            let row = Conversation::new(row_id(row), bot(number), channel, at(clock * 40_000_000));
            // Known ids are refused.
            let _ = store.insert(user, row, Vec::new());
        }
        Step::Move(row, number) => {
            let _ = store.update(user, row_id(row), at(clock), move |row| {
                row.assistant = bot(number);
                Ok(())
            });
        }
        Step::Append(row) => {
            let message = Message::new(Role::User, "hi", at(clock)).unwrap();
            let _ = store.append_message(user, row_id(row), message);
        }
        Step::Delete(row) => {
            let _ = store.delete(user, row_id(row));
        }
        Step::Follow => {}
    }
}

/// Compares every read of a restricted snapshot with the unrestricted one, filtered by hand.
fn check_restricted(snapshot: &Snapshot, user: UserId, only: AssistantId) {
    let restricted = snapshot.clone().restricted_to(only);
    let all = |snapshot: &Snapshot, request: &ListRequest| {
        snapshot.conversations(user, request).map(Result::unwrap).collect::<Vec<_>>()
    };
    let plain = ListRequest::default();
    let everything = all(snapshot, &plain);
    let expected: Vec<_> = everything.iter().filter(|row| row.assistant == only).collect();
    assert!(all(&restricted, &plain).iter().eq(expected.iter().copied()));

    // Pages of two, forwards, by cursor alone.
    let request = ListRequest::new().page_size(2).unwrap();
    let paged = restricted.pages(user, request).map(Result::unwrap);
    let paged: Vec<Conversation> = paged
        .flat_map(|page| page.conversations().map(|row| row.owned()).collect::<Vec<_>>())
        .collect();
    assert!(paged.iter().eq(expected.iter().copied()));

    // A filter on another assistant finds nothing, whatever else it has.
    for other in (0..3).map(bot).filter(|other| *other != only) {
        let request = ListRequest::new().filter(Filter::new().assistant(other));
        assert!(all(&restricted, &request).is_empty());
        let page = restricted.list(user, &request).unwrap();
        assert!(page.is_empty() && page.next_cursor().is_none() && page.prev_cursor().is_none());
        assert!(restricted.assistant(user, other).unwrap().is_none());
        assert!(!restricted.assistant_name(user, other, &mut String::new()).unwrap());
    }
    // A filter on several assistants finds this one, if it is among them.
    let others: Vec<AssistantId> = (0..3).map(bot).filter(|other| *other != only).collect();
    let union = |ids: &[AssistantId]| {
        ListRequest::new().filter(Filter::new().assistants(ids.iter().copied()).unwrap())
    };
    assert!(all(&restricted, &union(&others)).is_empty());
    let both = all(&restricted, &union(&[only, others[0]]));
    assert!(both.iter().eq(expected.iter().copied()));

    // A cursor of a wider or of another list is refused.
    for filter in [Filter::new(), Filter::new().assistant(bot(0)), Filter::new().assistant(bot(1))]
    {
        let request = ListRequest::new().filter(filter.clone()).page_size(1).unwrap();
        if let Some(cursor) = snapshot.list(user, &request).unwrap().next_cursor() {
            let page = restricted.list(user, &ListRequest::at(*cursor));
            match filter.assistant == Some(only) {
                true => assert!(page.unwrap().conversations().all(|row| row.assistant == only)),
                false => assert!(matches!(page, Err(Error::CursorConflict { .. })), "{page:?}"),
            }
        }
    }
    for row in 0..8 {
        let id = row_id(row);
        let visible = snapshot.conversation(user, id).unwrap().filter(|row| row.assistant == only);
        assert_eq!(restricted.conversation(user, id).unwrap(), visible);
        assert_eq!(restricted.messages(user, id).unwrap().is_some(), visible.is_some());
        let streamed = restricted.message_iter(user, id).unwrap();
        assert_eq!(streamed.is_some(), visible.is_some());
    }
    for (by_assistant, period) in [(false, None), (true, Some(Period::Day)), (true, None)] {
        let all_days = StatsRequest::new(Day::new(0), Day::new(u32::MAX));
        let request = StatsRequest { by_assistant, period, ..all_days };
        let stats = restricted.stats(user, &request).unwrap();
        assert_eq!(stats.total.conversations, expected.len() as u64);
        assert!(stats.rows.iter().all(|row| row.assistant.is_none_or(|found| found == only)));
        let other = if only == bot(0) { bot(1) } else { bot(0) };
        let request = StatsRequest { assistant: Some(other), ..request };
        assert_eq!(restricted.stats(user, &request).unwrap().total.conversations, 0);
    }
    let listed = restricted.assistants(user, 0, usize::MAX).unwrap();
    assert!(listed.iter().map(|assistant| assistant.id).eq([only]));
    assert_eq!(restricted.assistant_count(user).unwrap(), 1);
    assert!(restricted.assistants(user, 1, usize::MAX).unwrap().is_empty());
    for number in 1..=3 {
        let found = restricted.assistant_by_number(user, number).unwrap();
        assert!(found.is_none_or(|found| found.id == only));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn a_restricted_snapshot_is_the_data_of_one_assistant(steps in steps(), size in 1..4_u64) {
        let store = Store::in_memory().unwrap();
        let user = store.create_user("Acme", Timestamp::MIN).unwrap().id;
        for number in 0..3 {
            store.create_assistant(user, bot(number), "Bot").unwrap();
        }
        let mut followers = [0, 1, 2].map(|number| Follower {
            only: bot(number),
            since: ChangesSince::Beginning,
            copy: BTreeMap::new(),
        });
        let size = PageSize::new(size).unwrap();
        for (clock, step) in (1..).zip(steps.into_iter().chain([Step::Follow])) {
            apply(&store, user, step, clock);
            if matches!(step, Step::Follow) {
                let snapshot = store.snapshot();
                for follower in &mut followers {
                    follower.follow(&snapshot, user, size);
                    check_restricted(&snapshot, user, follower.only);
                    let rows = snapshot.clone().restricted_to(follower.only);
                    let rows = rows.conversations(user, &ListRequest::default());
                    let rows: BTreeMap<_, _> =
                        rows.map(Result::unwrap).map(|row| (row.id, row)).collect();
                    prop_assert_eq!(&follower.copy, &rows, "the copy of the feed");
                }
            }
        }
    }
}

#[test]
fn a_restricted_write_reaches_one_assistant_alone() {
    let store = Store::in_memory().unwrap();
    let user = store.create_user("Acme", Timestamp::MIN).unwrap().id;
    for number in 0..2 {
        store.create_assistant(user, bot(number), "Bot").unwrap();
        apply(&store, user, Step::Insert(number, number), u64::from(number));
    }
    let write = |work: fn(&mut convodb::Transaction<'_>, UserId) -> convodb::Result<()>| {
        store.write(move |transaction| {
            transaction.restrict_to(bot(0));
            work(transaction, user)
        })
    };
    let missing = |result: convodb::Result<()>| {
        assert!(matches!(result, Err(Error::ConversationNotFound)), "{result:?}");
    };
    let no_assistant = |result: convodb::Result<()>| {
        assert!(matches!(result, Err(Error::AssistantNotFound)), "{result:?}");
    };
    missing(write(|w, user| w.delete(user, row_id(1))));
    missing(write(|w, user| w.update(user, row_id(1), at(9), |_| Ok(())).map(drop)));
    missing(write(|w, user| {
        let message = Message::new(Role::User, "hi", at(9))?;
        w.append_message(user, row_id(1), &message).map(drop)
    }));
    no_assistant(write(|w, user| {
        let row = Conversation::new(row_id(5), bot(1), Channel::Widget, at(9));
        w.insert(user, row, Vec::new())
    }));
    no_assistant(write(|w, user| {
        let give_away = |row: &mut Conversation| {
            row.assistant = bot(1);
            Ok(())
        };
        w.update(user, row_id(0), at(9), give_away).map(drop)
    }));
    no_assistant(write(|w, user| w.rename_assistant(user, bot(1), "Renamed")));
    no_assistant(write(|w, user| w.delete_assistant(user, bot(1))));
    let created = write(|w, user| w.create_assistant(user, bot(2), "New").map(drop));
    assert!(matches!(created, Err(Error::Invalid { field: "assistant_id", .. })), "{created:?}");
    write(|w, user| {
        assert!(w.conversation(user, row_id(1))?.is_none());
        assert!(w.assistant(user, bot(1))?.is_none());
        w.rename_assistant(user, bot(0), "Renamed")?;
        w.delete(user, row_id(0))
    })
    .unwrap();
    // The restriction ends with its write, whether it succeeds or fails.
    store.delete(user, row_id(1)).unwrap();
}

#[test]
fn scopes_are_independent() {
    for scope in Scope::ALL {
        let scopes = Scopes::from(scope);
        assert!(scopes.iter().eq([scope]));
    }
}

/// A store with one user, who has the assistant `bot(0)`.
fn store_with_bot() -> (Store, UserId) {
    let store = Store::in_memory().unwrap();
    let user = store.create_user("Acme", at(1)).unwrap().id;
    store.create_assistant(user, bot(0), "One").unwrap();
    (store, user)
}

/// A token creates none that reaches more than itself, whichever limit it exceeds.
#[test]
fn a_token_creates_none_that_reaches_more() {
    let (store, user) = store_with_bot();
    let (one, two) = (bot(0), bot(1));
    store.create_assistant(user, two, "Two").unwrap();
    let options = TokenOptions {
        scopes: "read,tokens".parse().unwrap(),
        assistant: Some(one),
        expires_at: Some("2025-06-01".parse().unwrap()),
        ..TokenOptions::default()
    };
    let creator = store.create_token_with(user, at(1), options.clone()).unwrap().id;
    let create = |now: Timestamp, options: TokenOptions| {
        let text = store.draw_token().unwrap();
        store.write(move |transaction| transaction.create_token_by(creator, text, now, options))
    };
    let with = |change: fn(&mut TokenOptions)| {
        let mut options = options.clone();
        change(&mut options);
        options
    };
    for (field, wider) in [
        ("scopes", with(|options| options.scopes = Scopes::DATA)),
        ("scopes", with(|options| options.scopes = Scope::Health.into())),
        ("assistant", with(|options| options.assistant = None)),
        ("assistant", with(|options| options.assistant = Some(bot(1)))),
        ("expires_at", with(|options| options.expires_at = None)),
        ("expires_at", with(|options| options.expires_at = Some("2025-06-02".parse().unwrap()))),
    ] {
        let refused = create(at(1), wider);
        assert!(
            matches!(refused, Err(Error::Invalid { field: named, .. }) if named == field),
            "{field}"
        );
    }
    let created = create(at(1), options.clone()).unwrap();
    let snapshot = store.snapshot();
    let access = snapshot.authenticate(&created.token, at(1)).unwrap().unwrap();
    assert_eq!((access.user, access.assistant), (user, Some(one)));
    // Once it has expired, or was revoked, it creates nothing.
    let late = create("2025-06-01".parse().unwrap(), options.clone());
    assert!(matches!(late, Err(Error::TokenNotFound)));
    store.revoke_tokens(TokenSelector::Id(creator)).unwrap();
    assert!(matches!(create(at(1), options), Err(Error::TokenNotFound)));
}

/// A user's tokens are those of no other user and, with a restriction, those that reach nothing else.
#[test]
fn tokens_of_a_user_are_seen_by_the_user_alone() {
    let (store, user) = store_with_bot();
    let other = store.create_user("Other", at(1)).unwrap().id;
    let token = |user, assistant| {
        let options = TokenOptions { assistant, ..TokenOptions::default() };
        store.create_token_with(user, at(1), options).unwrap().id
    };
    let (free, bound, foreign) = (token(user, None), token(user, Some(bot(0))), token(other, None));
    let listed = |snapshot: &Snapshot, user| {
        let mut ids: Vec<_> = snapshot.tokens_of(user).unwrap().iter().map(|t| t.id).collect();
        ids.sort();
        ids
    };
    let sorted = |mut ids: Vec<TokenId>| {
        ids.sort();
        ids
    };
    let snapshot = store.snapshot();
    assert_eq!(listed(&snapshot, user), sorted(vec![free, bound]));
    assert_eq!(listed(&snapshot, other), [foreign]);
    assert_eq!(listed(&snapshot.restricted_to(bot(0)), user), [bound]);
    store
        .write(move |transaction| {
            assert!(transaction.token(user, free)?.is_some());
            assert!(transaction.token(user, foreign)?.is_none());
            transaction.restrict_to(bot(0));
            assert!(transaction.token(user, free)?.is_none());
            assert!(transaction.token(user, bound)?.is_some());
            Ok::<_, Error>(())
        })
        .unwrap();
}
