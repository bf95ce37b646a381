//! Row 5: bytes that are not what was written are told, never served.
//!
//! A small store is built once for each lane, its answers are kept, and then its file, or its log as a
//! crash leaves it, is damaged in a copy. A process of its own reads the copy, because what meets
//! damage may end its process, another audits it, a third writes to it. An answer may be right, an
//! error, or lack something; never wrong, and never a panic. What is not right the audit must find.
//!
//! The end of a log that is damaged cannot be told from one that a power cut tore: what it held is
//! missing then, and nothing else.

use std::cell::RefCell;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use convodb::{
    Channel, Contact, Conversation, ConversationId, Message, Role, Store, StoreOptions, Timestamp,
    Variables,
};
use convodb_testkit::strategies::assistants;
use convodb_testkit::world::copy_as_a_crash_leaves_it;
use rand::rngs::ChaCha8Rng;
use rand::seq::IndexedRandom;
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use uuid::Uuid;

use crate::answers::{self, Answered, Difference, Known};
use crate::child;
use crate::proof::{Lanes, Proof, Trial, Trials, Violation, hold};
use crate::proofs::model::in_memory_directory;
use crate::writes;

pub(super) const DAMAGE: Proof = Proof {
    name: "damage",
    row: 5,
    promise: "Of a damaged file no wrong row is served; what the damage changed, the audit finds.",
    trial: "one damaged copy, read and audited by processes of their own",
    trials: Trials { smoke: 10, ci: 2_000, release: 100_000 },
    lanes: Lanes::Cores,
    run,
};

const PAGE: usize = 4096;
const USERS: usize = 3;
const ROWS: u64 = 120;
const PATIENCE: Duration = Duration::from_secs(10);
/// How a process ends that panicked.
const PANICKED: i32 = 101;
const STORE: &str = "store.convodb";
const EXPECTED: &str = "expected.json";

/// What a store has, and what it answers.
#[derive(Serialize, Deserialize)]
struct Expected {
    known: Known,
    answers: Vec<Answered>,
}

/// What the process that reads tells.
#[derive(Serialize, Deserialize)]
struct Reading {
    /// Whether it could not be opened.
    refused: bool,
    difference: Difference,
}

/// Stores to damage.
struct Originals {
    directory: TempDir,
    /// The pages of the closed store that hold something, and what they held earlier.
    pages: Vec<usize>,
}

thread_local! {
    static ORIGINALS: RefCell<Option<Originals>> = const { RefCell::new(None) };
}

fn run(trial: &mut Trial) -> Result<(), Violation> {
    ORIGINALS.with_borrow_mut(|originals| {
        let originals = match originals {
            Some(originals) => originals,
            none => none.insert(Originals::build()?),
        };
        let copy = in_memory_directory()?;
        let of_log = trial.random.random_bool(0.25);
        let state = originals.directory.path().join(if of_log { "crashed" } else { "closed" });
        for entry in fs::read_dir(&state)? {
            let from = entry?.path();
            fs::copy(&from, copy.path().join(from.file_name().unwrap_or_default()))?;
        }
        let what = if of_log {
            damage_log(copy.path(), &mut trial.random)?
        } else {
            originals.damage_file(copy.path(), &mut trial.random)?
        };
        trial.count(what);
        let judged = judge(copy.path(), of_log, trial).and_then(|()| written(copy.path(), trial));
        judged.map_err(|violation| {
            let kept = keep(copy);
            Violation::new(format!("{what}: {violation}; the files are in {}", kept.display()))
        })
    })
}

/// Keeps the files of a violated trial: another run's store has other secrets.
fn keep(copy: TempDir) -> PathBuf {
    copy.keep()
}

