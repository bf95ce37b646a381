//! Write timeout: a stream that fails when its client stops reading, and that closes gracefully.
//!
//! The HTTP parser has a timeout for reads but none for writes: a client that never reads would
//! occupy its connection, and the response in it, forever. And if the server closes a connection
//! while the client still sends, the system resets it, and the client loses the response. So a
//! shutdown first reads and discards what the client still sends, within bounds.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// The most bytes that a shutdown discards.
const MAX_DRAINED_BYTES: usize = 16 << 20;

/// A stream whose writes fail with `TimedOut` when they make no progress for `limit`.
pub(crate) struct WriteTimeout<S> {
    stream: S,
    limit: Duration,
    /// Runs while a write waits, and during the drain.
    deadline: Pin<Box<Sleep>>,
    waiting: bool,
    /// The bytes discarded so far; `None` before the stream is shut down.
    drained: Option<usize>,
}

impl<S> WriteTimeout<S> {
    /// Wraps a stream.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub(crate) fn new(stream: S, limit: Duration) -> Self {
        Self { stream, limit, deadline: Box::pin(sleep(limit)), waiting: false, drained: None }
    }

    /// Returns the result of a write, or `TimedOut` if it has been pending for too long.
    fn check_deadline<T>(
        &mut self,
        context: &mut Context<'_>,
        result: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.waiting = false;
            return result;
        }
        if !self.waiting {
            self.waiting = true;
            self.deadline.as_mut().reset(Instant::now() + self.limit);
        }
        ready!(self.deadline.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> WriteTimeout<S> {
    /// Discards what the client still sends. Ready at the end of the stream, at the bound of bytes
    /// or of time, and at once if nothing is arriving.
    fn poll_drain(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut bytes = [0; 8 * 1024];
        loop {
            let mut buffer = ReadBuf::new(&mut bytes);
            let read = Pin::new(&mut self.stream).poll_read(context, &mut buffer);
            let drained = self.drained.unwrap_or_default();
            match (read, buffer.filled().len()) {
                (Poll::Pending, _) if drained == 0 => return Poll::Ready(()),
                (Poll::Pending, _) => return self.deadline.as_mut().poll(context),
                (Poll::Ready(Ok(())), 1..) if drained < MAX_DRAINED_BYTES => {
                    self.drained = Some(drained + buffer.filled().len());
                }
                (Poll::Ready(_), _) => return Poll::Ready(()),
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WriteTimeout<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WriteTimeout<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.check_deadline(context, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.check_deadline(context, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(context);
        self.check_deadline(context, result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.drained.is_none() {
            let result = Pin::new(&mut self.stream).poll_shutdown(context);
            ready!(self.check_deadline(context, result))?;
            self.drained = Some(0);
            let until = Instant::now() + self.limit;
            self.deadline.as_mut().reset(until);
        }
        self.poll_drain(context).map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    const LIMIT: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn a_write_times_out_if_the_client_never_reads() {
        let (near, _far) = duplex(8);
        let began = Instant::now();
        let error = WriteTimeout::new(near, LIMIT).write_all(&[0; 9]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(began.elapsed(), LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_does_not_time_out() {
        let (near, mut far) = duplex(8);
        let reader = tokio::spawn(async move {
            let mut read = Vec::new();
            while far.read_buf(&mut read).await? > 0 {
                tokio::time::advance(LIMIT / 2).await;
            }
            io::Result::Ok(read)
        });
        let mut near = WriteTimeout::new(near, LIMIT);
        near.write_all(&[7; 80]).await.unwrap();
        near.shutdown().await.unwrap();
        assert_eq!(reader.await.unwrap().unwrap(), [7; 80]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_shutdown_drains_what_the_client_still_sends() {
        let (near, mut far) = duplex(8);
        let sender = tokio::spawn(async move {
            far.write_all(&[1; 100]).await?;
            drop(far);
            io::Result::Ok(())
        });
        tokio::task::yield_now().await;
        WriteTimeout::new(near, LIMIT).shutdown().await.unwrap();
        sender.await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_is_bounded_in_time_and_bytes() {
        let (near, mut far) = duplex(8);
        far.write_all(&[1; 8]).await.unwrap();
        let began = Instant::now();
        WriteTimeout::new(near, LIMIT).shutdown().await.unwrap();
        assert_eq!(began.elapsed(), LIMIT);

        let (near, mut far) = duplex(1 << 20);
        let sender = tokio::spawn(async move {
            let mut sent = 0;
            while far.write_all(&[1; 1 << 20]).await.is_ok() {
                sent += 1 << 20;
            }
            sent
        });
        tokio::task::yield_now().await;
        WriteTimeout::new(near, LIMIT).shutdown().await.unwrap();
        assert!((MAX_DRAINED_BYTES..2 * MAX_DRAINED_BYTES).contains(&sender.await.unwrap()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_shutdown_is_immediate_if_the_client_sends_nothing() {
        let (near, _far) = duplex(8);
        let began = Instant::now();
        WriteTimeout::new(near, LIMIT).shutdown().await.unwrap();
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
