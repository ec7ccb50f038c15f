//! A low-rank adapter on frozen projections (Hu et al. 2021), in the names and files of PEFT.

use std::fs;
use std::path::Path;

use candle_core::{Device, Tensor, Var};
use serde_json::{Value, json};

use crate::file::{self, Named};
use crate::model::Model;
use crate::random::Random;
use crate::{Outcome, fault};

/// A matrix of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the field's")]
pub enum Projection {
    Query,
    Key,
    Value,
    Output,
    Gate,
    Up,
    Down,
}

impl Projection {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Query, Self::Key, Self::Value, Self::Output, Self::Gate, Self::Up, Self::Down];

    /// Its name in a list of target modules.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Query => "q_proj",
            Self::Key => "k_proj",
            Self::Value => "v_proj",
            Self::Output => "o_proj",
            Self::Gate => "gate_proj",
            Self::Up => "up_proj",
            Self::Down => "down_proj",
        }
    }

    /// Its name in GGUF.
    #[must_use]
    pub const fn gguf(self) -> &'static str {
        match self {
            Self::Query => "attn_q",
            Self::Key => "attn_k",
            Self::Value => "attn_v",
            Self::Output => "attn_output",
            Self::Gate => "ffn_gate",
            Self::Up => "ffn_up",
            Self::Down => "ffn_down",
        }
    }

    const fn module(self) -> &'static str {
        match self {
            Self::Query | Self::Key | Self::Value | Self::Output => "self_attn",
            Self::Gate | Self::Up | Self::Down => "mlp",
        }
    }
}

/// Refuses what PEFT may say of an adapter that [`Loras`] does not do: whatever is set, but for what
/// is read elsewhere or has no say over a trained adapter.
fn plain(config: &Value) -> Result<(), String> {
    const ANY: [&str; 13] = [
        "task_type",
        "auto_mapping",
        "peft_version",
        "base_model_name_or_path",
        "revision",
        "inference_mode",
        "r",
        "target_modules",
        "lora_alpha",
        "lora_dropout",
        // Of settings that are themselves refused.
        "megatron_core",
        "qalora_group_size",
        "ensure_weight_tying",
    ];
    for (key, value) in config.as_object().into_iter().flatten() {
        let is_plain = match key.as_str() {
            "peft_type" => value == "LORA",
            "bias" => value == "none",
            // By other names the first adapter changes the weights below it.
            "init_lora_weights" => value.is_boolean() || value == "gaussian",
            key if ANY.contains(&key) => true,
            _ => match value {
                Value::Null | Value::Bool(false) => true,
                Value::Array(items) => items.is_empty(),
                Value::Object(items) => items.is_empty(),
                Value::Bool(true) | Value::Number(_) | Value::String(_) => false,
            },
        };
        if !is_plain {
            return Err(format!("`{key}` is {value}, which is not known here"));
        }
    }
    Ok(())
}

/// What an adapter is made from.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// r.
    pub rank: usize,
    /// α: what the adapter adds is scaled by α / r.
    pub alpha: f64,
    /// Where, in the order of [`Projection::ALL`].
    pub targets: Vec<Projection>,
}

#[derive(Debug)]
struct Lora {
    block: usize,
    projection: Projection,
    /// r × inputs, and outputs × r.
    weights: [Var; 2],
}

/// The weights that are trained.
#[derive(Debug)]
pub struct Adapter {
    plan: Plan,
    loras: Vec<Lora>,
}

/// An adapter as the model reads it.
#[derive(Debug)]
pub struct Loras {
    scale: f64,
    /// A and B by block and projection.
    pairs: Vec<[Option<(Tensor, Tensor)>; Projection::ALL.len()]>,
}

impl Loras {
    pub(crate) fn get(&self, block: usize, which: Projection) -> Option<(&Tensor, &Tensor, f64)> {
        let pair = self.pairs.get(block)?.get(which as usize)?.as_ref()?;
        Some((&pair.0, &pair.1, self.scale))
    }
}

impl Adapter {
    /// A of random numbers, uniform in ±1/√inputs as PEFT has them, B of zeros: policy and reference
    /// are one model.
    ///
    /// # Errors
    /// candle's.
    #[allow(clippy::cast_precision_loss, reason = "widths of models are exact in f32")]
    pub fn new(model: &Model, plan: Plan, random: &mut Random) -> Outcome<Self> {
        let mut loras = Vec::new();
        for block in 0..model.shape().blocks {
            for &projection in &plan.targets {
                let [inputs, outputs] = model.size(projection);
                let bound = (inputs as f32).sqrt().recip();
                let a = (0..plan.rank * inputs).map(|_| (2.0 * random.uniform() - 1.0) * bound);
                let a = Tensor::from_vec(a.collect::<Vec<_>>(), (plan.rank, inputs), &Device::Cpu)?;
                let b = Var::from_vec(
                    vec![0.0_f32; outputs * plan.rank],
                    (outputs, plan.rank),
                    &Device::Cpu,
                )?;
                loras.push(Lora { block, projection, weights: [Var::from_tensor(&a)?, b] });
            }
        }
        Ok(Self { plan, loras })
    }

