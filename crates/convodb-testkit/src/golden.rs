//! Stores as released versions left them: each was killed with its last write only in the log. A
//! store is never made anew, for what it holds was written by the version that it is named after.

use std::io::{self, Read};

use flate2::read::GzDecoder;

/// A store of an older version, or of this one, and what its clients have in hand.
#[derive(Debug)]
pub struct Golden {
    /// The format that it has.
    pub format: u32,
    /// The file of its tables, packed by gzip.
    packed: &'static [u8],
    /// What comes after the store's name in that of the log's one segment.
    pub log_suffix: &'static str,
    /// The log's one segment.
    pub log: &'static [u8],
    /// What `convodb list --all --json` of the version that wrote it says for the user `golden`.
    pub list: &'static str,
    /// A cursor of that user's whole list, after its first [`CURSOR_AT`] rows.
    pub cursor: &'static str,
    /// A token of that user.
    pub token: &'static str,
}

/// The user whose store it is.
pub const USER: &str = "golden";
/// How many rows come before the cursor of a golden store.
pub const CURSOR_AT: usize = 7;

/// The store of format 1.
pub const V1: Golden = Golden {
    format: 1,
    packed: include_bytes!("../golden/v1/store.convodb.gz"),
    log_suffix: "-log.00000000000000000007",
    log: include_bytes!("../golden/v1/store.convodb-log.00000000000000000007"),
    list: include_str!("../golden/v1/list.jsonl"),
    cursor: "AQGkH5l_akuh2GZKjUveUQr1rRp1v4msolPMZo4",
    token: "cvdb_v5SKVjjPFHvz4gHcIFaR2CHXjsidIuNZ1ljjGLuvhmk",
};

/// The store of format 2.
pub const V2: Golden = Golden {
    format: 2,
    packed: include_bytes!("../golden/v2/store.convodb.gz"),
    log_suffix: "-log.00000000000000000013",
    log: include_bytes!("../golden/v2/store.convodb-log.00000000000000000013"),
    list: include_str!("../golden/v2/list.jsonl"),
    cursor: "AQEOAlDdvbr4dzyRaeuSpfTBcJTBWM8smJRB918",
    token: "cvdb_nkb21rJzHzgQKcOrcpyawpmXqyPpdqcL2cIeNSPW5F4",
};

impl Golden {
    /// The file of its tables.
    ///
    /// # Errors
    /// Never, unless the file of this repository is damaged.
    pub fn tables(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        GzDecoder::new(self.packed).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}
