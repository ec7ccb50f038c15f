//! Builds the library as a C host gets it, compiles the programs, runs them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::header::{headers, of_header};

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where programs and library are made.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("c")
}

fn succeed(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|why| panic!("{command:?}: {why}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{out}\n{err}", output.status);
    output
}

/// The folder of `libdpo_kernel.a` and `libdpo_kernel.so`, built once.
fn library() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let target = folder().join("target");
        let mut cargo = Command::new(env!("CARGO"));
        // Symbols of the whole of std would take longer to write than everything else.
        cargo.args(["rustc", "--quiet", "--lib", "--features", "capi", "--config"]);
        cargo.args(["profile.dev.debug=false", "--crate-type", "staticlib"]);
        cargo.args(["--crate-type", "cdylib", "--target-dir"]);
        succeed(cargo.arg(&target).current_dir(root()));
        target.join("debug")
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    C,
    Cpp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    Static,
    Shared,
}

/// Whether a tool is there. If everything is asked for, it must be; if nothing, it is not used.
fn has(tool: &str) -> bool {
    let asked = |what| std::env::var_os("DPO_C_TESTS").is_some_and(|value| value == what);
    if asked("none") {
        return false;
    }
    let found = Command::new(tool).arg("--version").output().is_ok();
    let all = asked("all");
    assert!(found || !all, "{tool} is not installed");
    if !found {
        println!("left out: {tool} is not installed");
    }
    found
}

/// Compiles a program against the library; `None` if this machine cannot. Every time under a name of
/// its own: tests run at once, and one may not write over what another runs.
pub fn compile(source: &Path, language: Language, link: Link) -> Option<PathBuf> {
    static COMPILED: AtomicUsize = AtomicUsize::new(0);
    let (compiler, standard, kind) = match language {
        Language::C => ("cc", "-std=c99", "c"),
        Language::Cpp => ("c++", "-std=c++11", "c++"),
    };
    if !has(compiler) {
        return None;
    }
    let library = library();
    let name = source.file_stem().unwrap().to_string_lossy();
    let count = COMPILED.fetch_add(1, Ordering::Relaxed);
    let program = folder().join(format!("{name}-{language:?}-{link:?}-{count}"));
    let mut command = Command::new(compiler);
    command.args([standard, "-Wall", "-Wextra", "-Werror", "-pedantic", "-g", "-x", kind]);
    command.arg("-I").arg(root().join("include")).arg(source).args(["-x", "none"]);
    match link {
        Link::Static => command.arg(library.join("libdpo_kernel.a")),
        Link::Shared => command
            .arg(format!("-Wl,-rpath,{}", library.display()))
            .arg("-L")
            .arg(library)
            .arg("-ldpo_kernel"),
    };
    // What std's part of the static library asks for.
    command.args(["-lgcc_s", "-lpthread", "-ldl", "-lm", "-o"]).arg(&program);
    succeed(&mut command);
    Some(program)
}

/// What a program prints.
pub fn run(program: &Path) -> String {
    String::from_utf8(succeed(&mut Command::new(program)).stdout).unwrap()
}

pub const WAYS: [(Language, Link); 4] = [
    (Language::C, Link::Static),
    (Language::C, Link::Shared),
    (Language::Cpp, Link::Static),
    (Language::Cpp, Link::Shared),
];

/// Programs that check by themselves.
#[test]
fn mistakes_are_refused_and_the_contract_holds() {
    for program in ["errors.c", "contract.c"] {
        let source = root().join("tests/c").join(program);
        for (language, link) in WAYS {
            if let Some(program) = compile(&source, language, link) {
                run(&program);
            }
        }
    }
}

/// The structs that a program prints the names of, one way after another.
fn structs_tried(program: &str) -> Vec<BTreeSet<String>> {
    let source = root().join("tests/c").join(program);
    let programs = WAYS.into_iter().filter_map(|(language, link)| compile(&source, language, link));
    programs.map(|program| run(&program).lines().map(str::to_owned).collect()).collect()
}

#[test]
fn every_zeroed_struct_is_the_default_or_refused() {
    let declared: BTreeSet<String> = of_header(&headers()).structs.into_keys().collect();
    let (inputs, losses) = (structs_tried("zeroed.c"), structs_tried("zeroed_losses.c"));
    for (inputs, losses) in inputs.into_iter().zip(losses) {
        let tried: BTreeSet<String> = inputs.union(&losses).cloned().collect();
        assert_eq!(tried, declared, "structs that are tried, and those of the header");
    }
}

#[test]
fn every_struct_that_says_its_size_may_grow() {
    let structs = of_header(&headers()).structs.into_iter();
    let declared: BTreeSet<String> = structs
        .filter(|(_, fields)| fields.starts_with("size_t size; "))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(declared.len(), 15, "{declared:?}");
    for tried in structs_tried("sizes.c") {
        assert_eq!(tried, declared, "structs that sizes.c tries, and those of the header");
    }
}

#[test]
fn the_example_learns() {
    let source = root().join("examples/c/host.c");
    for (language, link) in [(Language::C, Link::Static), (Language::C, Link::Shared)] {
        let Some(program) = compile(&source, language, link) else { return };
        let lines = run(&program);
        let (first, last) = (lines.lines().next().unwrap(), lines.lines().last().unwrap());
        assert!(first.starts_with("step  0: loss 0.6931, margin 0.0000, 0 of 4"), "{first}");
        assert!(last.ends_with("4 of 4 in order"), "{last}");
    }
}

/// Gradients of a frozen and of a trained head by the built-in product, and by both loops of a host.
#[test]
fn the_loops_of_a_host_agree_with_the_head() {
    let source = root().join("examples/c/head.c");
    for (language, link) in [(Language::C, Link::Static), (Language::C, Link::Shared)] {
        let Some(program) = compile(&source, language, link) else { return };
        let lines = run(&program);
        assert_eq!(lines.matches("gradients of hidden states agree").count(), 3, "{lines}");
        assert_eq!(lines.matches("gradients of weights agree").count(), 1, "{lines}");
        let loss = lines.split_once("loss ").unwrap().1.lines().next().unwrap();
        assert_eq!(lines.matches(loss).count(), 4, "{lines}");
    }
}

/// Reads and writes of the library itself, not of its caller alone. Valgrind's processor has AVX2
/// at most, which is what the library then detects.
#[test]
fn no_memory_is_misused() {
    if !has("valgrind") {
        return;
    }
    let own = [
        "figures.c",
        "steps.c",
        "errors.c",
        "contract.c",
        "zeroed.c",
        "zeroed_losses.c",
        "sizes.c",
    ];
    let sources = own.map(|program| root().join("tests/c").join(program));
    for source in sources.into_iter().chain([root().join("examples/c/head.c")]) {
        let program = compile(&source, Language::C, Link::Static).unwrap();
        let mut valgrind = Command::new("valgrind");
        valgrind.args(["--quiet", "--error-exitcode=9", "--leak-check=full"]);
        succeed(valgrind.arg(program));
    }
}
