//! Erasing: exactly what was asked for, and all of it.

use std::ops::ControlFlow;

use convodb::{
    Channel, Contact, Conversation, EraseReport, Error, Filter, ListRequest, Message, Role, Store,
    Timestamp,
};

use crate::{Owner, count};

fn whatsapp(owner: &Owner, phone: &str) -> Conversation {
    let customer = Contact { name: None, phone: Some(phone.parse().unwrap()) };
    let channel = Channel::Whatsapp { sender: Contact::default(), customer };
    Conversation { channel, ..owner.conversation() }
}

fn customer(phone: &str) -> ListRequest {
    let filter = Filter { customer_phone: Some(phone.parse().unwrap()), ..Filter::default() };
    ListRequest { filter, ..ListRequest::default() }
}

#[test]
fn a_customer_goes_in_writes_of_bounded_size_and_nobody_else() {
    let store = Store::in_memory().unwrap();
    let (owner, other) = (Owner::of(&store), Owner::of_name(&store, "Other"));
    for (owner, phone, rows) in [(&owner, "+1", 600), (&owner, "+2", 3), (&other, "+1", 2)] {
        let rows: Vec<_> = (0..rows).map(|_| whatsapp(owner, phone)).collect();
        let user = owner.user;
        store
            .write(move |write| {
                rows.iter().try_for_each(|r| write.insert(user, r.clone(), Vec::new()))
            })
            .unwrap();
    }
    let mut told = Vec::new();
    let first = store.delete_all(owner.user, &customer("+1"), |deleted| {
        told.push(deleted);
        if told.len() == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert_eq!((first.unwrap(), told), (512, vec![256, 512]));
    let rest = store.delete_all(owner.user, &customer("+1"), |_| ControlFlow::Continue(()));
    assert_eq!(rest.unwrap(), 88);
    assert_eq!((count(&store, owner.user), count(&store, other.user)), (3, 2));
    assert!(store.snapshot().verify().unwrap().is_clean());
}

#[test]
fn what_is_older_goes_and_what_is_not_stays() {
    let store = Store::in_memory().unwrap();
    let owner = Owner::of(&store);
    let at = |hours: u64| Timestamp::from_millis(1_737_800_000_000 + hours * 3_600_000).unwrap();
    for hours in 0..10 {
        let row = Conversation { created_at: at(hours), ..owner.conversation() };
        store.insert(owner.user, row, Vec::new()).unwrap();
    }
    let before = ListRequest { created_to: Some(at(4)), ..ListRequest::default() };
    let gone = store.delete_all(owner.user, &before, |_| ControlFlow::Continue(()));
    assert_eq!(gone.unwrap(), 4);
    let left = store.snapshot().conversations(owner.user, &ListRequest::default());
    assert!(left.map(Result::unwrap).all(|row| row.created_at >= at(4)));
}

#[test]
fn a_user_goes_with_everything_and_the_number_is_not_given_again() {
    let store = Store::in_memory().unwrap();
    let (owner, other) = (Owner::of(&store), Owner::of_name(&store, "Other"));
    let tokens = [owner.user, owner.user, other.user]
        .map(|user| store.create_token(user, Timestamp::MIN).unwrap());
    for _ in 0..300 {
        let row = whatsapp(&owner, "+1");
        let id = row.id;
        store.insert(owner.user, row, Vec::new()).unwrap();
        let said = Message::new(Role::User, "hi".to_owned(), Timestamp::MIN).unwrap();
        store.append_message(owner.user, id, said).unwrap();
    }
    store.insert(other.user, whatsapp(&other, "+1"), Vec::new()).unwrap();

    let erased = store.erase_user(owner.user).unwrap();
    assert_eq!(erased, EraseReport { conversations: 300, assistants: 1, tokens: 2 });
    assert!(matches!(store.erase_user(owner.user), Err(Error::UserNotFound)));
    let snapshot = store.snapshot();
    assert_eq!(snapshot.authenticate(&tokens[0]).unwrap(), None);
    assert_eq!(snapshot.authenticate(&tokens[2]).unwrap(), Some(other.user));
    assert_eq!(count(&store, other.user), 1);
    let audit = snapshot.verify().unwrap();
    assert!(audit.is_clean() && audit.messages == 0, "{audit:?}");
    let left: u64 = store.usage().unwrap().tables.iter().map(|(_, entries)| entries).sum();
    // What the other has: a row with its id, five entries, three counters and a change with its
    // number; a user, name, assistant, number and token; and the number of the newest user.
    assert_eq!(left, 2 + 5 + 3 + 2 + 5 + 1, "{:?}", store.usage());
    let again = store.create_user("Acme".parse().unwrap(), Timestamp::MIN).unwrap();
    assert!(again.id > other.user);
}
