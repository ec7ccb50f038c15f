//! The time that this thread computed: another process that the machine runs meanwhile does not
//! count. Whoever works on several threads needs another clock.

#![allow(unsafe_code, reason = "std has no such clock")]

use std::ffi::{c_int, c_long};
use std::time::Duration;

#[repr(C)]
struct Timespec {
    seconds: i64,
    nanoseconds: c_long,
}

unsafe extern "C" {
    fn clock_gettime(clock: c_int, to: *mut Timespec) -> c_int;
}

/// `CLOCK_THREAD_CPUTIME_ID` of Linux.
const THREAD: c_int = 3;

/// What the thread had computed at some moment.
#[derive(Clone, Copy)]
pub struct Start(Duration);

impl Start {
    pub fn now() -> Self {
        Self(now())
    }

    pub fn elapsed(self) -> Duration {
        now().saturating_sub(self.0)
    }
}

/// Since the thread began.
fn now() -> Duration {
    let mut time = Timespec { seconds: 0, nanoseconds: 0 };
    // SAFETY: `time` is a timespec of 64-bit Linux.
    let status = unsafe { clock_gettime(THREAD, &raw mut time) };
    assert_eq!(status, 0, "no clock of the thread");
    Duration::from_secs(time.seconds.unsigned_abs())
        + Duration::from_nanos(time.nanoseconds.unsigned_abs())
}
