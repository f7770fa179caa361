//! A timer that wakes its task within microseconds. tokio's own wheel has slots of a millisecond and its poll waits for
//! whole ones, so that an update which is to wait one millisecond for company would wait up to two.
//!
//! Linux' timerfd does it. Where there is none (other systems, no descriptor left), tokio's timer has to do.

use std::time::Instant;
#[cfg(target_os = "linux")]
use std::{io, os::fd::OwnedFd};

#[cfg(target_os = "linux")]
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
#[cfg(target_os = "linux")]
use tokio::io::{Interest, unix::AsyncFd};
use tokio::time::sleep_until;

/// Wakes one task at a time.
#[derive(Debug)]
pub(crate) struct Timer {
    #[cfg(target_os = "linux")]
    precise: Option<Timerfd>,
}

impl Timer {
    /// Must be called on a tokio runtime, which then drives it.
    pub(crate) fn new() -> Self {
        Self {
            #[cfg(target_os = "linux")]
            precise: Timerfd::new(),
        }
    }

    /// Waits until then. Safe to cancel.
    pub(crate) async fn until(&mut self, at: Instant) {
        #[cfg(target_os = "linux")]
        if let Some(timerfd) = &mut self.precise
            && timerfd.until(at).await.is_ok()
        {
            return;
        }
        sleep_until(at.into()).await;
    }
}

#[cfg(target_os = "linux")]
#[derive(Debug)]
struct Timerfd {
    descriptor: AsyncFd<OwnedFd>,
    armed: Option<Instant>,
}

#[cfg(target_os = "linux")]
impl Timerfd {
    fn new() -> Option<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let descriptor = timerfd_create(TimerfdClockId::Monotonic, flags).ok()?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe, for types that may close or replace their descriptor; this one does neither"
        )]
        let descriptor = AsyncFd::with_interest(descriptor, Interest::READABLE).ok()?;
        Some(Self {
            descriptor,
            armed: None,
        })
    }

    async fn until(&mut self, at: Instant) -> io::Result<()> {
        loop {
            let left = at.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            if self.armed != Some(at) {
                let once = Itimerspec {
                    it_interval: Timespec::default(),
                    it_value: Timespec::try_from(left).map_err(io::Error::other)?,
                };
                timerfd_settime(&self.descriptor, TimerfdTimerFlags::empty(), &once)?;
                self.armed = Some(at);
            }
            let mut ready = self.descriptor.readable().await?;
            // There is nothing to read when a time that has expired was replaced meanwhile.
            if let Ok(read) = ready.try_io(|timer| Ok(rustix::io::read(timer, &mut [0; 8])?)) {
                read?;
                self.armed = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;

    use super::*;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().expect("a runtime");
        runtime.block_on(future)
    }

    #[test]
    fn it_is_never_early() {
        block_on(async {
            let mut timer = Timer::new();
            for micros in [0, 1, 300, 1500, 20] {
                let at = Instant::now() + Duration::from_micros(micros);
                timer.until(at).await;
                assert!(Instant::now() >= at);
            }
            timer.until(Instant::now() - Duration::from_secs(1)).await;
        });
    }

    #[test]
    fn a_wait_that_was_given_up_changes_no_later_one() {
        block_on(async {
            let mut timer = Timer::new();
            let later = Instant::now() + Duration::from_secs(60);
            let soon = Duration::from_millis(1);
            assert!(
                tokio::time::timeout(soon, timer.until(later))
                    .await
                    .is_err()
            );
            let at = Instant::now() + soon;
            timer.until(at).await;
            assert!((at..later).contains(&Instant::now()));
            // The expiry is still unread when the next wait begins.
            let expired = Instant::now() + soon;
            assert!(timer.until(expired).now_or_never().is_none());
            while Instant::now() <= expired {
                std::hint::spin_loop();
            }
            let at = Instant::now() + 5 * soon;
            timer.until(at).await;
            assert!(Instant::now() >= at);
        });
    }

    /// A timer of whole milliseconds ends none of these within one.
    #[cfg(target_os = "linux")]
    #[test]
    fn it_keeps_to_fractions_of_a_millisecond() {
        let pause = Duration::from_micros(100);
        let waits = 50;
        let start = Instant::now();
        let precise = block_on(async {
            let mut timer = Timer::new();
            for _ in 0..waits {
                timer.until(Instant::now() + pause).await;
            }
            start.elapsed()
        });
        let start = Instant::now();
        let coarse = block_on(async {
            for _ in 0..waits {
                sleep_until((Instant::now() + pause).into()).await;
            }
            start.elapsed()
        });
        assert!(precise < coarse, "{precise:?}, with whole ones {coarse:?}");
    }
}
