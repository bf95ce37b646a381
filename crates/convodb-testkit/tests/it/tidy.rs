//! What keeps the house in order: floors, sizes, names, and documents that tell of all there is.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::floors::{FILES, FLOORS, REDB};

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

struct Source {
    krate: String,
    /// The module: the path below `src/` without `.rs`, and `model` for `model/mod.rs`.
    module: String,
    text: String,
}

impl Source {
    /// The text before the tests.
    fn code(&self) -> &str {
        self.text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default()
    }

    fn is_test(&self) -> bool {
        self.module.ends_with("_tests") || self.module == "testing"
    }
}

fn rust_files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
}

fn sources() -> Vec<Source> {
    let mut all = Vec::new();
    for (krate, _) in FLOORS {
        let src = root().join("crates").join(krate).join("src");
        let mut files = Vec::new();
        rust_files(&src, &mut files);
        for path in files {
            let below = path.strip_prefix(&src).unwrap().with_extension("");
            let module = below.to_string_lossy().replace('\\', "/");
            let module = module.strip_suffix("/mod").unwrap_or(&module).to_owned();
            let text = fs::read_to_string(&path).unwrap();
            all.push(Source { krate: (*krate).to_owned(), module, text });
        }
    }
    all
}

/// The modules that a file imports from its own crate.
fn imports(source: &Source, floors: &[&str]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let is_room = |module: &str| floors.iter().any(|f| f.starts_with(&format!("{module}/")));
    let code: Vec<&str> =
        source.code().lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    for part in code.join("\n").split("crate::").skip(1) {
        let path = part.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).next();
        let path = path.unwrap_or_default().replace("::", "/");
        // The longest floor that the path begins with.
        let floor = floors
            .iter()
            .filter(|floor| path == **floor || path.starts_with(&format!("{floor}/")))
            .filter(|floor| !is_room(floor))
            .max_by_key(|floor| floor.len());
        found.extend(floor.map(|floor| (*floor).to_owned()));
        // `use crate::storage::{accounts, rows}`: each of the names in braces.
        if let Some((base, names)) = part.split_once("::{") {
            let base = base.replace("::", "/");
            if base.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '/') {
                let names = names.split('}').next().unwrap_or_default().split(',');
                let paths = names.map(|name| {
                    let name = name.trim().split("::").next().unwrap_or_default();
                    format!("{base}/{name}")
                });
                found.extend(paths.filter(|path| floors.contains(&path.as_str())));
            }
        }
    }
    found.remove(&source.module);
    found
}

