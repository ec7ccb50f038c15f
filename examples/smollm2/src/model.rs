//! A Llama from candle's differentiable operations, up to its last norm: hidden states, no logits.
//!
//! ```text
//! x = embedding[token]
//! x = x + o(attention(q(n), k(n), v(n)))        n = norm(x)          in every block
//! x = x + down(silu(gate(n)) · up(n))           n = norm(x)
//! states = norm(x)                              of the rows that are scored
//! ```
//!
//! Tokens of all sequences lie packed below one another, without padding.

use std::sync::Arc;

use candle_core::{Device, Tensor};

use crate::attention::{Attention, Heads};
use crate::batch::Packed;
use crate::gguf::{Gguf, Shape};
use crate::lora::{Loras, Projection};
use crate::ops::{Frozen, RmsNorm, SwiGlu};
use crate::rotary::Rotary;
use crate::tree::Tree;
use crate::{Outcome, fault};

/// Positions that a sequence may have at most, whatever the file says.
const POSITIONS: usize = 1 << 15;

/// The frozen weights.
#[derive(Debug)]
pub struct Model {
    shape: Shape,
    embedding: Tensor,
    blocks: Vec<Block>,
    norm: RmsNorm,
    head: Tensor,
    rotary: Arc<Rotary>,
}

#[derive(Debug)]
struct Block {
    attention_norm: RmsNorm,
    feed_norm: RmsNorm,
    weights: [Frozen; Projection::ALL.len()],
}

/// Keys and values of tokens that a sequence has already, by block.
#[derive(Debug, Default)]
pub struct Cache {
    seen: usize,
    blocks: Vec<(Tensor, Tensor)>,
}

impl Model {
    /// Reads the weights. The head is the embedding unless the file has one.
    ///
    /// # Errors
    /// Of the file.
    pub fn read(gguf: &mut Gguf) -> Outcome<Self> {
        let shape = gguf.shape()?;
        let vocab = gguf.list("tokenizer.ggml.tokens")?.len();
        let Shape { width, blocks, .. } = shape;
        let embedding = gguf.tensor("token_embd.weight", &[vocab, width])?;
        let head = if gguf.has("output.weight") {
            gguf.tensor("output.weight", &[vocab, width])?
        } else {
            embedding.clone()
        };
        let blocks = (0..blocks).map(|block| Block::read(gguf, &shape, block));
        let blocks = blocks.collect::<Outcome<_>>()?;
        let norm = norm(gguf, &shape, "output_norm.weight")?;
        gguf.all_read()?;
        let positions = shape.context.min(POSITIONS);
        let rotary = Arc::new(Rotary::new(positions, shape.head_size(), shape.rope_base));
        Ok(Self { shape, embedding, blocks, norm, head, rotary })
    }

    /// What the file says of the model.
    #[must_use]
    pub const fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The head's weights, V × H.
    #[must_use]
    pub const fn head(&self) -> &Tensor {
        &self.head
    }

