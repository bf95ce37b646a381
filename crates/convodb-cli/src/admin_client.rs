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
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: convodb\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n"
    );
    let mut response = String::new();
    stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(body.as_bytes()))
        .and_then(|()| stream.read_to_string(&mut response))
        .with_context(|| format!("the server at {place} closed the connection"))?;
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
