//! Encryption of connections: what a database URL says of it, and the connector that does it.

use std::path::PathBuf;

use crate::error::{Error, Result};

/// The `sslmode` and `sslrootcert` of a database URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Encryption {
    /// None, or as the driver's `prefer`: encrypted if the server and this build can, unverified.
    Optional,
    /// Encrypted, with a server of any certificate.
    Required,
    /// Encrypted, with a server that has a certificate of its host name, signed by one of this file.
    Verified(PathBuf),
}

/// Takes `sslrootcert` and an `sslmode` beyond those that the driver knows out of a URL.
///
/// # Errors
/// [`Error::Option`] for another mode, or for one without or with a file that it does not use.
pub(crate) fn split_url(url: &str) -> Result<(String, Encryption)> {
    let (mut mode, mut root) = (None, None);
    let mut taken = |key: &str, value: String| {
        match key {
            "sslmode" => mode = Some(value),
            "sslrootcert" => root = Some(PathBuf::from(value)),
            _ => return false,
        }
        true
    };
    let rest = if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        of_uri(url, &mut taken)
    } else {
        of_pairs(url, &mut taken)
    };
    let option = |field, reason: &str| Error::Option { field, reason: reason.to_owned() };
    let (driver_mode, encryption) = match (mode.as_deref(), root) {
        (Some("verify-full"), Some(root)) => ("require", Encryption::Verified(root)),
        (Some("verify-full"), None) => {
            let reason = "must name a file of certificates (PEM) if sslmode is verify-full";
            return Err(option("sslrootcert", reason));
        }
        (_, Some(_)) => {
            return Err(option("sslrootcert", "must not be set unless sslmode is verify-full"));
        }
        (Some("require"), None) => ("require", Encryption::Required),
        (Some("disable"), None) => ("disable", Encryption::Optional),
        (None | Some("prefer"), None) => ("prefer", Encryption::Optional),
        (Some(_), None) => {
            let reason = "must be disable, prefer, require or verify-full";
            return Err(option("sslmode", reason));
        }
    };
    Ok((rest.with_mode(driver_mode), encryption))
}

/// A URL without the options that were taken.
enum Rest {
    Uri(String),
    Pairs(String),
}

impl Rest {
    fn with_mode(self, mode: &str) -> String {
        match self {
            Self::Uri(uri) => {
                let separator = if uri.contains('?') { '&' } else { '?' };
                format!("{uri}{separator}sslmode={mode}")
            }
            Self::Pairs(pairs) => format!("{pairs} sslmode={mode}"),
        }
    }
}

/// Takes options out of the query of a URI.
fn of_uri(uri: &str, taken: &mut impl FnMut(&str, String) -> bool) -> Rest {
    let Some((base, query)) = uri.split_once('?') else { return Rest::Uri(uri.to_owned()) };
    let kept = query.split('&').filter(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        !taken(key, percent_decoded(value))
    });
    let kept: Vec<&str> = kept.collect();
    let separator = if kept.is_empty() { "" } else { "?" };
    Rest::Uri(format!("{base}{separator}{}", kept.join("&")))
}

/// Takes options out of `key=value` pairs, whose values may be quoted: `'a \' b'`.
fn of_pairs(text: &str, taken: &mut impl FnMut(&str, String) -> bool) -> Rest {
    let (mut kept, mut rest) = (String::new(), text.trim_start());
    while !rest.is_empty() {
        let Some((key, after)) = rest.split_once('=') else {
            // The driver reports it.
            kept.push_str(rest);
            break;
        };
        let value = after.trim_start();
        let length = value_length(value);
        if !taken(key.trim(), unquoted(&value[..length])) {
            kept.push_str(&format!("{}={} ", key.trim(), &value[..length]));
        }
        rest = value[length..].trim_start();
    }
    Rest::Pairs(kept)
}

/// The length of the value that a text begins with.
fn value_length(text: &str) -> usize {
    let is_quoted = text.starts_with('\'');
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(usize::from(is_quoted)) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '\'' if is_quoted => return at + 1,
            _ if !is_quoted && character.is_whitespace() => return at,
            _ => {}
        }
    }
    text.len()
}

fn unquoted(value: &str) -> String {
    let inner = value.strip_prefix('\'').map(|value| value.strip_suffix('\'').unwrap_or(value));
    let (mut plain, mut escaped) = (String::new(), false);
    for character in inner.unwrap_or(value).chars() {
        if character == '\\' && !escaped {
            escaped = true;
        } else {
            plain.push(character);
            escaped = false;
        }
    }
    plain
}

fn percent_decoded(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| str::from_utf8(digits).ok());
        let decoded = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (first, decoded) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(not(feature = "tls"))]
