//! A Llama in a GGUF file: its shape, and its weights as f32.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufReader, Seek};
use std::path::Path;

use candle_core::quantized::gguf_file::{Content, Value};
use candle_core::{Device, Tensor};

use crate::head::has_zero_alignment;
use crate::{Fault, Outcome, fault};

/// What the file says of the model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    /// Numbers of a hidden state.
    pub width: usize,
    /// Numbers inside a feed-forward block.
    pub inner: usize,
    /// Blocks.
    pub blocks: usize,
    /// Heads of queries.
    pub heads: usize,
    /// Heads of keys and values.
    pub key_heads: usize,
    /// Tokens that the model was trained to see.
    pub context: usize,
    /// ε of the norms.
    pub epsilon: f32,
    /// Base of the rotary positions.
    pub rope_base: f32,
}

impl Shape {
    /// Numbers of a head.
    #[must_use]
    pub const fn head_size(&self) -> usize {
        self.width / self.heads
    }
}

/// An open file and what its head says.
#[derive(Debug)]
pub struct Gguf {
    name: String,
    file: BufReader<File>,
    content: Content,
    /// Tensors that were asked for.
    read: BTreeSet<String>,
}

impl Gguf {
    /// Opens a file and reads its head.
    ///
    /// # Errors
    /// The file cannot be read, or is not GGUF.
    pub fn open(path: &Path) -> Outcome<Self> {
        let name = path.display().to_string();
        let file = File::open(path).map_err(|error| fault(format!("{name}: {error}")))?;
        let mut file = BufReader::new(file);
        let say = |what: String| fault(format!("{name}: not GGUF: {what}"));
        if has_zero_alignment(&mut file).map_err(|error| say(error.to_string()))? {
            return Err(say("an alignment of 0".into()));
        }
        file.rewind().map_err(|error| say(error.to_string()))?;
        let content = Content::read(&mut file).map_err(|error| say(error.to_string()))?;
        Ok(Self { name, file, content, read: BTreeSet::new() })
    }

