//! Planted faults, one of each kind: the linker keeps one only where its table is asked for.

use crate::{Entry, entries};
use alloc::boxed::Box;
use core::alloc::{GlobalAlloc, Layout};

extern crate alloc;

/// A panic: an index that nothing bounds.
#[unsafe(no_mangle)]
pub static DPO_CONTROL_INDEX: &[Entry] = entries![index];

/// A call into the platform's mathematics.
#[unsafe(no_mangle)]
pub static DPO_CONTROL_PLATFORM: &[Entry] = entries![platform];

/// An allocation.
#[unsafe(no_mangle)]
pub static DPO_CONTROL_ALLOC: &[Entry] = entries![allocation];

unsafe extern "C" {
    safe fn exp(x: f64) -> f64;
    fn malloc(size: usize) -> *mut u8;
    fn free(at: *mut u8);
}

fn index(x: &[u8], i: usize) -> u8 {
    x[i]
}

fn platform(x: f64) -> f64 {
    exp(x)
}

#[allow(clippy::unnecessary_box_returns, reason = "the box is the fault")]
fn allocation(x: u64) -> Box<u64> {
    Box::new(x)
}

/// Without it nothing that allocates would even build.
#[global_allocator]
static PLATFORM: Platform = Platform;

struct Platform;

// SAFETY: the platform's allocator aligns as u64 needs, which is all that is asked of it here.
unsafe impl GlobalAlloc for Platform {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: any size may be asked for.
        unsafe { malloc(layout.size()) }
    }

    unsafe fn dealloc(&self, at: *mut u8, _: Layout) {
        // SAFETY: the caller has it from `alloc`.
        unsafe { free(at) }
    }
}
