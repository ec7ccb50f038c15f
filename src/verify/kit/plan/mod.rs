//! The calls of a run, from a seed: groups of calls whose figures are to be right, and some of them
//! equal to the last bit.

mod batch;
mod big;
mod draw;
mod head;
mod pairs;
mod rows;
mod shape;
mod sizes;
mod surroundings;

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use super::Relation;
use super::call::{Call, Given};
use super::random::Random;
use crate::Element;

/// The target of rows that are not scored; −100 as trainers write it, in 32 bits.
pub(super) const IGNORE: u32 = crate::verify::IGNORE_INDEX;

/// How many calls a plan has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Size {
    /// Some 370: seconds of a plain backend.
    #[default]
    Small,
    /// Some 1,050.
    Full,
}

/// The calls of a run.
///
/// The same seed makes the same calls on every machine, each group by itself: a call of a report is
/// made again by its name alone, see [`Plan::call`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What the calls are made from.
    pub seed: u64,
    /// How many there are.
    pub size: Size,
    /// Whether rows that lie beyond 2³¹ elements are among them: 4 GiB of logits in f16 or bf16, 8 in
    /// f32, nearly all of them zeros that nobody reads, and as much again where gradients are offered.
    pub beyond_2_31: bool,
}

impl Plan {
    /// Calls of a seed: [`Size::Small`], nothing beyond 2³¹ elements.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { seed, size: Size::Small, beyond_2_31: false }
    }

    /// The groups, one after another: each is made when it is asked for.
    pub fn groups<E: Element>(self) -> impl Iterator<Item = Group<E>> {
        let [rows, pairs, heads] =
            [rows::count(self.size), pairs::count(self.size), head::count(self.size)];
        let sizes = sizes::count(self.size);
        (0..rows + pairs + sizes + heads + usize::from(self.beyond_2_31)).map(move |place| {
            let mut random = Random::new(self.seed, place as u64);
            if place < rows {
                rows::group(place, &mut random)
            } else if place < rows + pairs {
                pairs::group(place - rows, &mut random)
            } else if place < rows + pairs + sizes {
                sizes::group(place - rows - pairs, &mut random)
            } else if place < rows + pairs + sizes + heads {
                head::group(place - rows - pairs - sizes, &mut random)
            } else {
                big::group(&mut random)
            }
        })
    }

    /// The call of a name.
    #[must_use]
    pub fn call<E: Element>(self, name: &str) -> Option<Call<E>> {
        self.groups().flat_map(|group| group.calls).find(|call| call.name == name)
    }
}

/// Calls that belong together.
#[derive(Clone, Debug)]
pub struct Group<E> {
    /// In the order in which a backend gets them.
    pub calls: Vec<Call<E>>,
    /// What of them is equal.
    pub relations: Vec<Related>,
}

impl<E> Group<E> {
    /// A call of its own.
    fn of(call: Call<E>) -> Self {
        Self { calls: vec![call], relations: Vec::new() }
    }

    /// The first call's input in other surroundings.
    fn add<T>(&mut self, variants: Variants<T>, given: impl Fn(T) -> Given<E>) {
        let Some((name, input)) = self.calls.first().map(|c| (c.name.clone(), c.input.clone()))
        else {
            return;
        };
        for (variant, (of, (relation, rows))) in variants.0.into_iter().enumerate() {
            let name = format!("{name}-{}", variant + 1);
            let input = format!("{input}; {}", relation.words());
            self.relations.push(Related { relation, other: self.calls.len(), rows });
            self.calls.push(Call { name, input, given: given(of) });
        }
    }
}

/// Rows of the first call of a group that have the bits of rows of another.
#[derive(Clone, Debug)]
pub struct Related {
    /// Why they should.
    pub relation: Relation,
    /// The other call's place in the group.
    pub other: usize,
    /// Rows of the first call and of the other.
    pub rows: Vec<(usize, usize)>,
}

/// The same input in other surroundings, as it is collected.
struct Variants<T>(Vec<(T, Pairing)>);

/// A relation, with the rows that it holds to each other.
type Pairing = (Relation, Vec<(usize, usize)>);

impl<T> Default for Variants<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Variants<T> {
    fn add(
        &mut self,
        relation: Relation,
        given: T,
        rows: impl IntoIterator<Item = (usize, usize)>,
    ) {
        self.0.push((given, (relation, rows.into_iter().collect())));
    }
}
