//! The races: which kernels run against which limits, and which bars they have.

use dpo_kernel::{Arithmetic, Dispatch};

use crate::Options;
use crate::arena::{Arena, Laps, Storage};
#[cfg(feature = "rayon")]
use crate::bars::Bar;
use crate::bars::{self, Case, Line, Score};
use crate::race::race;
use crate::work::Work;

/// The batch: T rows of V logits, and the rows of one lap.
pub const T: usize = 512;
pub const V: usize = 131_072;
pub const ROWS: usize = 16;

/// The kernels by name.
pub const KERNELS: [&str; 2] = ["tokens", "grads"];

fn limit_of(kernel: &str) -> (Work, &'static str) {
    if kernel == "tokens" { (Work::Read, "read") } else { (Work::Update, "read + write") }
}

fn work_of(kernel: &str, dispatch: Dispatch) -> Work {
    if kernel == "tokens" { Work::Tokens(dispatch) } else { Work::Grads(dispatch) }
}

/// A kernel at T = 512, V = 131,072. `other` has the logits where they are not f32.
pub fn memory<E: Storage>(
    kernel: &'static str,
    f32s: &mut Arena<f32>,
    other: Option<&mut Arena<E>>,
    options: &Options,
    score: &mut Score,
) {
    let name = format!("{kernel}/{}/memory", E::NAME);
    if !options.wants(&name) {
        return;
    }
    f32s.cut(ROWS, V);
    let mut buffers: Vec<&mut dyn Laps> = vec![f32s];
    if let Some(other) = other {
        other.cut(ROWS, V);
        buffers.push(other);
    }
    let own = buffers.len() - 1;
    let (limit, limit_name) = limit_of(kernel);
    let mut race = Race::new(own, limit);
    for dispatch in Dispatch::available() {
        race.enter(own, work_of(kernel, dispatch));
    }
    if kernel == "tokens" {
        for dispatch in Dispatch::available() {
            race.enter(own, Work::Details(dispatch));
        }
    }
    let found = race.run(&mut buffers, options);
    let mut lines = Vec::new();
    for dispatch in Dispatch::available() {
        let work = work_of(kernel, dispatch);
        let mut line = found.line("", own, work, dispatch);
        line.bar = bars::bar(kernel, Case::Memory(E::NAME), dispatch);
        lines.push(line);
        lines.extend(found.portable(own, dispatch, |dispatch| work_of(kernel, dispatch)));
    }
    if kernel == "tokens" {
        for dispatch in Dispatch::available() {
            lines.push(found.details(own, dispatch));
        }
    }
    let title = format!("{name}, T = {T}, V = {V}");
    bars::print(&title, limit_name, found.f32_read, &lines, score);
}

/// A kernel in cache at V = 32,000, and at V = 256 on as many logits.
pub fn cache(kernel: &'static str, f32s: &mut Arena<f32>, options: &Options, score: &mut Score) {
    let name = format!("{kernel}/f32/cache");
    if !options.wants(&name) {
        return;
    }
    f32s.cut(ROWS, V);
    let (mut usual, mut small) =
        (Arena::<f32>::new(128_000, options.offset), Arena::<f32>::new(128_000, options.offset));
    usual.cut(4, 32_000);
    small.cut(500, 256);
    let buffers: &mut [&mut dyn Laps] = &mut [f32s, &mut usual, &mut small];
    let (usual, small) = (1, 2);
    let (limit, limit_name) = limit_of(kernel);
    let mut race = Race::new(usual, limit);
    for dispatch in Dispatch::available() {
        let work = work_of(kernel, dispatch);
        race.enter(usual, work);
        race.enter(small, work);
        if kernel == "tokens" {
            race.enter(usual, Work::Details(dispatch));
        }
    }
    let found = race.run(buffers, options);
    let mut lines = Vec::new();
    for dispatch in Dispatch::available() {
        let work = work_of(kernel, dispatch);
        let mut line = found.line("V = 32,000", usual, work, dispatch);
        line.bar = bars::bar(kernel, Case::Cache, dispatch);
        lines.push(line);
        lines.extend(found.portable(usual, dispatch, |dispatch| work_of(kernel, dispatch)));
    }
    for dispatch in Dispatch::available() {
        let work = work_of(kernel, dispatch);
        let mut line = found.line("V = 256", small, work, dispatch);
        line.bar = Some(bars::SMALL);
        line.base = found.of(usual, work);
        lines.push(line);
    }
    if kernel == "tokens" {
        for dispatch in Dispatch::available() {
            lines.push(found.details(usual, dispatch));
        }
    }
    bars::print(&format!("{name}, 128,000 logits"), limit_name, found.f32_read, &lines, score);
}

/// Threads of that race, and of rayon's own pool.
#[cfg(feature = "rayon")]
pub const THREADS: usize = 2;

