//! The header is written by hand, because its comments are its worth; so it is compared with the
//! code: every function with its types, every struct with its fields, every constant, both ways.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use dpo_kernel::error::Parameter;
use dpo_kernel::loss::LossName;

use crate::programs::root;

/// What one side declares, in C's words.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Declared {
    /// Name to "type, type, … -> type".
    pub functions: BTreeMap<String, String>,
    /// Name to "type field; type field; …".
    pub structs: BTreeMap<String, String>,
    /// Name to value.
    pub constants: BTreeMap<String, i64>,
}

fn squeeze(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The text without `/* … */`.
fn without_comments(text: &str) -> String {
    let mut parts = text.split("/*");
    let first = parts.next().unwrap().to_owned();
    parts.fold(first, |out, part| out + part.split_once("*/").unwrap().1)
}

/// "const float *x" → ("const float *", "x").
fn declarator(text: &str) -> (String, String) {
    let text = squeeze(text);
    let at = text.rfind([' ', '*']).unwrap_or_else(|| panic!("{text:?} has no name"));
    let (kind, name) = text.split_at(at + 1);
    (kind.trim().to_owned(), name.to_owned())
}

pub fn headers() -> String {
    ["status", "types", "step", "head"]
        .map(|name| format!("dpo_kernel_{name}.h"))
        .into_iter()
        .chain(["dpo_kernel.h".to_owned()])
        .map(|name| fs::read_to_string(root().join("include").join(name)).unwrap())
        .collect()
}

pub fn of_header(text: &str) -> Declared {
    let mut declared = Declared::default();
    let text = &text.replace("\\\n", " ");
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("#define DPO_")
            && let Some((name, value)) = rest.split_once(' ')
            && let Some(value) = c_number(value)
        {
            declared.constants.insert(format!("DPO_{name}"), value);
        }
    }
    let text = without_comments(text);
    let code: String = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .fold(String::new(), |code, line| code + line + "\n");
    let code = squeeze(&code.replace("extern \"C\" {", ""));
    for part in code.split("enum {").skip(1) {
        for entry in part.split_once('}').unwrap().0.split(',') {
            let (name, value) = entry.split_once('=').unwrap();
            let value = c_number(value.trim()).unwrap();
            declared.constants.insert(name.trim().to_owned(), value);
        }
    }
    for part in code.split("typedef struct ").skip(1) {
        let (name, rest) = part.split_once(" {").unwrap();
        let (fields, rest) = rest.split_once('}').unwrap();
        assert!(rest.trim_start().starts_with(name), "the typedef of {name}");
        let fields: Vec<String> = fields
            .split(';')
            .filter(|field| !field.trim().is_empty())
            .map(|field| {
                let (kind, name) = declarator(field);
                format!("{kind} {name}")
            })
            .collect();
        declared.structs.insert(name.to_owned(), fields.join("; "));
    }
    for statement in code.split(';') {
        let Some((head, rest)) = statement.split_once('(') else { continue };
        let Some((arguments, _)) = rest.split_once(')') else { continue };
        let (result, name) = declarator(head);
        let arguments: Vec<String> = arguments
            .split(',')
            .filter(|argument| argument.trim() != "void")
            .map(|argument| declarator(argument).0)
            .collect();
        let result = result.rsplit('}').next().unwrap().trim().to_owned();
        declared.functions.insert(name, format!("{} -> {result}", arguments.join(", ")));
    }
    declared
}

/// A number as the header writes it: `7`, `UINT32_C(7)`, `(UINT32_C(1) << 7)`.
fn c_number(text: &str) -> Option<i64> {
    let text = text.trim().replace("UINT32_C(1) << ", "1 << ");
    let text = text.trim_start_matches('(').trim_end_matches(')');
    let text = text.trim_start_matches("UINT32_C(");
    match text.split_once("1 << ") {
        Some((_, shift)) => Some(1 << shift.parse::<u32>().ok()?),
        None => text.parse().ok(),
    }
}

