//! Previews: the appendix of a row, from which pages take them without reading a message.
//!
//! ```text
//! role u8 | created_at u64, ms | length u16 | text     of the first message
//! role u8 | created_at u64, ms | length u16 | text     of the last one, unless both are the same
//! ```
//!
//! Little-endian. Nothing at all for a conversation without stored messages. A row that is known to
//! have none has no appendix either; one of an early format does not know it.

use crate::encoding::key::RowKey;
use crate::encoding::record::{
    Appendix, Damage, append_appendix, decode_role, encode_role, instant,
};
use crate::model::preview::{Excerpt, Preview, PreviewRef};

/// The bytes of an excerpt before its text.
const FIXED: usize = 1 + 8 + 2;
/// The most bytes of a text.
const MAX_BYTES: usize = Excerpt::MAX_CHARACTERS * 4;

/// Adds a preview to the record of a row.
pub(crate) fn append(key: RowKey, preview: Option<&PreviewRef<'_>>, record: &mut Vec<u8>) {
    append_appendix(&key, record, |out| {
        let Some(Preview { first, last }) = preview else { return };
        append_excerpt(first, out);
        if last != first {
            append_excerpt(last, out);
        }
    });
}

fn append_excerpt(excerpt: &Excerpt<&str>, out: &mut Vec<u8>) {
    let Excerpt { role, text, created_at } = excerpt;
    out.push(encode_role(*role));
    out.extend(created_at.millis().to_le_bytes());
    let length = u16::try_from(text.len());
    let length = length.unwrap_or_else(|_| unreachable!("an excerpt has at most 560 bytes"));
    out.extend(length.to_le_bytes());
    out.extend(text.as_bytes());
}

/// Verifies and decodes the preview of the row `key`; `None` if it has no stored messages.
pub(crate) fn decode(
    key: RowKey,
    appendix: Appendix<'_>,
) -> Result<Option<PreviewRef<'_>>, Damage> {
    let mut rest = appendix.open(&key)?;
    if rest.is_empty() {
        return Ok(None);
    }
    let first = take_excerpt(&mut rest)?;
    let last = if rest.is_empty() { first } else { take_excerpt(&mut rest)? };
    match rest {
        [] => Ok(Some(Preview { first, last })),
        _ => Err("a preview has bytes after its end"),
    }
}

fn take_excerpt<'a>(rest: &mut &'a [u8]) -> Result<Excerpt<&'a str>, Damage> {
    let ends_early = "a preview ends early";
    let (fixed, after) = rest.split_first_chunk::<FIXED>().ok_or(ends_early)?;
    let [role, millis @ .., low, high] = *fixed;
    let length = usize::from(u16::from_le_bytes([low, high]));
    if length > MAX_BYTES {
        return Err("a preview is too long");
    }
    let (text, after) = after.split_at_checked(length).ok_or(ends_early)?;
    *rest = after;
    Ok(Excerpt {
        role: decode_role(role)?,
        text: str::from_utf8(text).map_err(|_| "a preview is not UTF-8")?,
        created_at: instant(u64::from_le_bytes(millis))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::record::{check, open_extended, own, seal, without_appendix};
    use crate::model::id::UserId;
    use crate::model::message::Role;
    use crate::model::position::Position;
    use crate::model::timestamp::Timestamp;
    use proptest::prelude::*;

    const KEY: RowKey = RowKey::new(UserId::new(3), Position::from_bits(77));

    fn excerpt(role: Role, text: &str) -> Excerpt<&str> {
        let created_at = Timestamp::from_millis(1_737_800_000_123).unwrap();
        Excerpt { role, text, created_at }
    }

    /// A record of version 1, without an appendix.
    fn plain() -> Vec<u8> {
        let mut record = Vec::new();
        seal(&KEY, &mut record, |body| body.extend(b"body"));
        record
    }

    fn record(preview: Option<&PreviewRef<'_>>) -> Vec<u8> {
        let mut record = plain();
        append(KEY, preview, &mut record);
        record
    }

    fn read(record: &[u8]) -> Result<Option<PreviewRef<'_>>, Damage> {
        let (body, appendix) = open_extended(&KEY, record)?;
        assert_eq!(body.fields(), b"body");
        decode(KEY, appendix.ok_or("no appendix")?)
    }

    #[test]
    fn a_preview_decodes_as_it_was_encoded() {
        let long = "\u{1F600}".repeat(Excerpt::MAX_CHARACTERS);
        for (first, last) in [("Hello?", "Hi!"), ("", &long), (&long, ""), ("same", "same")] {
            for role in Role::ALL {
                let (first, last) = (excerpt(Role::User, first), excerpt(role, last));
                let preview = Some(Preview { first, last });
                assert_eq!(read(&record(preview.as_ref())).unwrap(), preview);
            }
        }
        assert_eq!(read(&record(None)).unwrap(), None);
    }

    #[test]
    fn a_record_loses_its_appendix_without_a_trace() {
        let hello = excerpt(Role::User, "Hello?");
        let with = record(Some(&Preview { first: hello, last: hello }));
        assert_eq!(own(&with).len(), plain().len());
        let without = without_appendix(&KEY, &with);
        assert_eq!(without, plain());
        assert_eq!(own(&without), plain());
        assert!(open_extended(&KEY, &without).unwrap().1.is_none());
    }

    /// Previews are on disk: a change of these bytes requires a new format.
    #[test]
    fn the_bytes_of_a_preview_are_frozen() {
        let (first, last) = (excerpt(Role::User, "Hello?"), excerpt(Role::Assistant, "Hi!"));
        let hex = |record: Vec<u8>| data_encoding::HEXLOWER.encode(&record);
        let both = Preview { first, last };
        assert_eq!(
            hex(record(Some(&both))),
            "03626f64794327740e8d5a20d3007ba2f39c94010000060048656c6c6f3f017ba2f39c9401000003004869217195f208aef9a8a01f00"
        );
        let one = Preview { first, last: first };
        assert_eq!(
            hex(record(Some(&one))),
            "03626f64794327740e8d5a20d3007ba2f39c94010000060048656c6c6f3f4d95639a3762957c1100"
        );
        assert_eq!(hex(record(None)), "03626f64794327740e8d5a20d3bd3aac483d7f944e0000");
    }

    #[test]
    fn every_changed_or_missing_byte_is_detected() {
        let (first, last) = (excerpt(Role::User, "Hello?"), excerpt(Role::Tool, "Hi!"));
        let good = record(Some(&Preview { first, last }));
        check(&KEY, &good).unwrap();
        let other = RowKey::new(KEY.user, KEY.position.next());
        assert!(check(&other, &good).is_err(), "of another key");
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            assert!(read(&bad).is_err() && check(&KEY, &bad).is_err(), "byte {at}");
            assert!(read(&good[..at]).is_err(), "cut at {at}");
        }
    }

    proptest! {
        #[test]
        fn decoding_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let mut record = plain();
            append_appendix(&KEY, &mut record, |out| out.extend(&bytes));
            let _ = read(&record);
            let _ = open_extended(&KEY, &[&[3], &*bytes].concat());
        }
    }
}
