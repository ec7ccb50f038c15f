//! The same model in f64, by the formulas, one plain sequence at a time, with no code of the example.

use super::{BLOCKS, EPSILON, HEAD, HEADS, KEY_HEADS, ROPE_BASE, WIDTH, Weights};

type Rows = Vec<Vec<f64>>;

/// An adapter in f64: A and B by the name of the projection, and α/r.
#[derive(Clone, Debug, Default)]
pub struct Lora {
    pub pairs: std::collections::BTreeMap<String, (Rows, Rows)>,
    pub scale: f64,
}

/// What may be wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    /// Pairs of a rotation beside one another.
    Interleaved,
    /// Keys of the next group of heads.
    Group,
    /// A token sees the one after it.
    Ahead,
}

fn rows(weights: &Weights, name: &str) -> Rows {
    let (shape, data) = &weights[name];
    data.chunks(shape[shape.len() - 1])
        .map(|row| row.iter().map(|x| f64::from(*x)).collect())
        .collect()
}

fn times(matrix: &Rows, x: &[f64]) -> Vec<f64> {
    matrix.iter().map(|row| row.iter().zip(x).map(|(a, b)| a * b).sum()).collect()
}

fn norm(weights: &Weights, name: &str, x: &[f64]) -> Vec<f64> {
    let weight = &rows(weights, name)[0];
    let mean = x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
    let scale = 1.0 / (mean + f64::from(EPSILON)).sqrt();
    x.iter().zip(weight).map(|(x, w)| x * scale * w).collect()
}

fn rotate(head: &[f64], position: usize, fault: Fault) -> Vec<f64> {
    let half = HEAD / 2;
    let mut out = head.to_vec();
    for pair in 0..half {
        let angle = position as f64 * f64::from(ROPE_BASE).powf(-2.0 * pair as f64 / HEAD as f64);
        let (low, high) = if fault == Fault::Interleaved {
            (2 * pair, 2 * pair + 1)
        } else {
            (pair, pair + half)
        };
        out[low] = head[low] * angle.cos() - head[high] * angle.sin();
        out[high] = head[high] * angle.cos() + head[low] * angle.sin();
    }
    out
}

/// Log-probabilities of every token but the first.
pub fn log_probs(weights: &Weights, lora: &Lora, tokens: &[u32], fault: Fault) -> Vec<f64> {
    let embedding = rows(weights, "embed_tokens");
    let mut x: Rows = tokens.iter().map(|&token| embedding[token as usize].clone()).collect();
    for block in 0..BLOCKS {
        let project = |name: &str, x: &[f64]| -> Vec<f64> {
            let name = format!("{block}.{name}");
            let mut y = times(&rows(weights, &name), x);
            if let Some((a, b)) = lora.pairs.get(&name) {
                let low = times(b, &times(a, x));
                y.iter_mut().zip(low).for_each(|(y, low)| *y += lora.scale * low);
            }
            y
        };
        let normed: Rows =
            x.iter().map(|x| norm(weights, &format!("{block}.input_layernorm"), x)).collect();
        let all = |name: &str| -> Rows { normed.iter().map(|x| project(name, x)).collect() };
        let (q, k, v) = (all("q_proj"), all("k_proj"), all("v_proj"));
        for token in 0..tokens.len() {
            let mut out = vec![0.0; WIDTH];
            for head in 0..HEADS {
                let mut group = head / (HEADS / KEY_HEADS);
                if fault == Fault::Group {
                    group = (group + 1) % KEY_HEADS;
                }
                let end = if fault == Fault::Ahead { token + 2 } else { token + 1 };
                let part = |x: &Vec<f64>, head: usize| x[head * HEAD..(head + 1) * HEAD].to_vec();
                let query = rotate(&part(&q[token], head), token, fault);
                let scores: Vec<f64> = (0..end.min(tokens.len()))
                    .map(|seen| {
                        let key = rotate(&part(&k[seen], group), seen, fault);
                        query.iter().zip(&key).map(|(a, b)| a * b).sum::<f64>()
                            / (HEAD as f64).sqrt()
                    })
                    .collect();
                let sum: f64 = scores.iter().map(|score| score.exp()).sum();
                for (seen, score) in scores.iter().enumerate() {
                    for (i, value) in part(&v[seen], group).iter().enumerate() {
                        out[head * HEAD + i] += score.exp() / sum * value;
                    }
                }
            }
            let out = project("o_proj", &out);
            x[token].iter_mut().zip(out).for_each(|(x, out)| *x += out);
        }
        for x in &mut x {
            let n = norm(weights, &format!("{block}.post_attention_layernorm"), x);
            let gate = project("gate_proj", &n);
            let inner: Vec<f64> = (gate.iter().zip(project("up_proj", &n)))
                .map(|(gate, up)| gate / (1.0 + (-gate).exp()) * up)
                .collect();
            x.iter_mut().zip(project("down_proj", &inner)).for_each(|(x, out)| *x += out);
        }
    }
    (1..tokens.len())
        .map(|next| {
            let logits = times(&embedding, &norm(weights, "norm", &x[next - 1]));
            let sum: f64 = logits.iter().map(|logit| logit.exp()).sum();
            logits[tokens[next] as usize] - sum.ln()
        })
        .collect()
}

/// The log-prob of an answer.
pub fn answer(weights: &Weights, lora: &Lora, prompt: &[u32], answer: &[u32], fault: Fault) -> f64 {
    let tokens = [prompt, answer].concat();
    log_probs(weights, lora, &tokens, fault)[prompt.len() - 1..].iter().sum()
}
