//! Users and access tokens: the same calls on both stores.

use std::collections::BTreeSet;

use convodb::{
    AssistantId, AssistantRef, Error, Name, QuotaLimit, Scope, Store, Timestamp, TokenNarrowing,
    TokenOptions, TokenPrefix, TokenSelector, UserId, UserQuota,
};
use convodb_postgres::{Cluster, UserAccount};
use convodb_testkit::generators::assistants;
use convodb_testkit::harness::Harness;
use futures_util::future::join_all;

use crate::writes::{compare_tables, opened};
use crate::{empty_schema, execute};

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(1_737_800_000_000 + millis).unwrap()
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// The error of a call as text, which both stores give.
fn outcome<T>(done: Result<T, convodb_postgres::Error>) -> Result<T, String> {
    done.map_err(|error| match error {
        convodb_postgres::Error::Store(error) => format!("{error:?}"),
        error => panic!("{error}"),
    })
}

fn expected<T>(done: Result<T, Error>) -> Result<T, String> {
    done.map_err(|error| format!("{error:?}"))
}

async fn both(schema: &str) -> (Store, [UserId; 2], Cluster) {
    let Harness { store, users, .. } = Harness::in_memory();
    let options = empty_schema(schema).await;
    let cluster = opened(schema, &store, options).await;
    (store, users, cluster)
}

#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
#[tokio::test]
async fn users_are_created_renamed_and_listed_as_in_an_embedded_store() {
    let schema = "accounts_users";
    let Harness { store, users, .. } = Harness::in_memory();
    let quota = UserQuota { conversations: QuotaLimit::AtMost(7), bytes: QuotaLimit::Unlimited };
    store.set_quota(users[0], quota).unwrap();
    let default = convodb::Quota { conversations: Some(9), bytes: Some(1_000) };
    let cluster = opened(schema, &store, empty_schema(schema).await.quota(default)).await;
    let known = store.snapshot().user(users[0]).unwrap().unwrap().name;
    for name in [name("Bolt"), name("Bolt"), known.clone(), name("7"), name("\u{1F600}")] {
        let found = outcome(cluster.create_user(name.clone(), at(1)).await);
        assert_eq!(found, expected(store.create_user::<Name>(name, at(1))));
    }
    let bolt = store.snapshot().user_by_name(&name("Bolt")).unwrap().unwrap();
    for (user, name) in [
        (bolt, name("Nut")),
        (bolt, name("Nut")),
        (bolt, known.clone()),
        (UserId::new(77), name("Nobody")),
    ] {
        let found = outcome(cluster.rename_user(user, name.clone()).await);
        assert_eq!(found, expected(store.rename_user::<Name>(user, name)));
    }
    compare_tables(schema, &store).await;
    let snapshot = store.snapshot();
    let accounts = cluster.users().await.unwrap();
    assert_eq!(accounts.len(), 5);
    for (account, user) in accounts.into_iter().zip(snapshot.users().unwrap()) {
        let UserAccount { user: found, usage, quota, .. } = account;
        assert_eq!(usage, snapshot.storage_usage(user.id).unwrap());
        assert_eq!(quota, snapshot.quota(user.id).unwrap().over(default));
        assert_eq!(found, user);
    }
    // A name wins over a number.
    let seven = snapshot.user_by_name(&name("7")).unwrap().unwrap();
    assert_eq!(cluster.find_user(&name("7")).await.unwrap(), seven);
    assert_eq!(cluster.find_user(&name(&bolt.to_string())).await.unwrap(), bolt);
    let unknown = outcome(cluster.find_user(&name("77")).await);
    assert_eq!(unknown, Err("UserNotFound".to_owned()));
    let bot = snapshot.assistants(users[0], 0, 1).unwrap().remove(0);
    for named in [AssistantRef::Id(bot.id), AssistantRef::Number(bot.number)] {
        assert_eq!(cluster.find_assistant(users[0], named).await.unwrap(), bot);
    }
    let unknown = outcome(cluster.find_assistant(users[0], AssistantRef::Number(77)).await);
    assert_eq!(unknown, Err("AssistantNotFound".to_owned()));
}

