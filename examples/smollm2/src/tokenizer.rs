//! Text to tokens and back, by the vocabulary and merges of a GGUF file.
//!
//! `candle_core::quantized::tokenizer` and transformers read such files too, but neither cuts text as
//! SmolLM2 was trained: candle puts a space before every text, and neither takes the digits apart
//! first, which changes what white space before a digit becomes.

use candle_core::quantized::gguf_file::Value;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::{Decoder, Tokenizer};

use crate::gguf::Gguf;
use crate::{Outcome, fault};

/// What `tokenizer.ggml.token_type` says of a plain token.
const PLAIN: i32 = 1;

/// A byte-level BPE.
#[derive(Debug)]
pub struct Text {
    tokenizer: Tokenizer,
    /// Every token's text, in the byte-level alphabet.
    tokens: Vec<String>,
    /// Tokens that are marks and not text.
    marks: Vec<bool>,
}

impl Text {
    /// Reads the vocabulary.
    ///
    /// # Errors
    /// The file's vocabulary is of another kind than SmolLM2's, or broken.
    pub fn read(gguf: &Gguf) -> Outcome<Self> {
        let say = |what: String| fault(format!("{}: {what}", gguf.name()));
        for (key, known) in [("tokenizer.ggml.model", "gpt2"), ("tokenizer.ggml.pre", "smollm")] {
            let found = gguf.text(key)?;
            if found != known {
                return Err(say(format!("`{key}` is `{found}`: only `{known}` is known")));
            }
        }
        let strings = |key: &str| -> Outcome<Vec<String>> {
            let items = gguf.list(key)?.iter().map(|item| item.to_string().cloned());
            items.collect::<Result<_, _>>().map_err(|_| say(format!("`{key}` has no text")))
        };
        let tokens = strings("tokenizer.ggml.tokens")?;
        let merges = strings("tokenizer.ggml.merges")?.into_iter().map(|merge| {
            let parts = merge.split_once(' ').map(|(a, b)| (a.to_owned(), b.to_owned()));
            parts.ok_or_else(|| say(format!("a merge of one part: `{merge}`")))
        });
        let merges: Vec<_> = merges.collect::<Outcome<_>>()?;
        let types = gguf.list("tokenizer.ggml.token_type")?;
        if types.len() != tokens.len() {
            let (types, tokens) = (types.len(), tokens.len());
            return Err(say(format!("{types} types of {tokens} tokens")));
        }
        let marks = types.iter().map(|kind| !matches!(kind, Value::I32(PLAIN))).collect();
        let mut vocab = Vocab::default();
        for (id, token) in (0_u32..).zip(&tokens) {
            if vocab.insert(token.clone(), id).is_some() {
                return Err(say(format!("token {id}, `{token}`, was there before")));
            }
        }
        let bpe = BPE::builder().vocab_and_merges(vocab, merges).build();
        let mut tokenizer = Tokenizer::new(bpe.map_err(|error| say(error.to_string()))?);
        let cut = vec![Digits::new(true).into(), ByteLevel::new(false, true, true).into()];
        tokenizer.with_pre_tokenizer(Some(Sequence::new(cut)));
        Ok(Self { tokenizer, tokens, marks })
    }

    /// Tokens of a text. Marks are not read in it: `<|im_end|>` in a text is ten characters.
    ///
    /// # Errors
    /// The vocabulary lacks a byte of it.
    pub fn encode(&self, text: &str) -> Outcome<Vec<u32>> {
        let tokens = self.tokenizer.encode_fast(text, false)?.get_ids().to_vec();
        if tokens.iter().map(|&token| self.bytes(token)).sum::<usize>() != text.len() {
            return Err(fault(format!("the vocabulary has no tokens for all of {text:?}")));
        }
        Ok(tokens)
    }

    /// Bytes of a token: characters of the byte-level alphabet.
    fn bytes(&self, token: u32) -> usize {
        self.token(token).map_or(0, |token| token.chars().count())
    }

    fn token(&self, token: u32) -> Option<&str> {
        self.tokens.get(usize::try_from(token).ok()?).map(String::as_str)
    }

    /// The text of tokens, without marks.
    ///
    /// # Errors
    /// Of the decoder.
    pub fn decode(&self, tokens: &[u32]) -> Outcome<String> {
        let is_text = |token: &&u32| {
            let index = usize::try_from(**token).unwrap_or(usize::MAX);
            self.marks.get(index).is_some_and(|is_mark| !is_mark)
        };
        let pieces = tokens.iter().filter(is_text).filter_map(|&token| self.token(token));
        let pieces = pieces.map(str::to_owned).collect();
        Ok(ByteLevel::default().decode_chain(pieces)?.concat())
    }

    /// The token of a mark.
    ///
    /// # Errors
    /// There is none.
    pub fn mark(&self, mark: &str) -> Outcome<u32> {
        let found = self.tokens.iter().position(|token| token == mark);
        let found = found.and_then(|index| u32::try_from(index).ok());
        found.ok_or_else(|| fault(format!("the vocabulary has no `{mark}`")))
    }
}
