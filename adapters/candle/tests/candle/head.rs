//! Hidden states and a head, against products of candle in f64.
//!
//! The logits are uncertain by (H + r + 8) · 2⁻²⁴ · Σ |terms|; the oracle's bounds take that in. What
//! comes back of gradients g ± e is a product again:
//!
//! ```text
//! Σ g · w      |Δ| ≤ Σ e · |w| + (V + R + H + r + 16) · 2⁻²⁴ · Σ |g| · |w|
//! ```

use candle_core::{DType, Device, Tensor, Var};
use dpo_kernel_candle::dpo_kernel::Dpo;
use dpo_kernel_candle::{Head, Logits, Workspace};

use crate::case::{Case, ROWS, Random, VOCAB, numbers, on};
use crate::oracle::{Oracle, differs};
use crate::storage::sigmoid;

const SIZE: usize = 19;
const RANK: usize = 3;
const SCALE: f32 = 0.75;

/// Tensors of a head, in this order: states, weights, bias, A, B.
struct Parts {
    vars: Vec<Var>,
    /// Those that are there.
    has_bias: bool,
    has_adapter: bool,
}

/// What is due of each tensor: numbers with their bounds.
type Due = Vec<Vec<(f64, f64)>>;

impl Parts {
    fn new(random: &mut Random, states: DType, weights: DType) -> Self {
        let of = |tensor: Tensor| Var::from_tensor(&tensor).unwrap();
        let vars = vec![
            of(random.tensor((ROWS, SIZE), 1.0, states)),
            of(random.tensor((VOCAB, SIZE), 0.3, weights)),
            of(random.tensor((1, VOCAB), 0.5, DType::F32).flatten_all().unwrap()),
            of(random.tensor((RANK, SIZE), 0.3, DType::F32)),
            of(random.tensor((VOCAB, RANK), 0.3, DType::F32)),
        ];
        Self { vars, has_bias: true, has_adapter: true }
    }

    fn head<'a>(&self, of: &'a [Tensor]) -> Head<'a> {
        let mut head = Head::new(&of[0], &of[1]);
        if self.has_bias {
            head = head.with_bias(&of[2]);
        }
        if self.has_adapter {
            head = head.with_adapter(&of[3], &of[4], SCALE);
        }
        head
    }

    fn is_there(&self, part: usize) -> bool {
        match part {
            2 => self.has_bias,
            3 | 4 => self.has_adapter,
            _ => true,
        }
    }

    fn due(&self, case: &Case) -> Due {
        let wide = |i: usize| self.vars[i].to_dtype(DType::F64).unwrap();
        let zeros =
            |of: Tensor, is_there: bool| if is_there { of } else { of.zeros_like().unwrap() };
        let (s, w) = (wide(0), wide(1));
        let bias = zeros(wide(2), self.has_bias);
        let b = zeros((wide(4) * f64::from(SCALE)).unwrap(), self.has_adapter);
        let a = wide(3);
        let t = |x: &Tensor| x.t().unwrap();
        let mul = |x: &Tensor, y: &Tensor| x.matmul(&y.contiguous().unwrap()).unwrap();
        let abs = |x: &Tensor| x.abs().unwrap();
        let logits = |s: &Tensor, w: &Tensor, bias: &Tensor, a: &Tensor, b: &Tensor| {
            let adapted = mul(&mul(s, &t(a)), &t(b));
            (mul(s, &t(w)).broadcast_add(bias).unwrap() + adapted).unwrap()
        };
        let x = logits(&s, &w, &bias, &a, &b);
        let terms = logits(&abs(&s), &abs(&w), &abs(&bias), &abs(&a), &abs(&b));
        let most = numbers(&terms).into_iter().fold(0.0, f64::max);
        let unit = 2_f64.powi(-24);
        let uncertain = (SIZE + RANK + 8) as f64 * unit * most;
        let oracle = Oracle::new(case, &x, uncertain, &|tokens| sigmoid(case, tokens));

        let of = |f: fn(&(f64, f64)) -> f64| {
            let numbers: Vec<f64> = oracle.grads.iter().map(f).collect();
            Tensor::from_vec(numbers, (ROWS, VOCAB), &Device::Cpu).unwrap()
        };
        let (g, e) = (of(|x| x.0), of(|x| x.1));
        let gamma = (VOCAB + ROWS + SIZE + RANK + 16) as f64 * unit;
        // Σ |terms| by which roundings are bounded, and what is uncertain of g.
        let loose = (&e + (abs(&g) * gamma).unwrap()).unwrap();
        let ones = Tensor::ones((1, ROWS), DType::F64, &Device::Cpu).unwrap();
        // Each from g and the other operands; with |g|·γ + e and their magnitudes, its bound.
        let back = |g: &Tensor, s: &Tensor, w: &Tensor, a: &Tensor, b: &Tensor| -> [Tensor; 5] {
            let of_u = mul(g, b);
            let u = (mul(s, &t(a)) * f64::from(SCALE)).unwrap();
            [
                (mul(g, w) + mul(&of_u, a)).unwrap(),
                mul(&t(g), s),
                mul(&ones, g),
                mul(&t(&of_u), s),
                mul(&t(g), &u),
            ]
        };
        let due = back(&g, &s, &w, &a, &b);
        let bounds = back(&loose, &abs(&s), &abs(&w), &abs(&a), &abs(&b));
        let pair = |(due, bound): (&Tensor, &Tensor)| {
            numbers(due).into_iter().zip(numbers(bound)).collect::<Vec<_>>()
        };
        due.iter().zip(&bounds).map(pair).collect()
    }

    /// The gradients of those that are tracked.
    fn run(&self, case: &Case, workspace: &mut Workspace, tracked: usize) -> Vec<Option<Tensor>> {
        let is_tracked = |i: usize| tracked >> i & 1 == 1;
        let tensors = self.vars.iter().enumerate();
        let tensors =
            tensors.map(|(i, var)| if is_tracked(i) { (**var).clone() } else { var.detach() });
        let tensors: Vec<Tensor> = tensors.collect();
        let (layout, loss) = (case.layout(), Dpo::new(0.3).unwrap());
        let batch = case.batch(&layout, false);
        let head = self.head(&tensors);
        let found = workspace.preference_step(on(), &loss, head, &batch).unwrap();
        let grads = found.loss.backward().unwrap();
        self.vars.iter().map(|var| grads.get(var).cloned()).collect()
    }
}

