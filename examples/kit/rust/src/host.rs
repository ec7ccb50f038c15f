//! A backend of the kit around functions of a framework that take whole matrices.

use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};

use dpo_kernel::Element;
use dpo_kernel::verify::kit::{
    Backend, Format, Head, Output, Pairs, Precision, RowOut, Rows, Unscored,
};
use dpo_kernel::verify::{PairResult, Transform};

/// Rows of numbers, one after another.
pub(crate) struct Matrix<E> {
    pub(crate) values: Vec<E>,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
}

/// Figures of R rows; empty is what a framework does not offer.
#[derive(Default)]
pub(crate) struct Figures {
    pub(crate) log_probs: Vec<f64>,
    pub(crate) log_z: Vec<f64>,
    pub(crate) argmax: Vec<u32>,
    pub(crate) mean_logit: Vec<f64>,
}

/// A head and the hidden states of R rows.
pub(crate) struct Product<E> {
    pub(crate) hidden: Matrix<E>,
    /// V × H
    pub(crate) weight: Matrix<E>,
    pub(crate) bias: Option<Vec<E>>,
}

/// What a row scores, R of each.
pub(crate) struct Labels {
    pub(crate) targets: Vec<u32>,
    /// ∂L/∂log p; zeros in a forward.
    pub(crate) coefficients: Vec<f32>,
    pub(crate) transform: Transform,
}

/// What a framework does with rows that are all scored.
pub(crate) trait Framework {
    /// Of logits, hidden states and their gradients.
    type Element: Element;
    /// Of its functions.
    type Error: Display;

    fn name(&self) -> &str;
    fn offers(&self) -> &[Output];
    fn rows(&self, x: &Matrix<Self::Element>, labels: &Labels) -> Result<Figures, Self::Error>;
    fn head(
        &self,
        product: &Product<Self::Element>,
        labels: &Labels,
    ) -> Result<Figures, Self::Error>;
    /// loss, rewards, margin, derivatives of each pair.
    fn pairs(&self, pairs: &Pairs<'_>) -> Result<Vec<[f32; 6]>, Self::Error>;

    /// Gradients of logits, R × V; never called where they are not offered.
    fn row_grads(
        &self,
        _: &Matrix<Self::Element>,
        _: &Labels,
    ) -> Result<Vec<Self::Element>, Self::Error> {
        Ok(Vec::new())
    }

    /// Gradients of hidden states, R × H; never called where they are not offered.
    fn hidden_grads(
        &self,
        _: &Product<Self::Element>,
        _: &Labels,
    ) -> Result<Vec<Self::Element>, Self::Error> {
        Ok(Vec::new())
    }
}

/// A framework as the kit asks it. Rows that are not scored, and columns past the vocabulary, are
/// left out before: none of the three has an ignored target.
pub(crate) struct Host<F>(pub(crate) F);

/// What a call panics with is its error.
fn caught<T, E: Display>(call: impl FnOnce() -> Result<T, E>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(found) => found.map_err(|error| error.to_string()),
        Err(panic) => {
            let words = panic.downcast_ref::<String>().map(String::as_str);
            Err(words.or(panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned())
        }
    }
}

/// The places and targets of scored rows.
fn scored(targets: &[u32], ignore: u32) -> Vec<(usize, u32)> {
    targets.iter().copied().enumerate().filter(|&(_, target)| target != ignore).collect()
}

fn labels(scored: &[(usize, u32)], coefficients: &[f32], transform: Transform) -> Labels {
    let of = |&(row, _): &(usize, u32)| coefficients.get(row).copied().unwrap_or(0.0);
    Labels {
        targets: scored.iter().map(|&(_, target)| target).collect(),
        coefficients: scored.iter().map(of).collect(),
        transform,
    }
}

/// The scored ones of rows that are `stride` apart.
fn gathered<E: Copy>(
    values: &[E],
    stride: usize,
    columns: usize,
    scored: &[(usize, u32)],
) -> Matrix<E> {
    let row = |&(row, _): &(usize, u32)| {
        values.get(row * stride..).and_then(|values| values.get(..columns)).unwrap_or_default()
    };
    let values = scored.iter().flat_map(row).copied().collect();
    Matrix { values, rows: scored.len(), columns }
}

fn product<E: Element>(head: &Head<'_, E>, scored: &[(usize, u32)]) -> Product<E> {
    let (rows, columns) = (head.vocab, head.hidden_size);
    Product {
        hidden: gathered(head.hidden, columns, columns, scored),
        weight: Matrix { values: head.weight.to_vec(), rows, columns },
        bias: head.bias.map(<[E]>::to_vec),
    }
}

fn put<T: Copy>(out: &mut [T], scored: &[(usize, u32)], found: &[T]) {
    for (&(row, _), &value) in scored.iter().zip(found) {
        if let Some(out) = out.get_mut(row) {
            *out = value;
        }
    }
}

fn put_all(out: &mut RowOut<'_>, scored: &[(usize, u32)], found: &Figures) {
    put(out.log_probs, scored, &found.log_probs);
    put(out.log_z, scored, &found.log_z);
    put(out.argmax, scored, &found.argmax);
    put(out.mean_logit, scored, &found.mean_logit);
}

impl<F: Framework> Backend for Host<F> {
    type Element = F::Element;
    type Error = String;