#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
#[tokio::test]
async fn users_that_are_created_at_once_have_different_numbers() {
    let (_, _, cluster) = both("accounts_numbers").await;
    let created = (0..30).map(|number| cluster.create_user(name(&format!("user {number}")), at(0)));
    let created = join_all(created).await.into_iter().map(|user| user.unwrap().id.get());
    let numbers: BTreeSet<u32> = created.collect();
    assert_eq!(numbers, (3..33).collect());
    let same = (0..10).map(|_| cluster.create_user(name("same"), at(0)));
    let created = join_all(same).await.into_iter().filter(Result::is_ok).count();
    assert_eq!(created, 1);
    assert_eq!(cluster.create_user(name("next"), at(0)).await.unwrap().id, UserId::new(34));
}

#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
#[tokio::test]
async fn tokens_are_created_listed_and_revoked_as_in_an_embedded_store() {
    let schema = "accounts_tokens";
    let (store, users, cluster) = both(schema).await;
    let limited = TokenOptions {
        name: Some(name("reports")),
        scopes: "read,stats".parse().unwrap(),
        assistant: Some(assistants()[1]),
        expires_at: Some(at(1_000)),
    };
    let created = cluster.create_token(users[0], at(0), limited.clone()).await.unwrap();
    let access = cluster.authenticate(&created.token, at(999)).await.unwrap().unwrap();
    assert_eq!((access.token, access.user), (created.id, users[0]));
    assert_eq!((access.scopes, access.assistant), (limited.scopes, limited.assistant));
    assert_eq!(cluster.authenticate(&created.token, at(1_000)).await.unwrap(), None);
    let token = cluster.tokens().await.unwrap().remove(0);
    assert_eq!((token.id, token.user, token.created_at), (created.id, users[0], at(0)));
    assert_eq!((&token.name, token.expires_at), (&limited.name, limited.expires_at));
    assert!(token.prefix.is_some_and(|prefix| created.token.starts_with(&prefix)));

    let foreign = TokenOptions {
        assistant: Some(AssistantId::new(uuid::Uuid::from_u128(99))),
        ..limited.clone()
    };
    for (user, created_at, options) in [
        (users[0], at(1_000), limited.clone()),
        (users[0], at(0), foreign),
        (UserId::new(77), at(0), limited.clone()),
    ] {
        let refused = outcome(cluster.create_token(user, created_at, options.clone()).await);
        let embedded = expected(store.create_token_with(user, created_at, options));
        assert!(refused.is_err());
        assert_eq!(refused, embedded);
    }

    let create =
        async |user| cluster.create_token(user, at(0), TokenOptions::default()).await.unwrap();
    let mut all = Vec::new();
    for user in [users[0], users[0], users[1], users[1], users[1]] {
        all.push(create(user).await);
    }
    cluster.revoke_token(&all[0].token).await.unwrap();
    let again = outcome(cluster.revoke_token(&all[0].token).await);
    assert_eq!(again, Err("TokenNotFound".to_owned()));
    let prefix: TokenPrefix = all[1].token.parse().unwrap();
    for (selector, revoked) in [
        (TokenSelector::Prefix(prefix.clone()), 1),
        (TokenSelector::Prefix(prefix), 0),
        (TokenSelector::Id(all[2].id), 1),
        (TokenSelector::Id(all[2].id), 0),
        (TokenSelector::User(users[1]), 2),
        (TokenSelector::All, 1),
        (TokenSelector::All, 0),
    ] {
        assert_eq!(cluster.revoke_tokens(&selector).await.unwrap(), revoked, "{selector:?}");
    }
    for token in &all {
        assert_eq!(cluster.authenticate(&token.token, at(0)).await.unwrap(), None);
    }
    execute(schema, "update account set closed = true").await;
    let refused = outcome(cluster.create_token(users[0], at(0), limited).await);
    assert_eq!(refused, Err("UserClosed".to_owned()));
}