/// Reads and audits what is damaged.
fn judge(directory: &Path, of_log: bool, trial: &mut Trial) -> Result<(), Violation> {
    let read = child::run(DAMAGE.name, directory, "read", PATIENCE)?;
    let Some(status) = read.status else {
        trial.count("reading never ended");
        return audited(directory, "reading never ended", trial);
    };
    hold(status.code() != Some(PANICKED), || "reading panicked".to_owned())?;
    let reading: Option<Reading> = serde_json::from_str(&read.out).ok();
    let Some(Reading { refused, difference }) = reading.filter(|_| status.success()) else {
        trial.count("the process was ended");
        return audited(directory, "the process was ended", trial);
    };
    hold(difference.wrong.is_empty(), || format!("served wrongly: {:?}", difference.wrong))?;
    if refused {
        trial.count("could not be opened");
        return Ok(());
    }
    if difference.is_none() {
        trial.count("changed nothing that was asked");
        return Ok(());
    }
    if difference.errors > 0 {
        trial.count("told by an error");
    }
    if difference.errors == 0 && of_log {
        // Opening told nothing, so it was the end of the log.
        trial.count("the end of the log was passed over");
        return Ok(());
    }
    if !difference.lacking.is_empty() {
        trial.count("answers that lack something");
    }
    audited(directory, &format!("{difference:?}"), trial)
}

/// Whoever writes to it is told, or is not harmed. Changes the files. What cannot be caught is counted:
/// redb may go round in a damaged tree until the stack or the patience ends, or panic as it unwinds.
fn written(directory: &Path, trial: &mut Trial) -> Result<(), Violation> {
    let write = child::run(DAMAGE.name, directory, "write", PATIENCE)?;
    match write.status {
        None => trial.count("writing never ended"),
        Some(status) if status.code() == Some(PANICKED) => {
            return Err(Violation::new(format!("writing panicked: {}", write.out)));
        }
        Some(status) if status.success() && write.out.trim() == "0" => {}
        Some(status) if status.success() => trial.count("told when written to"),
        Some(status) if status.code().is_some() => trial.count("the writer ended"),
        Some(_) => trial.count("the process that wrote was ended"),
    }
    Ok(())
}

/// The audit finds what was harmful.
fn audited(directory: &Path, harm: &str, trial: &mut Trial) -> Result<(), Violation> {
    let audit = child::run(DAMAGE.name, directory, "verify", PATIENCE)?;
    let Some(status) = audit.status else {
        return Err(Violation::new(format!("the audit never ends; {harm}")));
    };
    hold(status.code() != Some(PANICKED), || format!("the audit panicked; {harm}"))?;
    let clean = status.success() && audit.out.trim() == "clean";
    hold(!clean, || format!("the audit finds nothing; {harm}"))?;
    trial.count("found by the audit");
    Ok(())
}

/// What a process of its own does in a directory.
pub(super) fn take_part(
    out: &mut dyn Write,
    part: &str,
    directory: &Path,
) -> Result<(), Violation> {
    // The engine makes errors of redb's panics, not of its own.
    std::panic::set_hook(Box::new(|panic| {
        if panic.location().is_none_or(|place| place.file().contains("crates/convodb")) {
            std::process::exit(PANICKED);
        }
    }));
    let path = directory.join(STORE);
    if part == "verify" {
        // As `convodb verify` does.
        let options = StoreOptions { check_on_open: true, ..StoreOptions::default() };
        let audit = Store::open_with(&path, &options)?.snapshot().verify(|_, _| {})?;
        return Ok(writeln!(out, "{}", if audit.is_clean() { "clean" } else { "faults" })?);
    }
    let expected: Expected = serde_json::from_slice(&fs::read(directory.join(EXPECTED))?)?;
    if part == "write" {
        let failed = writes::try_all(&path, open, &expected.known)?;
        return Ok(writeln!(out, "{failed}")?);
    }
    let reading = match open(&path) {
        Err(_) => Reading { refused: true, difference: Difference::default() },
        Ok(store) => {
            let difference = answers::compare(&store, &expected.known, &expected.answers);
            Reading { refused: false, difference }
        }
    };
    Ok(writeln!(out, "{}", serde_json::to_string(&reading)?)?)
}

fn open(path: &Path) -> convodb::Result<Store> {
    Store::open_with(path, &StoreOptions { cache_bytes: 8 << 20, ..StoreOptions::default() })
}

// ---- what is damaged ---------------------------------------------------------------------------

