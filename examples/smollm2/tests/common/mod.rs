//! A made-up model of two blocks in a GGUF file, and its weights as Hugging Face would keep them.

#![allow(dead_code, reason = "not every test uses all of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(clippy::missing_panics_doc, clippy::cast_precision_loss, reason = "tests")]
#![allow(unreachable_pub, reason = "a module of several tests")]

pub mod oracle;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use candle_core::quantized::gguf_file::{self, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use smollm2::Random;
use smollm2::gguf::Gguf;
use smollm2::model::Model;

pub const WIDTH: usize = 24;
pub const INNER: usize = 40;
pub const BLOCKS: usize = 2;
pub const HEADS: usize = 4;
pub const KEY_HEADS: usize = 2;
pub const HEAD: usize = WIDTH / HEADS;
pub const CONTEXT: usize = 192;
pub const ROPE_BASE: f32 = 500.0;
pub const EPSILON: f32 = 1e-5;

/// Weights by Hugging Face's names without their stem, rows × columns.
pub type Weights = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// The byte-level alphabet: printable bytes are themselves, the others come from U+0100 on.
pub fn alphabet() -> Vec<char> {
    let mut next = 0x100;
    let letter = |byte: u32| {
        if matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff) {
            return char::from_u32(byte).unwrap();
        }
        next += 1;
        char::from_u32(next - 1).unwrap()
    };
    (0..256).map(letter).collect()
}

/// Marks, bytes, and what the merges make.
pub const MERGES: [&str; 8] = ["h e", "l l", "he ll", "hell o", "Ġ w", "Ċ Ċ", "ĊĊ Ġ", "1 2"];

pub fn tokens() -> Vec<String> {
    let mut tokens: Vec<String> =
        ["<|endoftext|>", "<|im_start|>", "<|im_end|>"].map(str::to_owned).to_vec();
    tokens.extend(alphabet().into_iter().map(String::from));
    tokens.extend(MERGES.map(|merge| merge.replace(' ', "")));
    tokens
}

pub const TEMPLATE: &str = "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\nBe kind\
    <|im_end|>\\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\\n' + message['content']}}";

/// How far the log-prob of an answer, of nine tokens at most, may be from one in f64.
///
/// A rounding is 2⁻²⁴/√3 of its number by the root of its mean square, and those of either sign add up by
/// squares. A state goes through some forty on numbers of about 4: √40 · 4 · 2⁻²⁴/√3 = 8.7e-7. A logit
/// sums 24 products of such with weights of 0.5/√3: √24 · 0.29 · 8.7e-7 = 1.2e-6. Nine log-probs that are
/// off alike: 1.1e-5. Three times that.
pub const LOG_PROB: f64 = 3e-5;

/// The largest of some numbers without their signs. `max` would drop one that is NaN: here each must be
/// finite.
pub fn largest(of: impl IntoIterator<Item = f64>) -> f64 {
    of.into_iter().fold(0.0, |top, x| {
        assert!(x.is_finite(), "{x} among numbers");
        f64::max(top, x.abs())
    })
}

/// A folder of a test's own, empty.
pub fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// Random weights; the head is the embedding.
pub fn weights(seed: u64) -> Weights {
    let mut random = Random(seed);
    let mut weights = Weights::new();
    let mut add = |name: String, shape: &[usize], scale: f32, about: f32| {
        let count = shape.iter().product();
        let data = (0..count).map(|_| about + scale * (2.0 * random.uniform() - 1.0)).collect();
        weights.insert(name, (shape.to_vec(), data));
    };
    add("embed_tokens".into(), &[tokens().len(), WIDTH], 0.5, 0.0);
    add("norm".into(), &[WIDTH], 0.3, 1.0);
    for block in 0..BLOCKS {
        let keys = KEY_HEADS * HEAD;
        for (name, shape) in [
            ("q_proj", [WIDTH, WIDTH]),
            ("k_proj", [keys, WIDTH]),
            ("v_proj", [keys, WIDTH]),
            ("o_proj", [WIDTH, WIDTH]),
            ("gate_proj", [INNER, WIDTH]),
            ("up_proj", [INNER, WIDTH]),
            ("down_proj", [WIDTH, INNER]),
        ] {
            add(format!("{block}.{name}"), &shape, 0.5, 0.0);
        }
        add(format!("{block}.input_layernorm"), &[WIDTH], 0.3, 1.0);
        add(format!("{block}.post_attention_layernorm"), &[WIDTH], 0.3, 1.0);
    }
    weights
}

