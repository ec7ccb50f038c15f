//! The C ABI from C and C++: the header against the code, programs in both languages linked both
//! ways, their figures against the Rust functions' to the bit, and one run under valgrind.
//!
//! A C compiler is there, because Rust links with it. What a machine may lack (a C++ compiler,
//! valgrind) is said and left out, unless `DPO_C_TESTS=all` asks for all of it, as `.ci/run` does.

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::float_cmp,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::missing_assert_message,
    reason = "a test may panic, compares bits where bits are promised, and makes its inputs by casts"
)]

mod figures;
mod header;
mod layout;
mod programs;
mod steps;