#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
#[tokio::test]
async fn quotas_are_set_as_in_an_embedded_store() {
    use QuotaLimit::{AtMost, Default, Unlimited};
    let schema = "accounts_quotas";
    let (store, users, cluster) = both(schema).await;
    for (user, conversations, bytes) in [
        (users[0], Some(AtMost(3)), None),
        (users[0], None, Some(AtMost(u64::MAX - 1))),
        (users[1], Some(Unlimited), Some(AtMost(0))),
        (users[0], Some(AtMost(u64::MAX)), None),
        (users[0], None, Some(AtMost(u64::MAX))),
        (users[0], None, None),
        (users[1], Some(Default), Some(Unlimited)),
        (UserId::new(77), Some(AtMost(3)), None),
    ] {
        let embedded = store.write(move |transaction| {
            let own = transaction.quota(user)?;
            let conversations = conversations.unwrap_or(own.conversations);
            transaction
                .set_quota(user, UserQuota { conversations, bytes: bytes.unwrap_or(own.bytes) })
        });
        let found = outcome(cluster.set_quota(user, conversations, bytes).await);
        assert_eq!(found, expected(embedded), "{conversations:?} {bytes:?}");
        compare_tables(schema, &store).await;
    }
    let quota = cluster.account(users[0]).await.unwrap().unwrap().quota;
    assert_eq!((quota.conversations, quota.bytes), (Some(3), Some(u64::MAX - 1)));
    execute(schema, "update account set closed = true").await;
    let refused = outcome(cluster.set_quota(users[0], Some(Unlimited), None).await);
    assert_eq!(refused, Err("UserClosed".to_owned()));
}

/// The same narrowings of a token that was created alike in both stores.
#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
#[tokio::test]
async fn a_token_is_narrowed_as_in_an_embedded_store() {
    let Harness { store, users, .. } = Harness::in_memory();
    let [one, two] = [assistants()[0], assistants()[1]];
    let user = users[0];
    let options =
        TokenOptions { scopes: "read,write,stats".parse().unwrap(), ..TokenOptions::default() };
    // The import copies it.
    let created = store.create_token_with(user, at(0), options).unwrap();
    let schema = "accounts_narrowing";
    let cluster = opened(schema, &store, empty_schema(schema).await).await;
    let scopes = |text: &str| Some(text.parse().unwrap());
    let none = TokenNarrowing::default();
    for narrowing in [
        none,
        TokenNarrowing { scopes: scopes("read,export"), ..none },
        TokenNarrowing { scopes: scopes("read,write"), ..none },
        TokenNarrowing { assistant: Some(AssistantId::new(uuid::Uuid::from_u128(99))), ..none },
        TokenNarrowing { expires_at: Some(at(900)), ..none },
        TokenNarrowing { expires_at: Some(at(901)), ..none },
        TokenNarrowing { assistant: Some(one), expires_at: Some(at(800)), ..none },
        TokenNarrowing { assistant: Some(two), ..none },
        // Of several, the first fault decides, and nothing is changed.
        TokenNarrowing {
            scopes: scopes("read"),
            assistant: Some(two),
            expires_at: Some(at(9_000)),
        },
        TokenNarrowing {
            scopes: scopes("read"),
            assistant: Some(one),
            expires_at: Some(at(9_000)),
        },
        TokenNarrowing { scopes: scopes("read"), assistant: Some(one), expires_at: Some(at(700)) },
    ] {
        let found = outcome(cluster.narrow_token(created.id, narrowing).await);
        assert_eq!(found, expected(store.narrow_token(created.id, narrowing)), "{narrowing:?}");
        for now in [699, 700, 799, 800, 899, 900].map(at) {
            let found = cluster.authenticate(&created.token, now).await.unwrap();
            assert_eq!(found, store.snapshot().authenticate(&created.token, now).unwrap());
        }
        let tokens = cluster.tokens().await.unwrap();
        assert_eq!(tokens, store.snapshot().tokens().unwrap());
    }
    let access = cluster.access(created.id, at(0)).await.unwrap().unwrap();
    assert_eq!((access.scopes, access.assistant), (Scope::Read.into(), Some(one)));
    cluster.revoke_token(&created.token).await.unwrap();
    let revoked = outcome(cluster.narrow_token(created.id, none).await);
    assert_eq!(revoked, Err("TokenNotFound".to_owned()));
}
