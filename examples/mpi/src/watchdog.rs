//! A rank that is gone or stuck ends the others, with a message that names it.
//!
//! MPI's launcher ends a job whose process has died, as a rule. A process that is stopped, a
//! machine that is cut off, or a launcher that is told not to clean up leaves the others in a
//! collective for ever. So each rank has a thread beside its main one:
//!
//! ```text
//! main thread in one collective for longer than the timeout
//!     ─▶ asks every other rank where it is ─▶ waits GRACE for answers
//!     ─▶ names those that do not answer, or else those that have not come ─▶ MPI_Abort
//! ```
//!
//! Questions and answers are MPI messages of a communicator of their own, which the threads alone
//! use; a thread answers while its main thread computes or waits. It takes
//! `MPI_THREAD_MULTIPLE`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ferrompi::{Communicator, Source};

/// How long a rank has to answer.
pub const GRACE: Duration = Duration::from_secs(3);
/// How often a thread looks.
const TICK: Duration = Duration::from_millis(100);
/// What a rank ends with after a loss.
pub const STATUS: i32 = 70;

const ASK: i32 = 1;
const ANSWER: i32 = 2;

/// What the main thread is at. Collectives on every communicator count.
#[derive(Debug)]
pub struct Progress {
    start: Instant,
    entered: AtomicU64,
    left: AtomicU64,
    /// Milliseconds from `start` at which it entered or left last.
    since: AtomicU64,
    step: AtomicU64,
}

impl Default for Progress {
    fn default() -> Self {
        let [entered, left, since, step] = [(); 4].map(|()| AtomicU64::new(0));
        Self { start: Instant::now(), entered, left, since, step }
    }
}

impl Progress {
    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Into a collective.
    pub fn enter(&self) {
        self.since.store(self.now(), Relaxed);
        self.entered.fetch_add(1, Relaxed);
    }

    /// Out of it.
    pub fn leave(&self) {
        self.since.store(self.now(), Relaxed);
        self.left.fetch_add(1, Relaxed);
    }

    /// At a step.
    pub fn step(&self, step: usize) {
        self.step.store(step as u64, Relaxed);
    }

    fn report(&self) -> Report {
        let [entered, left, since, step] =
            [&self.entered, &self.left, &self.since, &self.step].map(|at| at.load(Relaxed));
        Report { waits: entered > left, millis: self.now().saturating_sub(since), step }
    }
}

/// Where a rank is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Report {
    /// In a collective.
    waits: bool,
    /// How long, or how long since the last one.
    millis: u64,
    step: u64,
}

impl Report {
    fn numbers(self) -> [u64; 3] {
        [u64::from(self.waits), self.millis, self.step]
    }

    fn of([waits, millis, step]: [u64; 3]) -> Self {
        Self { waits: waits != 0, millis, step }
    }

    fn text(self) -> String {
        let Self { waits, millis, step } = self;
        let at = if waits { "waits for others" } else { "has not come: it computes, or is stuck," };
        format!("{at} since {:.1} s, at step {step}", Duration::from_millis(millis).as_secs_f64())
    }
}

/// The thread of a rank.
#[derive(Debug)]
pub struct Watchdog {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Starts it. `control` is a communicator of all ranks that nobody else uses.
    #[must_use]
    pub fn start(control: Communicator, progress: Arc<Progress>, timeout: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let watch = Watch { control, progress, timeout, stop: Arc::clone(&stop) };
        Self { stop, thread: Some(thread::spawn(move || watch.run())) }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            // It has nothing to tell: its own end is what was wanted.
            let _ = thread.join();
        }
    }
}

struct Watch {
    control: Communicator,
    progress: Arc<Progress>,
    timeout: Duration,
    stop: Arc<AtomicBool>,
}

impl Watch {
    fn run(&self) {
        while !self.stop.load(Relaxed) {
            thread::sleep(TICK);
            if let Err(error) = self.serve() {
                return self.end(&format!("the watchdog's messages: {error}"));
            }
            let report = self.progress.report();
            if report.waits && Duration::from_millis(report.millis) > self.timeout {
                match self.ask() {
                    Err(error) => return self.end(&format!("the watchdog's messages: {error}")),
                    // It came while the others were asked.
                    Ok(_) if !self.progress.report().waits => {}
                    Ok(answers) => return self.end(&self.verdict(&answers, report)),
                }
            }
        }
    }

