//! Blocking HTTP/1.1 client: one keep-alive connection, one request at a time.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Read timeout of a connection.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// A well-behaved client: it reads each response to its end before it sends the next request.
pub struct HttpClient {
    stream: BufReader<TcpStream>,
    address: SocketAddr,
}

impl HttpClient {
    /// Connects to a server.
    ///
    /// # Errors
    /// The connection cannot be established.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(READ_TIMEOUT))?;
        Ok(Self { stream: BufReader::new(stream), address })
    }

    /// Sends a GET request and returns the body of the response.
    ///
    /// # Errors
    /// The status is not 200, the response is malformed, or it takes longer than 60 seconds.
    pub fn get(&mut self, target: &str, token: &str) -> io::Result<String> {
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\n\r\n",
            self.address
        );
        self.stream.get_mut().write_all(request.as_bytes())?;
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        if !line.starts_with("HTTP/1.1 200 ") {
            return Err(io::Error::other(format!("GET {target}: {}", line.trim())));
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