mod connector {
    use tokio_postgres::tls::{NoTls, NoTlsStream};

    use super::Encryption;
    use crate::error::{Error, Result};

    pub(crate) type MakeTls = NoTls;
    pub(crate) type TlsStream = NoTlsStream;

    pub(crate) fn make_tls(encryption: &Encryption) -> Result<MakeTls> {
        match encryption {
            Encryption::Optional => Ok(NoTls),
            Encryption::Required | Encryption::Verified(_) => {
                let reason = "must be disable or prefer in a build without the feature `tls`";
                Err(Error::Option { field: "sslmode", reason: reason.to_owned() })
            }
        }
    }
}

#[cfg(feature = "tls")]
mod connector {
    use std::path::Path;
    use std::sync::Arc;

    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
    use tokio_postgres::Socket;
    use tokio_postgres::tls::MakeTlsConnect;
    use tokio_postgres_rustls::MakeRustlsConnect;

    use super::Encryption;
    use crate::error::{Error, Result};

    pub(crate) type MakeTls = MakeRustlsConnect;
    pub(crate) type TlsStream = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;

    pub(crate) fn make_tls(encryption: &Encryption) -> Result<MakeTls> {
        let provider = Arc::new(ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider.clone());
        let config = config.with_safe_default_protocol_versions();
        let config = config.map_err(|error| Error::Unavailable(error.to_string()))?;
        let config = match encryption {
            Encryption::Verified(file) => config.with_root_certificates(roots(file)?),
            Encryption::Optional | Encryption::Required => config
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider))),
        };
        Ok(MakeRustlsConnect::new(config.with_no_client_auth()))
    }

    /// The certificates of a file.
    fn roots(file: &Path) -> Result<RootCertStore> {
        let refused = |reason: String| Error::Option {
            field: "sslrootcert",
            reason: format!("must be a file of certificates (PEM); {}: {reason}", file.display()),
        };
        let certificates = CertificateDer::pem_file_iter(file);
        let certificates = certificates.map_err(|error| refused(error.to_string()))?;
        let mut roots = RootCertStore::empty();
        for certificate in certificates {
            let certificate = certificate.map_err(|error| refused(error.to_string()))?;
            roots.add(certificate).map_err(|error| refused(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(refused("there is none".to_owned()));
        }
        Ok(roots)
    }

    /// Accepts each certificate whose key the server has: `sslmode=require` promises encryption only.
    #[derive(Debug)]
    struct AnyCertificate(Arc<CryptoProvider>);

    impl ServerCertVerifier for AnyCertificate {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, rustls::Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            let algorithms = &self.0.signature_verification_algorithms;
            verify_tls12_signature(message, certificate, signature, algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            let algorithms = &self.0.signature_verification_algorithms;
            verify_tls13_signature(message, certificate, signature, algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.0.signature_verification_algorithms.supported_schemes()
        }
    }
}

pub(crate) use connector::{MakeTls, TlsStream, make_tls};

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, rest: &str, encryption: Encryption) {
        assert_eq!(split_url(url).unwrap(), (rest.to_owned(), encryption), "{url}");
    }

    #[test]
    fn options_of_encryption_are_taken_out_of_both_forms() {
        let uri = "postgresql://u:p@db1,db2/convodb";
        check(uri, &format!("{uri}?sslmode=prefer"), Encryption::Optional);
        let with = |query: &str| format!("{uri}?{query}");
        check(&with("sslmode=disable"), &with("sslmode=disable"), Encryption::Optional);
        check(
            &with("sslmode=require&connect_timeout=3"),
            &with("connect_timeout=3&sslmode=require"),
            Encryption::Required,
        );
        check(
            &with("sslrootcert=%2Fa%20b.pem&sslmode=verify-full"),
            &with("sslmode=require"),
            Encryption::Verified("/a b.pem".into()),
        );
        check(
            r"host=db1 sslmode = verify-full password='a \' b=c' sslrootcert='/a b.pem'",
            r"host=db1 password='a \' b=c'  sslmode=require",
            Encryption::Verified("/a b.pem".into()),
        );
        check("host=db1", "host=db1  sslmode=prefer", Encryption::Optional);
    }

    #[test]
    fn options_that_do_not_fit_are_refused() {
        let refused = |url: &str| split_url(url).unwrap_err().to_string();
        assert!(refused("host=a sslmode=verify-ca").starts_with("sslmode must be disable, "));
        assert!(refused("host=a sslmode=verify-full").starts_with("sslrootcert must name a file"));
        let unused = refused("host=a sslmode=require sslrootcert=/x");
        assert_eq!(unused, "sslrootcert must not be set unless sslmode is verify-full");
    }
}
