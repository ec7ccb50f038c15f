//! The C ABI without an operating system: `libdpo_kernel_bare.a`, for `include/dpo_kernel.h`.
//!
//! ```sh
//! cargo build --release --manifest-path bare/Cargo.toml --target thumbv7em-none-eabihf
//! arm-none-eabi-gcc … -I include host.c bare/target/thumbv7em-none-eabihf/release/libdpo_kernel_bare.a
//! ```
//!
//! A library that ends here needs a panic handler, although nothing in the kernels panics: `.ci/c`
//! checks that no code leads to it. The library asks for memcpy, memset and the like, which every C
//! library has.
#![no_std]

// The functions carry their C names; to be linked is all they need.
pub use dpo_kernel::c;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
