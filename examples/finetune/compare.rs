//! Every loss on the same data, reference, adapter start and order of batches: one table, one
//! picture.
//!
//! Rewards and margins of different losses have different units, so what a policy has become is
//! measured by log-ratios against the reference, in nats, for losses without a reference too;
//! accuracies likewise. Only the loss value, and the accuracy so named, are each loss's own.

use std::io::Write;
use std::time::{Duration, Instant};

use dpo_kernel::Dispatch;
use dpo_kernel::loss::LossName;

use super::args::Options;
use super::model::Model;
use super::objective::{Objective, Yardstick};
use super::train::{self, Outcome, Recipe, Score, Scoreboard};
use super::{grid, is_milestone, setup, writable};

/// Evaluations of each loss beside that at step 0.
const MILESTONES: usize = 8;

/// One loss from start to end.
#[derive(Clone, Debug)]
pub struct Course {
    pub name: &'static str,
    pub parameter: String,
    pub points: Vec<Point>,
    /// Of the training steps alone.
    pub time: Duration,
}

/// What an evaluation found.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    pub step: usize,
    /// Of the training pairs.
    pub loss: f64,
    /// Share of the held-out pairs that the loss's own rewards rank right, as trainers report it.
    pub own_accuracy: f64,
    pub train: Yardstick,
    pub held_out: Yardstick,
}

impl Point {
    fn new(step: usize, train: &Score, held_out: &Score) -> Self {
        Self {
            step,
            loss: train.found.loss,
            own_accuracy: held_out.found.summary.accuracy(),
            train: train.yardstick,
            held_out: held_out.yardstick,
        }
    }
}

/// Runs them all.
pub fn run(options: &Options, recipe: &Recipe, out: &mut dyn Write) -> Outcome {
    let start = Instant::now();
    let (examples, mut random) = setup::load(options, out)?;
    writable(&options.out)?;
    let dispatch = Dispatch::detect();
    let reference = setup::reference(recipe, dispatch, &examples, &mut random, out)?;
    let train = Scoreboard::new(&reference, dispatch, &examples.train)?;
    let held_out = Scoreboard::new(&reference, dispatch, &examples.held_out)?;
    let steps = options.steps.unwrap_or_else(|| recipe.preference.steps(examples.train.len()));
    writeln!(out, "{steps} steps each; log-ratios in nats over the training pairs")?;
    writeln!(out, "{HEADING}")?;

    let mut courses = Vec::new();
    for name in LossName::ALL {
        let objective = Objective::new(name, None)?;
        let evaluate = |step, model: &Model, objective: &Objective| -> Outcome<Point> {
            let score = train.evaluate(model, dispatch, objective)?;
            let held_score = held_out.evaluate(model, dispatch, objective)?;
            Ok(Point::new(step, &score, &held_score))
        };
        let mut model = reference.clone();
        let mut points = vec![evaluate(0, &model, &objective)?];
        let (begin, mut aside) = (Instant::now(), Duration::ZERO);
        let report = |step, model: &Model, objective: &Objective, _| {
            let begin = Instant::now();
            if is_milestone(step, steps, MILESTONES) {
                points.push(evaluate(step, model, objective)?);
            }
            aside += begin.elapsed();
            Ok(())
        };
        let plan = (&recipe.preference, steps);
        let order = &mut random.clone();
        train::preference(&mut model, (dispatch, objective), plan, &train, order, report)?;
        let time = begin.elapsed().saturating_sub(aside);
        let course = Course { name: name.name(), parameter: objective.parameter(), points, time };
        writeln!(out, "{}", row(&course))?;
        courses.push(course);
    }
    let subtitle = format!(
        "{} training pairs, {} held out, {steps} steps, seed {}; log-ratios against the reference in nats",
        train.examples.len(),
        held_out.examples.len(),
        options.seed
    );
    std::fs::write(&options.out, grid::draw("Every loss on the same pairs", &subtitle, &courses))?;
    let seconds = start.elapsed().as_secs_f64();
    writeln!(out, "curves in {}; {seconds:.0} s in all", options.out.display())?;
    Ok(())
}

pub const HEADING: &str = concat!(
    "                              loss    loss  log-ratio                          accuracy\n",
    "loss          parameter      first    last        gap  chosen rejected  train held out   own",
    "  displaced  length r     s",
);

/// A line of the table.
pub fn row(course: &Course) -> String {
    let Course { name, parameter, points, time } = course;
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return String::new() };
    let nats = &last.train.log_ratios;
    // Nothing was held out, or all answers are of one length.
    let figure = |value: f64| if value.is_nan() { "n/a".to_owned() } else { format!("{value:.3}") };
    format!(
        "{name:<13} {parameter:<12} {:>7} {:>7} {:>10.2} {:>7.2} {:>8.2} {:>6.3} {:>8} {:>5} {:>10.3} \
         {:>9} {:>5.1}",
        digits(first.loss),
        digits(last.loss),
        nats.mean_margin(),
        nats.mean_reward_chosen(),
        nats.mean_reward_rejected(),
        nats.accuracy(),
        figure(last.held_out.log_ratios.accuracy()),
        figure(last.own_accuracy),
        nats.displaced_share(),
        figure(last.train.lengths.correlation()),
        time.as_secs_f64(),
    )
}

/// Four significant digits, or whole numbers.
pub fn digits(value: f64) -> String {
    let before = value.abs().max(1e-9).log10().floor() as i32;
    let places = usize::try_from(3 - before).unwrap_or(0).min(4);
    format!("{value:.places$}")
}
