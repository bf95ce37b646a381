//! A good client: one connection, one request after the other, each answer read to its end.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long an answer may take before it counts as none.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection of a good client.
pub struct HttpClient {
    stream: BufReader<TcpStream>,
    address: SocketAddr,
}

impl HttpClient {
    /// A connection to a server.
    ///
    /// # Errors
    /// When there is no such server.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream: BufReader::new(stream), address })
    }

    /// The body of the answer to a GET, whose status has to be 200.
    ///
    /// # Errors
    /// When the answer is another, or does not come.
    pub fn get(&mut self, target: &str, token: &str) -> io::Result<String> {
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\n\r\n",
            self.address
        );
        self.stream.get_mut().write_all(request.as_bytes())?;
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        if !line.starts_with("HTTP/1.1 200 ") {
            return Err(io::Error::other(format!("{target}: {}", line.trim())));
        }
        let mut length = 0;
        while line.trim() != "" {
            line.clear();
            self.stream.read_line(&mut line)?;
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        String::from_utf8(body).map_err(io::Error::other)
    }
}
