//! The C ABI of dpo-kernel as a shared library, which the Python package loads through cffi.
//!
//! `build.rs` makes the declarations that cffi reads from the headers in `include/`.

// The functions carry their C names; to be linked is all they need.
pub use dpo_kernel::c;
