//! What JavaScript calls: one file, once. The page instantiates the module anew for each file, so that memory
//! is never given back.
#![allow(unsafe_code, reason = "names of exports, an allocator, and the one thread's state")]

use core::alloc::{GlobalAlloc, Layout};
use core::cell::{Cell, RefCell};
use std::string::String;
use std::vec::Vec;

const PAGE: usize = 65_536;

/// Hands out memory, front to back.
struct Bump {
    next: Cell<usize>,
    end: Cell<usize>,
}

// SAFETY: wasm32-unknown-unknown without shared memory has one thread, so no two share the cells.
unsafe impl Sync for Bump {}

// SAFETY: blocks lie one behind the other between `next` and `end`, which only grow, in pages that this module
// asked for and nothing else has; each is aligned as its layout says.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let start = |next: usize| next.checked_next_multiple_of(layout.align());
        let mut at = start(self.next.get());
        let fits = |at: Option<usize>| at.and_then(|at| at.checked_add(layout.size()));
        if fits(at).is_none_or(|end| end > self.end.get()) {
            let pages = layout.size() / PAGE + 1;
            let old = core::arch::wasm32::memory_grow::<0>(pages);
            if old == usize::MAX {
                return core::ptr::null_mut();
            }
            // Pages of the last growth may end where these begin: blocks need not know.
            at = Some(old * PAGE);
            self.end.set((old + pages) * PAGE);
        }
        let Some((at, end)) = at.zip(fits(at)) else { return core::ptr::null_mut() };
        self.next.set(end);
        at as *mut u8
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static ALLOCATOR: Bump = Bump { next: Cell::new(0), end: Cell::new(0) };

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}

struct OneThread(RefCell<(Vec<u8>, String)>);

// SAFETY: as above.
unsafe impl Sync for OneThread {}

static FILE: OneThread = OneThread(RefCell::new((Vec::new(), String::new())));

fn with<T>(failed: T, with: impl FnOnce(&mut Vec<u8>, &mut String) -> T) -> T {
    let Ok(mut file) = FILE.0.try_borrow_mut() else { return failed };
    let (bytes, error) = &mut *file;
    with(bytes, error)
}

/// Where to write a file of `length` bytes, and behind it its name.
#[unsafe(no_mangle)]
extern "C" fn bytes(length: usize) -> *mut u8 {
    with(core::ptr::null_mut(), |bytes, _| {
        bytes.clear();
        bytes.resize(length, 0);
        bytes.as_mut_ptr()
    })
}

/// Reads the first `length` of the bytes, a file; the name that errors call it by follows them. Returns 1 and
/// leaves texts, each behind its length (u32, little-endian), by three a pair; or 0 and leaves an error.
#[unsafe(no_mangle)]
extern "C" fn read(length: usize) -> u32 {
    with(0, |bytes, error| {
        let Some((file, name)) = bytes.split_at_checked(length) else { return 0 };
        match crate::read(core::str::from_utf8(name).unwrap_or_default(), file) {
            Ok(pairs) => {
                let mut packed = Vec::new();
                for pair in &pairs {
                    for text in [&pair.prompt, &pair.chosen, &pair.rejected] {
                        // An address has 32 bits here, and so has a length.
                        packed.extend_from_slice(&text.len().to_le_bytes());
                        packed.extend_from_slice(text.as_bytes());
                    }
                }
                *bytes = packed;
                1
            }
            Err(why) => {
                *error = why;
                0
            }
        }
    })
}

/// What was read.
#[unsafe(no_mangle)]
extern "C" fn packed() -> *const u8 {
    with(core::ptr::null(), |bytes, _| bytes.as_ptr())
}

#[unsafe(no_mangle)]
extern "C" fn packed_length() -> usize {
    with(0, |bytes, _| bytes.len())
}

/// What was wrong.
#[unsafe(no_mangle)]
extern "C" fn error() -> *const u8 {
    with(core::ptr::null(), |_, error| error.as_ptr())
}

#[unsafe(no_mangle)]
extern "C" fn error_length() -> usize {
    with(0, |_, error| error.len())
}