/// The Rust type in C's words.
fn c_type(rust: &str) -> String {
    let rust = rust.trim();
    if let Some(rest) = rust.strip_prefix("*const ") {
        return format!("const {} *", c_type(rest));
    }
    if let Some(rest) = rust.strip_prefix("*mut ") {
        return format!("{} *", c_type(rest));
    }
    match rust {
        "i32" => "int32_t",
        "u8" => "uint8_t",
        "u32" => "uint32_t",
        "u64" => "uint64_t",
        "i64" => "int64_t",
        "usize" => "size_t",
        "f32" => "float",
        "f64" => "double",
        "c_char" => "char",
        "c_void" => "void",
        other => other,
    }
    .to_owned()
}

pub fn sources() -> String {
    all_below("src/c")
}

/// All files of a folder and the folders in it.
fn all_below(folder: &str) -> String {
    let mut paths: Vec<_> =
        fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let text = |path: &PathBuf| {
        if path.is_dir() {
            all_below(path.strip_prefix(root()).unwrap().to_str().unwrap())
        } else {
            fs::read_to_string(path).unwrap()
        }
    };
    paths.iter().map(text).collect()
}

/// Rust without comments, on one line.
fn code_of(text: &str) -> String {
    let is_code = |line: &&str| !line.trim_start().starts_with("//");
    squeeze(&text.lines().filter(is_code).collect::<Vec<_>>().join(" "))
}

/// The fields of a struct in C's words, from what follows its `{`.
fn fields_of(text: &str) -> String {
    let (fields, _) = text.split_once('}').unwrap();
    let fields = fields.replace("pub(crate) ", "pub ");
    let fields = fields.split("pub ").filter(|field| field.contains(": ")).map(|field| {
        let (name, kind) = field.trim().trim_end_matches(',').split_once(": ").unwrap();
        let name = name.trim_start_matches("r#");
        match kind.strip_prefix('[').and_then(|kind| kind.split_once("; ")) {
            Some((kind, length)) => format!("{} {name}[{length}", c_type(kind)),
            None => format!("{} {name}", c_type(kind)),
        }
    });
    fields.collect::<Vec<_>>().join("; ")
}

pub fn of_code(text: &str) -> Declared {
    let mut declared = Declared::default();
    let code = code_of(text);
    for part in code.split("extern \"C\" fn ").skip(1).filter(|part| part.starts_with("dpo_")) {
        let (name, rest) = part.split_once('(').unwrap();
        let (arguments, rest) = rest.split_once(')').unwrap();
        let result = rest.split_once("-> ").unwrap().1.split_once(" {").unwrap().0;
        let arguments: Vec<String> = arguments
            .split(", ")
            .map(|argument| argument.trim().trim_end_matches(','))
            .filter(|argument| !argument.is_empty())
            .map(|argument| c_type(argument.split_once(": ").unwrap().1))
            .collect();
        let signature = format!("{} -> {}", arguments.join(", "), c_type(result));
        declared.functions.insert(name.to_owned(), signature);
    }
    // The scalar functions, whose macro makes both forms.
    let (_, scalars) = code.split_once("scalars! {").unwrap();
    for entry in scalars.split_once('}').unwrap().0.split(';').filter(|entry| entry.contains(':')) {
        let (names, function) = entry.split_once(": ").unwrap();
        let count = function.matches(',').count() + 1;
        for (name, kind) in names.split(", ").zip(["double", "float"]) {
            let signature = format!("{} -> {kind}", vec![kind; count].join(", "));
            declared.functions.insert(name.trim().to_owned(), signature);
        }
    }
    for part in code.split("pub struct dpo_").skip(1) {
        let (name, fields) = part.split_once(" {").unwrap();
        declared.structs.insert(format!("dpo_{name}"), fields_of(fields));
    }
    // Aliases of the crate's own structs, whose fields stand there.
    let own = code_of(&all_below("src"));
    for part in code.split("pub type dpo_").skip(1) {
        let (name, rest) = part.split_once(" = ").unwrap();
        let of = rest.split_once(';').unwrap().0;
        if name != "status" {
            let start = format!("#[repr(C)] pub struct {of} {{");
            let (_, fields) = own.split_once(&start).unwrap_or_else(|| panic!("no {start}"));
            declared.structs.insert(format!("dpo_{name}"), fields_of(fields));
        }
    }
    for part in code.split("DPO_").skip(1) {
        let name: String = part
            .chars()
            .take_while(|c| c.is_ascii_uppercase() || matches!(c, '0'..='9' | '_'))
            .collect();
        let rest = &part[name.len()..];
        let rest =
            rest.strip_prefix(": u32").or_else(|| rest.strip_prefix(": usize")).unwrap_or(rest);
        if let Some((value, _)) = rest.strip_prefix(" = ").and_then(|rest| rest.split_once(';')) {
            let value = match value {
                "crate::IGNORE_INDEX" => i64::from(dpo_kernel::IGNORE_INDEX),
                "crate::row::ROW_BYTES" => dpo_kernel::row::ROW_BYTES.try_into().unwrap(),
                "crate::row::ROW_DETAIL_BYTES" => {
                    dpo_kernel::row::ROW_DETAIL_BYTES.try_into().unwrap()
                }
                value => c_number(value).unwrap_or_else(|| panic!("DPO_{name} = {value}")),
            };
            declared.constants.insert(format!("DPO_{name}"), value);
        }
    }
    // Losses and parameters carry their numbers.
    for name in LossName::ALL {
        let constant = format!("DPO_LOSS_{}", name.name().to_uppercase());
        declared.constants.insert(constant, i64::from(name as i32));
    }
    for parameter in Parameter::ALL {
        let constant = format!("DPO_PARAMETER_{}", screaming(&format!("{parameter:?}")));
        declared.constants.insert(constant, i64::from(parameter as i32));
    }
    declared
}

