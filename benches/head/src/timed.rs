//! A head whose products are timed, inside of a step.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dpo_kernel::head::{Head, RowSums, States, Tile};
use dpo_kernel::{Dispatch, Element, Transform};

use crate::clock::Start;

/// Another head, and the nanoseconds of its products since they were last taken.
pub struct Timed<H> {
    head: H,
    logits: AtomicU64,
    back: AtomicU64,
}

impl<H> Timed<H> {
    pub fn new(head: H) -> Self {
        Self { head, logits: AtomicU64::new(0), back: AtomicU64::new(0) }
    }

    /// The time of the product that makes logits, and of the product back.
    pub fn take(&self) -> [Duration; 2] {
        [&self.logits, &self.back].map(|time| Duration::from_nanos(time.swap(0, Ordering::Relaxed)))
    }
}

fn add(to: &AtomicU64, start: Start) {
    to.fetch_add(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
}

impl<E: Element, H: Head<E>> Head<E> for Timed<H> {
    fn vocab(&self) -> usize {
        self.head.vocab()
    }

    fn size(&self) -> usize {
        self.head.size()
    }

    fn transform(&self) -> Transform {
        self.head.transform()
    }

    fn numbers(&self) -> usize {
        self.head.numbers()
    }

    fn logits(
        &self,
        dispatch: Dispatch,
        states: States<'_, E>,
        tile: &mut Tile<'_>,
        numbers: &mut [f32],
    ) {
        let start = Start::now();
        self.head.logits(dispatch, states, tile, numbers);
        add(&self.logits, start);
    }

    fn add_rows(
        &self,
        dispatch: Dispatch,
        tile: &Tile<'_>,
        sums: &mut RowSums<'_>,
        numbers: &mut [f32],
    ) {
        let start = Start::now();
        self.head.add_rows(dispatch, tile, sums, numbers);
        add(&self.back, start);
    }

    fn row(&self, column: usize, from: usize, to: &mut [f32]) {
        self.head.row(column, from, to);
    }
}
