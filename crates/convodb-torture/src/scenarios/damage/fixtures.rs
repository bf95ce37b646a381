//! Damage fixtures: stores, their dumps from before the damage, and random damage to copies.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use convodb::vfs::{Access, Vfs};
use convodb::{
    Channel, Contact, Conversation, ConversationId, Message, Role, Store, StoreOptions, Timestamp,
    Variables,
};
use convodb_testkit::generators::assistants;
use convodb_testkit::simulation::SimulatedDisk;
use rand::rngs::ChaCha8Rng;
use rand::seq::IndexedRandom;
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use uuid::Uuid;

use crate::scenario::Violation;
use crate::store_dump::{self, Known, QueryResult};
use crate::temporary_directory::temporary_directory;

const PAGE: usize = 4096;
const USERS: usize = 3;
const ROWS: u64 = 120;
/// The name of the database file.
pub(crate) const STORE: &str = "store.convodb";
const EXPECTED: &str = "expected.json";

/// The dump of an undamaged store.
#[derive(Serialize, Deserialize)]
pub(crate) struct Expected {
    pub(crate) known: Known,
    pub(crate) results: Vec<QueryResult>,
}

/// The files of stores to damage.
pub(crate) struct DamageFixtures {
    directory: TempDir,
    /// The pages of the closed store that are not zero.
    pages: Vec<usize>,
}

/// A cache below the default, because many subprocesses run at a time.
pub(crate) fn options() -> StoreOptions {
    StoreOptions::new().cache_bytes(8 << 20)
}

/// Copies the files of a simulated disk to a directory.
fn export_files(disk: &SimulatedDisk, to: &Path) -> std::io::Result<()> {
    fs::create_dir(to)?;
    for path in disk.list(Path::new("/"))? {
        let file = disk.open(&path, Access::Read)?;
        let mut bytes = vec![0; usize::try_from(file.size()?).unwrap_or(usize::MAX)];
        // A simulated disk transfers all bytes in one call.
        file.read_at(0, &mut bytes)?;
        fs::write(to.join(path.file_name().unwrap_or_default()), bytes)?;
    }
    Ok(())
}

pub(crate) fn copy_files(from: &Path, to: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(from)? {
        let from = entry?.path();
        fs::copy(&from, to.join(from.file_name().unwrap_or_default()))?;
    }
    Ok(())
}

impl Expected {
    /// Reads the dump from a directory.
    pub(crate) fn read(directory: &Path) -> Result<Self, Violation> {
        Ok(serde_json::from_slice(&fs::read(directory.join(EXPECTED))?)?)
    }

    /// Dumps a store to a file in a directory.
    fn write(store: &Store, known: &Known, directory: &Path) -> Result<(), Violation> {
        let results = store_dump::dump(store, known).map_err(Violation::new)?;
        let expected = Expected { known: known.clone(), results };
        Ok(fs::write(directory.join(EXPECTED), serde_json::to_vec(&expected)?)?)
    }
}

impl DamageFixtures {
    /// Creates three directories: `closed`, a closed store; `earlier`, the same store with half of
    /// its rows; and `crashed`, the same store after a crash, with its last rows only in the WAL. A
    /// simulated disk makes the files the same each time, including the secrets of the store.
    pub(crate) fn build() -> Result<Self, Violation> {
        let disk = SimulatedDisk::new(ROWS);
        let open = || {
            Store::open_with(
                Path::new("/").join(STORE),
                &options().background_checkpoints(false).vfs(Arc::new(disk.clone())),
            )
        };
        let store = open()?;
        let mut known = Known::default();
        for user in 0..USERS {
            let id = store.create_user(format!("user {user}"), Timestamp::MIN)?.id;
            for assistant in assistants() {
                store.create_assistant(id, assistant, format!("Bot of {user}"))?;
            }
            known.users.push(id.get());
            known.tokens.push(store.create_token(id, Timestamp::MIN)?);
        }
        write_rows(&store, &mut known, 0..ROWS / 2)?;
        store.close()?;
        let directory = temporary_directory()?;
        export_files(&disk, &directory.path().join("earlier"))?;
        let store = open()?;
        write_rows(&store, &mut known, ROWS / 2..ROWS)?;
        store.close()?;
        let closed = directory.path().join("closed");
        export_files(&disk, &closed)?;
        let store = open()?;
        Expected::write(&store, &known, &closed)?;

        write_rows(&store, &mut known, ROWS..ROWS + 12)?;
        let crashed = directory.path().join("crashed");
        export_files(&disk, &crashed)?;
        Expected::write(&store, &known, &crashed)?;
        let now = fs::read(closed.join(STORE))?;
        let pages = now.chunks(PAGE).enumerate();
        let pages = pages.filter(|(_, page)| page.iter().any(|byte| *byte != 0));
        Ok(Self { pages: pages.map(|(number, _)| number).collect(), directory })
    }

    /// Copies one store and damages the copy. Returns whether the damage is in the WAL, and its
    /// description.
    pub(crate) fn damaged_copy(
        &self,
        directory: &Path,
        random: &mut ChaCha8Rng,
    ) -> Result<(bool, &'static str), Violation> {
        let damages_wal = random.random_bool(0.25);
        let state = self.directory.path().join(if damages_wal { "crashed" } else { "closed" });
        copy_files(&state, directory)?;
        let damage = if damages_wal {
            damage_wal(directory, random)
        } else {
            self.damage_database(directory, random)
        };
        Ok((damages_wal, damage?))
    }

