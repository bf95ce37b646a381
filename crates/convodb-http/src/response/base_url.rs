//! Base URL of the links in responses: configured, or the request's `Host` if that is the server
//! itself, or else none: the links are relative then.
//!
//! So a host that somebody invented is in no response. Forwarding headers are never used.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::{Arc, Once};

use axum::http::header::{FORWARDED, HOST};
use axum::http::{HeaderMap, HeaderName};

/// The most bytes of a host with its port; a DNS name has at most 253.
const MAX_HOST_BYTES: usize = 260;

/// Headers of proxies, which say that `Host` is not what the client sent.
static FORWARDING: [HeaderName; 4] = [
    FORWARDED,
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-forwarded-for"),
];

/// The beginning of the URLs in responses.
#[derive(Clone, Debug)]
pub(crate) struct BaseUrl {
    /// The configured URL, without a trailing slash.
    public: Option<Arc<str>>,
    /// The address of the listener, if it is a single one.
    listening: Option<IpAddr>,
    /// Warns once that a proxy forwards requests and there is no configured URL.
    forwarded: Arc<Once>,
}

impl BaseUrl {
    /// Uses the configured URL, or else the host of a request that names this machine.
    pub(crate) fn new(public_url: Option<&PublicUrl>) -> Self {
        let public = public_url.map(|url| url.0.clone());
        Self { public, listening: None, forwarded: Arc::new(Once::new()) }
    }

    /// Returns the base of URLs that is the same for all requests: the configured one, or none.
    pub(crate) fn configured(&self) -> &str {
        self.public.as_deref().unwrap_or_default()
    }

    /// Returns the path of the configured URL, which a proxy removes; empty without one.
    pub(crate) fn base_path(&self) -> &str {
        let rest = self.configured().split_once("://").map_or("", |(_, rest)| rest);
        rest.find('/').map_or("", |at| &rest[at..])
    }

    /// Returns the origin of the configured URL.
    pub(crate) fn origin(&self) -> Option<&str> {
        let public = self.public.as_deref()?;
        Some(&public[..public.len() - self.base_path().len()])
    }

    /// Sets the address of the listener.
    pub(crate) fn listening_on(self, address: SocketAddr) -> Self {
        let listening = Some(address.ip()).filter(|ip| !ip.is_unspecified());
        Self { listening, ..self }
    }

    /// Returns the URL of `path` for a request with these headers: absolute, or the path alone.
    pub(crate) fn of(&self, headers: &HeaderMap, path: &str) -> String {
        if let Some(public) = &self.public {
            return [public, path].concat();
        }
        if is_forwarded(headers) {
            self.forwarded.call_once(|| {
                tracing::warn!(
                    "a proxy forwards requests, but there is no public URL: links in responses \
                     are relative"
                );
            });
            return path.to_owned();
        }
        match host(headers).filter(|host| self.is_own(host)) {
            Some(host) => ["http://", host, path].concat(),
            None => path.to_owned(),
        }
    }

    /// Whether a host names this machine as its own clients do: a loopback name or address, or the
    /// address of the listener.
    fn is_own(&self, host: &str) -> bool {
        let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, _)) => address,
            None => host.split(':').next().unwrap_or_default(),
        };
        match name.parse::<IpAddr>() {
            Ok(ip) => ip.is_loopback() || Some(ip) == self.listening,
            Err(_) => name.eq_ignore_ascii_case("localhost"),
        }
    }
}

/// Whether a proxy forwards the request.
pub(crate) fn is_forwarded(headers: &HeaderMap) -> bool {
    FORWARDING.iter().any(|name| headers.contains_key(name))
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
pub(crate) fn host(headers: &HeaderMap) -> Option<&str> {
    let mut hosts = headers.get_all(HOST).iter();
    let (host, None) = (hosts.next()?.to_str().ok()?, hosts.next()) else {
        return None;
    };
    is_host(host).then_some(host)
}

/// Returns whether the text is a host name or an address, with or without a port.
pub(crate) fn is_host(text: &str) -> bool {
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

    #[test]
    fn a_public_url_is_an_origin_and_a_path() {
        for (url, origin, path) in [
            ("https://a.example", "https://a.example", ""),
            ("http://a.example:8080/", "http://a.example:8080", ""),
            ("https://a.example/x/y/", "https://a.example", "/x/y"),
        ] {
            let base = BaseUrl::new(Some(&url.parse().unwrap()));
            assert_eq!((base.origin(), base.base_path()), (Some(origin), path), "{url}");
        }
        assert_eq!((BaseUrl::new(None).origin(), BaseUrl::new(None).base_path()), (None, ""));
    }

    #[track_caller]
    fn check(listening: &str, hosts: &[&str], expected: &str) {
        let url = |public_url: Option<&str>, headers: &HeaderMap| {
            let public_url = public_url.map(|url| url.parse().unwrap());
            let base = BaseUrl::new(public_url.as_ref());
            base.listening_on(listening.parse().unwrap()).of(headers, "/p")
        };
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(HOST, host.parse().unwrap());
        }
        assert_eq!(url(None, &headers), expected, "{hosts:?}");
        for name in &FORWARDING {
            let mut headers = headers.clone();
            headers.insert(name, "evil.example".parse().unwrap());
            assert_eq!(url(None, &headers), "/p", "{hosts:?} with {name}");
            let public = url(Some("https://api.example.com/convo/"), &headers);
            assert_eq!(public, "https://api.example.com/convo/p");
        }
    }

    #[test]
    fn the_host_of_this_machine_is_used() {
        for own in ["localhost", "LocalHost:81", "127.0.0.1", "127.0.0.2:8080", "[::1]:80"] {
            check("0.0.0.0:8080", &[own], &format!("http://{own}/p"));
        }
        check("192.0.2.7:8080", &["192.0.2.7:8080"], "http://192.0.2.7:8080/p");
        check("[2001:db8::1]:80", &["[2001:db8::1]"], "http://[2001:db8::1]/p");
    }

    #[test]
    fn any_other_host_is_not_reflected() {
        for other in [
            "example.com",
            "example.com:8080",
            "localhost.example",
            "127.0.0.1.example",
            "192.0.2.8",
            "0.0.0.0",
            "",
            "a b",
            "a\"b",
            "<script>",
            "a/b",
            "a@b",
            "localhost:",
            "localhost:99999",
            "localhost:1:2",
            "::1",
            "[x]",
            "[::1",
            "[::1]x",
            "é",
            ":80",
        ] {
            check("192.0.2.7:8080", &[other], "/p");
            check("0.0.0.0:8080", &[other], "/p");
        }
        check("0.0.0.0:8080", &["localhost", "localhost"], "/p");
        check("0.0.0.0:8080", &[], "/p");
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
