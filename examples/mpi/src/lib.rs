//! DPO on the ranks of MPI: the vocabulary is split, the pairs are split, and the bits are those of
//! one process.
//!
//! ```text
//!  pairs ─▶ own pairs through the body ─▶ hidden states ══ gather, shards ══▶ states of the group
//!                                                                                    │
//!      log p, norm ◀══ exchange and merge of partials, shards ══ fold of own columns ◀┘
//!          │
//!          ▼ sequences ══ gather, groups ══▶ loss of all pairs, on every rank
//!                                                    │
//!  gradients ◀══ exact sums, groups ══ own columns ◀─┤
//!  gradients ◀══ exact sums, all ══ own pairs back through the body ◀══ exact sums, shards ◀─┘
//! ```
//!
//! Double lines are collectives of the MPI library. They move floats and add integers: no float is
//! ever added by MPI, so nothing depends on its order.
//!
//! | module | does |
//! |---|---|
//! | [`grid`] | which rank has which columns and pairs |
//! | [`shards`], [`head`] | a row over a shard's columns; the head's products and gradients |
//! | [`exact`] | sums over ranks without an order |
//! | [`step`], [`train`] | a batch on all ranks; the run |
//! | [`comm`] | collectives, counted and timed |
//! | [`handshake`], [`watchdog`] | ranks that do not fit; ranks that are gone |
//! | [`checkpoint`], [`state`] | the run in a file that does not know the grid |
//! | [`measure`], [`report`] | what it costs |

pub mod args;
pub mod checkpoint;
pub mod comm;
pub mod digest;
pub mod error;
pub mod exact;
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::pedantic,
    clippy::indexing_slicing,
    reason = "the example's own files, under its own lints"
)]
pub mod finetune;
pub mod grid;
pub mod handshake;
pub mod head;
pub mod measure;
pub mod prepare;
pub mod report;
pub mod run;
pub mod shards;
pub mod state;
pub mod step;
pub mod train;
pub mod watchdog;
