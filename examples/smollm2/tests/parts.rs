//! The optimizer, the adapter's files, the order of pairs, the options.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "counts of tests are small"
)]

mod common;

use std::ffi::OsString;

use candle_core::{Device, Var};
use serde_json::Value;
use smollm2::Random;
use smollm2::args::{Options, Order, Request, Schedule, help, parse};
use smollm2::file::{self, Named};
use smollm2::lora::{Adapter, Plan, Projection};
use smollm2::optimizer::{AdamW, Hyper};
use smollm2::train::{Turns, rate_at};

/// By the formulas of PyTorch's documentation, in f64.
#[test]
fn steps_are_those_of_adamw() {
    let hyper = Hyper { weight_decay: 0.1, clip: Some(0.5), ..Hyper::default() };
    let start = [0.5_f32, -1.25, 3.0];
    let var = Var::from_slice(&start, 3, &Device::Cpu).unwrap();
    let mut optimizer = AdamW::new(hyper, std::iter::once(&var));
    let mut weights = start.map(f64::from);
    let (mut means, mut squares) = ([0.0; 3], [0.0; 3]);
    for step in 1..=20_i32 {
        let grads: [f32; 3] =
            std::array::from_fn(|i| ((step * 7 + i as i32 * 5) % 11 - 4) as f32 * 0.1);
        let norm = grads.iter().map(|grad| f64::from(*grad).powi(2)).sum::<f64>().sqrt();
        let found = optimizer.step(std::iter::once(&var), &vec![grads.to_vec()], 0.01).unwrap();
        assert!((found - norm).abs() < 1e-12);
        let share = (0.5 / (norm + 1e-6)).min(1.0);
        for i in 0..3 {
            let grad = f64::from(grads[i]) * share;
            weights[i] -= 0.01 * 0.1 * weights[i];
            means[i] = 0.9 * means[i] + 0.1 * grad;
            squares[i] = 0.999 * squares[i] + 0.001 * grad * grad;
            let mean = means[i] / (1.0 - 0.9_f64.powi(step));
            let square: f64 = squares[i] / (1.0 - 0.999_f64.powi(step));
            weights[i] -= 0.01 * mean / (square.sqrt() + 1e-8);
        }
    }
    let found: Vec<f32> = var.to_vec1().unwrap();
    for (found, expected) in found.iter().zip(weights) {
        // Twenty steps of 0.01 at most, each rounded a dozen times, on numbers up to 4.
        assert!(
            (f64::from(*found) - expected).abs() < 20.0 * 4.0 * 2_f64.powi(-24),
            "{found} {expected}"
        );
    }
}

#[test]
fn an_adapter_is_read_as_it_was_saved() {
    let (_, model, path) = common::model("saved", 2);
    let folder = path.parent().unwrap().join("adapter");
    let plan = Plan { rank: 2, alpha: 5.0, targets: vec![Projection::Key, Projection::Down] };
    let adapter = Adapter::new(&model, plan, &mut Random(4)).unwrap();
    assert_eq!(adapter.count(), 2 * 2 * (24 + 12 + 40 + 24));
    adapter.save(&folder, "somewhere").unwrap();
    let again = Adapter::open(&model, &folder).unwrap();
    assert_eq!(adapter.named().unwrap(), again.named().unwrap());
    let names: Vec<String> = adapter.names().take(2).collect();
    assert_eq!(names[0], "base_model.model.model.layers.0.self_attn.k_proj.lora_A.weight");
    assert_eq!(names[1], "base_model.model.model.layers.0.self_attn.k_proj.lora_B.weight");
    let config = std::fs::read(folder.join("adapter_config.json")).unwrap();
    let config: Value = serde_json::from_slice(&config).unwrap();
    assert_eq!(config["target_modules"], serde_json::json!(["k_proj", "down_proj"]));
    assert_eq!((&config["r"], &config["lora_alpha"]), (&2.into(), &5.0.into()));

    // PEFT's defaults beside it change nothing; what would is refused by its name.
    let refused = |key: &str, value: Value| {
        let mut config = config.clone();
        config[key] = value;
        std::fs::write(folder.join("adapter_config.json"), config.to_string()).unwrap();
        Adapter::open(&model, &folder).map_err(|error| error.to_string())
    };
    for (key, value) in [
        ("use_rslora", "false"),
        ("rank_pattern", "{}"),
        ("modules_to_save", "null"),
        ("init_lora_weights", "true"),
        ("lora_dropout", "0.1"),
        ("qalora_group_size", "16"),
    ] {
        assert!(refused(key, serde_json::from_str(value).unwrap()).is_ok(), "{key}");
    }
    for (key, value) in [
        ("use_rslora", "true"),
        ("use_dora", "true"),
        ("rank_pattern", "{\"k_proj\":4}"),
        ("alpha_pattern", "{\"k_proj\":4}"),
        ("bias", "\"all\""),
        ("modules_to_save", "[\"lm_head\"]"),
        ("fan_in_fan_out", "true"),
        ("layers_to_transform", "[0]"),
        ("layers_to_transform", "0"),
        ("init_lora_weights", "\"pissa\""),
        ("peft_type", "\"LOHA\""),
        ("something_new", "1.5"),
    ] {
        let why = refused(key, serde_json::from_str(value).unwrap()).unwrap_err();
        assert!(why.ends_with(&format!("`{key}` is {value}, which is not known here")), "{why}");
    }
    std::fs::write(folder.join("adapter_config.json"), config.to_string()).unwrap();
    let mut more = adapter.named().unwrap();
    more.push(Named::new("a.lora_magnitude_vector".into(), &[1], vec![1.0]).unwrap());
    file::write(&folder.join("adapter_model.safetensors"), &more, &[]).unwrap();
    let why = Adapter::open(&model, &folder).unwrap_err().to_string();
    assert!(why.ends_with("`a.lora_magnitude_vector` is of no target"), "{why}");

    // Of another shape, or not there.
    let mut some = adapter.named().unwrap();
    some[0].shape.swap(0, 1);
    let why = adapter.load(&some).unwrap_err().to_string();
    assert!(
        why.starts_with("no `base_model.model.model.layers.0.self_attn.k_proj.lora_A"),
        "{why}"
    );
    assert!(adapter.load(&[]).is_err());
    std::fs::remove_file(folder.join("adapter_config.json")).unwrap();
    let why = Adapter::open(&model, &folder).unwrap_err().to_string();
    assert!(why.contains("adapter_config.json"), "{why}");
}

