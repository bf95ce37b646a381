//! One client's connection to a server, kept open from request to request.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// A connection, and whose it is.
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
    address: String,
    token: String,
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Connection {
    /// # Errors
    /// When nobody listens.
    pub(crate) fn open(address: &str, token: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        stream.set_write_timeout(Some(Duration::from_secs(30)))?;
        let (address, token) = (address.to_owned(), token.to_owned());
        Ok(Self { stream: BufReader::new(stream), address, token })
    }

    /// Asks, and waits for the whole answer. A body has a type.
    ///
    /// # Errors
    /// When the connection breaks before the answer is whole: whether it was done is unknown.
    pub(crate) fn ask(
        &mut self,
        method: &str,
        target: &str,
        body: Option<(&str, &str)>,
    ) -> io::Result<Reply> {
        let (content_type, text) = body.unwrap_or(("application/json", ""));
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\
             Content-Type: {content_type}\r\nContent-Length: {}\r\n\r\n{text}",
            self.address,
            self.token,
            text.len(),
        );
        self.stream.get_mut().write_all(request.as_bytes())?;
        self.reply()
    }

    fn reply(&mut self) -> io::Result<Reply> {
        let odd = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let first = self.line()?;
        let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| odd("an answer without a status"))?;
        let (mut length, mut chunked) = (0, false);
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(": ").unwrap_or((&line, ""));
            match name {
                "content-length" => {
                    length = value.parse().map_err(|_| odd("a length that is none"))?;
                }
                "transfer-encoding" => chunked = value == "chunked",
                _ => {}
            }
        }
        let mut body = Vec::new();
        if chunked {
            loop {
                let size = usize::from_str_radix(&self.line()?, 16).map_err(|_| odd("a chunk"))?;
                self.take(size, &mut body)?;
                self.line()?;
                if size == 0 {
                    break;
                }
            }
        } else {
            self.take(length, &mut body)?;
        }
        let body = String::from_utf8(body).map_err(|_| odd("a body that is no text"))?;
        Ok(Reply { status, body })
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 || !line.ends_with('\n') {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }

    fn take(&mut self, size: usize, out: &mut Vec<u8>) -> io::Result<()> {
        let start = out.len();
        out.resize(start + size, 0);
        self.stream.read_exact(&mut out[start..])
    }
}
