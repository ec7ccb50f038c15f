//! Scalar functions.
