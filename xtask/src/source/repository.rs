//! Repository: the text files that the checks read, by their path from the root.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::source::rust_code::RustCode;

/// A text file.
#[derive(Clone, Debug)]
pub struct TextFile {
    /// The whole text.
    pub text: String,
    /// The code of the text, for `*.rs`.
    pub rust: Option<RustCode>,
}

/// The text files of a repository, or of a fixture in memory.
#[derive(Clone, Debug, Default)]
pub struct Repository {
    files: BTreeMap<String, TextFile>,
}

/// The file by which cargo marks a folder of built files, which is not read.
const BUILD_FOLDER_MARK: &str = "CACHEDIR.TAG";
/// Where benches write their results.
const RESULTS: &str = "results";
/// Folders that are read although their names begin with a dot.
const READ_DOT_FOLDERS: &[&str] = &[".ci", ".cargo", ".github"];
/// Extensions of the files that are read. Files in `.ci` and those of `READ_NAMES` need none.
const READ_EXTENSIONS: &[&str] =
    &["rs", "toml", "md", "lock", "py", "sh", "js", "html", "css", "service", "timer", "yml"];
const READ_NAMES: &[&str] = &["justfile", "Dockerfile"];

impl Repository {
    /// The root of the repository that this crate was built in.
    pub fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
    }

    /// Reads the sources, manifests, documents and scripts below `root`.
    ///
    /// # Errors
    ///
    /// Fails if a folder or a file cannot be read, or if a file is not UTF-8.
    pub fn read(root: &Path) -> io::Result<Self> {
        let mut repository = Repository::default();
        repository.read_folder(root, "")?;
        Ok(repository)
    }

    /// A repository in memory, from paths and texts.
    pub fn from_texts<'a>(texts: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut repository = Repository::default();
        for (path, text) in texts {
            repository.insert(path.to_owned(), text.to_owned());
        }
        repository
    }

    fn read_folder(&mut self, folder: &Path, below: &str) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
            if entry.file_type()?.is_dir() {
                let is_hidden = name.starts_with('.') && !READ_DOT_FOLDERS.contains(&name.as_str());
                let is_built = path == RESULTS || entry.path().join(BUILD_FOLDER_MARK).exists();
                if !is_hidden && !is_built {
                    self.read_folder(&entry.path(), &path)?;
                }
            } else if is_read(&path, &name) {
                let text = fs::read_to_string(entry.path())
                    .map_err(|error| io::Error::new(error.kind(), format!("{path}: {error}")))?;
                self.insert(path, text);
            }
        }
        Ok(())
    }

    fn insert(&mut self, path: String, text: String) {
        let rust = path.ends_with(".rs").then(|| RustCode::new(&text));
        self.files.insert(path, TextFile { text, rust });
    }

    /// All files, ordered by path.
    pub fn files(&self) -> impl Iterator<Item = (&str, &TextFile)> {
        self.files.iter().map(|(path, file)| (path.as_str(), file))
    }

    /// All Rust files: path, text and code.
    pub fn rust_files(&self) -> impl Iterator<Item = (&str, &str, &RustCode)> {
        self.files()
            .filter_map(|(path, file)| Some((path, file.text.as_str(), file.rust.as_ref()?)))
    }

    /// The text of a file, if it exists.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(|file| file.text.as_str())
    }

    /// The Rust files of a crate: the path below `src/` with its code.
    pub fn crate_sources(&self, folder: &str) -> BTreeMap<&str, &TextFile> {
        let src = format!("{folder}/src/");
        let is_rust = |path: &str| path.ends_with(".rs");
        self.files()
            .filter_map(|(path, file)| Some((path.strip_prefix(&src)?, file)))
            .filter(|(path, _)| is_rust(path))
            .collect()
    }

    /// The folders of all crates: those of `crates/`, in order, then `xtask`.
    pub fn crate_folders(&self) -> Vec<String> {
        let manifest = |path: &str| Some(path.strip_suffix("/Cargo.toml")?.to_owned());
        let is_crate = |folder: &String| {
            folder == "xtask" || folder.strip_prefix("crates/").is_some_and(|n| !n.contains('/'))
        };
        self.files.keys().filter_map(|path| manifest(path)).filter(is_crate).collect()
    }
}

fn is_read(path: &str, name: &str) -> bool {
    let extension = name.rsplit_once('.').map(|(_, extension)| extension);
    extension.is_some_and(|extension| READ_EXTENSIONS.contains(&extension))
        || READ_NAMES.contains(&name)
        || path.starts_with(".ci/")
}
