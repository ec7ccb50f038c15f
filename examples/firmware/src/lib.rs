//! Direct Preference Optimization on a microcontroller: the device learns which of its answers the
//! people around it prefer, without a server and without a heap.
//!
//! ```text
//! flash                                RAM
//! base weights, i8 ──┬──────────────▶ logits of one pair ──▶ dpo-kernel ──▶ their gradients
//! pairs, text ───────┘                     ▲                                    │
//!                       adapter off: reference, once                            ▼
//!                       adapter on: policy ◀── Adam ◀── adapter's gradients ◀── backward
//! ```
//!
//! One language model serves twice: with the adapter off it is the frozen reference, with it on the
//! policy. A pair is a micro-batch: its logits are the largest thing in RAM, and gradients add up
//! over the pairs of a batch. Activations are not kept but computed again in the backward.
//!
//! Everything is f32 with + − × ÷ and `libm`'s square root in a fixed order, so that a run gives
//! the same bits on every machine of one arithmetic; `expected/` holds them.
#![no_std]

pub mod adam;
pub mod base;
pub mod batch;
pub mod board;
pub mod linear;
pub mod model;
pub mod pairs;
pub mod probe;
pub mod random;
pub mod report;
pub mod text;
pub mod train;
