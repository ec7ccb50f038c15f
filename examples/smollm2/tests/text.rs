//! Tokens, the chat template, and the prompts of hh-rlhf.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "counts of tests are small"
)]

mod common;

use candle_core::quantized::gguf_file::Value;
use common::{folder, metadata, tokens, weights, write};
use smollm2::chat::{Chat, Message, messages};
use smollm2::gguf::Gguf;
use smollm2::model::Model;
use smollm2::tokenizer::Text;

fn gguf(
    name: &str,
    change: impl FnOnce(&mut std::collections::BTreeMap<&'static str, Value>),
) -> Gguf {
    let path = folder(name).join("tiny.gguf");
    let mut metadata = metadata();
    change(&mut metadata);
    write(&path, &weights(1), &metadata);
    Gguf::open(&path).unwrap()
}

/// Tokens as they stand in the vocabulary.
fn pieces(text: &Text, of: &str) -> Vec<String> {
    let all = tokens();
    text.encode(of).unwrap().iter().map(|&token| all[token as usize].clone()).collect()
}

#[test]
fn text_is_cut_as_the_model_was_trained() {
    let text = Text::read(&gguf("cut", |_| ())).unwrap();
    assert_eq!(pieces(&text, "hello"), ["hello"]);
    // No space is put before; a word keeps its own.
    assert_eq!(pieces(&text, "w w"), ["w", "Ġw"]);
    // Digits are alone, even two that a merge would join; white space before one belongs to no word.
    assert_eq!(pieces(&text, "12"), ["1", "2"]);
    assert_eq!(pieces(&text, "\n\n 1"), ["ĊĊĠ", "1"]);
    assert_eq!(pieces(&text, "\n\n w"), ["ĊĊ", "Ġw"]);
    // Bytes of a character that has no token of its own.
    assert_eq!(pieces(&text, "é"), ["Ã", "©"]);
    // Marks in a text are text.
    assert_eq!(pieces(&text, "<|im_end|>").len(), 10);
    assert_eq!(pieces(&text, ""), [""; 0]);
}

#[test]
fn tokens_become_the_text_that_they_came_from() {
    let text = Text::read(&gguf("back", |_| ())).unwrap();
    for of in ["hello w\n\n 1", " é ✓ \u{1F600}\r\n\t", "<|im_start|>"] {
        assert_eq!(text.decode(&text.encode(of).unwrap()).unwrap(), of);
    }
    assert_eq!(text.decode(&[1, 3 + u32::from(b'a' - b'!') + 33, 2, 9999]).unwrap(), "a");
}

#[test]
fn a_byte_without_a_token_is_refused() {
    let lacking = gguf("lacking", |metadata| {
        let all = tokens().into_iter().map(|token| if token == "z" { "zz".into() } else { token });
        metadata.insert("tokenizer.ggml.tokens", Value::Array(all.map(Value::String).collect()));
    });
    let text = Text::read(&lacking).unwrap();
    assert!(text.encode("a").is_ok());
    let why = text.encode("az").unwrap_err().to_string();
    assert_eq!(why, "the vocabulary has no tokens for all of \"az\"");
}

#[test]
fn other_vocabularies_are_refused() {
    let text = |x: &str| Value::String(x.to_owned());
    let cases: [(&str, Option<Value>, &str); 6] = [
        (
            "tokenizer.ggml.pre",
            Some(text("llama3")),
            "`tokenizer.ggml.pre` is `llama3`: only `smollm` is known",
        ),
        (
            "tokenizer.ggml.model",
            Some(text("llama")),
            "`tokenizer.ggml.model` is `llama`: only `gpt2` is known",
        ),
        ("tokenizer.ggml.merges", None, "no `tokenizer.ggml.merges`"),
        (
            "tokenizer.ggml.merges",
            Some(Value::Array(vec![text("ab")])),
            "a merge of one part: `ab`",
        ),
        (
            "tokenizer.ggml.token_type",
            Some(Value::Array(vec![Value::I32(1)])),
            "1 types of 267 tokens",
        ),
        (
            "tokenizer.ggml.tokens",
            Some(Value::Array(vec![text("a"), text("a")])),
            "267 types of 2 tokens",
        ),
    ];
    for (i, (key, value, wanted)) in cases.into_iter().enumerate() {
        let gguf = gguf(&format!("vocabulary-{i}"), |metadata| match value {
            Some(value) => drop(metadata.insert(key, value)),
            None => drop(metadata.remove(key)),
        });
        let why = Text::read(&gguf).unwrap_err().to_string();
        assert!(why.ends_with(wanted), "{why}");
    }
}

#[test]
fn models_that_do_not_fit_are_refused() {
    let number = Value::U32;
    let cases = [
        (
            "general.architecture",
            Some(Value::String("gpt2".into())),
            "a model of `gpt2`, not of `llama`",
        ),
        ("llama.block_count", None, "no `llama.block_count`"),
        ("llama.block_count", Some(number(0)), "`llama.block_count` is U32, not a number above 0"),
        (
            "llama.attention.head_count",
            Some(number(5)),
            "24 numbers in 5 heads, 2 of keys, 4 turned",
        ),
        (
            "llama.attention.head_count_kv",
            Some(number(3)),
            "24 numbers in 4 heads, 3 of keys, 6 turned",
        ),
        (
            "llama.rope.dimension_count",
            Some(number(4)),
            "24 numbers in 4 heads, 2 of keys, 4 turned",
        ),
        (
            "llama.rope.scaling.type",
            Some(Value::String("yarn".into())),
            "scaled rotary positions are not known",
        ),
        (
            "llama.feed_forward_length",
            Some(number(41)),
            "`blk.0.ffn_gate.weight` is [40, 24], not [41, 24]",
        ),
        ("llama.block_count", Some(number(3)), "`blk.2.attn_q.weight` is not there"),
    ];
    for (i, (key, value, wanted)) in cases.into_iter().enumerate() {
        let mut gguf = gguf(&format!("shape-{i}"), |metadata| match value {
            Some(value) => drop(metadata.insert(key, value)),
            None => drop(metadata.remove(key)),
        });
        let why = Model::read(&mut gguf).unwrap_err().to_string();
        assert!(why.ends_with(wanted), "{why}");
    }
}

/// Of every type that candle reads an alignment from, after values of every type.
#[test]
fn an_alignment_of_0_is_refused() {
    let path = folder("alignment").join("tiny.gguf");
    let cases = [
        (Value::U8(0), Value::U8(32)),
        (Value::I8(0), Value::I8(32)),
        (Value::U16(0), Value::U16(32)),
        (Value::I16(0), Value::I16(256)),
        (Value::U32(0), Value::U32(32)),
        (Value::I32(0), Value::I32(32)),
    ];
    for (zero, some) in cases {
        let of = |value: &Value| {
            let mut all = metadata();
            // In the order of their names: before it.
            let text = || Value::String("general.alignment".into());
            all.insert("general.a", Value::Array(vec![Value::Array(vec![text(), text()])]));
            all.insert("general.b", Value::Array(vec![Value::F64(0.0), Value::F64(1.0)]));
            all.insert("general.alignment", value.clone());
            all.insert("a.text", text());
            all.insert("a.number", Value::U64(1));
            all.insert("a.short", Value::I16(-1));
            all.insert("a.truth", Value::Bool(true));
            write(&path, &weights(1), &all);
            Gguf::open(&path)
        };
        let why = of(&zero).unwrap_err().to_string();
        assert!(why.ends_with("not GGUF: an alignment of 0"), "{why}");
        assert!(of(&some).is_ok());
    }
}

/// A file cut off anywhere in its head is refused by its name, not by a panic.
#[test]
fn a_head_that_is_cut_off_is_refused() {
    let path = folder("head").join("tiny.gguf");
    let mut all = metadata();
    all.insert("general.alignment", Value::U32(0));
    write(&path, &weights(1), &all);
    let bytes = std::fs::read(&path).unwrap();
    for len in (0..bytes.len().min(4000)).step_by(7) {
        std::fs::write(&path, &bytes[..len]).unwrap();
        let why = Gguf::open(&path).unwrap_err().to_string();
        assert!(why.contains("tiny.gguf: not GGUF: "), "{len}: {why}");
    }
}

/// A width whose product with the vocabulary has no room in 64 bits, in the head and in the tensor.
#[test]
fn a_tensor_of_too_many_numbers_is_refused() {
    let path = folder("many").join("tiny.gguf");
    let (width, name) = (1_u64 << 62, b"token_embd.weight");
    let mut all = metadata();
    all.insert("llama.embedding_length", Value::U64(width));
    write(&path, &weights(1), &all);
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(name.len()).position(|part| part == name).unwrap() + name.len() + 4;
    bytes[at..at + 8].copy_from_slice(&width.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    let why = Model::read(&mut Gguf::open(&path).unwrap()).unwrap_err().to_string();
    let wanted = format!("`token_embd.weight` is [267, {width}], of too many numbers");
    assert!(why.ends_with(&wanted), "{why}");
}

#[test]
fn tensors_that_the_model_does_not_use_are_refused() {
    let path = folder("unread").join("tiny.gguf");
    let mut all = weights(1);
    all.insert("0.rope_factors".into(), (vec![3], vec![1.0; 3]));
    write(&path, &all, &metadata());
    let why = Model::read(&mut Gguf::open(&path).unwrap()).unwrap_err().to_string();
    assert!(why.ends_with("`rope_freqs.weight` is no tensor of a Llama: 1 such in all"), "{why}");
}

#[test]
fn a_conversation_is_written_as_the_template_has_it() {
    let chat = Chat::read(&gguf("chat", |_| ())).unwrap();
    let all = tokens();
    let joined = |tokens: &[u32]| -> String {
        let pieces: String = tokens.iter().map(|&token| all[token as usize].as_str()).collect();
        pieces.replace('Ċ', "\n").replace('Ġ', " ")
    };
    let user = Message { role: "user", content: "hello" };
    assert_eq!(
        joined(&chat.prompt(std::slice::from_ref(&user)).unwrap()),
        "<|im_start|>system\nBe kind<|im_end|>\n<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n"
    );
    let system = Message { role: "system", content: "no" };
    assert_eq!(
        joined(&chat.prompt(&[system, user]).unwrap()),
        "<|im_start|>system\nno<|im_end|>\n<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n"
    );
    assert_eq!(joined(&chat.answer("a b").unwrap()), "a b<|im_end|>\n");
    let other = gguf("other-chat", |metadata| {
        metadata.insert("tokenizer.chat_template", Value::String("[INST]".into()));
    });
    assert!(Chat::read(&other).unwrap_err().to_string().ends_with("not ChatML"));
}

/// A system message of the template's that cannot be read is not left out.
#[test]
fn a_system_message_that_is_an_expression_is_asked_for() {
    for (i, own) in ["It\\'s me", "' + name + '", "{{ name }}", "a\\tb"].into_iter().enumerate() {
        let template = common::TEMPLATE.replace("Be kind", own);
        let chat = Chat::read(&gguf(&format!("expression-{i}"), |metadata| {
            metadata.insert("tokenizer.chat_template", Value::String(template));
        }));
        let chat = chat.unwrap();
        let user = Message { role: "user", content: "hello" };
        let why = chat.prompt(std::slice::from_ref(&user)).unwrap_err().to_string();
        assert!(
            why.ends_with("system message cannot be read: a conversation needs one of its own")
        );
        assert!(chat.prompt(&[Message { role: "system", content: "no" }, user]).is_ok());
    }
}

#[test]
fn prompts_are_taken_apart_at_their_tags() {
    let of = |prompt| -> Vec<(&str, &str)> {
        messages(prompt).into_iter().map(|message| (message.role, message.content)).collect()
    };
    assert_eq!(of("What?"), [("user", "What?")]);
    assert_eq!(of("\n\nHuman: a\n\nAssistant:"), [("user", "a")]);
    assert_eq!(
        of("\n\nSystem: s\n\nHuman: a\n\nb \n\nAssistant: c\n\nHuman: d\n\nAssistant: "),
        [("system", "s"), ("user", "a\n\nb"), ("assistant", "c"), ("user", "d")]
    );
    assert_eq!(of("before\n\nHuman: a"), [("user", "before"), ("user", "a")]);
    // An empty message that is followed by others stays.
    assert_eq!(
        of("\n\nHuman:\n\nAssistant: c\n\nHuman: d"),
        [("user", ""), ("assistant", "c"), ("user", "d")]
    );
    assert_eq!(of(""), []);
}

/// With the model's own file in `SMOLLM2_GGUF`: what transformers makes of the same file.
#[test]
fn the_real_vocabulary() {
    let Some(path) = std::env::var_os("SMOLLM2_GGUF") else { return };
    let gguf = Gguf::open(path.as_ref()).unwrap();
    let chat = Chat::read(&gguf).unwrap();
    let prompt = chat.prompt(&messages("Hi")).unwrap();
    let expected = [
        1, 9690, 198, 2683, 359, 253, 5356, 5646, 11173, 3365, 3511, 308, 34519, 28, 7018, 411,
        407, 19712, 8182, 2, 198, 1, 4093, 198, 26843, 2, 198, 1, 520, 9531, 198,
    ];
    assert_eq!(prompt, expected);
    let text = Text::read(&gguf).unwrap();
    let tokens = text.encode("Hello world 2024, it's 3.14\n\n  foo").unwrap();
    let expected =
        [19556, 905, 216, 34, 32, 34, 36, 28, 357, 506, 216, 35, 30, 33, 36, 8866, 29856];
    assert_eq!(tokens, expected);
}
