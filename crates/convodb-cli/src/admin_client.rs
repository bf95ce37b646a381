//! Asking the server that holds a store, over its admin socket: one request of HTTP/1.1 a connection.

use std::path::Path;

use anyhow::Result;

/// Asks the server at `socket`, and gives the body of its answer.
///
/// Waits as long as the server takes: a backup of a large store takes minutes.
#[cfg(unix)]
pub(crate) fn ask(socket: &Path, method: &str, path: &str, body: &str) -> Result<String> {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use anyhow::{Context, anyhow, bail};

    let place = socket.display();
    let mut stream = UnixStream::connect(socket).with_context(|| {
        format!(
            "cannot ask the server at {place}; it must run, with --admin-socket, and as a user whose \
             socket this is"
        )
    })?;
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: convodb\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n"
    );
    let mut answer = String::new();
    stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(body.as_bytes()))
        .and_then(|()| stream.read_to_string(&mut answer))
        .with_context(|| format!("the server at {place} broke off"))?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .ok_or_else(|| anyhow!("the server at {place} broke off before it answered"))?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    if status == "200" {
        return Ok(body.to_owned());
    }
    let told: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    match told["message"].as_str() {
        Some(message) => bail!("the server refused: {message}"),
        None => bail!("the server at {place} answered {status}"),
    }
}

/// There are no such sockets on this system.
#[cfg(not(unix))]
pub(crate) fn ask(_: &Path, _: &str, _: &str, _: &str) -> Result<String> {
    anyhow::bail!("a server is asked over a Unix socket, which this system has not")
}