#[test]
fn imports_go_down_only() {
    let mut wrong = Vec::new();
    let all = sources();
    for (krate, floors) in FLOORS {
        for source in all.iter().filter(|source| source.krate == *krate && !source.is_test()) {
            let floor_of = |module: &str| floors.iter().position(|floor| *floor == module);
            let Some(floor) = floor_of(&source.module) else {
                wrong.push(format!("{krate}: {} stands on no floor", source.module));
                continue;
            };
            for import in imports(source, floors) {
                // A room's own door (`mod.rs`) declares what is inside.
                let inside = import.starts_with(&format!("{}/", source.module));
                if floor_of(&import) >= Some(floor) && !inside {
                    wrong.push(format!(
                        "{krate}: {} imports {import}, which is above",
                        source.module
                    ));
                }
            }
        }
        for floor in *floors {
            let exists = all.iter().any(|source| source.krate == *krate && source.module == *floor);
            if !exists {
                wrong.push(format!("{krate}: {floor} is a floor without a file"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn redb_and_bincode_stay_in_their_rooms() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| source.krate == "convodb" && !source.is_test()) {
        let module = source.module.as_str();
        let code: String =
            source.code().lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        if code.contains("redb::") && !REDB.contains(&module) {
            wrong.push(format!("{module} names redb"));
        }
        let files = ["std::fs", "fs::", "try_exists", "canonicalize"];
        if files.iter().any(|word| code.contains(word)) && !FILES.contains(&module) {
            wrong.push(format!("{module} goes past the disk"));
        }
        if code.contains("bincode::") && module != "encoding/record" {
            wrong.push(format!("{module} names bincode"));
        }
        let reads_only = module.starts_with("query") || module == "snapshot" || module == "view";
        if reads_only && ["WriteT", "begin_write"].iter().any(|w| code.contains(w)) {
            wrong.push(format!("{module} can write"));
        }
        for clock in
            ["SystemTime", "Instant::now", "Timestamp::now", "Zoned::now", "tokio", "async "]
        {
            // How old the tail is, how long work takes, and when a fault is tried again, is nobody's data.
            let schedules = ["opened", "committer", "meter", "room", "supervisor"]
                .contains(&module)
                && clock == "Instant::now";
            if code.contains(clock) && !schedules {
                wrong.push(format!("{module} names {clock}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Lines of the longest function of a file, by the indentation of its closing brace.
fn longest_function(code: &str) -> (usize, &str) {
    let lines: Vec<&str> = code.lines().collect();
    let mut longest = (0, "");
    for (start, line) in lines.iter().enumerate() {
        let trimmed = line.trim_start();
        let visible = trimmed.trim_start_matches("pub(crate) ").trim_start_matches("pub ");
        let visible = visible.trim_start_matches("async ").trim_start_matches("const ");
        if !visible.starts_with("fn ") || line.ends_with(';') {
            continue;
        }
        let indent = &line[..line.len() - trimmed.len()];
        let end = lines[start..].iter().position(|line| *line == format!("{indent}}}"));
        let length = end.map_or(0, |end| end + 1);
        if length > longest.0 {
            longest = (length, trimmed);
        }
    }
    longest
}

#[test]
fn files_and_functions_fit_a_reader() {
    let mut wrong = Vec::new();
    for source in sources() {
        let place = format!("{}/src/{}.rs", source.krate, source.module);
        let lines = source.code().lines().count();
        if lines > 400 {
            wrong.push(format!("{place} has {lines} lines before its tests; 400 are the limit"));
        }
        let (length, function) = longest_function(source.code());
        if length > 70 {
            wrong.push(format!("{place}: `{function}` has {length} lines; 70 are the limit"));
        }
        if !source.text.starts_with("//! ") {
            wrong.push(format!("{place} does not begin by saying what it is"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn names_say_what_things_are() {
    let empty_words = ["Manager", "Helper", "Util", "Common", "Info"];
    let left_open = ["todo!", "unimplemented!", "dbg!", "FIXME", "TODO", "XXX", "#[ignore"];
    let mut wrong = Vec::new();
    for source in sources() {
        for (number, line) in source.text.lines().enumerate() {
            let place = format!("{}/src/{}.rs:{}", source.krate, source.module, number + 1);
            let defines = ["struct ", "enum ", "trait ", "type "].iter().any(|k| line.contains(k));
            if defines && empty_words.iter().any(|word| line.contains(word)) {
                wrong.push(format!("{place}: a name that says nothing: {}", line.trim()));
            }
            if left_open.iter().any(|word| line.contains(word)) {
                wrong.push(format!("{place}: left open: {}", line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn documents_tell_of_every_table_and_file() {
    let read = |path: &str| fs::read_to_string(root().join(path)).unwrap();
    let schema = read("crates/convodb/src/storage/schema.rs");
    let (format, architecture) = (read("docs/format.md"), read("ARCHITECTURE.md"));
    let tables: Vec<&str> =
        schema.split('"').skip(1).step_by(2).filter(|name| name.ends_with(".v1")).collect();
    assert!(tables.len() >= 14, "{tables:?}");
    for table in tables {
        assert!(format.contains(&format!("`{table}`")), "docs/format.md does not tell of {table}");
    }
    for source in sources().iter().filter(|source| !source.is_test()) {
        let name = source.module.rsplit('/').next().unwrap_or_default();
        let told = architecture.contains(&format!("`{name}`"))
            || architecture.contains(&format!("`{name}.rs`"));
        let door = [
            "lib", "main", "model", "encoding", "storage", "query", "item", "body", "routes",
            "openapi",
        ]
        .contains(&name);
        assert!(
            told || door,
            "ARCHITECTURE.md does not tell of {}/{}",
            source.krate,
            source.module
        );
    }
    assert!(architecture.lines().count() <= 150, "ARCHITECTURE.md is longer than 150 lines");
}

/// Nothing of ours is unsafe: every crate takes over the table of lints, which forbids it, or forbids
/// it by itself. `benches/rivals` opens LMDB, which cannot be done safely, and is in no build of ours.
#[test]
fn no_crate_may_be_unsafe() {
    let read = |path: &Path| fs::read_to_string(path.join("Cargo.toml")).unwrap();
    assert!(read(&root()).contains("[workspace.lints.rust]\nunsafe_code = \"forbid\""));
    assert!(read(&root().join("fuzz")).contains("[lints.rust]\nunsafe_code = \"forbid\""));
    let crates = fs::read_dir(root().join("crates")).unwrap().map(|entry| entry.unwrap().path());
    let members: Vec<PathBuf> = crates.chain([root().join("benches")]).collect();
    assert!(members.len() >= 6, "{members:?}");
    for member in members {
        let takes_over = read(&member).contains("[lints]\nworkspace = true");
        assert!(takes_over, "{} has lints of its own", member.display());
    }
}
