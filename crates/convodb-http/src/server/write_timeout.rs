//! Write timeout: a stream that fails when its client reads too slowly, and that closes gracefully.
//!
//! The HTTP parser has a timeout for reads but none for writes: a client that never reads, or a byte
//! now and then, would occupy its connection, and the response in it, forever. And if the server closes a connection
//! while the client still sends, the system resets it, and the client loses the response. So a
//! shutdown first reads and discards what the client still sends, within bounds.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use crate::least_rate::LeastRate;

/// The most bytes that a shutdown discards.
const MAX_DRAINED_BYTES: usize = 16 << 20;

/// A stream whose writes fail with `TimedOut` when they are slower than the least rate.
pub(crate) struct WriteTimeout<S> {
    stream: S,
    /// The time that a shutdown takes at most.
    limit: Duration,
    rate: LeastRate,
    /// Runs while a write waits, and during the drain.
    deadline: Pin<Box<Sleep>>,
    waiting_since: Option<Instant>,
    /// The bytes discarded so far; `None` before the stream is shut down.
    drained: Option<usize>,
}

impl<S> WriteTimeout<S> {
    /// Wraps a stream whose client may stop for `limit` and reads at least `bytes_per_second`.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub(crate) fn new(stream: S, limit: Duration, bytes_per_second: u32) -> Self {
        Self {
            stream,
            limit,
            rate: LeastRate::new(limit, bytes_per_second),
            deadline: Box::pin(sleep(limit)),
            waiting_since: None,
            drained: None,
        }
    }

    /// Returns the result of a write of `bytes`, or `TimedOut` if it has been pending for too long.
    fn check_deadline<T>(
        &mut self,
        context: &mut Context<'_>,
        result: Poll<io::Result<T>>,
        bytes: impl FnOnce(&T) -> usize,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(written) = &result {
            let waited = self.waiting_since.take().map_or(Duration::ZERO, |since| since.elapsed());
            self.rate.transferred(written.as_ref().map_or(0, bytes), waited);
            return result;
        }
        if self.waiting_since.is_none() {
            let now = Instant::now();
            self.waiting_since = Some(now);
            self.deadline.as_mut().reset(now + self.rate.credit());
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
        self.check_deadline(context, result, |written| *written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.check_deadline(context, result, |written| *written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(context);
        self.check_deadline(context, result, |()| 0)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.drained.is_none() {
            let result = Pin::new(&mut self.stream).poll_shutdown(context);
            ready!(self.check_deadline(context, result, |()| 0))?;
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
        let error = WriteTimeout::new(near, LIMIT, 0).write_all(&[0; 9]).await.unwrap_err();
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
        let mut near = WriteTimeout::new(near, LIMIT, 0);
        near.write_all(&[7; 80]).await.unwrap();
        near.shutdown().await.unwrap();
        assert_eq!(reader.await.unwrap().unwrap(), [7; 80]);
    }

    /// A byte now and then is not enough: the write ends when the credit is used up.
    #[tokio::test(start_paused = true)]
    async fn a_reader_below_the_least_rate_times_out() {
        let (near, mut far) = duplex(8);
        let reader = tokio::spawn(async move {
            let mut byte = [0];
            while far.read(&mut byte).await? > 0 {
                sleep(LIMIT / 10).await;
            }
            io::Result::Ok(())
        });
        let began = Instant::now();
        let mut near = WriteTimeout::new(near, LIMIT, 1000);
        let error = near.write_all(&[7; 10_000]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let elapsed = began.elapsed();
        assert!(elapsed >= LIMIT && elapsed < LIMIT + LIMIT / 5, "{elapsed:?}");
        drop(near);
        reader.await.unwrap().unwrap();
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
        WriteTimeout::new(near, LIMIT, 0).shutdown().await.unwrap();
        sender.await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_is_bounded_in_time_and_bytes() {
        let (near, mut far) = duplex(8);
        far.write_all(&[1; 8]).await.unwrap();
        let began = Instant::now();
        WriteTimeout::new(near, LIMIT, 0).shutdown().await.unwrap();
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
        WriteTimeout::new(near, LIMIT, 0).shutdown().await.unwrap();
        assert!((MAX_DRAINED_BYTES..2 * MAX_DRAINED_BYTES).contains(&sender.await.unwrap()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_shutdown_is_immediate_if_the_client_sends_nothing() {
        let (near, _far) = duplex(8);
        let began = Instant::now();
        WriteTimeout::new(near, LIMIT, 0).shutdown().await.unwrap();
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
