//! What each kernel must reach, and the table of what it did.

use dpo_kernel::{Arithmetic, Dispatch, Level};

/// A kernel's bar.
#[derive(Clone, Copy, Debug)]
pub enum Bar {
    /// A fraction of the limit measured in the same race, and the one that is aimed at.
    Fraction(f64, f64),
    /// Nanoseconds per logit on a machine that reads an f32 logit in [`MODEL`].
    Nanoseconds(f64),
    /// At most so many times another figure of the race, and which.
    Times(f64, &'static str),
    /// At least so many times faster than another figure of the race.
    #[cfg(feature = "rayon")]
    Faster(f64, &'static str),
    /// None: how many times as fast as another figure of the race.
    #[cfg(feature = "rayon")]
    Told(&'static str),
}

/// The machine that the bars in nanoseconds are for; others are measured by their own limit.
pub const MODEL: f64 = 0.15;

/// What a bar is for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Case {
    /// Out of every cache, and the element type.
    Memory(&'static str),
    /// In cache, V = 32,000.
    Cache,
}

/// Bars of fused AVX-512, fused AVX2, and the portable arithmetic of a default x86-64 build.
pub fn bar(kernel: &str, case: Case, dispatch: Dispatch) -> Option<Bar> {
    let fraction = |least, aim| Some(Bar::Fraction(least, aim));
    let ns = |most| Some(Bar::Nanoseconds(most));
    let bars = match (kernel, case) {
        ("tokens", Case::Memory("f32")) => [fraction(0.85, 0.95), fraction(0.55, 0.55), ns(1.0)],
        ("grads", Case::Memory("f32")) => [fraction(0.80, 0.95), fraction(0.60, 0.60), ns(1.0)],
        ("tokens", Case::Memory("bf16")) => [ns(0.22), ns(0.32), ns(1.3)],
        ("tokens", Case::Memory("f16")) => [ns(0.24), ns(0.34), ns(1.3)],
        ("grads", Case::Memory("bf16")) => [ns(0.30), ns(0.45), ns(1.5)],
        ("grads", Case::Memory("f16")) => [ns(0.33), ns(0.45), ns(1.5)],
        (_, Case::Cache) => [ns(0.19), ns(0.30), None],
        _ => [None; 3],
    };
    let default_build = cfg!(all(target_arch = "x86_64", not(target_feature = "avx")));
    match (dispatch.level(), dispatch.arithmetic()) {
        (Level::Avx512, Arithmetic::Fused) => bars[0],
        (Level::Avx2, Arithmetic::Fused) => bars[1],
        (Level::Baseline, Arithmetic::Portable) if default_build => bars[2],
        _ => None,
    }
}

/// V = 256 against V = 32,000.
pub const SMALL: Bar = Bar::Times(2.0, "V = 32,000");
/// Portable arithmetic against fused, on one level.
pub const PORTABLE: Bar = Bar::Times(1.7, "fused");
/// With statistics against without.
pub const DETAILS: Bar = Bar::Times(1.6, "without");

/// Two threads in cache.
#[cfg(feature = "rayon")]
pub const THREADS: Bar = Bar::Faster(1.7, "one thread");

/// A line of the table.
#[derive(Clone, Debug)]
pub struct Line {
    pub what: String,
    pub dispatch: Dispatch,
    pub ns: f64,
    /// The limit of the same race.
    pub limit: f64,
    pub bar: Option<Bar>,
    /// What bars against another figure compare with.
    pub base: f64,
}

/// What became of the bars.
#[derive(Clone, Copy, Debug, Default)]
pub struct Score {
    pub met: usize,
    pub missed: usize,
}

/// Prints a race: its limits and its lines. `f32_read` is what scales bars in nanoseconds.
pub fn print(title: &str, limit_name: &str, f32_read: f64, lines: &[Line], score: &mut Score) {
    let limit = lines.first().map_or(f64::NAN, |line| line.limit);
    println!(
        "\n{title}: {limit_name} limit {limit:.3} ns; out of cache an f32 is read in {f32_read:.3} ns"
    );
    println!(
        "  {:34} {:9} {:9} {:>8} {:>9}  {:28} verdict",
        "kernel", "level", "rounding", "ns/logit", "of limit", "bar"
    );
    for line in lines {
        let fraction = line.limit / line.ns;
        let scaled = f32_read / MODEL;
        let (bar, met) = match line.bar {
            None => (String::new(), None),
            Some(Bar::Fraction(least, aim)) => {
                let aim_text = if aim > least { format!(" (aim {aim:.2})") } else { String::new() };
                (format!(">= {least:.2} of the limit{aim_text}"), Some(fraction >= least))
            }
            Some(Bar::Nanoseconds(most)) => {
                let here = most * scaled;
                (format!("<= {here:.3} ns ({most} scaled)"), Some(line.ns <= here))
            }
            Some(Bar::Times(most, base)) => {
                let times = line.ns / line.base;
                (format!("{times:.2} <= {most:.1} x {base}"), Some(times <= most))
            }
            #[cfg(feature = "rayon")]
            Some(Bar::Told(base)) => (format!("{:.2} x {base}", line.base / line.ns), None),
            #[cfg(feature = "rayon")]
            Some(Bar::Faster(least, base)) => {
                let times = line.base / line.ns;
                (format!("{times:.2} >= {least:.1} x {base}"), Some(times >= least))
            }
        };
        let verdict = match met {
            None => "",
            Some(true) => "met",
            Some(false) => "MISSED",
        };
        score.met += usize::from(met == Some(true));
        score.missed += usize::from(met == Some(false));
        println!(
            "  {:34} {:9} {:9} {:8.3} {:9.2}  {bar:28} {verdict}",
            line.what,
            format!("{:?}", line.dispatch.level()),
            format!("{:?}", line.dispatch.arithmetic()),
            line.ns,
            fraction
        );
    }
}
