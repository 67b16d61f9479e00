//! One keep-alive connection: a request out, a whole answer in, nothing else of HTTP.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// An open connection.
pub(crate) struct Connection {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, answer: Vec::with_capacity(64 * 1024) })
    }

    /// Sends `request` and reads the whole answer, which must be 200.
    pub(crate) async fn round_trip(&mut self, request: &[u8]) -> io::Result<()> {
        self.stream.write_all(request).await?;
        self.answer.clear();
        loop {
            if self.stream.read_buf(&mut self.answer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if is_whole(&self.answer)? {
                return Ok(());
            }
        }
    }
}

/// True if the head has ended and the body is there in the length that the head says.
pub(crate) fn is_whole(answer: &[u8]) -> io::Result<bool> {
    let Some(head_len) = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { return Ok(false) };
    let head = String::from_utf8_lossy(&answer[..head_len]);
    if !head.starts_with("HTTP/1.1 200 ") {
        return Err(io::Error::other(String::from_utf8_lossy(answer).into_owned()));
    }
    let mut headers = head.lines().filter_map(|line| line.split_once(':'));
    let length = headers.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|(_, length)| length.trim().parse::<usize>().ok());
    let Some(length) = length else { return Err(io::Error::other("expected an answer of known length")) };
    Ok(answer.len() >= head_len + 4 + length)
}
