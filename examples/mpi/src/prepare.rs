//! What every rank makes for itself, out of the same files and the same seed, before it meets the
//! others.

use std::fs;

use dpo_kernel::Dispatch;
use dpo_kernel::row::ROW_BYTES;

use crate::args::Options;
use crate::checkpoint::State;
use crate::digest::Digest;
use crate::error::Error;
use crate::finetune::model::{Model, VOCAB};
use crate::finetune::random::Random;
use crate::finetune::text::Examples;
use crate::finetune::train::{Phase, Recipe};
use crate::finetune::{BUILT_IN, jsonl};
use crate::grid::{Grid, Place};
use crate::handshake::Record;
use crate::head::HeadShard;
use crate::step::Replica;

/// Columns of a unit: eight units, so that seven shards all have some.
pub const UNIT: usize = 32;

/// Data, model and settings.
#[derive(Debug)]
pub struct Prepared {
    /// The pairs, split.
    pub examples: Examples,
    /// Sizes and phases.
    pub recipe: Recipe,
    /// β of DPO.
    pub beta: f64,
    /// Steps of a phase at most.
    pub limit: Option<usize>,
    /// The first weights, whole.
    pub model: Model,
    /// What follows out of the seed after them.
    pub random: Random,
    /// What a result depends on, by name.
    pub settings: Vec<(String, String)>,
    /// The state to go on from.
    pub state: Option<State>,
}

impl Prepared {
    /// Reads the data and the state, and draws the first weights.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Input`].
    pub fn new(options: &Options, dispatch: Dispatch) -> Result<Self, Error> {
        let (name, bytes) = match &options.data {
            None => ("pairs.jsonl".to_owned(), BUILT_IN.to_vec()),
            Some(path) => {
                let fail = |error: std::io::Error| Error::File {
                    path: path.clone(),
                    why: error.to_string(),
                };
                (path.display().to_string(), fs::read(path).map_err(fail)?)
            }
        };
        let pairs = jsonl::parse(&name, &bytes).map_err(|error| Error::Input(error.to_string()))?;
        let mut random = Random(options.seed);
        let examples = Examples::new(&pairs, &mut random);
        if examples.train.is_empty() {
            return Err(Error::Input(format!("{name}: no pair is left to train on")));
        }
        let recipe = Recipe::default();
        let model = Model::new(recipe.shape, &mut random);
        let settings = settings(options, dispatch, &recipe, &bytes);
        let state = match &options.state {
            Some(path) if path.exists() => Some(State::read(path, &settings)?),
            _ => None,
        };
        let (beta, limit) = (options.beta, options.limit);
        Ok(Self { examples, recipe, beta, limit, model, random, settings, state })
    }

    /// Steps of a phase over so many items.
    #[must_use]
    pub fn steps(&self, plan: &Phase, items: usize) -> usize {
        let steps = plan.steps(items);
        self.limit.map_or(steps, |limit| steps.min(limit))
    }

    /// A rank's part of a whole model.
    ///
    /// # Errors
    /// [`Error::Length`].
    pub fn shard_of(&self, whole: &Model, place: Place) -> Result<Replica, Error> {
        let mut model = whole.clone();
        let w = model.weights.base.split_off(model.head.w.start);
        let b = model.weights.adapter.split_off(model.head.b.start);
        let shape = (VOCAB, UNIT, model.width());
        let shard = HeadShard::new(shape, (place.grid.vocab, place.shard), &w, &b)?;
        Ok(Replica { model, shard })
    }

    /// What this rank tells the others.
    #[must_use]
    pub fn record(&self, grid: Grid) -> Record {
        let of = |name: &str| {
            let found = self.settings.iter().find(|(setting, _)| setting == name);
            found.map(|(_, value)| value.clone()).unwrap_or_default()
        };
        let mut weights = Digest::default();
        weights.add_all(0, &self.model.weights.base);
        weights.add_all(1 << 40, &self.model.weights.adapter);
        let start = self.state.as_ref().map_or_else(
            || "the first step".to_owned(),
            |state| format!("phase {}, step {}", state.phase, state.step),
        );
        Record {
            version: of("version"),
            arithmetic: of("arithmetic"),
            vocab: of("vocabulary"),
            partial: ROW_BYTES.to_string(),
            grid: grid.to_string(),
            recipe: of("recipe"),
            data: of("data"),
            weights: format!("{:016x}", weights.0),
            start,
            trouble: String::new(),
        }
    }
}

/// What a result depends on. The grid is not among it.
fn settings(
    options: &Options,
    dispatch: Dispatch,
    recipe: &Recipe,
    data: &[u8],
) -> Vec<(String, String)> {
    let told =
        format!("{recipe:?} {:?} {} {:?}", options.beta.to_bits(), options.seed, options.limit);
    let all = [
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ("arithmetic", format!("{:?}", dispatch.arithmetic()).to_lowercase()),
        ("vocabulary", format!("{VOCAB} in units of {UNIT}")),
        ("recipe", format!("{:016x}", Digest::of_bytes(told.as_bytes()).0)),
        ("data", format!("{:016x}", Digest::of_bytes(data).0)),
    ];
    all.map(|(name, value)| (name.to_owned(), value)).to_vec()
}
