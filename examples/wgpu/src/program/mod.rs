//! The program: one head trained twice, by the shaders and by the library, side by side.

mod args;
mod by_library;
mod by_shaders;
mod data;
mod run;

pub(crate) use run::start;
