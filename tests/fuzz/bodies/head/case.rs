//! A head with its hidden states, from a fuzzer's bytes, and in memory.

use arbitrary::{Arbitrary, Result as Made, Unstructured};
use dpo_kernel::error::Buffer;
use dpo_kernel::verify;
use dpo_kernel::verify::cases::{Place, Twist};
use dpo_kernel::{Arithmetic, Error, IGNORE_INDEX, Span};

use crate::bodies::row::id;
use crate::bodies::store::Store;

/// R hidden states of H numbers, a head of V rows.
#[derive(Clone, Debug)]
pub struct Case {
    pub size: usize,
    pub vocab: usize,
    /// Numbers past the end of a row, of states, weights and gradients.
    pub padding: [usize; 3],
    /// The target of each row in 65536ths of V, or none.
    pub targets: Vec<Option<u16>>,
    /// `[start, end)` of each sequence, in order.
    pub spans: Vec<(usize, usize)>,
    pub coefficients: Vec<f64>,
    pub seed: u16,
    /// Sizes of states and weights.
    pub spreads: [f32; 2],
    /// What becomes of a bias of zeros, if there is one.
    pub bias: Option<Vec<Twist>>,
    /// States or weights of any value, at so many 65536ths.
    pub set: Vec<(bool, u16, u32)>,
    pub transform: verify::Transform,
    /// Rows and panels at once, numbers more than are needed.
    pub scratch: [usize; 3],
    pub zero_unscored: bool,
    pub types: u8,
}

impl<'a> Arbitrary<'a> for Case {
    fn arbitrary(u: &mut Unstructured<'a>) -> Made<Self> {
        let few_or = |u: &mut Unstructured<'a>, few: u16, most: u16| -> Made<usize> {
            let most = if u.ratio(3, 4)? { few } else { most };
            Ok(u.int_in_range(1..=most)?.into())
        };
        let size = few_or(u, 20, 530)?;
        // Three chains of one or four tiles of the other: both take seconds.
        let vocab = few_or(u, 40, if size > 40 { 530 } else { 1600 })?;
        let padding = [u.int_in_range(0..=3)?, u.int_in_range(0..=3)?, u.int_in_range(0..=3)?];
        let (mut spans, mut rows) = (Vec::new(), 0);
        for _ in 0..u.int_in_range(0..=3_u8)? {
            let start = rows + u.int_in_range(0..=2_usize)?;
            rows = start + u.int_in_range(0..=4_usize)?;
            spans.push((start, rows));
        }
        let mut targets = Vec::new();
        let mut coefficients = Vec::new();
        for _ in 0..rows {
            targets.push(if u.ratio(4, 5)? { Some(u.arbitrary()?) } else { None });
            coefficients.push(f64::from(u.arbitrary::<i8>()?) / 64.0);
        }
        let spread = |u: &mut Unstructured<'a>| -> Made<f32> {
            Ok(libm::scalbnf(1.0, u.int_in_range(-6..=5)?))
        };
        let twists = |u: &mut Unstructured<'a>| -> Made<Vec<Twist>> {
            (0..u.int_in_range(1..=3_u8)?).map(|_| u.arbitrary()).collect()
        };
        Ok(Self {
            size,
            vocab,
            padding,
            targets,
            spans,
            coefficients,
            seed: u.arbitrary()?,
            spreads: [spread(u)?, spread(u)?],
            bias: if u.arbitrary()? { Some(twists(u)?) } else { None },
            set: (0..u.int_in_range(0..=2_u8)?).map(|_| u.arbitrary()).collect::<Made<_>>()?,
            transform: u.arbitrary()?,
            scratch: [u.int_in_range(1..=14)?, u.int_in_range(0..=17)?, u.int_in_range(0..=40)?],
            zero_unscored: u.arbitrary()?,
            types: u.arbitrary()?,
        })
    }
}

/// The case in memory, with NaN wherever nobody may look.
pub(super) struct Stored<'a, E, W> {
    pub case: &'a Case,
    pub rows: usize,
    pub states: Vec<E>,
    pub weights: Vec<W>,
    pub bias: Option<Vec<f32>>,
    pub targets: Vec<u32>,
    pub spans: Vec<Span>,
}

impl<E: Store, W: Store> Stored<'_, E, W> {
    /// Whether there are weights that a term, at most 2⁶⁰ of its base, can take beyond f32.
    pub(super) fn has_huge_weights(&self) -> bool {
        let of_weights = self.case.size + self.case.padding[1];
        let mut rows = self.weights.chunks(of_weights);
        rows.any(|row| row[..self.case.size].iter().any(|w| w.to_f32().abs() > 1e17))
    }

    /// The error of the first row of weights that is not finite.
    pub(super) fn broken_weights(&self) -> Option<Error> {
        let of_weights = self.case.size + self.case.padding[1];
        self.weights.chunks(of_weights).enumerate().find_map(|(index, row)| {
            let value = row[..self.case.size].iter().find(|w| !w.to_f32().is_finite())?;
            let (buffer, value) = (Buffer::HeadWeights, f64::from(value.to_f32()));
            Some(Error::InvalidValue { buffer, index, value })
        })
    }
}

