//! Decompression of an import body (gzip or zstd), in bounded steps.
//!
//! The output of each step is bounded, and so is the ratio of output to input. So a decompression
//! bomb costs no memory and is rejected.

use std::io::{self, Write};

use axum::http::HeaderValue;
use flate2::write::MultiGzDecoder;
use zstd::stream::raw::{self, DParameter, InBuffer, Operation, OutBuffer};

use crate::error::{ApiError, Result};

/// The compressed bytes consumed in a step. Gzip expands them at most a thousandfold.
const STEP_BYTES: usize = 1024;
/// The decompressed bytes that zstd produces in a step.
const OUT_BYTES: usize = 64 * 1024;
/// The largest window of zstd, as a power of two: 8 MiB, that of its levels up to 19.
const WINDOW_LOG: u32 = 23;
/// The largest ratio of decompressed to compressed bytes, checked from [`RATIO_FREE_BYTES`] on.
const MAX_RATIO: u64 = 256;
const RATIO_FREE_BYTES: u64 = 64 << 20;

/// A streaming decompressor, with its totals so far.
pub(super) struct Decompressor {
    decoder: Decoder,
    bytes_in: u64,
    bytes_out: u64,
}

enum Decoder {
    Identity,
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
    Zstd {
        decoder: Box<raw::Decoder<'static>>,
        /// Whether the last frame is complete.
        at_end: bool,
        out: Box<[u8]>,
    },
}

impl Decompressor {
    /// Returns the decompressor for a `Content-Encoding`, or `None` if it is not supported.
    ///
    /// # Errors
    /// 500 if zstd cannot be initialised.
    pub(super) fn for_encoding(encoding: Option<&HeaderValue>) -> Result<Option<Self>> {
        let name = encoding.map_or(&b""[..], HeaderValue::as_bytes).to_ascii_lowercase();
        let decoder = match name.as_slice() {
            b"" | b"identity" => Decoder::Identity,
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
        Ok(Some(Self { decoder, bytes_in: 0, bytes_out: 0 }))
    }

    /// Decompresses a step of `compressed`, appends the output to `into`, and returns how many
    /// bytes it consumed. It may consume 0 while output of earlier bytes is pending.
    ///
    /// # Errors
    /// 400 for malformed input; 413 if the output exceeds the largest ratio.
    pub(super) fn decompress(&mut self, compressed: &[u8], into: &mut Vec<u8>) -> Result<usize> {
        let len_before = into.len();
        let step = &compressed[..compressed.len().min(STEP_BYTES)];
        let consumed = match &mut self.decoder {
            Decoder::Identity => {
                into.extend_from_slice(compressed);
                return Ok(compressed.len());
            }
            Decoder::Gzip(decoder) => {
                decoder.write_all(step).map_err(|_| malformed())?;
                into.append(decoder.get_mut());
                step.len()
            }
            Decoder::Zstd { at_end: true, .. } if step.is_empty() => return Ok(0),
            Decoder::Zstd { decoder, at_end, out } => {
                let mut input = InBuffer::around(step);
                let mut output = OutBuffer::around(&mut out[..]);
                if *at_end {
                    decoder.reinit().map_err(|_| malformed())?;
                }
                let hint = decoder.run(&mut input, &mut output).map_err(|_| malformed())?;
                *at_end = hint == 0;
                into.extend_from_slice(output.as_slice());
                input.pos()
            }
        };
        self.bytes_in += consumed as u64;
        self.bytes_out += (into.len() - len_before) as u64;
        let max_bytes_out = MAX_RATIO.saturating_mul(self.bytes_in).max(RATIO_FREE_BYTES);
        if self.bytes_out > max_bytes_out {
            return Err(ApiError::too_large(format!(
                "The body must not decompress to more than {MAX_RATIO} times its size."
            )));
        }
        Ok(consumed)
    }

    /// Appends the last bytes after the end of the compressed body.
    ///
    /// # Errors
    /// 400 if the compressed body is incomplete.
    pub(super) fn finish(&mut self, into: &mut Vec<u8>) -> Result<()> {
        match &mut self.decoder {
            Decoder::Identity => Ok(()),
            Decoder::Gzip(_) if self.bytes_in == 0 => Ok(()),
            Decoder::Gzip(decoder) => {
                decoder.try_finish().map_err(|_| malformed())?;
                into.append(decoder.get_mut());
                Ok(())
            }
            Decoder::Zstd { at_end: true, .. } => Ok(()),
            Decoder::Zstd { .. } => Err(malformed()),
        }
    }
}

fn malformed() -> ApiError {
    ApiError::malformed("The body is not packed as its Content-Encoding says, or ends early.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::StatusCode;
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

    /// Decompresses a body and checks that the output of each step is bounded.
    fn decompress(
        name: &'static str,
        compressed: &[u8],
        mut output: impl FnMut(&[u8]),
    ) -> Result<()> {
        let mut decompressor =
            Decompressor::for_encoding(Some(&HeaderValue::from_static(name)))?.unwrap();
        let mut rest = compressed;
        let mut chunk = Vec::new();
        loop {
            let consumed = decompressor.decompress(rest, &mut chunk)?;
            assert!(chunk.len() <= 2 << 20, "{} bytes in one step", chunk.len());
            output(&chunk);
            rest = &rest[consumed..];
            if consumed == 0 && chunk.is_empty() {
                break;
            }
            chunk.clear();
        }
        decompressor.finish(&mut chunk)?;
        output(&chunk);
        Ok(())
    }

    #[test]
    fn compressed_bodies_are_restored_and_damaged_ones_rejected() {
        let text: Vec<u8> = (0..300_000u32).flat_map(u32::to_le_bytes).collect();
        let (one, two) = text.split_at(1000);
        for (name, compressed) in [
            ("gzip", gzip(&text)),
            ("gzip", [gzip(one), gzip(two)].concat()),
            ("zstd", zstd(&text)),
            ("zstd", [zstd(one), zstd(two)].concat()),
        ] {
            let mut whole = Vec::new();
            decompress(name, &compressed, |chunk| whole.extend_from_slice(chunk)).unwrap();
            assert!(whole == text, "{name}");
            let cut = decompress(name, &compressed[..compressed.len() - 5], |_| ());
            assert_eq!(cut.unwrap_err(), malformed(), "{name}");
            let mut flipped = compressed.clone();
            flipped[1] ^= 1;
            assert_eq!(decompress(name, &flipped, |_| ()).unwrap_err(), malformed(), "{name}");
        }
    }

    #[test]
    fn a_decompression_bomb_is_rejected() {
        let zeros = vec![0; 70 << 20];
        for (name, compressed) in [("gzip", gzip(&zeros)), ("zstd", zstd(&zeros))] {
            let mut bytes_out = 0;
            let error =
                decompress(name, &compressed, |chunk| bytes_out += chunk.len()).unwrap_err();
            assert_eq!(error.status(), StatusCode::PAYLOAD_TOO_LARGE, "{name}");
            assert!(bytes_out < 66 << 20, "{name}: {bytes_out}");
        }
    }

    #[test]
    fn only_supported_encodings_have_a_decompressor() {
        for (name, supported) in
            [("identity", true), ("GZIP", true), ("br", false), ("gzip, zstd", false)]
        {
            let decompressor =
                Decompressor::for_encoding(Some(&HeaderValue::from_static(name))).unwrap();
            assert_eq!(decompressor.is_some(), supported, "{name}");
        }
        assert!(Decompressor::for_encoding(None).unwrap().is_some());
    }
}
