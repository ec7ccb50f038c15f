//! Structs have one layout on both sides, and constants one value: as the C compiler sees them.

use std::fmt::Write as _;
use std::fs;
use std::mem::{align_of, offset_of, size_of};

use dpo_kernel::c::*;

use crate::header::{headers, of_code, of_header, sources};
use crate::programs::{Language, Link, compile, run};

/// A struct as Rust lays it out: name, size, alignment, and offset of each field.
type Layout = (&'static str, usize, usize, Vec<(&'static str, usize)>);

macro_rules! layouts {
    ($($name:ident { $($field:ident),* $(,)? })*) => {
        vec![$((
            stringify!($name),
            size_of::<$name>(),
            align_of::<$name>(),
            vec![$((stringify!($field), offset_of!($name, $field))),*],
        )),*]
    };
}

fn rust() -> Vec<Layout> {
    layouts! {
        dpo_error { status, subject, numbers, value }
        dpo_dispatch { level, arithmetic }
        dpo_transform { scale, softcap, temperature }
        dpo_logits { size, data, len, rows, vocab, stride, r#type, transform }
        dpo_logits_mut { size, data, len, rows, vocab, stride, r#type, transform }
        dpo_span { start, end }
        dpo_layout { size, targets, rows, spans, count, vocab, given, ignore, order }
        dpo_token_summary { tokens, masked_tokens }
        dpo_sequence_log_prob { sum, count }
        dpo_row_norm { }
        dpo_row_details { entropy, mean_logit, log_sum_sq_probs, argmax }
        dpo_row_stats {
            transform, flags, target, target_value, shift, max, argmax, tops,
            reserved, columns, others, weighted, squares, values,
        }
        dpo_row_result { log_z, log_prob, target_logit, columns, norm, details }
        dpo_option { parameter, value }
        dpo_loss { name, options }
        dpo_objective { size, losses, count, kind, reserved, term_weights, order, order_len }
        dpo_pair { chosen, rejected }
        dpo_pairs {
            size, pairs, count, reference_sums, reference_sequences, weights, offsets, divisor,
        }
        dpo_pair_log_probs {
            policy_chosen, policy_rejected, reference_chosen, reference_rejected, chosen_tokens,
            rejected_tokens, offset,
        }
        dpo_pair_loss { loss, reward_chosen, reward_rejected, margin, d_chosen, d_rejected }
        dpo_summary {
            pairs, correct, ties, displaced, saturated, saturated_wrong,
            left_out, loss_sum, reward_chosen_sum, reward_rejected_sum, margin_sum,
        }
        dpo_answer { sequence, label }
        dpo_unpaired_batch {
            size, answers, count, reference_sums, reference_sequences, weights, losses, divisor,
        }
        dpo_answer_loss { loss, reward, d_log_prob }
        dpo_unpaired_summary {
            desirable, undesirable, left_out, desirable_loss_sum, undesirable_loss_sum,
            desirable_reward_sum, undesirable_reward_sum,
        }
        dpo_nll {
            size, weight, divisor, per, term, of, reserved, pairs, answers, count, weights,
        }
        dpo_nll_summary { sequences, tokens, left_out, loss_sum }
        dpo_grads { size, norms, coefficients, unscored, reserved }
        dpo_tile { size, data, len, coefficient, norm, transform, r#type, first_column, target }
        dpo_head {
            size, weights, len, vocab, hidden, stride, r#type, transform, bias, panels,
        }
        dpo_hidden { size, data, len, rows, hidden, stride, r#type, reserved }
        dpo_hidden_mut { size, data, len, rows, hidden, stride, r#type, reserved }
        dpo_head_mut { size, weights, len, stride, r#type, mode, bias }
        dpo_head_scratch { size, numbers, len, rows }
        dpo_step {
            size, layout, in_place, logits, grads, log_probs, norms, sequences, d_log_probs,
            coefficients, token_weights, tokens, nll, d_nll, nll_summary, unscored, reserved,
        }
    }
}

/// The fields of the one struct that keeps them to itself.
const NORM: [(&str, usize); 4] =
    [("shift", 0), ("exponent", 4), ("inverse", 8), ("complement", 12)];

/// One line a struct, one a field, and one a constant of the code.
fn lines(layouts: &[Layout]) -> String {
    let mut lines = String::new();
    for (name, size, align, fields) in layouts {
        let fields = if *name == "dpo_row_norm" { &NORM[..] } else { &fields[..] };
        writeln!(lines, "{name} {size} {align}").unwrap();
        for (field, offset) in fields {
            let field = field.trim_start_matches("r#");
            writeln!(lines, "{name}.{field} {offset}").unwrap();
        }
    }
    let version = env!("CARGO_PKG_VERSION").split('.').zip(["MAJOR", "MINOR", "PATCH"]);
    let mut constants = of_code(&sources()).constants;
    constants.extend(
        version.map(|(value, part)| (format!("DPO_KERNEL_VERSION_{part}"), value.parse().unwrap())),
    );
    for (name, value) in constants {
        writeln!(lines, "{name} {value}").unwrap();
    }
    lines
}

/// The same from the C compiler, over the structs, fields and constants that the header has.
fn program() -> String {
    let mut code = String::from(
        "#include <dpo_kernel.h>\n#include <stddef.h>\n#include <stdio.h>\n#define ALIGN(T) \
         offsetof(struct T##_alignment, value)\n",
    );
    let mut body = String::new();
    for (name, _, _, fields) in rust() {
        writeln!(code, "struct {name}_alignment {{ char first; {name} value; }};").unwrap();
        let size = format!("(unsigned)sizeof({name}), (unsigned)ALIGN({name})");
        writeln!(body, "    printf(\"{name} %u %u\\n\", {size});").unwrap();
        let header = of_header(&headers());
        let declared =
            header.structs.get(name).unwrap_or_else(|| panic!("no {name} in the header"));
        for field in declared.split("; ") {
            let field = field.rsplit([' ', '*']).next().unwrap();
            let field = field.split('[').next().unwrap();
            let offset = format!("(unsigned)offsetof({name}, {field})");
            writeln!(body, "    printf(\"{name}.{field} %u\\n\", {offset});").unwrap();
        }
        assert!(!fields.is_empty() || name == "dpo_row_norm");
    }
    for name in of_header(&headers()).constants.keys() {
        writeln!(body, "    printf(\"{name} %ld\\n\", (long){name});").unwrap();
    }
    code + "int main(void) {\n" + &body + "    return 0;\n}\n"
}

#[test]
fn layouts_agree() {
    let listed: Vec<String> = rust().iter().map(|(name, ..)| (*name).to_owned()).collect();
    let mut declared: Vec<String> = of_header(&headers()).structs.into_keys().collect();
    let mut sorted = listed;
    sorted.sort();
    declared.sort();
    assert_eq!(sorted, declared, "structs that are compared, and those of the header");
    assert_eq!(size_of::<dpo_row_norm>(), 16, "four 32-bit numbers");

    let source = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("layout.c");
    fs::write(&source, program()).unwrap();
    for language in [Language::C, Language::Cpp] {
        if let Some(program) = compile(&source, language, Link::Static) {
            assert_eq!(run(&program), lines(&rust()), "{language:?}");
        }
    }
}
