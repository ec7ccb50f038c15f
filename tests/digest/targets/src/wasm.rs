//! One exported function, which leaves its report in memory (see `wasm.js`).

use core::fmt;
use core::ptr::addr_of_mut;

use crate::report;
use crate::suite::{FULL, FullBuffers, SMALL, SmallBuffers};

struct Text {
    bytes: [u8; 4096],
    len: usize,
}

impl fmt::Write for Text {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let to = self.bytes.get_mut(self.len..self.len + s.len()).ok_or(fmt::Error)?;
        to.copy_from_slice(s.as_bytes());
        self.len += s.len();
        Ok(())
    }
}

static mut TEXT: Text = Text { bytes: [0; 4096], len: 0 };
static mut SMALLER: SmallBuffers = SmallBuffers::new();
static mut LARGER: FullBuffers = FullBuffers::new();

/// Runs the suites; the length of the report.
#[unsafe(no_mangle)]
pub extern "C" fn digests() -> usize {
    // SAFETY: the module has one thread, and this function, which does not call itself, is the only
    // one that touches the three.
    let (text, smaller, larger) = unsafe {
        (&mut *addr_of_mut!(TEXT), &mut *addr_of_mut!(SMALLER), &mut *addr_of_mut!(LARGER))
    };
    text.len = 0;
    let _ = report(&SMALL, smaller, text);
    let _ = report(&FULL, larger, text);
    text.len
}

/// Where the report is.
#[unsafe(no_mangle)]
pub extern "C" fn text() -> *const u8 {
    addr_of_mut!(TEXT).cast()
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}