#[test]
fn a_file_is_there_whole_or_not_at_all() {
    let folder = common::folder("whole");
    let path = folder.join("a.safetensors");
    let one = Named::new("one".into(), &[2, 2], vec![1.0, -0.0, f32::NAN, 4.0]).unwrap();
    file::write(&path, std::slice::from_ref(&one), &[("key", "text")]).unwrap();
    let (all, texts) = file::read(&path).unwrap();
    let bits = |data: &[f32]| data.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&all[0].data), bits(&one.data));
    assert_eq!(texts["key"], "text");
    file::write_with(&path, &[one], &[("key", "text")], &[("long", "te✓t")]).unwrap();
    let (all, texts) = file::read(&path).unwrap();
    assert_eq!((all.len(), &*texts["key"], &*texts["long"]), (1, "text", "te✓t"));
    assert!(Named::new("two".into(), &[3], vec![0.0]).is_err());
    // Where the file beside it cannot be made, what was there stays.
    std::fs::create_dir(folder.join("a.safetensors.part")).unwrap();
    assert!(file::write(&path, &[], &[]).is_err());
    assert_eq!(file::read(&path).unwrap().0.len(), 1);
}

#[test]
fn every_pass_takes_every_pair() {
    let of = |order| {
        let mut turns = Turns::new(5, order, Random(9));
        let passes: [[usize; 5]; 3] =
            std::array::from_fn(|_| std::array::from_fn(|_| turns.turn()));
        passes
    };
    assert_eq!(of(Order::File), [[0, 1, 2, 3, 4]; 3]);
    let shuffled = of(Order::Shuffled);
    assert_eq!(shuffled, of(Order::Shuffled));
    assert!(shuffled[0] != shuffled[1] || shuffled[1] != shuffled[2]);
    for mut pass in shuffled {
        pass.sort_unstable();
        assert_eq!(pass, [0, 1, 2, 3, 4]);
    }
}

fn parsed(args: &[&str]) -> Result<Options, String> {
    match parse(args.iter().map(OsString::from))? {
        Request::Run(options) => Ok(*options),
        Request::Help => Err("help".into()),
    }
}

#[test]
fn options_are_read_or_refused_by_name() {
    let options =
        parsed(&["--model", "m", "--targets", "v_proj,q_proj", "--clip", "0", "--lr", "1e-3"])
            .unwrap();
    assert_eq!(options.plan.targets, [Projection::Query, Projection::Value]);
    assert_eq!((options.clip, options.rate), (None, 1e-3));
    assert_eq!(Options { clip: Some(1.0), rate: 5e-4, ..options }, Options::new("m".into()));
    let options = parsed(&["--model", "m", "--schedule", "constant"]).unwrap();
    assert_eq!((options.schedule, rate_at(&options, 9, 10)), (Schedule::Constant, 5e-4));
    assert!((rate_at(&Options::new("m".into()), 9, 10) - 5e-5).abs() < 1e-18);
    for (args, wanted) in [
        (&["--data", "x"][..], "--model FILE.gguf is needed: --help says more"),
        (&["--model"], "--model needs a value"),
        (&["--model", "m", "--sted", "1"], "there is no option `--sted`: --help lists them"),
        (&["--model", "m", "--beta", "inf"], "--beta takes a finite number above 0, not `inf`"),
        (&["--model", "m", "--batch", "0"], "--batch takes a number from 1 to 4096, not `0`"),
        (&["--model", "m", "--clip", "-1"], "--clip takes a finite number, 0 or above, not `-1`"),
        (&["--model", "m", "--order", "x"], "--order takes shuffled or file, not `x`"),
        (
            &["--model", "m", "--targets", "q_proj,q_proj"],
            "--targets takes some of q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj, not \
             `q_proj,q_proj`",
        ),
        (
            &["--model", "m", "--seed", "-1"],
            "--seed takes a whole number from 0 to 2^64 - 1, not `-1`",
        ),
        (
            &["--model", "m", "--hold-out", "1"],
            "--hold-out takes 0 or a number from 2 to 1000000, not `1`",
        ),
        (&["-h"], "help"),
    ] {
        assert_eq!(parsed(args).unwrap_err(), wanted);
    }
    // Every option that the help lists is one.
    for line in help().lines().filter(|line| line.starts_with("  --")) {
        let name = line.split_whitespace().next().unwrap();
        let found = parsed(&[name]);
        assert!(!found.unwrap_err().contains("there is no option"), "{name}");
    }
}
