//! Base URL of the links in responses: configured, or from the request's `Host` header.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::header::HOST;

/// The most bytes of a host with its port; a DNS name has at most 253.
const MAX_HOST_BYTES: usize = 260;

/// The beginning of the absolute URLs in responses. Forwarding headers are never used.
#[derive(Clone, Debug)]
pub(crate) struct BaseUrl {
    /// The configured URL, without a trailing slash.
    public: Option<Arc<str>>,
    /// The URL of the listener, for a request without a valid host.
    listening: Arc<str>,
}

impl BaseUrl {
    /// Uses the configured URL, or else the host of each request.
    pub(crate) fn new(public_url: Option<&PublicUrl>) -> Self {
        let public = public_url.map(|url| url.0.clone());
        Self { public, listening: Arc::from("http://127.0.0.1") }
    }

    /// Sets the address of the listener.
    pub(crate) fn listening_on(self, address: SocketAddr) -> Self {
        Self { listening: Arc::from(local_url(address)), ..self }
    }

    /// Returns the absolute URL of `path` for a request with these headers.
    pub(crate) fn of(&self, headers: &HeaderMap, path: &str) -> String {
        match (&self.public, host(headers)) {
            (Some(public), _) => format!("{public}{path}"),
            (None, Some(host)) => format!("http://{host}{path}"),
            (None, None) => format!("{}{path}", self.listening),
        }
    }
}

/// Returns the URL at which a program on this machine reaches a server that listens on `address`.
#[must_use]
pub fn local_url(address: SocketAddr) -> String {
    let reachable = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    format!("http://{}", SocketAddr::new(reachable, address.port()))
}

/// The URL at which clients reach a server: `http://` or `https://`, a host, and at most a path.
///
/// ```
/// let url: convodb_http::PublicUrl = "https://api.example.com".parse()?;
/// assert!("api.example.com".parse::<convodb_http::PublicUrl>().is_err());
/// # Ok::<(), convodb_http::PublicUrlError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl(Arc<str>);

/// The error of parsing a [`PublicUrl`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be http:// or https://, a host, and no more than a path")]
pub struct PublicUrlError;

impl FromStr for PublicUrl {
    type Err = PublicUrlError;

    fn from_str(url: &str) -> Result<Self, PublicUrlError> {
        let base = url.trim_end_matches('/');
        let rest = base.strip_prefix("http://").or_else(|| base.strip_prefix("https://"));
        let right = rest.is_some_and(|rest| {
            let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
            is_host(host) && path.bytes().all(is_path_byte)
        });
        if right { Ok(Self(Arc::from(base))) } else { Err(PublicUrlError) }
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

const fn is_path_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'.' | b'_' | b'~' | b'%')
}

/// Returns the host of the request, if there is exactly one and it is valid.
fn host(headers: &HeaderMap) -> Option<&str> {
    let mut hosts = headers.get_all(HOST).iter();
    let (host, None) = (hosts.next()?.to_str().ok()?, hosts.next()) else {
        return None;
    };
    is_host(host).then_some(host)
}

/// Returns whether the text is a host name or an address, with or without a port.
fn is_host(text: &str) -> bool {
    if text.len() > MAX_HOST_BYTES {
        return false;
    }
    let (name, rest) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) if address.parse::<Ipv6Addr>().is_ok() => (address, rest),
        Some(_) => return false,
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let is_name_byte =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':');
    let port = rest.strip_prefix(':').unwrap_or(if rest.is_empty() { "0" } else { "-" });
    !name.is_empty()
        && name.bytes().all(is_name_byte)
        && port.bytes().all(|digit| digit.is_ascii_digit())
        && port.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(public_url: Option<&str>) -> BaseUrl {
        let public_url = public_url.map(|url| url.parse().unwrap());
        BaseUrl::new(public_url.as_ref()).listening_on("0.0.0.0:8080".parse().unwrap())
    }

    #[track_caller]
    fn check(hosts: &[&str], expected: &str) {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(HOST, host.parse().unwrap());
        }
        headers.insert("x-forwarded-host", "evil.example".parse().unwrap());
        assert_eq!(base(None).of(&headers, "/p"), expected, "{hosts:?}");
        let public = base(Some("https://api.example.com/convo/"));
        assert_eq!(public.of(&headers, "/p"), "https://api.example.com/convo/p");
    }

    #[test]
    fn a_valid_host_is_used() {
        check(&["example.com"], "http://example.com/p");
        check(&["example.com:8080"], "http://example.com:8080/p");
        check(&["[::1]:80"], "http://[::1]:80/p");
        check(&["127.0.0.1"], "http://127.0.0.1/p");
    }

    #[test]
    fn an_invalid_host_is_not_reflected() {
        for odd in [
            "", "a b", "a\"b", "<script>", "a/b", "a@b", "a:b", "a:", "a:99999", "a:+1", "a:1:2",
            "::1", "[x]", "[::1", "[::1]x", "é", ":80",
        ] {
            check(&[odd], "http://127.0.0.1:8080/p");
        }
        check(&[&"a".repeat(300)], "http://127.0.0.1:8080/p");
        check(&["a", "b"], "http://127.0.0.1:8080/p");
        check(&[], "http://127.0.0.1:8080/p");
    }

    #[test]
    fn an_invalid_public_url_is_rejected() {
        for wrong in ["", "example.com", "ftp://a", "http://", "https://a/?q", "https://a/<", "/"] {
            assert_eq!(wrong.parse::<PublicUrl>(), Err(PublicUrlError), "{wrong}");
        }
        assert!("http://[::1]:80//".parse::<PublicUrl>().is_ok());
    }

    #[test]
    fn the_local_url_replaces_an_unspecified_address() {
        let check = |address: &str, expected: &str| {
            assert_eq!(local_url(address.parse().unwrap()), expected);
        };
        check("127.0.0.1:8080", "http://127.0.0.1:8080");
        check("0.0.0.0:80", "http://127.0.0.1:80");
        check("[::]:8080", "http://[::1]:8080");
        check("[2001:db8::1]:8080", "http://[2001:db8::1]:8080");
    }
}