    /// Answers whoever asks.
    fn serve(&self) -> ferrompi::Result<()> {
        while let Some(status) = self.control.iprobe::<u64>(Source::Any, ASK)? {
            self.control.recv(&mut [0_u64], status.source, ASK)?;
            self.control.send(&self.progress.report().numbers(), status.source, ANSWER)?;
        }
        Ok(())
    }

    /// Asks all others; what those say that answer.
    fn ask(&self) -> ferrompi::Result<Vec<Option<Report>>> {
        let size = usize::try_from(self.control.size()).unwrap_or(0);
        let mut answers = vec![None; size];
        // Those to an earlier question say nothing of now.
        while let Some(status) = self.control.iprobe::<u64>(Source::Any, ANSWER)? {
            self.control.recv(&mut [0_u64; 3], status.source, ANSWER)?;
        }
        for rank in (0..self.control.size()).filter(|rank| *rank != self.control.rank()) {
            self.control.send(&[0_u64], rank, ASK)?;
        }
        let start = Instant::now();
        while start.elapsed() < GRACE && !self.stop.load(Relaxed) {
            self.serve()?;
            while let Some(status) = self.control.iprobe::<u64>(Source::Any, ANSWER)? {
                let mut numbers = [0_u64; 3];
                self.control.recv(&mut numbers, status.source, ANSWER)?;
                if let Source::Rank(rank) = status.source
                    && let Some(answer) =
                        usize::try_from(rank).ok().and_then(|r| answers.get_mut(r))
                {
                    *answer = Some(Report::of(numbers));
                }
            }
            thread::sleep(TICK / 10);
        }
        Ok(answers)
    }

    fn verdict(&self, answers: &[Option<Report>], own: Report) -> String {
        let me = usize::try_from(self.control.rank()).unwrap_or(0);
        verdict(me, answers, own, self.timeout)
    }

    fn end(&self, why: &str) {
        eprintln!("dpo-kernel-mpi: rank {}: {why}", self.control.rank());
        self.control.abort(STATUS)
    }
}

/// Who is to blame: ranks that do not answer, or else those that are not in a collective.
fn verdict(me: usize, answers: &[Option<Report>], own: Report, timeout: Duration) -> String {
    let others = || answers.iter().enumerate().filter(|(rank, _)| *rank != me);
    let mut named: Vec<String> = others()
        .filter(|(_, answer)| answer.is_none())
        .map(|(rank, _)| {
            format!(
                "rank {rank} does not answer within {} s: dead, stopped or cut off",
                GRACE.as_secs()
            )
        })
        .collect();
    if named.is_empty() {
        let late = others().filter_map(|(rank, answer)| Some((rank, (*answer)?)));
        let late = late.filter(|(_, report)| !report.waits);
        named.extend(late.map(|(rank, report)| format!("rank {rank} {}", report.text())));
    }
    if named.is_empty() {
        named.push("all ranks wait, for different collectives".to_owned());
    }
    format!(
        "in one collective for more than {} s, at step {}: {}",
        timeout.as_secs_f64(),
        own.step,
        named.join("; ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAITING: Report = Report { waits: true, millis: 9000, step: 4 };
    const BUSY: Report = Report { waits: false, millis: 8000, step: 3 };

    #[test]
    fn who_does_not_answer_is_named_before_who_is_late() {
        let answers = [None, Some(BUSY), None, Some(WAITING)];
        let text = verdict(0, &answers, WAITING, Duration::from_secs(5));
        assert!(text.contains("rank 2 does not answer"), "{text}");
        assert!(!text.contains("rank 0"), "nobody names itself: {text}");
        assert!(!text.contains("rank 1"), "{text}");
    }

    #[test]
    fn who_has_not_come_is_named_where_all_answer() {
        let answers = [Some(WAITING), None, Some(BUSY)];
        let text = verdict(1, &answers, WAITING, Duration::from_secs(5));
        assert!(
            text.contains("rank 2 has not come") && text.contains("8.0 s, at step 3"),
            "{text}"
        );
        assert!(!text.contains("rank 0"), "{text}");
    }

    #[test]
    fn a_report_crosses_as_numbers() {
        for report in [WAITING, BUSY] {
            assert_eq!(Report::of(report.numbers()), report);
        }
    }

    #[test]
    fn a_main_thread_waits_between_enter_and_leave() {
        let progress = Progress::default();
        assert!(!progress.report().waits, "nothing entered yet");
        progress.step(7);
        progress.enter();
        assert!(progress.report().waits && progress.report().step == 7, "in a collective");
        progress.leave();
        assert!(!progress.report().waits, "out of it");
    }
}