    fn name(&self) -> &str {
        self.0.name()
    }

    /// Nothing is said of precision by any of the three: f32 inside, one rounding to the format.
    fn precision(&self) -> Precision {
        let storage = Format::of::<F::Element>();
        Precision {
            head_logits: storage,
            head_grads: storage,
            ..Precision::new(Format::F32, storage)
        }
    }

    fn offers(&self) -> &[Output] {
        self.0.offers()
    }

    fn unscored(&self) -> Unscored {
        Unscored::Untouched
    }

    fn token_log_probs(
        &mut self,
        rows: &Rows<'_, F::Element>,
        out: &mut RowOut<'_>,
    ) -> Result<(), String> {
        let scored = scored(rows.targets, rows.ignore);
        let x = gathered(rows.logits, rows.stride, rows.vocab, &scored);
        let labels = labels(&scored, &[], rows.transform);
        put_all(out, &scored, &caught(|| self.0.rows(&x, &labels))?);
        Ok(())
    }

    fn logit_grads(
        &mut self,
        rows: &Rows<'_, F::Element>,
        coefficients: &[f32],
        grads: &mut [F::Element],
    ) -> Result<(), String> {
        let scored = scored(rows.targets, rows.ignore);
        let x = gathered(rows.logits, rows.stride, rows.vocab, &scored);
        let labels = labels(&scored, coefficients, rows.transform);
        let found = caught(|| self.0.row_grads(&x, &labels))?;
        for (&(row, _), found) in scored.iter().zip(found.chunks(rows.vocab.max(1))) {
            let out = grads.iter_mut().skip(row * rows.stride);
            out.zip(found).for_each(|(out, &found)| *out = found);
        }
        Ok(())
    }

    fn pair_loss(&mut self, pairs: &Pairs<'_>, out: &mut [PairResult]) -> Result<(), String> {
        let found = caught(|| self.0.pairs(pairs))?;
        for ((out, found), &weight) in out.iter_mut().zip(found).zip(pairs.weights) {
            let [loss, rewards @ .., d_chosen, d_rejected] = found.map(f64::from);
            // By the kit's convention a pair of weight 0 is not there: its rewards are not asked for.
            let rewards = if weight == 0.0 { [0.0; 3] } else { rewards };
            let [reward_chosen, reward_rejected, margin] = rewards;
            *out =
                PairResult { loss, reward_chosen, reward_rejected, margin, d_chosen, d_rejected };
        }
        Ok(())
    }

    fn head(&mut self, head: &Head<'_, F::Element>, out: &mut RowOut<'_>) -> Result<(), String> {
        let scored = scored(head.targets, head.ignore);
        let labels = labels(&scored, &[], head.transform);
        let product = product(head, &scored);
        put_all(out, &scored, &caught(|| self.0.head(&product, &labels))?);
        Ok(())
    }

    fn hidden_grads(
        &mut self,
        head: &Head<'_, F::Element>,
        coefficients: &[f32],
        d_hidden: &mut [f64],
    ) -> Result<(), String> {
        let scored = scored(head.targets, head.ignore);
        let labels = labels(&scored, coefficients, head.transform);
        let product = product(head, &scored);
        let found = caught(|| self.0.hidden_grads(&product, &labels))?;
        for (&(row, _), found) in scored.iter().zip(found.chunks(head.hidden_size.max(1))) {
            let out = d_hidden.iter_mut().skip(row * head.hidden_size);
            out.zip(found).for_each(|(out, &found)| *out = found.to_f32().into());
        }
        Ok(())
    }
}
