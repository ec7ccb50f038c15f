//! What is told of a step, and of the process.

use std::fs;

use serde_json::{Value, json};

/// A step, before its update.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// From 1.
    pub step: usize,
    /// The mean loss of its pairs.
    pub loss: f64,
    /// The mean of β · (log-ratio of the chosen answer − that of the rejected one).
    pub margin: f64,
    /// Pairs with a positive margin, over pairs.
    pub accuracy: f64,
    /// Log-probs of the chosen answers, sums over their tokens.
    pub chosen: Vec<f64>,
    /// Log-probs of the rejected answers.
    pub rejected: Vec<f64>,
    /// The learning rate.
    pub rate: f64,
    /// The gradient's norm before it was clipped.
    pub norm: f64,
    /// Wall-clock time of the step.
    pub seconds: f64,
    /// Time from hidden states to hidden gradients: of all micro-batches, over those that run beside
    /// one another.
    pub loss_seconds: f64,
    /// Tokens of its sequences, each with its prompt.
    pub tokens: usize,
}

impl Record {
    /// As one object.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "step": self.step,
            "loss": self.loss,
            "margin": self.margin,
            "accuracy": self.accuracy,
            "chosen": self.chosen,
            "rejected": self.rejected,
            "lr": self.rate,
            "grad_norm": self.norm,
            "seconds": self.seconds,
            "loss_seconds": self.loss_seconds,
            "tokens": self.tokens,
        })
    }

    /// From one.
    #[must_use]
    pub fn parse(value: &Value) -> Option<Self> {
        let real = |key: &str| value.get(key)?.as_f64();
        let count = |key: &str| usize::try_from(value.get(key)?.as_u64()?).ok();
        let reals = |key: &str| -> Option<Vec<f64>> {
            value.get(key)?.as_array()?.iter().map(Value::as_f64).collect()
        };
        Some(Self {
            step: count("step")?,
            loss: real("loss")?,
            margin: real("margin")?,
            accuracy: real("accuracy")?,
            chosen: reals("chosen")?,
            rejected: reals("rejected")?,
            rate: real("lr")?,
            norm: real("grad_norm")?,
            seconds: real("seconds")?,
            loss_seconds: real("loss_seconds")?,
            tokens: count("tokens")?,
        })
    }

    /// One line for the terminal.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "tokens of a step are few")]
    pub fn line(&self, steps: usize) -> String {
        format!(
            "step {:>4}/{steps}  loss {:.4}  margin {:+.4}  accuracy {:.2}  {:.0} tokens/s  {:.2} s, \
             {:.2} of it the loss part",
            self.step,
            self.loss,
            self.margin,
            self.accuracy,
            self.tokens as f64 / self.seconds,
            self.seconds,
            self.loss_seconds,
        )
    }
}

/// The most memory that this process has had in RAM, in MiB; none where the system does not tell.
#[must_use]
pub fn peak_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? / 1024)
}