    /// Damages the database file, and returns a description.
    fn damage_database(
        &self,
        directory: &Path,
        random: &mut ChaCha8Rng,
    ) -> Result<&'static str, Violation> {
        let path = directory.join(STORE);
        let mut bytes = fs::read(&path)?;
        let mut page = || self.pages.choose(random).copied().unwrap_or_default() * PAGE;
        let (one, two) = (page(), page());
        let what = match random.random_range(0..8) {
            0 | 1 => {
                flip(&mut bytes[one..][..PAGE], 1, random);
                "a flipped bit"
            }
            2 => {
                flip(&mut bytes[one..][..PAGE], 40, random);
                "forty flipped bits of a page"
            }
            3 => {
                bytes[one..][..PAGE].fill(0);
                "a zeroed page"
            }
            4 => {
                let (low, high) = (one.min(two), one.max(two));
                let (before, after) = bytes.split_at_mut(high);
                if low < high {
                    before[low..][..PAGE].swap_with_slice(&mut after[..PAGE]);
                }
                "two swapped pages"
            }
            5 => {
                bytes.truncate(random.random_range(0..bytes.len()));
                "a cut file"
            }
            6 => {
                let earlier = fs::read(self.directory.path().join("earlier").join(STORE))?;
                if let Some(stale) = earlier.get(one..one + PAGE) {
                    bytes[one..][..PAGE].copy_from_slice(stale);
                }
                "a page as it was earlier"
            }
            _ => {
                random.fill_bytes(&mut bytes[one..][..PAGE]);
                "a page of noise"
            }
        };
        fs::write(path, bytes)?;
        Ok(what)
    }
}

/// Damages a WAL segment, and returns a description.
fn damage_wal(directory: &Path, random: &mut ChaCha8Rng) -> Result<&'static str, Violation> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        segments.extend(name.contains("-log.").then_some(path));
    }
    segments.sort();
    let segment = segments.choose(random).ok_or(Violation::new("there is no WAL to damage"))?;
    let mut bytes = fs::read(segment)?;
    let what = match random.random_range(0..4) {
        0 | 1 => {
            flip(&mut bytes, 1, random);
            "a flipped bit of the WAL"
        }
        2 => {
            bytes.truncate(random.random_range(0..bytes.len()));
            "a cut WAL"
        }
        _ => {
            let at = random.random_range(0..bytes.len());
            let end = bytes.len().min(at + 512);
            bytes[at..end].fill(0);
            "a zeroed sector of the WAL"
        }
    };
    fs::write(segment, bytes)?;
    Ok(what)
}

fn flip(bytes: &mut [u8], count: u32, random: &mut ChaCha8Rng) {
    for _ in 0..count {
        let bit = random.random_range(0..bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
}

/// Inserts rows of all kinds, each in its own transaction.
fn write_rows(
    store: &Store,
    known: &mut Known,
    numbers: std::ops::Range<u64>,
) -> Result<(), Violation> {
    for number in numbers {
        let phone = |n: u64| -> Result<Contact, Violation> {
            let phone = Some(format!("+{}", 1 + n % 3).parse()?);
            Ok(Contact { name: Some(format!("Name {number}").parse()?), phone })
        };
        let channel = match number % 4 {
            0 => Channel::Widget,
            1 => Channel::Api { external_identifier: Some(format!("crm-{}", number % 3).parse()?) },
            2 => Channel::Test,
            _ => Channel::Whatsapp { sender: phone(number / 4)?, customer: phone(number / 7)? },
        };
        let at = Timestamp::from_millis(1_737_800_000_000 + number / 2 * 40_000_000)?;
        let messages: Vec<Message> = (0..number % 5)
            .map(|word| Message::new(Role::User, format!("Words {word} of {number}"), at))
            .collect::<Result<_, _>>()?;
        let id = ConversationId::new(Uuid::from_u128(0xDA << 64 | u128::from(number)));
        // Some were imported without their messages, which is no damage.
        let not_stored = if number % 6 == 1 { 3 } else { 0 };
        let row = Conversation {
            variables: Some(Variables::new(format!("{{\"number\":{number}}}"))?),
            message_count: u32::try_from(messages.len())? + not_stored,
            ..Conversation::new(id, assistants()[usize::try_from(number % 3)?], channel, at)
        };
        let user = convodb::UserId::new(known.users[usize::try_from(number)? % USERS]);
        store.write(move |transaction| transaction.insert(user, row, messages.clone()))?;
        known.ids.push(id.to_string());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixtures_are_deterministic() {
        let files = |fixtures: &DamageFixtures| -> Vec<Vec<u8>> {
            let all = ["earlier", "closed", "crashed"].iter().flat_map(|state| {
                let mut paths: Vec<_> = fs::read_dir(fixtures.directory.path().join(state))
                    .unwrap()
                    .map(|entry| entry.unwrap().path())
                    .collect();
                paths.sort();
                paths
            });
            all.map(|path| fs::read(path).unwrap()).collect()
        };
        let (one, two) = (DamageFixtures::build().unwrap(), DamageFixtures::build().unwrap());
        assert!(files(&one) == files(&two));
        assert_eq!(files(&one).len(), 1 + 2 + 3, "three stores, two dumps, and a WAL segment");
    }
}