impl Case {
    pub(super) fn rows(&self) -> usize {
        self.targets.len()
    }

    pub(super) fn is_scored(&self, row: usize) -> bool {
        let inside = self.spans.iter().any(|&(start, end)| (start..end).contains(&row));
        inside && self.targets[row].is_some()
    }

    pub(super) fn target(&self, row: usize) -> usize {
        self.targets[row].map_or(0, |at| Place::At(at).column(self.vocab, 0))
    }

    pub(super) fn in_memory<E: Store, W: Store>(&self) -> Stored<'_, E, W> {
        let mut state = u64::from(self.seed);
        let mut next = || {
            state =
                state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
            (state >> 40) as f32 / 8_388_608.0 - 1.0
        };
        let rows = self.rows();
        let [of_states, of_weights, _] = self.padding.map(|padding| self.size + padding);
        let mut states = vec![E::POISON; rows * of_states];
        let mut weights = vec![W::POISON; self.vocab * of_weights];
        for row in (0..rows).filter(|&row| self.is_scored(row)) {
            for to in &mut states[row * of_states..][..self.size] {
                *to = E::from_f32(self.spreads[0] * next());
            }
        }
        for row in weights.chunks_mut(of_weights) {
            for to in &mut row[..self.size] {
                *to = W::from_f32(self.spreads[1] * next());
            }
        }
        for &(is_state, at, bits) in &self.set {
            let place = |rows: usize| Place::At(at).column(rows * self.size, 0);
            let value = f32::from_bits(bits);
            if !is_state {
                let at = place(self.vocab);
                weights[at / self.size * of_weights + at % self.size] = W::from_f32(value);
            } else if rows > 0 && self.is_scored(place(rows) / self.size) {
                let at = place(rows);
                states[at / self.size * of_states + at % self.size] = E::from_f32(value);
            }
        }
        let target = (0..rows).find(|&row| self.is_scored(row)).map_or(0, |row| self.target(row));
        let bias = self.bias.as_ref().map(|twists| {
            let mut bias = vec![0.0; self.vocab];
            for twist in twists {
                twist.apply(&mut bias, target);
            }
            bias
        });
        let targets = (0..rows)
            .map(
                |row| if self.targets[row].is_some() { id(self.target(row)) } else { IGNORE_INDEX },
            )
            .collect();
        let spans = self.spans.iter().map(|&(start, end)| Span::new(start, end)).collect();
        Stored { case: self, rows, states, weights, bias, targets, spans }
    }
}

impl<E: Store, W: Store> Stored<'_, E, W> {
    pub(super) fn weight(&self, column: usize, h: usize) -> f32 {
        self.weights[column * (self.case.size + self.case.padding[1]) + h].to_f32()
    }

    pub(super) fn state(&self, row: usize, h: usize) -> f32 {
        self.states[row * (self.case.size + self.case.padding[0]) + h].to_f32()
    }

    /// Logits of scored rows in the order of the product; NaN elsewhere.
    pub(super) fn written_out(&self, arithmetic: Arithmetic) -> Vec<f32> {
        let Case { size, vocab, .. } = *self.case;
        let mut logits = vec![f32::NAN; self.rows * vocab];
        for (i, logit) in logits.iter_mut().enumerate() {
            let (row, column) = (i / vocab, i % vocab);
            if !self.case.is_scored(row) {
                continue;
            }
            let x = chains(size, arithmetic, |k| (self.state(row, k), self.weight(column, k)));
            *logit = self.bias.as_ref().map_or(x, |bias| x + bias[column]);
        }
        logits
    }
}

/// A sum of products as the crate adds it up: chains of 256 terms.
pub(super) fn chains(
    len: usize,
    arithmetic: Arithmetic,
    term: impl Fn(usize) -> (f32, f32),
) -> f32 {
    let mut sum = 0.0;
    for from in (0..len).step_by(256) {
        let mut chain = 0.0_f32;
        for (a, b) in (from..len.min(from + 256)).map(&term) {
            chain = match arithmetic {
                Arithmetic::Fused => a.mul_add(b, chain),
                Arithmetic::Portable => chain + a * b,
            };
        }
        sum = if from == 0 { chain } else { sum + chain };
    }
    sum
}
