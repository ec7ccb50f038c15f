//! A program to be weighed, not to be run: with the feature `path` it holds the DPO path in the
//! arithmetic that [`Dispatch::detect`] chooses; without, everything else.
//!
//! A panic that can be reached is an error of the linker: its handler calls what exists nowhere.
//! The feature `fault` plants one.

#![no_std]
#![no_main]

use core::hint::black_box;

#[cfg(feature = "path")]
use dpo_kernel::Dispatch;
use dpo_kernel_firmware::board::entry;
use dpo_kernel_firmware::probe::Probe;

#[entry]
fn main() -> ! {
    let mut probe = Probe::default();
    probe.fill(16, 1);
    #[cfg(feature = "path")]
    {
        probe.forward(Dispatch::detect());
        probe.step(Dispatch::detect());
    }
    #[cfg(feature = "fault")]
    black_box([1, 2, 3][black_box(1_usize)]);
    black_box(&mut probe);
    loop {}
}

unsafe extern "C" {
    /// Defined nowhere.
    fn dpo_kernel_must_not_panic() -> !;
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: no program that holds this call is ever made.
    unsafe { dpo_kernel_must_not_panic() }
}