/// Every choice of what is trained: gradients of that and of nothing else.
#[test]
fn what_is_tracked_gets_its_gradient() {
    let mut random = Random(30);
    let mut workspace = Workspace::new();
    for (has_bias, has_adapter) in [(true, true), (true, false), (false, true), (false, false)] {
        let case = Case::new(&mut random);
        let mut parts = Parts::new(&mut random, DType::F32, DType::F32);
        (parts.has_bias, parts.has_adapter) = (has_bias, has_adapter);
        let due = parts.due(&case);
        for tracked in 0..32 {
            let grads = parts.run(&case, &mut workspace, tracked);
            for (i, (grad, due)) in grads.iter().zip(&due).enumerate() {
                let is_due = tracked >> i & 1 == 1 && parts.is_there(i);
                assert_eq!(grad.is_some(), is_due, "tensor {i} of {tracked:b}");
                if let Some(grad) = grad {
                    assert_eq!(grad.dims(), parts.vars[i].dims());
                    assert_eq!(differs(due, grad), None, "tensor {i} of {tracked:b}");
                    assert!(differs(due, &(grad * 1.01).unwrap()).is_some(), "a fault");
                }
            }
        }
    }
}

/// A state's gradient without the adapter's part, and a bias's with a row twice, would be seen.
#[test]
fn faults_are_seen() {
    let mut random = Random(31);
    let case = Case::new(&mut random);
    let mut parts = Parts::new(&mut random, DType::F32, DType::F32);
    let due = parts.due(&case);
    parts.has_adapter = false;
    let without = parts.run(&case, &mut Workspace::new(), 0b111);
    for (due, grad) in due.iter().zip(&without).take(3) {
        assert!(differs(due, grad.as_ref().unwrap()).is_some(), "no adapter");
    }
    parts.has_adapter = true;
    let grads = parts.run(&case, &mut Workspace::new(), 0b11111);
    for (i, (due, grad)) in due.iter().zip(&grads).enumerate() {
        let mut numbers: Vec<f32> =
            grad.as_ref().unwrap().flatten_all().unwrap().to_vec1().unwrap();
        let largest = numbers.iter().fold(0.0_f32, |m, x| m.max(x.abs()));
        numbers.iter_mut().filter(|x| x.abs() == largest).for_each(|x| *x *= 1.003);
        let off = Tensor::from_vec(numbers, grad.as_ref().unwrap().shape(), &Device::Cpu).unwrap();
        assert!(differs(due, &off).is_some(), "an element of tensor {i}");
    }
}