/// Rows of each head as llama.cpp's converter orders them: the two of a rotated pair together.
fn interleaved(data: &[f32], heads: usize, columns: usize) -> Vec<f32> {
    let size = data.len() / heads / columns;
    let mut out = Vec::new();
    for head in 0..heads {
        for pair in 0..size / 2 {
            for side in 0..2 {
                let row = head * size + side * size / 2 + pair;
                out.extend_from_slice(&data[row * columns..(row + 1) * columns]);
            }
        }
    }
    out
}

fn gguf_name(name: &str) -> String {
    let Some((block, name)) = name.split_once('.') else {
        return if name == "norm" { "output_norm.weight" } else { "token_embd.weight" }.into();
    };
    let name = match name {
        "q_proj" => "attn_q",
        "k_proj" => "attn_k",
        "v_proj" => "attn_v",
        "o_proj" => "attn_output",
        "gate_proj" => "ffn_gate",
        "up_proj" => "ffn_up",
        "down_proj" => "ffn_down",
        "input_layernorm" => "attn_norm",
        "rope_factors" => return "rope_freqs.weight".into(),
        _ => "ffn_norm",
    };
    format!("blk.{block}.{name}.weight")
}

/// What the file says beside the weights.
pub fn metadata() -> BTreeMap<&'static str, Value> {
    let number = |x: usize| Value::U32(u32::try_from(x).unwrap());
    let text = |x: &str| Value::String(x.to_owned());
    let tokens = tokens();
    let types = (0..tokens.len()).map(|i| Value::I32(if i < 3 { 3 } else { 1 })).collect();
    BTreeMap::from([
        ("general.architecture", text("llama")),
        ("llama.block_count", number(BLOCKS)),
        ("llama.context_length", number(CONTEXT)),
        ("llama.embedding_length", number(WIDTH)),
        ("llama.feed_forward_length", number(INNER)),
        ("llama.attention.head_count", number(HEADS)),
        ("llama.attention.head_count_kv", number(KEY_HEADS)),
        ("llama.attention.layer_norm_rms_epsilon", Value::F32(EPSILON)),
        ("llama.rope.freq_base", Value::F32(ROPE_BASE)),
        ("tokenizer.ggml.model", text("gpt2")),
        ("tokenizer.ggml.pre", text("smollm")),
        ("tokenizer.ggml.tokens", Value::Array(tokens.iter().map(|token| text(token)).collect())),
        ("tokenizer.ggml.token_type", Value::Array(types)),
        ("tokenizer.ggml.merges", Value::Array(MERGES.map(text).to_vec())),
        ("tokenizer.chat_template", text(TEMPLATE)),
    ])
}

/// Writes a file.
pub fn write(path: &Path, weights: &Weights, metadata: &BTreeMap<&'static str, Value>) {
    let tensors = weights.iter().map(|(name, (shape, data))| {
        let data = match name.rsplit('.').next() {
            Some("q_proj") => interleaved(data, HEADS, WIDTH),
            Some("k_proj") => interleaved(data, KEY_HEADS, WIDTH),
            _ => data.clone(),
        };
        let tensor = Tensor::from_vec(data, shape.as_slice(), &Device::Cpu).unwrap();
        (gguf_name(name), QTensor::quantize(&tensor, GgmlDType::F32).unwrap())
    });
    let tensors: Vec<(String, QTensor)> = tensors.collect();
    let tensors: Vec<_> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let metadata: Vec<_> = metadata.iter().map(|(key, value)| (*key, value)).collect();
    let mut file = File::create(path).unwrap();
    gguf_file::write(&mut file, &metadata, &tensors).unwrap();
}

/// Writes a model and reads it.
pub fn model(name: &str, seed: u64) -> (Weights, Model, PathBuf) {
    let path = folder(name).join("tiny.gguf");
    let weights = weights(seed);
    write(&path, &weights, &metadata());
    (weights, Model::read(&mut Gguf::open(&path).unwrap()).unwrap(), path)
}

/// Pairs of odd lengths in tokens of the tiny vocabulary.
pub fn examples() -> Vec<smollm2::batch::Example> {
    let vocab = u32::try_from(tokens().len()).unwrap();
    let mut random = Random(77);
    let mut some = |count: usize| -> Vec<u32> {
        (0..count).map(|_| u32::try_from(random.bits() % u64::from(vocab)).unwrap()).collect()
    };
    [(1, 3, 5), (7, 1, 2), (13, 9, 4), (5, 6, 1)]
        .map(|(prompt, chosen, rejected)| smollm2::batch::Example {
            prompt: some(prompt),
            chosen: some(chosen),
            rejected: some(rejected),
        })
        .to_vec()
}