    /// What [`Adapter::save`] wrote, or PEFT of an adapter that is no more than that.
    ///
    /// # Errors
    /// A file is missing or of another model; a setting or a matrix that would change what the adapter
    /// does.
    pub fn open(model: &Model, folder: &Path) -> Outcome<Self> {
        let say = |what: &str| fault(format!("{}: {what}", folder.display()));
        let config = fs::read(folder.join("adapter_config.json"));
        let config = config.map_err(|error| say(&format!("adapter_config.json: {error}")))?;
        let config: Value = serde_json::from_slice(&config)?;
        plain(&config).map_err(|what| say(&what))?;
        let rank = config.get("r").and_then(Value::as_u64).filter(|rank| *rank > 0);
        let rank = rank.ok_or_else(|| say("no `r` above 0"))?;
        let alpha = config.get("lora_alpha").and_then(Value::as_f64);
        let names = config.get("target_modules").and_then(Value::as_array);
        let names = names.ok_or_else(|| say("no `target_modules`"))?;
        let is_target = |target: &Projection| names.iter().any(|name| name == target.name());
        let targets: Vec<_> = Projection::ALL.into_iter().filter(is_target).collect();
        if targets.len() != names.len() {
            return Err(say("`target_modules` of another model"));
        }
        let alpha = alpha.ok_or_else(|| say("no `lora_alpha`"))?;
        let plan = Plan { rank: usize::try_from(rank)?, alpha, targets };
        let adapter = Self::new(model, plan, &mut Random(0))?;
        let (found, _) = file::read(&folder.join("adapter_model.safetensors"))?;
        adapter.load(&found).map_err(|error| say(&error.to_string()))?;
        match found.iter().find(|named| adapter.names().all(|name| name != named.name)) {
            None => Ok(adapter),
            Some(Named { name, .. }) => Err(say(&format!("`{name}` is of no target"))),
        }
    }

    /// As a pass reads it that gradients follow.
    #[must_use]
    pub fn trained(&self) -> Loras {
        self.loras(|var| var.as_tensor().clone())
    }

    /// As a pass reads it that nothing follows, which then keeps nothing.
    #[must_use]
    pub fn fixed(&self) -> Loras {
        self.loras(Var::as_detached_tensor)
    }

    fn loras(&self, of: impl Fn(&Var) -> Tensor) -> Loras {
        let blocks = self.loras.last().map_or(0, |lora| lora.block + 1);
        let mut pairs = Vec::new();
        pairs.resize_with(blocks, Default::default);
        for Lora { block, projection, weights: [a, b] } in &self.loras {
            let places: Option<&mut [_; Projection::ALL.len()]> = pairs.get_mut(*block);
            if let Some(place) = places.and_then(|places| places.get_mut(*projection as usize)) {
                *place = Some((of(a), of(b)));
            }
        }
        #[allow(clippy::cast_precision_loss, reason = "ranks are small")]
        let scale = self.plan.alpha / self.plan.rank as f64;
        Loras { scale, pairs }
    }

    /// All trained matrices, in an order that does not change.
    pub fn vars(&self) -> impl Iterator<Item = &Var> {
        self.loras.iter().flat_map(|lora| &lora.weights)
    }

    /// How many numbers are trained.
    #[must_use]
    pub fn count(&self) -> usize {
        self.vars().map(|var| var.elem_count()).sum()
    }

    /// PEFT's names of the matrices, in the order of [`Adapter::vars`].
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.loras.iter().flat_map(|Lora { block, projection, .. }| {
            let (module, name) = (projection.module(), projection.name());
            let stem = format!("base_model.model.model.layers.{block}.{module}.{name}");
            ["lora_A", "lora_B"].map(|side| format!("{stem}.{side}.weight"))
        })
    }

    /// The matrices under PEFT's names.
    ///
    /// # Errors
    /// candle's.
    pub fn named(&self) -> Outcome<Vec<Named>> {
        let pairs = self.names().zip(self.vars());
        pairs
            .map(|(name, var)| Named::new(name, var.dims(), var.flatten_all()?.to_vec1()?))
            .collect()
    }

    /// Takes the matrices from a file that has them.
    ///
    /// # Errors
    /// One is missing, or of another shape.
    pub fn load(&self, found: &[Named]) -> Outcome {
        for (name, var) in self.names().zip(self.vars()) {
            let named = found.iter().find(|named| named.name == name && named.shape == var.dims());
            let Some(named) = named else {
                return Err(fault(format!("no `{name}` of {:?}", var.dims())));
            };
            var.set(&Tensor::from_slice(&named.data, var.shape(), &Device::Cpu)?)?;
        }
        Ok(())
    }

    /// Writes `adapter_model.safetensors` and `adapter_config.json`, which PEFT loads.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn save(&self, folder: &Path, base: &str) -> Outcome {
        file::make_folder(folder)?;
        let targets: Vec<&str> = self.plan.targets.iter().map(|target| target.name()).collect();
        let config = json!({
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": base,
            "r": self.plan.rank,
            "lora_alpha": self.plan.alpha,
            "lora_dropout": 0.0,
            "target_modules": targets,
            "bias": "none",
            "fan_in_fan_out": false,
            "inference_mode": true,
        });
        file::write_whole(&folder.join("adapter_config.json"), format!("{config:#}\n").as_bytes())?;
        file::write(&folder.join("adapter_model.safetensors"), &self.named()?, &[("format", "pt")])
    }
}