    /// Tokens of a sequence at most.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.shape.context.min(POSITIONS)
    }

    /// Inputs and outputs of a projection.
    #[must_use]
    pub fn size(&self, projection: Projection) -> [usize; 2] {
        size(&self.shape, projection)
    }

    /// Hidden states of the rows that are scored, R × H, after the last norm.
    ///
    /// # Errors
    /// candle's; a sequence that is too long.
    pub fn states(&self, batch: &Packed, loras: Option<&Loras>) -> Outcome<Tensor> {
        let longest = batch.trees.iter().map(|tree| tree.prompt + tree.first.max(tree.second));
        self.check_length(longest.max().unwrap_or(0))?;
        let trees: Arc<[Tree]> = batch.trees.as_slice().into();
        let x = self.blocks(&batch.tokens, loras, |_, q, k, v| {
            Ok(q.apply_op3(&k, &v, self.attention(trees.clone(), 0))?)
        })?;
        let rows = Tensor::new(batch.rows.as_slice(), &Device::Cpu)?;
        Ok(x.index_select(&rows, 0)?.apply_op1(self.norm.clone())?)
    }

    /// Logits of the token after these, which follow those of the cache.
    ///
    /// # Errors
    /// candle's; a sequence that is too long.
    pub fn next(
        &self,
        tokens: &[u32],
        loras: Option<&Loras>,
        cache: &mut Cache,
    ) -> Outcome<Vec<f32>> {
        let past = cache.seen;
        cache.seen += tokens.len();
        self.check_length(cache.seen)?;
        let trees: Arc<[Tree]> = Arc::new([Tree { prompt: cache.seen, first: 0, second: 0 }]);
        let x = self.blocks(tokens, loras, |block, q, k, v| {
            let (k, v) = match cache.blocks.get(block) {
                Some((early_k, early_v)) => {
                    (Tensor::cat(&[early_k, &k], 0)?, Tensor::cat(&[early_v, &v], 0)?)
                }
                None => (k, v),
            };
            let out = q.apply_op3(&k, &v, self.attention(trees.clone(), past))?;
            match cache.blocks.get_mut(block) {
                Some(place) => *place = (k, v),
                None => cache.blocks.push((k, v)),
            }
            Ok(out)
        })?;
        let last = x.narrow(0, tokens.len().saturating_sub(1), 1)?.contiguous()?;
        let state = last.apply_op1(self.norm.clone())?;
        Ok(state.apply_op1(Frozen(self.head.clone()))?.squeeze(0)?.to_vec1()?)
    }

    fn check_length(&self, tokens: usize) -> Outcome {
        let limit = self.limit();
        if tokens <= limit {
            return Ok(());
        }
        Err(fault(format!("a sequence of {tokens} tokens for a model of {limit}")))
    }

    fn attention(&self, trees: Arc<[Tree]>, past: usize) -> Attention {
        let Shape { heads: queries, key_heads: keys, .. } = self.shape;
        let heads = Heads { queries, keys, size: self.shape.head_size() };
        Attention { heads, rotary: self.rotary.clone(), trees, past }
    }

    fn blocks(
        &self,
        tokens: &[u32],
        loras: Option<&Loras>,
        mut attend: impl FnMut(usize, Tensor, Tensor, Tensor) -> Outcome<Tensor>,
    ) -> Outcome<Tensor> {
        use Projection::{Down, Gate, Key, Output, Query, Up, Value};
        let ids = Tensor::new(tokens, &Device::Cpu)?;
        let mut x = self.embedding.index_select(&ids, 0)?;
        for (index, block) in self.blocks.iter().enumerate() {
            let project = |which, x: &Tensor| block.project(which, x, index, loras);
            let n = x.apply_op1(block.attention_norm.clone())?;
            let (q, k, v) = (project(Query, &n)?, project(Key, &n)?, project(Value, &n)?);
            x = (x + project(Output, &attend(index, q, k, v)?)?)?;
            let n = x.apply_op1(block.feed_norm.clone())?;
            let inner = project(Gate, &n)?.apply_op2(&project(Up, &n)?, SwiGlu)?;
            x = (x + project(Down, &inner)?)?;
        }
        Ok(x)
    }
}

impl Block {
    fn read(gguf: &mut Gguf, shape: &Shape, block: usize) -> Outcome<Self> {
        let mut weight = |projection: Projection| {
            let name = format!("blk.{block}.{}.weight", projection.gguf());
            let [inputs, outputs] = size(shape, projection);
            let weight = match projection {
                Projection::Query => gguf.heads(&name, shape.heads, [outputs, inputs])?,
                Projection::Key => gguf.heads(&name, shape.key_heads, [outputs, inputs])?,
                _ => gguf.tensor(&name, &[outputs, inputs])?,
            };
            Outcome::Ok(Frozen(weight))
        };
        let [q, k, v, o, gate, up, down] = Projection::ALL;
        let weights = [
            weight(q)?,
            weight(k)?,
            weight(v)?,
            weight(o)?,
            weight(gate)?,
            weight(up)?,
            weight(down)?,
        ];
        Ok(Self {
            attention_norm: norm(gguf, shape, &format!("blk.{block}.attn_norm.weight"))?,
            feed_norm: norm(gguf, shape, &format!("blk.{block}.ffn_norm.weight"))?,
            weights,
        })
    }

    /// `x·Wᵀ + (x·Aᵀ)·Bᵀ · α/r`, the second only where there is an adapter.
    fn project(
        &self,
        projection: Projection,
        x: &Tensor,
        block: usize,
        loras: Option<&Loras>,
    ) -> Outcome<Tensor> {
        let [q, k, v, o, gate, up, down] = &self.weights;
        let weight = match projection {
            Projection::Query => q,
            Projection::Key => k,
            Projection::Value => v,
            Projection::Output => o,
            Projection::Gate => gate,
            Projection::Up => up,
            Projection::Down => down,
        };
        let y = x.apply_op1(weight.clone())?;
        let Some((a, b, scale)) = loras.and_then(|loras| loras.get(block, projection)) else {
            return Ok(y);
        };
        let low = (x.matmul(&a.t()?)? * scale)?;
        Ok((y + low.matmul(&b.t()?)?)?)
    }
}

fn size(shape: &Shape, projection: Projection) -> [usize; 2] {
    let keys = shape.key_heads * shape.head_size();
    match projection {
        Projection::Query | Projection::Output => [shape.width, shape.width],
        Projection::Key | Projection::Value => [shape.width, keys],
        Projection::Gate | Projection::Up => [shape.width, shape.inner],
        Projection::Down => [shape.inner, shape.width],
    }
}

fn norm(gguf: &mut Gguf, shape: &Shape, name: &str) -> Outcome<RmsNorm> {
    let weight = gguf.tensor(name, &[shape.width])?.to_vec1()?;
    Ok(RmsNorm { weight, epsilon: shape.epsilon })
}
