//! Memory that JavaScript asks for.

use core::alloc::{GlobalAlloc, Layout};
use core::ptr;

use talc::wasm::{WasmDynamicTalc, new_wasm_dynamic_allocator};

/// What every block is aligned to: a vector register. The largest element needs 8.
const ALIGN: usize = 16;

/// Takes pages of the module's memory as it needs them. Nothing in Rust allocates: that it is the
/// global allocator is a rule of the crate `alloc`, which talc links.
#[global_allocator]
static HEAP: WasmDynamicTalc = new_wasm_dynamic_allocator();

/// A block of so many bytes, all 0; NULL if there is no memory for it. The module's memory may grow
/// then, and JavaScript's views of it are lost.
#[unsafe(no_mangle)]
pub extern "C" fn allocate(bytes: usize) -> *mut u8 {
    match Layout::from_size_align(bytes, ALIGN) {
        // SAFETY: the layout has a size.
        Ok(layout) if bytes > 0 => unsafe { HEAP.alloc_zeroed(layout) },
        _ => ptr::null_mut(),
    }
}

/// Gives a block back.
///
/// # Safety
/// The block is one of [`allocate`] of so many bytes, and is not used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn release(block: *mut u8, bytes: usize) {
    if let Ok(layout) = Layout::from_size_align(bytes, ALIGN) {
        // SAFETY: the caller's word; the layout is that of `allocate`.
        unsafe { HEAP.dealloc(block, layout) }
    }
}