/// Both kernels in cache, T = 64, V = 32,000, on one thread and on two.
#[cfg(feature = "rayon")]
pub fn threads(f32s: &mut Arena<f32>, options: &Options, score: &mut Score) {
    const NAME: &str = "threads/f32/cache";
    if !options.wants(NAME) {
        return;
    }
    f32s.cut(ROWS, V);
    let (rows, vocab) = (64, 32_000);
    let mut batch = Arena::<f32>::new(rows * vocab, options.offset);
    batch.cut(rows, vocab);
    let dispatch = Dispatch::detect();
    let kernels = [
        (Work::Tokens(dispatch), Work::ThreadedTokens(dispatch)),
        (Work::Grads(dispatch), Work::ThreadedGrads(dispatch)),
    ];
    let entered = || {
        let mut race = Race::new(1, Work::Read);
        for (alone, threaded) in kernels {
            race.enter(1, alone);
            race.enter(1, threaded);
        }
        race
    };
    // From a thread outside the pool, which wakes it with each call, ...
    let outside = entered().run(&mut [f32s, &mut batch], options);
    // ... and from one of its own, backward after forward.
    batch.in_steps();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(THREADS).build();
    let pool = pool.expect("the machine lends two threads");
    let inside = pool.install(|| entered().run(&mut [f32s, &mut batch], options));
    let mut lines = Vec::new();
    for (alone, threaded) in kernels {
        lines.push(inside.line("one thread", 1, alone, dispatch));
        let mut line = inside.line("two threads", 1, threaded, dispatch);
        (line.bar, line.base) = (Some(bars::THREADS), inside.of(1, alone));
        lines.push(line);
        let mut line = outside.line("from outside", 1, threaded, dispatch);
        (line.bar, line.base) = (Some(Bar::Told("one thread")), outside.of(1, alone));
        lines.push(line);
    }
    let title = format!("{NAME}, T = {rows}, V = {vocab}");
    bars::print(&title, "read", inside.f32_read, &lines, score);
}

/// Who runs. The first two are the limits: reading f32 out of cache, and the kernel's own.
struct Race {
    runners: Vec<(usize, Work)>,
}

impl Race {
    fn new(own: usize, limit: Work) -> Self {
        Self { runners: vec![(0, Work::Read), (own, limit)] }
    }

    fn enter(&mut self, buffer: usize, work: Work) {
        self.runners.push((buffer, work));
    }

    fn run(self, buffers: &mut [&mut dyn Laps], options: &Options) -> Found {
        let times = race(buffers, &self.runners, options.time);
        Found { f32_read: times[0], limit: times[1], runners: self.runners, times }
    }
}

/// A race's times.
struct Found {
    f32_read: f64,
    limit: f64,
    runners: Vec<(usize, Work)>,
    times: Vec<f64>,
}

impl Found {
    fn of(&self, buffer: usize, work: Work) -> f64 {
        let at = self.runners.iter().position(|&runner| runner == (buffer, work));
        self.times[at.expect("the runner has entered the race")]
    }

    fn line(&self, case: &str, buffer: usize, work: Work, dispatch: Dispatch) -> Line {
        let what = match work {
            Work::Tokens(_) => "token log-probs",
            Work::Details(_) => "token log-probs and statistics",
            Work::Grads(_) => "gradient in place",
            Work::Read | Work::Update => "limit",
            #[cfg(feature = "rayon")]
            Work::ThreadedTokens(_) => "token log-probs",
            #[cfg(feature = "rayon")]
            Work::ThreadedGrads(_) => "gradient in place",
        };
        let what = if case.is_empty() { what.to_string() } else { format!("{what}, {case}") };
        let ns = self.of(buffer, work);
        Line { what, dispatch, ns, limit: self.limit, bar: None, base: f64::NAN }
    }

    /// Portable arithmetic against fused, where the level has both.
    fn portable(
        &self,
        buffer: usize,
        dispatch: Dispatch,
        work: impl Fn(Dispatch) -> Work,
    ) -> Option<Line> {
        if dispatch.arithmetic() == Arithmetic::Fused {
            return None;
        }
        let fused = Dispatch::new(dispatch.level(), Arithmetic::Fused).ok()?;
        let mut line = self.line("against fused", buffer, work(dispatch), dispatch);
        (line.bar, line.base) = (Some(bars::PORTABLE), self.of(buffer, work(fused)));
        Some(line)
    }

    /// With statistics against without; a bar for the fastest dispatch only.
    fn details(&self, buffer: usize, dispatch: Dispatch) -> Line {
        let mut line = self.line("", buffer, Work::Details(dispatch), dispatch);
        line.base = self.of(buffer, Work::Tokens(dispatch));
        line.bar = (dispatch == Dispatch::detect()).then_some(bars::DETAILS);
        line
    }
}
