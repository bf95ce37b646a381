//! Unpacks the body of an import, gzip or zstd, a little at a time: what comes out for what went in
//! is bounded at every step, so a body that is small on its way and endless when unpacked costs no
//! memory, and is refused.

use std::io::{self, Write};

use axum::http::{HeaderValue, StatusCode};
use flate2::write::MultiGzDecoder;
use zstd::stream::raw::{self, DParameter, InBuffer, Operation, OutBuffer};

use crate::error::{ApiError, Result};

/// How much of a packed body is taken at a time. Of gzip, at most a thousand times as much comes out.
const STEP_BYTES: usize = 1024;
/// How much comes out of zstd at a time.
const OUT_BYTES: usize = 64 * 1024;
/// What zstd may look back by, as a power of two: 8 MiB, as its levels up to 19 do.
const WINDOW_LOG: u32 = 23;
/// The most times that a body may be larger unpacked, once it is larger than [`FREE_BYTES`].
const MAX_RATIO: u64 = 256;
const FREE_BYTES: u64 = 64 << 20;

/// How a body is packed, and how far it is unpacked.
pub(super) struct Decompressor {
    decoder: Decoder,
    taken: u64,
    given: u64,
}

enum Decoder {
    Plain,
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
    Zstd {
        decoder: Box<raw::Decoder<'static>>,
        /// Whether the last frame was whole.
        at_end: bool,
        out: Box<[u8]>,
    },
}

impl Decompressor {
    /// The packing that a header names; none for one that is not on offer.
    pub(super) fn named(encoding: Option<&HeaderValue>) -> Result<Option<Self>> {
        let name = encoding.map_or(&b""[..], HeaderValue::as_bytes).to_ascii_lowercase();
        let decoder = match name.as_slice() {
            b"" | b"identity" => Decoder::Plain,
            b"gzip" | b"x-gzip" => Decoder::Gzip(Box::new(MultiGzDecoder::new(Vec::new()))),
            b"zstd" => {
                let fault = |error: io::Error| ApiError::fault(error.to_string());
                let mut decoder = raw::Decoder::new().map_err(fault)?;
                decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG)).map_err(fault)?;
                let out = vec![0; OUT_BYTES].into();
                Decoder::Zstd { decoder: Box::new(decoder), at_end: true, out }
            }
            _ => return Ok(None),
        };
        Ok(Some(Self { decoder, taken: 0, given: 0 }))
    }

    /// Appends what comes out of the beginning of `packed`, and tells how many bytes of that it was:
    /// 0 only where there is more to come out of what was taken before.
    ///
    /// # Errors
    /// 400 for bytes that are not packed so, 413 for a body that becomes too much larger.
    pub(super) fn unpack(&mut self, packed: &[u8], into: &mut Vec<u8>) -> Result<usize> {
        let before = into.len();
        let step = &packed[..packed.len().min(STEP_BYTES)];
        let taken = match &mut self.decoder {
            Decoder::Plain => {
                into.extend_from_slice(packed);
                return Ok(packed.len());
            }
            Decoder::Gzip(decoder) => {
                decoder.write_all(step).map_err(|_| damaged())?;
                into.append(decoder.get_mut());
                step.len()
            }
            Decoder::Zstd { at_end: true, .. } if step.is_empty() => return Ok(0),
            Decoder::Zstd { decoder, at_end, out } => {
                let mut input = InBuffer::around(step);
                let mut output = OutBuffer::around(&mut out[..]);
                if *at_end {
                    decoder.reinit().map_err(|_| damaged())?;
                }
                let hint = decoder.run(&mut input, &mut output).map_err(|_| damaged())?;
                *at_end = hint == 0;
                into.extend_from_slice(output.as_slice());
                input.pos()
            }
        };
        self.taken += taken as u64;
        self.given += (into.len() - before) as u64;
        if self.given > FREE_BYTES && self.given > MAX_RATIO.saturating_mul(self.taken) {
            return Err(ApiError::of(StatusCode::PAYLOAD_TOO_LARGE));
        }
        Ok(taken)
    }

    /// Appends the last bytes, where the packed body has ended.
    ///
    /// # Errors
    /// 400 where it ended too early.
    pub(super) fn finish(&mut self, into: &mut Vec<u8>) -> Result<()> {
        match &mut self.decoder {
            Decoder::Plain => Ok(()),
            Decoder::Gzip(_) if self.taken == 0 => Ok(()),
            Decoder::Gzip(decoder) => {
                decoder.try_finish().map_err(|_| damaged())?;
                into.append(decoder.get_mut());
                Ok(())
            }
            Decoder::Zstd { at_end: true, .. } => Ok(()),
            Decoder::Zstd { .. } => Err(damaged()),
        }
    }
}

fn damaged() -> ApiError {
    ApiError::malformed("The body is not packed as its Content-Encoding says, or ends early.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(text: &[u8]) -> Vec<u8> {
        zstd::encode_all(text, 3).unwrap()
    }

    /// Unpacks a body; the most bytes that came out at once must have a bound.
    fn unpacked(name: &'static str, packed: &[u8], mut see: impl FnMut(&[u8])) -> Result<()> {
        let mut packing = Decompressor::named(Some(&HeaderValue::from_static(name)))?.unwrap();
        let mut rest = packed;
        let mut piece = Vec::new();
        loop {
            let taken = packing.unpack(rest, &mut piece)?;
            assert!(piece.len() <= 2 << 20, "{} bytes at once", piece.len());
            see(&piece);
            rest = &rest[taken..];
            if taken == 0 && piece.is_empty() {
                break;
            }
            piece.clear();
        }
        packing.finish(&mut piece)?;
        see(&piece);
        Ok(())
    }

    #[test]
    fn what_was_packed_is_unpacked() {
        let text: Vec<u8> = (0..300_000u32).flat_map(u32::to_le_bytes).collect();
        let (one, two) = text.split_at(1000);
        for (name, packed) in [
            ("gzip", gzip(&text)),
            ("gzip", [gzip(one), gzip(two)].concat()),
            ("zstd", zstd(&text)),
            ("zstd", [zstd(one), zstd(two)].concat()),
        ] {
            let mut whole = Vec::new();
            unpacked(name, &packed, |piece| whole.extend_from_slice(piece)).unwrap();
            assert!(whole == text, "{name}");
            let cut = unpacked(name, &packed[..packed.len() - 5], |_| ());
            assert_eq!(cut.unwrap_err(), damaged(), "{name}");
            let mut flipped = packed.clone();
            flipped[1] ^= 1;
            assert_eq!(unpacked(name, &flipped, |_| ()).unwrap_err(), damaged(), "{name}");
        }
    }

    #[test]
    fn a_bomb_is_refused() {
        let zeros = vec![0; 70 << 20];
        for (name, packed) in [("gzip", gzip(&zeros)), ("zstd", zstd(&zeros))] {
            let mut given = 0;
            let refused = unpacked(name, &packed, |piece| given += piece.len()).unwrap_err();
            assert_eq!(refused.status(), StatusCode::PAYLOAD_TOO_LARGE, "{name}");
            assert!(given < 66 << 20, "{name}: {given}");
        }
    }

    #[test]
    fn only_what_is_on_offer_is_taken() {
        for (name, taken) in
            [("identity", true), ("GZIP", true), ("br", false), ("gzip, zstd", false)]
        {
            let named = Decompressor::named(Some(&HeaderValue::from_static(name))).unwrap();
            assert_eq!(named.is_some(), taken, "{name}");
        }
        assert!(Decompressor::named(None).unwrap().is_some());
    }
}
