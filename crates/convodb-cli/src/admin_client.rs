//! Admin client: one HTTP/1.1 request per connection over the admin socket of a running server.

use std::path::Path;

use anyhow::Result;

/// Sends a request to the server at `socket` and returns the body of its response.
///
/// Waits without a timeout: a backup of a large store takes minutes.
///
/// # Errors
/// Fails if the server cannot be reached, closes the connection early, or refuses the request.
#[cfg(unix)]
pub(crate) fn request(socket: &Path, method: &str, path: &str, body: &str) -> Result<String> {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use anyhow::{Context, anyhow, bail};

    let place = socket.display();
    let mut stream = UnixStream::connect(socket).with_context(|| {
        format!(
            "cannot connect to the admin socket {place} (the server must run with \
             --admin-socket, under the same system user)"
        )
    })?;
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: convodb\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    );
    let mut response = String::new();
    // A server that refuses a request may answer and close before it has read the body.
    let sent = stream.write_all(request.as_bytes());
    let received = stream.read_to_string(&mut response);
    if response.is_empty() {
        sent.and(received)
            .with_context(|| format!("the server at {place} closed the connection"))?;
    }
    let (head, body) = response
        .split_once("\r\n\r\n")
        .ok_or_else(|| anyhow!("the server at {place} closed the connection before it answered"))?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    if status == "200" {
        return Ok(body.to_owned());
    }
    let refusal: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    match refusal["message"].as_str() {
        Some(message) => bail!("the server refused the request: {message}"),
        None => bail!("the server at {place} answered with HTTP status {status}"),
    }
}

/// Fails: this system has no Unix sockets.
#[cfg(not(unix))]
pub(crate) fn request(_: &Path, _: &str, _: &str, _: &str) -> Result<String> {
    anyhow::bail!("--admin-socket needs Unix sockets, which this system does not have")
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_refusal_before_the_body_was_read_is_reported() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("admin");
        let listener = UnixListener::bind(&socket).unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"HTTP/1.1 409 Conflict\r\n\r\n{\"message\":\"no\"}").unwrap();
        });
        // More than a socket buffers, so that sending fails once the server has closed.
        let body = "x".repeat(4 << 20);
        let error = request(&socket, "POST", "/backup", &body).unwrap_err();
        assert_eq!(error.to_string(), "the server refused the request: no");
        server.join().unwrap();
    }
}
