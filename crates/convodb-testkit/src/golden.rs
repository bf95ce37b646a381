//! Golden stores: the files that each released format version wrote.
//!
//! Each was written by the version that it is named after, which was killed while its last write
//! was only in the WAL. Golden files are never regenerated: a newer version cannot reproduce them.

use std::io::{self, Read};

use flate2::read::GzDecoder;

/// A store of an older format or of the current one, with tokens that its clients still have.
#[derive(Clone, Copy, Debug)]
pub struct Golden {
    /// Its file format version.
    pub format: u32,
    /// Its database file, compressed with gzip.
    compressed: &'static [u8],
    /// Suffix of the only WAL segment's file name, after the name of the store.
    pub wal_suffix: &'static str,
    /// The only WAL segment, compressed with gzip.
    compressed_wal: &'static [u8],
    /// Output of `convodb list --all --json` for the user `golden`, by the version that wrote it.
    pub list: &'static str,
    /// A cursor token of that user's unfiltered list, after the first [`CURSOR_AT`] rows.
    pub cursor: &'static str,
    /// An access token of that user.
    pub token: &'static str,
}

/// The only user of each golden store.
pub const USER: &str = "golden";
/// The number of rows before the cursor of a golden store.
pub const CURSOR_AT: usize = 7;

/// The store of format 1.
pub const V1: Golden = Golden {
    format: 1,
    compressed: include_bytes!("../golden/v1/store.convodb.gz"),
    wal_suffix: "-log.00000000000000000007",
    compressed_wal: include_bytes!("../golden/v1/wal.gz"),
    list: include_str!("../golden/v1/list.jsonl"),
    cursor: "AQGkH5l_akuh2GZKjUveUQr1rRp1v4msolPMZo4",
    token: "cvdb_v5SKVjjPFHvz4gHcIFaR2CHXjsidIuNZ1ljjGLuvhmk",
};

/// The store of format 2.
pub const V2: Golden = Golden {
    format: 2,
    compressed: include_bytes!("../golden/v2/store.convodb.gz"),
    wal_suffix: "-log.00000000000000000013",
    compressed_wal: include_bytes!("../golden/v2/wal.gz"),
    list: include_str!("../golden/v2/list.jsonl"),
    cursor: "AQEOAlDdvbr4dzyRaeuSpfTBcJTBWM8smJRB918",
    token: "cvdb_nkb21rJzHzgQKcOrcpyawpmXqyPpdqcL2cIeNSPW5F4",
};

/// An early store of format 3, without the tables `staged.v1` and `quotas.v1`.
pub const V3_EARLY: Golden = Golden {
    format: 3,
    compressed: include_bytes!("../golden/v3-early/store.convodb.gz"),
    wal_suffix: "-log.00000000000000000011",
    compressed_wal: include_bytes!("../golden/v3-early/wal.gz"),
    list: include_str!("../golden/v3-early/list.jsonl"),
    cursor: "AQGdLZ3Cl7in_qzwcGJNcrZkcHdtFwMvJwn0au4",
    token: "cvdb_FnT22AjRUHel2cndzgRhO9vNdl456JYyMrstZzK1mXU",
};

/// A store of format 3 whose WAL has removals, too.
pub const V3: Golden = Golden {
    format: 3,
    compressed: include_bytes!("../golden/v3/store.convodb.gz"),
    wal_suffix: "-log.00000000000000000011",
    compressed_wal: include_bytes!("../golden/v3/wal.gz"),
    list: include_str!("../golden/v3/list.jsonl"),
    cursor: "AQE8IDkxDadRXd7fI7EuA3W7aP6GMZAwh1JjO0I",
    token: "cvdb_rm5tk5mpaHRwDHw35VUGiz8c-tPAqUHe_iLi0SK1SxI",
};

/// A store of format 4 with the optional indexes `ai-off`, `last-activity` and `previews`.
pub const V4: Golden = Golden {
    format: 4,
    compressed: include_bytes!("../golden/v4/store.convodb.gz"),
    wal_suffix: "-log.00000000000000000022",
    compressed_wal: include_bytes!("../golden/v4/wal.gz"),
    list: include_str!("../golden/v4/list.jsonl"),
    cursor: "AQFOxd0vji9JFwtDO9_qB8YlDvCwiSmPsXugoIU",
    token: "cvdb_rm5tk5mpaHRwDHw35VUGiz8c-tPAqUHe_iLi0SK1SxI",
};

/// A store of format 5 with all optional indexes.
pub const V5: Golden = Golden {
    format: 5,
    compressed: include_bytes!("../golden/v5/store.convodb.gz"),
    wal_suffix: "-log.00000000000000000031",
    compressed_wal: include_bytes!("../golden/v5/wal.gz"),
    list: include_str!("../golden/v5/list.jsonl"),
    cursor: "AQFOxd0vji9JFwtDO9_qB8YlDvCwiSmPsXugoIU",
    token: "cvdb_rm5tk5mpaHRwDHw35VUGiz8c-tPAqUHe_iLi0SK1SxI",
};

impl Golden {
    /// All golden stores.
    pub const ALL: [Golden; 6] = [V1, V2, V3_EARLY, V3, V4, V5];

    /// Decompresses its database file.
    ///
    /// # Errors
    /// The compressed file in this repository is damaged.
    pub fn database(&self) -> io::Result<Vec<u8>> {
        decompressed(self.compressed)
    }

    /// Decompresses its WAL segment.
    ///
    /// # Errors
    /// As [`Golden::database`].
    pub fn wal(&self) -> io::Result<Vec<u8>> {
        decompressed(self.compressed_wal)
    }
}

fn decompressed(gzip: &[u8]) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    GzDecoder::new(gzip).read_to_end(&mut bytes)?;
    Ok(bytes)
}
