//! The C ABI from Rust: every function against a model of its checks and against the functions of
//! Rust (`abi`), over buffers, structs, fields, options and errors of every kind.
//!
//! And from C and C++: the header against the code, programs in both languages linked both ways,
//! their figures against the Rust functions' to the bit, and one run under valgrind.
//!
//! A C compiler is there, because Rust links with it. What a machine may lack (a C++ compiler,
//! valgrind) is said and left out, unless `DPO_C_TESTS=all` asks for all of it, as `.ci/run` does.
//! `DPO_C_TESTS=none` compiles nothing in C, for many runs in a row.

#![allow(
    unsafe_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::float_cmp,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::type_complexity,
    clippy::too_many_lines,
    clippy::missing_assert_message,
    reason = "a test may panic, compares bits where bits are promised, makes its inputs by casts, and \
              has long tables"
)]

#[path = "../common/abi/mod.rs"]
mod abi;
mod arguments;
mod buffers;
mod errors;
mod fields;
mod figures;
mod forms;
mod header;
mod heads;
mod host;
mod layout;
mod options;
mod programs;
mod row_bytes;
mod rows;
mod scalars;
mod steps;
mod texts;
mod trained;
