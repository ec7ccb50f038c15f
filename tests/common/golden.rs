//! Figures made by other people's code: PyTorch for rows of logits, TRL for preference losses.
//!
//! The files in `tests/data` are as they were written; this module gives them types.

use serde_json::Value;

/// One row of logits and what PyTorch makes of it, by autograd in float64.
#[derive(Clone, Debug)]
pub struct RowCase {
    /// float32 values; −inf is masked vocabulary.
    pub logits: Vec<f32>,
    pub scale: f64,
    pub softcap: Option<f64>,
    pub temperature: f64,
    pub target: usize,
    pub log_sum_exp: f64,
    pub log_prob: f64,
    pub entropy: f64,
    /// −inf if a logit is masked.
    pub mean_logit: f64,
    /// The first of the largest.
    pub argmax: usize,
    pub log_sum_sq_probs: f64,
    /// With respect to the logits as they are, before the transform.
    pub grad_log_prob: Vec<f64>,
}

/// Every row of `torch_rows.json`.
pub fn rows() -> Vec<RowCase> {
    let file = parse(include_str!("../data/torch_rows.json"));
    list(&file["rows"]).iter().map(row).collect()
}

fn row(case: &Value) -> RowCase {
    let (transform, expected) = (&case["transform"], &case["expected"]);
    let logits = numbers(&case["logits"]);
    assert_eq!(logits.len(), index(&case["vocab"]), "a row as long as it says");
    RowCase {
        logits: logits.into_iter().map(single).collect(),
        scale: transform.get("logit_scale").map_or(1.0, number),
        softcap: transform.get("softcap").map(number),
        temperature: transform.get("temperature").map_or(1.0, number),
        target: index(&case["target"]),
        log_sum_exp: number(&expected["log_sum_exp"]),
        log_prob: number(&expected["log_prob"]),
        entropy: number(&expected["entropy"]),
        mean_logit: expected["mean_logit"].as_f64().unwrap_or(f64::NEG_INFINITY),
        argmax: index(&expected["argmax"]),
        log_sum_sq_probs: number(&expected["log_sum_sq_probs"]),
        grad_log_prob: numbers(&expected["grad_log_prob"]),
    }
}

/// A batch of pairs as TRL sees it: log-probs of every completion token, in float64.
#[derive(Clone, Debug)]
pub struct TrlCase {
    /// TRL's names.
    pub loss_types: Vec<String>,
    /// One a name.
    pub loss_weights: Vec<f64>,
    pub beta: f64,
    pub label_smoothing: Option<f64>,
    /// TRL's name and TRL's α.
    pub divergence: Option<(String, f64)>,
    pub ld_alpha: Option<f64>,
    pub wpo: bool,
    /// Whether TRL computed it in float32.
    pub single: bool,
    pub pairs: Vec<TrlPair>,
    /// Mean over the pairs.
    pub loss: f64,
    /// Means over the pairs.
    pub reward_chosen: f64,
    pub reward_rejected: f64,
    pub accuracy: f64,
    pub margin: f64,
    pub log_prob_chosen: f64,
    pub log_prob_rejected: f64,
}

/// The token log-probs of one pair, and the gradient of the mean loss with respect to them.
#[derive(Clone, Debug)]
pub struct TrlPair {
    pub chosen: TrlAnswer,
    pub rejected: TrlAnswer,
}

/// One answer, token by token.
#[derive(Clone, Debug)]
pub struct TrlAnswer {
    pub policy: Vec<f64>,
    pub reference: Vec<f64>,
    pub grad: Vec<f64>,
    /// log Σp² of each token's row, where the case weighs by it.
    pub log_sum_sq_probs: Vec<f64>,
}

/// Every case of `trl_losses.json`: all losses of TRL's DPO trainer.
pub fn trl_losses() -> Vec<TrlCase> {
    let file = parse(include_str!("../data/trl_losses.json"));
    list(&file["cases"]).iter().map(trl_case).collect()
}

/// Those of the plain DPO loss.
pub fn trl_sigmoid() -> Vec<TrlCase> {
    let is_plain = |case: &TrlCase| {
        let around = case.divergence.is_some() || case.ld_alpha.is_some() || case.wpo;
        case.loss_types == ["sigmoid"] && !around
    };
    trl_losses().into_iter().filter(is_plain).collect()
}

fn trl_case(case: &Value) -> TrlCase {
    let (expected, metrics) = (&case["expected"], &case["expected"]["metrics"]);
    let answer = |role: &str, pair: usize| {
        let tokens = |by: &Value| numbers(&by[role][pair]);
        let answer = TrlAnswer {
            policy: tokens(&case["policy_token_logps"]),
            reference: tokens(&case["reference_token_logps"]),
            grad: tokens(&expected["grad_policy_token_logps"]),
            log_sum_sq_probs: case.get("token_log_sum_sq_probs").map(tokens).unwrap_or_default(),
        };
        let length = index(&case["lengths"][role][pair]);
        let lengths = [&answer.policy, &answer.reference, &answer.grad].map(Vec::len);
        assert_eq!(lengths, [length; 3], "answers as long as they say");
        answer
    };
    let pairs = 0..index(&case["pairs"]);
    let loss_types: Vec<String> =
        list(&case["loss_types"]).iter().map(|name| name.as_str().unwrap().to_owned()).collect();
    let divergence = case
        .get("f_divergence")
        .map(|name| (name.as_str().unwrap().to_owned(), number(&case["alpha"])));
    TrlCase {
        loss_weights: case.get("loss_weights").map_or(vec![1.0; loss_types.len()], numbers),
        loss_types,
        beta: number(&case["beta"]),
        label_smoothing: case.get("label_smoothing").map(number),
        divergence,
        ld_alpha: case.get("ld_alpha").map(number),
        wpo: case.get("wpo").is_some_and(|wpo| wpo.as_bool().unwrap()),
        single: case["dtype"] == "float32",
        pairs: pairs
            .map(|i| TrlPair { chosen: answer("chosen", i), rejected: answer("rejected", i) })
            .collect(),
        loss: number(&expected["loss"]),
        reward_chosen: number(&metrics["rewards/chosen"]),
        reward_rejected: number(&metrics["rewards/rejected"]),
        accuracy: number(&metrics["rewards/accuracies"]),
        margin: number(&metrics["rewards/margins"]),
        log_prob_chosen: number(&metrics["logps/chosen"]),
        log_prob_rejected: number(&metrics["logps/rejected"]),
    }
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

/// A number, or the string that JSON has in the place of an infinite one.
fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| value.as_str().unwrap().parse().unwrap())
}

fn numbers(value: &Value) -> Vec<f64> {
    list(value).iter().map(number).collect()
}

fn index(value: &Value) -> usize {
    usize::try_from(value.as_u64().unwrap()).unwrap()
}

#[allow(clippy::cast_possible_truncation, reason = "checked to be exact")]
fn single(value: f64) -> f32 {
    let single = value as f32;
    assert_eq!(f64::from(single).to_bits(), value.to_bits(), "a float32 value");
    single
}