/// Each type of states with each of weights; every gradient has its tensor's.
#[test]
fn types_are_each_tensors_own() {
    let mut random = Random(32);
    let types = [DType::F32, DType::F16, DType::BF16];
    let mut workspace = Workspace::new();
    for states in types {
        for weights in types {
            let case = Case::new(&mut random);
            let mut parts = Parts::new(&mut random, states, weights);
            for has_adapter in [true, false] {
                parts.has_adapter = has_adapter;
                let due = parts.due(&case);
                for tracked in [0b11111, 0b00001, 0b00010] {
                    let grads = parts.run(&case, &mut workspace, tracked);
                    for (i, (grad, due)) in grads.iter().zip(&due).enumerate() {
                        if let Some(grad) = grad {
                            assert_eq!(grad.dtype(), parts.vars[i].dtype());
                            assert_eq!(differs(due, grad), None, "{states:?} {weights:?} {i}");
                        }
                    }
                }
            }
        }
    }
}

/// Logits that candle writes out lead to the same gradients, within the same bounds.
#[test]
fn logits_written_out_agree() {
    let mut random = Random(33);
    let case = Case::new(&mut random);
    let mut parts = Parts::new(&mut random, DType::F32, DType::F32);
    (parts.has_bias, parts.has_adapter) = (true, false);
    let due = parts.due(&case);
    let [states, weights, bias] = [0, 1, 2].map(|i| &parts.vars[i]);
    let logits = states.matmul(&weights.t().unwrap()).unwrap().broadcast_add(bias).unwrap();
    let (layout, loss) = (case.layout(), Dpo::new(0.3).unwrap());
    let batch = case.batch(&layout, false);
    let mut workspace = Workspace::new();
    let written = workspace.preference_step(on(), &loss, Logits::new(&logits), &batch).unwrap();
    let grads = written.loss.backward().unwrap();
    for (i, due) in due.iter().enumerate().take(3) {
        assert_eq!(differs(due, grads.get(&parts.vars[i]).unwrap()), None, "tensor {i}");
    }
}

/// States and weights with padding, rows of states that are not scored: NaN, and not read.
#[test]
fn padding_is_not_read_and_gets_zeros() {
    let mut random = Random(34);
    let case = Case::new(&mut random);
    let mut parts = Parts::new(&mut random, DType::F32, DType::F32);
    (parts.has_bias, parts.has_adapter) = (false, true);
    let due = parts.due(&case);
    let padded = |of: &Var, is_read: &dyn Fn(usize) -> bool| {
        let mut all = Vec::new();
        for (row, numbers) in numbers(of).chunks(SIZE).enumerate() {
            let numbers = numbers.iter().map(|&x| if is_read(row) { x } else { f64::NAN });
            all.extend(numbers.chain([f64::NAN; 4]).map(|x| x as f32));
        }
        let rows = all.len() / (SIZE + 4);
        Var::from_vec(all, (rows, SIZE + 4), &Device::Cpu).unwrap()
    };
    let states = padded(&parts.vars[0], &|row| case.sequence(row).is_some());
    let weights = padded(&parts.vars[1], &|_| true);
    let inside = |of: &Tensor| of.narrow(1, 0, SIZE).unwrap();
    let (layout, loss) = (case.layout(), Dpo::new(0.3).unwrap());
    let batch = case.batch(&layout, false);
    for (is_trained, part) in [(false, 0), (true, 0), (true, 1)] {
        let of_weights = if is_trained { inside(&weights) } else { inside(&weights.detach()) };
        let of_states = inside(&states);
        let head = Head::new(&of_states, &of_weights);
        let head = head.with_adapter(&parts.vars[3], &parts.vars[4], SCALE);
        let mut workspace = Workspace::new();
        let found = workspace.preference_step(on(), &loss, head, &batch).unwrap();
        let grads = found.loss.backward().unwrap();
        let grad = grads.get(if part == 0 { &states } else { &weights }).unwrap();
        assert_eq!(differs(&due[part], &inside(grad).contiguous().unwrap()), None);
        let outside = numbers(&grad.narrow(1, SIZE, 4).unwrap());
        assert!(outside.iter().all(|x| *x == 0.0), "padding has a gradient");
    }
}
