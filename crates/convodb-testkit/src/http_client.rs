//! Blocking HTTP/1.1 client: one keep-alive connection, one request at a time.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Read and write timeout of a connection.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A well-behaved client: it reads each response to its end before it sends the next request.
pub struct HttpClient {
    stream: BufReader<TcpStream>,
    address: SocketAddr,
    token: String,
}

/// A complete response.
#[derive(Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The decoded body.
    pub body: String,
}

impl HttpClient {
    /// Connects to a server. Requests carry `token` as bearer token.
    ///
    /// # Errors
    /// The connection cannot be established.
    pub fn connect(address: SocketAddr, token: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        Ok(Self { stream: BufReader::new(stream), address, token: token.to_owned() })
    }

    /// Sends a GET request, and returns the body of a response with status 200.
    ///
    /// # Errors
    /// The status is not 200, or an error of [`request`](Self::request).
    pub fn get(&mut self, target: &str) -> io::Result<String> {
        let Response { status, body } = self.request("GET", target, None)?;
        match status {
            200 => Ok(body),
            _ => Err(io::Error::other(format!("GET {target}: {status} {body}"))),
        }
    }

    /// Sends a request, and returns the response. A body is a pair of content type and text.
    ///
    /// # Errors
    /// The connection breaks before the response is complete, the response is malformed, or it
    /// takes longer than 60 seconds. Whether the server processed the request is unknown.
    pub fn request(
        &mut self,
        method: &str,
        target: &str,
        body: Option<(&str, &str)>,
    ) -> io::Result<Response> {
        self.send(method, target, body, "")
    }

    /// Sends a `POST` of JSON with an `Idempotency-Key`, and returns the response.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub fn post_once(&mut self, target: &str, key: &str, body: &str) -> io::Result<Response> {
        let header = format!("Idempotency-Key: {key}\r\n");
        self.send("POST", target, Some(("application/json", body)), &header)
    }

    /// Sends a request with further headers, each with its line end.
    fn send(
        &mut self,
        method: &str,
        target: &str,
        body: Option<(&str, &str)>,
        headers: &str,
    ) -> io::Result<Response> {
        let (content_type, text) = body.unwrap_or(("application/json", ""));
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n{headers}\
             Content-Type: {content_type}\r\nContent-Length: {}\r\n\r\n{text}",
            self.address,
            self.token,
            text.len(),
        );
        self.stream.get_mut().write_all(request.as_bytes())?;
        self.response()
    }

    fn response(&mut self) -> io::Result<Response> {
        let first = self.line()?;
        let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| malformed("status"))?;
        let (mut length, mut chunked) = (0, false);
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(": ").unwrap_or((&line, ""));
            if name.eq_ignore_ascii_case("content-length") {
                length = value.parse().map_err(|_| malformed("content length"))?;
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                chunked = value == "chunked";
            }
        }
        let mut body = Vec::new();
        if chunked {
            loop {
                let size = usize::from_str_radix(&self.line()?, 16);
                let size = size.map_err(|_| malformed("chunk size"))?;
                self.read_into(size, &mut body)?;
                self.line()?;
                if size == 0 {
                    break;
                }
            }
        } else {
            self.read_into(length, &mut body)?;
        }
        let body = String::from_utf8(body).map_err(|_| malformed("body"))?;
        Ok(Response { status, body })
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 || !line.ends_with('\n') {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }

    fn read_into(&mut self, size: usize, out: &mut Vec<u8>) -> io::Result<()> {
        let start = out.len();
        out.resize(start + size, 0);
        self.stream.read_exact(&mut out[start..])
    }
}

fn malformed(part: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("malformed response: {part}"))
}
