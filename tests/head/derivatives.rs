//! Hidden gradients against dual numbers: the whole way from hidden states to a loss of pairs, from
//! the textbook, without a formula of a gradient.

use dpo_kernel::gradient::{GradBatch, token_coefficients};
use dpo_kernel::head::{
    HeadRow, HeadScratch, Hidden, HiddenMut, Linear, head_forward, hidden_grads_in_place,
};
use dpo_kernel::row::RowNorm;
use dpo_kernel::verify::Dual;
use dpo_kernel::{
    Dispatch, Dpo, Layout, Pair, PairBatch, PairLoss, PairOut, Reference, SequenceLogProb, Span,
    TokenOut, Transform, preference_loss, sequence_log_probs,
};

use crate::case::Random;

const ROWS: usize = 6;
const SIZE: usize = 5;
const VOCAB: usize = 530;
const TARGETS: [u32; ROWS] = [1, 529, 512, 77, 511, 200];
const SPANS: [(usize, usize); 2] = [(0, 3), (3, 6)];
const REFERENCE: [f64; 2] = [-18.5, -17.0];
const TOKEN_WEIGHTS: [f32; ROWS] = [1.0, 0.5, 2.0, 0.25, 1.0, 1.5];
const BETA: f64 = 0.25;

/// Numbers of few bits, so that every logit is exact.
struct Inputs {
    states: Vec<f32>,
    weights: Vec<f32>,
    bias: Vec<f32>,
    transform: (f32, Option<f32>, f32),
}

impl Inputs {
    fn new(transform: (f32, Option<f32>, f32)) -> Self {
        let mut random = Random(3);
        let mut few = |count: usize| -> Vec<f32> {
            (0..count).map(|_| (random.unit() * 16.0).round() / 8.0).collect()
        };
        let (states, weights) = (few(ROWS * SIZE), few(VOCAB * SIZE));
        Self { states, weights, bias: few(VOCAB), transform }
    }

    /// The loss, and its derivative by one number of one hidden state.
    fn loss(&self, row: usize, at: usize) -> Dual {
        let constant = Dual::constant;
        let (scale, softcap, temperature) = self.transform;
        let [scale, temperature] = [scale, temperature].map(|x| constant(x.into()));
        let log_prob = |of: usize| {
            let state = |h: usize| {
                let x = f64::from(self.states[of * SIZE + h]);
                if (of, h) == (row, at) { Dual::variable(x) } else { constant(x) }
            };
            let logit = |column: usize| {
                let mut x = constant(self.bias[column].into());
                for h in 0..SIZE {
                    x = x + state(h) * constant(self.weights[column * SIZE + h].into());
                }
                let x = scale * x;
                let x = softcap.map_or(x, |cap| {
                    let cap = constant(cap.into());
                    cap * (x / cap).tanh()
                });
                x / temperature
            };
            let z = (0..VOCAB).fold(constant(0.0), |z, column| z + logit(column).exp());
            logit(TARGETS[of] as usize) - z.ln()
        };
        let sums = SPANS.map(|(start, end)| {
            (start..end).fold(constant(0.0), |sum, of| {
                sum + constant(TOKEN_WEIGHTS[of].into()) * log_prob(of)
            })
        });
        let ratios = [0, 1].map(|i| sums[i] - constant(REFERENCE[i]));
        let z = constant(BETA) * (ratios[0] - ratios[1]);
        (constant(1.0) + (-z).exp()).ln()
    }

    fn grads(&self, dispatch: Dispatch) -> Vec<f32> {
        let spans = SPANS.map(|(start, end)| Span::new(start, end));
        let layout = Layout::new(&TARGETS, &spans, VOCAB).unwrap();
        let (scale, softcap, temperature) = self.transform;
        let transform = Transform::new(scale, softcap, temperature).unwrap();
        let head = Linear::new(&self.weights, VOCAB, SIZE).unwrap();
        let head = head.with_bias(&self.bias).unwrap().with_transform(transform);
        let states = Hidden::new(&self.states, ROWS, SIZE).unwrap();
        let mut rows = [HeadRow::NEW; 4];
        let mut numbers = vec![f32::NAN; HeadScratch::numbers::<f32, _>(&head, 4)];
        let (mut log_probs, mut norms) = ([0.0; ROWS], [RowNorm::default(); ROWS]);
        let mut grads = vec![f32::NAN; ROWS * SIZE];
        let out = TokenOut::new(&mut log_probs).with_norms(&mut norms);
        let sums = HiddenMut::new(&mut grads, ROWS, SIZE).unwrap();
        let scratch = HeadScratch::new(&mut rows, &mut numbers);
        head_forward(dispatch, states, &head, &layout, out, sums, scratch).unwrap();

        let mut sequences = [SequenceLogProb::default(); 2];
        sequence_log_probs(&log_probs, &layout, Some(&TOKEN_WEIGHTS), &mut sequences).unwrap();
        let pairs = [Pair::new(0, 1)];
        let batch = PairBatch::new(&pairs, &sequences, Reference::Sums(&REFERENCE), 1.0);
        let (mut losses, mut d_log_probs) = ([PairLoss::default()], [0.0; 2]);
        let out = PairOut::new(&mut losses, &mut d_log_probs);
        preference_loss(&Dpo::new(BETA).unwrap(), &batch, out).unwrap();
        let mut coefficients = [0.0; ROWS];
        let weights = Some(&TOKEN_WEIGHTS[..]);
        token_coefficients(&layout, &d_log_probs, weights, None, &mut coefficients).unwrap();
        assert!((losses[0].loss / self.loss(0, 0).value - 1.0).abs() < 1e-6, "the loss itself");

        let batch = GradBatch::new(&layout, &norms, &coefficients);
        let sums = HiddenMut::new(&mut grads, ROWS, SIZE).unwrap();
        let scratch = HeadScratch::new(&mut rows, &mut numbers);
        hidden_grads_in_place(dispatch, states, &head, &batch, sums, scratch).unwrap();
        grads
    }
}

/// What log-probs round away is one of the loss's slope; all else is some ulps.
#[test]
fn hidden_gradients_are_those_of_dual_numbers() {
    for transform in
        [(1.0, None, 1.0), (0.5, None, 1.25), (1.0, Some(5.0), 1.0), (2.0, Some(3.0), 1.5)]
    {
        let inputs = Inputs::new(transform);
        let due: Vec<f64> =
            (0..ROWS * SIZE).map(|i| inputs.loss(i / SIZE, i % SIZE).derivative).collect();
        let size = due.iter().fold(0.0_f64, |a, d| a.max(d.abs()));
        for dispatch in Dispatch::available() {
            for (i, (found, due)) in inputs.grads(dispatch).iter().zip(&due).enumerate() {
                let error = (f64::from(*found) - due).abs();
                assert!(error <= 2e-6 * size, "{transform:?} {dispatch:?} {i}: {found} {due}");
            }
        }
    }
}