impl Originals {
    /// `closed`: a store that was closed, and an earlier state of it. `crashed`: it as a crash leaves
    /// it, with all its rows in the tables but the last ones, which only the log has.
    fn build() -> Result<Self, Violation> {
        let directory = in_memory_directory()?;
        let [work, closed, crashed] = ["work", "closed", "crashed"].map(|name| {
            let path = directory.path().join(name);
            fs::create_dir(&path).map(|()| path)
        });
        let (work, closed, crashed) = (work?, closed?, crashed?);
        let path = work.join(STORE);
        let store = open(&path)?;
        let mut known = Known::default();
        for user in 0..USERS {
            let account = store.create_user(format!("user {user}").parse()?, Timestamp::MIN)?.id;
            for bot in assistants() {
                store.create_assistant(account, bot, format!("Bot of {user}").parse()?)?;
            }
            known.users.push(account.get());
            known.tokens.push(store.create_token(account, Timestamp::MIN)?);
        }
        write_rows(&store, &mut known, 0..ROWS / 2)?;
        store.close()?;
        let earlier = fs::read(&path)?;
        let store = open(&path)?;
        write_rows(&store, &mut known, ROWS / 2..ROWS)?;
        store.close()?;
        let now = fs::read(&path)?;
        fs::write(closed.join(STORE), &now)?;
        fs::write(directory.path().join("earlier"), &earlier)?;
        let store = open(&path)?;
        put_expected(&store, &known, &closed)?;

        write_rows(&store, &mut known, ROWS..ROWS + 12)?;
        let copy = copy_as_a_crash_leaves_it(&path);
        put_expected(&store, &known, &crashed)?;
        let prefix = copy.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for entry in fs::read_dir(&work)? {
            let from = entry?.path();
            let name = from.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if let Some(rest) = name.strip_prefix(&prefix) {
                fs::copy(&from, crashed.join(format!("{STORE}{rest}")))?;
            }
        }
        let pages = now.chunks(PAGE).enumerate();
        let pages = pages.filter(|(_, page)| page.iter().any(|byte| *byte != 0));
        Ok(Self { pages: pages.map(|(number, _)| number).collect(), directory })
    }

    /// Damages the file of a closed store, and tells how.
    fn damage_file(
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
                let earlier = fs::read(self.directory.path().join("earlier"))?;
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

/// Damages a segment of a crashed store's log, and tells how.
fn damage_log(directory: &Path, random: &mut ChaCha8Rng) -> Result<&'static str, Violation> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        segments.extend(name.contains("-log.").then_some(path));
    }
    segments.sort();
    let segment = segments.choose(random).ok_or(Violation::new("there is no log to damage"))?;
    let mut bytes = fs::read(segment)?;
    let what = match random.random_range(0..4) {
        0 | 1 => {
            flip(&mut bytes, 1, random);
            "a flipped bit of the log"
        }
        2 => {
            bytes.truncate(random.random_range(0..bytes.len()));
            "a cut log"
        }
        _ => {
            let at = random.random_range(0..bytes.len());
            let end = bytes.len().min(at + 512);
            bytes[at..end].fill(0);
            "a zeroed sector of the log"
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

/// Keeps what a whole store answers.
fn put_expected(store: &Store, known: &Known, directory: &Path) -> Result<(), Violation> {
    let answers = answers::of_whole(store, known).map_err(Violation::new)?;
    let expected = Expected { known: known.clone(), answers };
    Ok(fs::write(directory.join(EXPECTED), serde_json::to_vec(&expected)?)?)
}

/// Rows of all kinds, each in a write of its own.
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
        let history: Vec<Message> = (0..number % 5)
            .map(|said| Message::new(Role::User, format!("Words {said} of {number}"), at))
            .collect::<Result<_, _>>()?;
        let id = ConversationId::new(Uuid::from_u128(0xDA << 64 | u128::from(number)));
        let row = Conversation {
            variables: Some(Variables::new(format!("{{\"number\":{number}}}"))?),
            message_count: u32::try_from(history.len())?,
            ..Conversation::new(id, assistants()[usize::try_from(number % 3)?], channel, at)
        };
        let user = convodb::UserId::new(known.users[usize::try_from(number)? % USERS]);
        store.write(move |transaction| transaction.insert(user, &row, &history))?;
        known.ids.push(id.to_string());
    }
    Ok(())
}