/// `LabelSmoothing` as `LABEL_SMOOTHING`.
pub fn screaming(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(c.to_ascii_uppercase());
    }
    out
}

/// What the header has and the code has not, and the other way round.
pub fn objections(header: &Declared, code: &Declared) -> Vec<String> {
    let mut objections = Vec::new();
    let versions = |name: &&String| !name.starts_with("DPO_KERNEL_VERSION");
    let mut compare = |what, header: BTreeMap<String, String>, code: BTreeMap<String, String>| {
        for name in header.keys().chain(code.keys()).filter(versions) {
            match (header.get(name), code.get(name)) {
                (Some(a), Some(b)) if a == b => {}
                (a, b) => objections.push(format!("{what} {name}: header {a:?}, code {b:?}")),
            }
        }
    };
    let text = |map: &BTreeMap<String, i64>| {
        map.iter().map(|(name, value)| (name.clone(), value.to_string())).collect()
    };
    compare("function", header.functions.clone(), code.functions.clone());
    compare("struct", header.structs.clone(), code.structs.clone());
    compare("constant", text(&header.constants), text(&code.constants));
    objections.dedup();
    objections
}

#[test]
fn header_and_code_agree() {
    let (header, code) = (of_header(&headers()), of_code(&sources()));
    assert!(code.functions.len() > 30 && code.structs.len() > 20 && code.constants.len() > 100);
    let found = objections(&header, &code);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_version_is_that_of_the_crate() {
    let header = headers();
    let [major, minor, patch] = ["MAJOR", "MINOR", "PATCH"].map(|part| {
        let line = format!("#define DPO_KERNEL_VERSION_{part} ");
        header.split_once(&line).unwrap().1.lines().next().unwrap()
    });
    assert_eq!(format!("{major}.{minor}.{patch}"), env!("CARGO_PKG_VERSION"));
    let quoted = format!("#define DPO_KERNEL_VERSION \"{}\"", env!("CARGO_PKG_VERSION"));
    assert!(header.contains(&quoted), "the header lacks {quoted}");
}

/// What is wrong with the initialisers of structs that say their size: each has one, with an entry
/// a field.
fn objections_to_initialisers(text: &str) -> Vec<String> {
    let mut objections = Vec::new();
    let text = text.replace("\\\n", " ");
    for (name, fields) in of_header(&text).structs {
        let define = format!("#define {}_INIT {{", name.to_uppercase());
        let found = text.lines().find_map(|line| {
            squeeze(line)
                .strip_prefix(&define)
                .map(|entries| entries.trim_end_matches('}').to_owned())
        });
        match (fields.starts_with("size_t size; "), found) {
            (false, None) => {}
            (true, Some(entries)) => {
                // Structs inside are one entry.
                let entries = entries.replace("DPO_TRANSFORM_NONE", "0");
                let entries = entries.replace("{0.0f, 0, 0.0f, 0.0f}", "0");
                let zeros = entries.split(", ").skip(1).all(|x| matches!(x, "0" | "0.0" | "NULL"));
                let first = entries.starts_with(&format!("sizeof({name})"));
                let count = (entries.split(", ").count(), fields.split("; ").count());
                if !first || !zeros || count.0 != count.1 {
                    objections.push(format!("{name}: {entries}, {count:?}"));
                }
            }
            (has_size, found) => objections.push(format!("{name}: size {has_size}, {found:?}")),
        }
    }
    objections
}

#[test]
fn initialisers_are_sizes_and_zeros() {
    let text = headers();
    assert_eq!(objections_to_initialisers(&text), [""; 0]);
    for (from, to) in [
        ("{sizeof(dpo_layout), NULL,", "{sizeof(dpo_logits), NULL,"),
        ("{sizeof(dpo_nll), 0.0, 0.0, 0, ", "{sizeof(dpo_nll), 0.0, 0.0, "),
        ("{sizeof(dpo_nll), 0.0, 0.0, 0, ", "{sizeof(dpo_nll), 0.0, 0.0, 1, "),
        ("#define DPO_PAIRS_INIT", "#define DPO_PAIRS_INITIAL"),
        ("    size_t size;                /* sizeof(dpo_grads) */\n", ""),
    ] {
        assert!(text.contains(from), "the header has {from}");
        let wrong = text.replacen(from, to, 1);
        assert!(!objections_to_initialisers(&wrong).is_empty(), "{from} became {to} unnoticed");
    }
}

#[test]
fn planted_faults_are_caught() {
    let code = of_code(&sources());
    let text = headers();
    let with = |from: &str, to: &str| {
        assert!(text.contains(from), "the header has {from}");
        objections(&of_header(&text.replacen(from, to, 1)), &code)
    };
    for (from, to) in [
        ("const uint32_t *targets;", "const int32_t *targets;"),
        ("size_t start;", "size_t begin; size_t start;"),
        ("    double divisor;      ", "    float divisor;      "),
        ("    double reward_chosen_sum;\n", "    uint64_t reward_chosen_sum;\n"),
        ("DPO_ERROR_NULL = 101,", "DPO_ERROR_NULL = 102,"),
        ("DPO_TYPE_BF16 = 3", "DPO_TYPE_BF16 = 2"),
        ("DPO_LOSS_HINGE = 2,", "DPO_LOSS_HINGE = 1,"),
        ("DPO_LOSS_TPO = 30,", ""),
        ("DPO_PARAMETER_BETA = 1,", "DPO_PARAMETER_BETA = 2,"),
        ("DPO_PARAMETER_SCORE_GAP = 22,", "DPO_PARAMETER_SCORES_GAP = 22,"),
        ("DPO_MOST_OPTIONS 8", "DPO_MOST_OPTIONS 9"),
        ("UINT32_C(4294967196)", "UINT32_C(4294967195)"),
        ("double dpo_sigmoid(double x);", ""),
        ("double dpo_sigmoid(double x);", "double dpo_sigmoid(float x);"),
        ("double dpo_logaddexp(double a, double b);", "double dpo_logaddexp(double a);"),
        (
            "double dpo_sigmoid(double x);",
            "double dpo_sigmoid(double x);\ndouble dpo_relu(double x);",
        ),
        ("int32_t dpo_is_available(", "dpo_status dpo_is_available("),
    ] {
        assert!(!with(from, to).is_empty(), "{from} became {to} unnoticed");
    }
}
