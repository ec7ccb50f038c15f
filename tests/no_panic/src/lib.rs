//! Every public function of the library, by address, so that a linker keeps exactly what they
//! reach.
//!
//! `.ci/no-panic` builds this as a static library, links it with unreachable sections dropped, and
//! looks at what is left undefined. A panic would need the handler below, whose symbol exists
//! nowhere; an allocation would need an allocator; a platform's `exp` would need libm. Only the
//! functions that copy and fill memory may remain.
//!
//! The formatting of [`dpo_kernel::Error`] is the one thing left out: `core::fmt` prints f64 with
//! code that holds panics of its own. It runs only where a host asks for a message.
//!
//! `control` holds one planted fault of each kind, which must be found as soon as it is linked too.
#![no_std]

pub mod c_abi;
pub mod control;
pub mod losses;
pub mod stages;
pub mod tables;

#[cfg(not(feature = "hosted"))]
unsafe extern "C" {
    /// Defined nowhere.
    fn dpo_kernel_must_not_panic() -> !;
}

#[cfg(not(feature = "hosted"))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: no program is ever made of this library: the symbol is there to be missed.
    unsafe { dpo_kernel_must_not_panic() }
}

/// The address of a function, as a root for the linker.
#[repr(transparent)]
pub struct Entry(#[allow(dead_code, reason = "only the linker looks at it")] *const ());

// SAFETY: the address of a function, which nobody reads through.
unsafe impl Sync for Entry {}

/// A table of entries.
#[macro_export]
macro_rules! entries {
    ($($function:expr),* $(,)?) => {
        &[$($crate::Entry($function as *const ())),*]
    };
}