    /// What errors call the file.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A value of the file's head, if it is there.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&Value> {
        self.content.metadata.get(key)
    }

    fn missing(&self, key: &str, wanted: &str) -> Fault {
        match self.value(key) {
            None => fault(format!("{}: no `{key}`", self.name)),
            Some(found) => {
                let found = found.value_type();
                fault(format!("{}: `{key}` is {found:?}, not {wanted}", self.name))
            }
        }
    }

    fn count(&self, key: &str) -> Outcome<usize> {
        let count = self.value(key).and_then(|value| value.to_u64().ok());
        let count = count.and_then(|count| usize::try_from(count).ok()).filter(|count| *count > 0);
        count.ok_or_else(|| self.missing(key, "a number above 0"))
    }

    fn real(&self, key: &str) -> Outcome<f32> {
        let real = self.value(key).and_then(|value| value.to_f32().ok());
        let real = real.filter(|x| x.is_finite() && *x > 0.0);
        real.ok_or_else(|| self.missing(key, "an f32 above 0"))
    }

    /// A text of the file's head.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn text(&self, key: &str) -> Outcome<&str> {
        let text = self.value(key).and_then(|value| value.to_string().ok());
        text.map(String::as_str).ok_or_else(|| self.missing(key, "a text"))
    }

    /// The items of a list.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn list(&self, key: &str) -> Outcome<&[Value]> {
        let list = self.value(key).and_then(|value| value.to_vec().ok());
        list.map(Vec::as_slice).ok_or_else(|| self.missing(key, "a list"))
    }

    /// The model's shape.
    ///
    /// # Errors
    /// Another architecture than Llama's, a number that is missing, or numbers that do not fit.
    pub fn shape(&self) -> Outcome<Shape> {
        let architecture = self.text("general.architecture")?;
        if architecture != "llama" {
            let name = &self.name;
            return Err(fault(format!("{name}: a model of `{architecture}`, not of `llama`")));
        }
        if self.value("llama.rope.scaling.type").is_some() {
            return Err(fault(format!("{}: scaled rotary positions are not known", self.name)));
        }
        let heads = self.count("llama.attention.head_count")?;
        let key_heads = match self.value("llama.attention.head_count_kv") {
            None => heads,
            Some(_) => self.count("llama.attention.head_count_kv")?,
        };
        let rope_base = match self.value("llama.rope.freq_base") {
            None => 10_000.0,
            Some(_) => self.real("llama.rope.freq_base")?,
        };
        let shape = Shape {
            width: self.count("llama.embedding_length")?,
            inner: self.count("llama.feed_forward_length")?,
            blocks: self.count("llama.block_count")?,
            heads,
            key_heads,
            context: self.count("llama.context_length")?,
            epsilon: self.real("llama.attention.layer_norm_rms_epsilon")?,
            rope_base,
        };
        let turned = match self.value("llama.rope.dimension_count") {
            None => shape.head_size(),
            Some(_) => self.count("llama.rope.dimension_count")?,
        };
        let fits = shape.width.is_multiple_of(heads)
            && heads.is_multiple_of(key_heads)
            && turned == shape.head_size()
            && turned.is_multiple_of(2);
        if !fits {
            return Err(fault(format!(
                "{}: {} numbers in {heads} heads, {key_heads} of keys, {turned} turned",
                self.name, shape.width
            )));
        }
        Ok(shape)
    }

    /// Whether there is a tensor of this name.
    #[must_use]
    pub fn has(&self, tensor: &str) -> bool {
        self.content.tensor_infos.contains_key(tensor)
    }

    /// A tensor as f32.
    ///
    /// # Errors
    /// There is none of this name, it has another shape, or its data are cut off.
    pub fn tensor(&mut self, tensor: &str, shape: &[usize]) -> Outcome<Tensor> {
        let say = |what: String| fault(format!("{}: `{tensor}` {what}", self.name));
        let Some(info) = self.content.tensor_infos.get(tensor) else {
            return Err(say("is not there".into()));
        };
        if info.shape.dims() != shape {
            return Err(say(format!("is {:?}, not {shape:?}", info.shape.dims())));
        }
        // candle multiplies without a look at what becomes of it.
        let numbers = shape.iter().try_fold(1_usize, |product, dim| product.checked_mul(*dim));
        if numbers.and_then(|numbers| numbers.checked_mul(size_of::<f32>())).is_none() {
            return Err(say(format!("is {shape:?}, of too many numbers")));
        }
        let read = self.content.tensor(&mut self.file, tensor, &Device::Cpu);
        let read = read.and_then(|tensor| tensor.dequantize(&Device::Cpu));
        let read = read.map_err(|error| say(format!("cannot be read: {error}")))?;
        self.read.insert(tensor.to_owned());
        Ok(read)
    }

    /// Refuses a file with tensors that were not read: a bias, or factors of the rotary positions,
    /// without which it is another model.
    ///
    /// # Errors
    /// There are some: the first by name, and how many.
    pub fn all_read(&self) -> Outcome {
        let infos = self.content.tensor_infos.keys();
        let unread: BTreeSet<_> = infos.filter(|name| !self.read.contains(*name)).collect();
        unread.first().map_or(Ok(()), |first| {
            let (name, count) = (&self.name, unread.len());
            Err(fault(format!("{name}: `{first}` is no tensor of a Llama: {count} such in all")))
        })
    }

    /// The weights of queries or keys, with the rows of each head in the order in which Hugging Face
    /// keeps them: first those of the low halves of the rotated pairs, then those of the high ones.
    /// GGUF has the two of a pair beside one another.
    ///
    /// # Errors
    /// As [`Gguf::tensor`].
    pub fn heads(&mut self, tensor: &str, heads: usize, shape: [usize; 2]) -> Outcome<Tensor> {
        let [rows, width] = shape;
        let pairs = self.tensor(tensor, &shape)?.reshape((heads, rows / heads / 2, 2, width))?;
        Ok(pairs.transpose(1, 2)?.contiguous()?.reshape((rows, width))?)
    }
}
