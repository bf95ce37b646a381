//! Assets: the style sheet, the script and the icon, compiled into the program.
//!
//! The URL of an asset contains a hash of all of them, so a browser may keep it for ever.

use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::LazyLock;

/// A file of the console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asset {
    /// Its name in the URL.
    pub name: &'static str,
    /// Its media type.
    pub media_type: &'static str,
    /// Its content.
    pub text: &'static str,
}

/// All assets.
pub const ASSETS: [Asset; 3] = [
    Asset {
        name: "console.css",
        media_type: "text/css; charset=utf-8",
        text: include_str!("../assets/console.css"),
    },
    Asset {
        name: "console.js",
        media_type: "text/javascript; charset=utf-8",
        text: include_str!("../assets/console.js"),
    },
    Asset {
        name: "icon.svg",
        media_type: "image/svg+xml",
        text: include_str!("../assets/icon.svg"),
    },
];

/// Returns the asset of this name.
#[must_use]
pub fn find(name: &str) -> Option<Asset> {
    ASSETS.into_iter().find(|asset| asset.name == name)
}

/// A hash of all assets, for their URLs.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut hasher = DefaultHasher::new();
    ASSETS.iter().for_each(|asset| asset.text.hash(&mut hasher));
    let mut text = String::with_capacity(16);
    // Writing to a string cannot fail.
    let _ = write!(text, "{:016x}", hasher.finish());
    text
});

/// Returns the URL of an asset below the path of the public URL.
pub(crate) fn url(base: &str, name: &str) -> String {
    format!("{base}/console/assets/{name}?v={}", *VERSION)
}
