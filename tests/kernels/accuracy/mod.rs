//! How exact the results are, measured against f64 and held to the table of bounds.

mod log_z;
pub mod probabilities;
mod statistics;
mod tokens;
mod transforms;
