//! Stack by painting, instructions by the emulator's count.

use core::hint::black_box;

use super::{TICK_BITS, spin, stack, ticks};

/// What a call took.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Bytes of stack below the caller's frame.
    pub stack: usize,
    pub instructions: u64,
}

/// How far below the stack pointer is painted, where there is so much.
const DEPTH: usize = 48 << 10;
const PAINT: u32 = 0xc0de_ca5e;

/// Measures a call. Nothing else may use the stack meanwhile: no interrupt is enabled.
#[inline(never)]
pub fn cost_of<T>(call: fn(&mut T), of: &mut T) -> Cost {
    let call = black_box(call);
    let (top, bottom) = stack();
    let bottom = bottom.max(top - DEPTH);
    let mut at = bottom;
    while at < top {
        // SAFETY: between the statics and the stack pointer lies nothing that is in use: this
        // function's frame is above, and it calls nothing here.
        unsafe { (at as *mut u32).write_volatile(PAINT) };
        at += 4;
    }
    let start = ticks();
    call(of);
    let end = ticks();
    let mut at = bottom;
    // SAFETY: as above.
    while at < top && unsafe { (at as *const u32).read_volatile() } == PAINT {
        at += 4;
    }
    Cost { stack: top - at, instructions: instructions(start, end) }
}

/// The stack of a call that is known to take 1024 bytes and a few more: what a measurement is
/// worth.
#[must_use]
pub fn control() -> usize {
    #[inline(never)]
    fn frame(fill: &mut u8) {
        black_box([*fill; 1024]);
    }
    cost_of(frame, &mut 1).stack
}

/// From ticks to instructions, by a loop whose instructions are known.
fn instructions(start: u64, end: u64) -> u64 {
    const TURNS: u32 = 1 << 20;
    let wrap = (1 << TICK_BITS) - 1;
    let before = ticks();
    spin(TURNS);
    let turns = ticks().wrapping_sub(before) & wrap;
    (end.wrapping_sub(start) & wrap) * 2 * u64::from(TURNS) / turns.max(1)
}
