//! Whole batches of the model: pairs and texts on every grid, masked ones, and numbers that are not
//! finite.

use dpo_kernel::loss::LossName;
use dpo_kernel::{Dispatch, SequenceLogProb};
use dpo_kernel_mpi::comm::{Comms, Load};
use dpo_kernel_mpi::finetune::batch::{Batch, Scored};
use dpo_kernel_mpi::finetune::linear::{Adapter, RANK};
use dpo_kernel_mpi::finetune::model::{Model, Shape, VOCAB};
use dpo_kernel_mpi::finetune::objective::Objective;
use dpo_kernel_mpi::finetune::random::Random;
use dpo_kernel_mpi::grid::Place;
use dpo_kernel_mpi::head::HeadShard;
use dpo_kernel_mpi::prepare::UNIT;
use dpo_kernel_mpi::shards::columns;
use dpo_kernel_mpi::step::{Forward, Item, Replica};

use crate::launch::{bytes, grid, numbers, ranks};

/// Pairs, or texts: fewer than the ranks of some grids.
const ITEMS: usize = 5;

fn model() -> Model {
    let mut random = Random(3);
    let mut model = Model::new(Shape { width: 16, hidden: 32, blocks: 2 }, &mut random);
    // A fresh adapter changes nothing: this one does.
    for value in &mut model.weights.adapter {
        *value += 0.05 * random.normal();
    }
    model
}

fn replica(model: &Model, place: Place) -> Replica {
    let mut model = model.clone();
    let w = model.weights.base.split_off(model.head.w.start);
    let b = model.weights.adapter.split_off(model.head.b.start);
    let shape = (VOCAB, UNIT, model.width());
    let shard = HeadShard::new(shape, (place.grid.vocab, place.shard), &w, &b).expect("a shard");
    Replica { model, shard }
}

/// Texts of several lengths, bytes of the whole vocabulary.
fn texts() -> Vec<Vec<u8>> {
    let mut random = Random(4);
    let text = |length: usize| (0..length).map(|_| (random.bits() >> 40) as u8).collect();
    [19, 8, 31, 3, 12, 25, 7, 7, 40, 11].map(text).to_vec()
}

fn pairs(texts: &[Vec<u8>]) -> Vec<Item<'_>> {
    let scored = |text: &Vec<u8>| text.len() / 3..text.len() - 1;
    texts
        .chunks(2)
        .map(|pair| pair.iter().map(|text| (text.as_slice(), scored(text))).collect())
        .collect()
}

/// Texts, of which those named have no row that is scored.
fn masked<'a>(texts: &'a [Vec<u8>], without: &[usize]) -> Vec<Item<'a>> {
    let rows =
        |index: usize| if without.contains(&index) { 2..2 } else { 0..texts[index].len() - 1 };
    (0..ITEMS).map(|index| vec![(texts[index].as_slice(), rows(index))]).collect()
}

/// Of a reference that scores the same rows.
fn reference(items: &[Item<'_>]) -> Vec<SequenceLogProb> {
    let counts = items.iter().flatten().map(|(_, rows)| rows.len());
    counts.map(|count| SequenceLogProb { sum: -4.5 * count as f64, count }).collect()
}

fn objective() -> Objective {
    Objective::new(LossName::Sigmoid, Some(0.1)).expect("DPO")
}

/// Loss, log-probs of sequences, gradients of the body and of the whole head: or why not.
pub(crate) fn rank(comms: &Comms, case: &str) -> Vec<u8> {
    let mut model = model();
    if case == "nan-weight" {
        // Of the head, in the last shard.
        let last = model.weights.base.len() - 1;
        model.weights.base[last] = f32::NAN;
    }
    let replica = replica(&model, comms.place);
    let texts = texts();
    let without: &[usize] = match case {
        "masked-some" => &[1, 2, 4],
        "masked-all" => &[0, 1, 2, 3, 4],
        _ => &[],
    };
    let dispatch = Dispatch::detect();
    let (items, adapter) = match case {
        "pairs" | "nan-weight" => (pairs(&texts), Adapter::On),
        "masked-pair" => {
            let mut items = pairs(&texts);
            items[3][1].1 = 2..2;
            (items, Adapter::On)
        }
        _ => (masked(&texts, without), Adapter::Off),
    };
    let run = || {
        let forward = Forward::new(&replica, comms, dispatch, &items, adapter)?;
        let sequences = forward.sequences.clone();
        let (loss, grads) = match adapter {
            Adapter::On => forward.preference(&objective(), &reference(&items))?,
            Adapter::Off => forward.likelihood()?,
        };
        let width = if adapter == Adapter::On { RANK } else { model.width() };
        let shards = comms.vocab.size;
        let counts: Vec<usize> =
            (0..shards).map(|shard| columns(VOCAB, UNIT, shards, shard).len() * width).collect();
        let head = comms.vocab.gather(Load::Rest, &grads.shard, &counts)?;
        let mut out = loss.to_le_bytes().to_vec();
        for sequence in &sequences {
            out.extend(sequence.sum.to_le_bytes());
        }
        out.extend(bytes(&[grads.body, head].concat()));
        Ok::<_, dpo_kernel_mpi::error::Error>(out)
    };
    run().unwrap_or_else(|error| format!("error: {error}").into_bytes())
}

/// Every rank of every grid has the bits of one process.
fn same_bits(case: &str) -> Vec<u8> {
    let one = ranks(&format!("batch:{case}"), grid("1x1")).remove(0);
    assert!(!one.starts_with(b"error"), "{case}: {}", String::from_utf8_lossy(&one));
    for shape in ["2x1", "1x2", "2x2", "3x1", "7x1", "1x7", "3x2"] {
        for (rank, found) in ranks(&format!("batch:{case}"), grid(shape)).into_iter().enumerate() {
            assert!(found == one, "{case} on {shape}: rank {rank} has other bits than 1x1");
        }
    }
    one
}

pub(crate) fn any_grid() {
    same_bits("pairs");
    same_bits("texts");
}

/// Ranks whose items have no scored row, and a batch without any.
pub(crate) fn masked_items() {
    let some = same_bits("masked-some");
    // Two texts alone: what is masked adds nothing. The loss is over scored rows.
    let texts = texts();
    let items: Vec<Scored<'_>> =
        [0, 3].map(|index| (texts[index].as_slice(), 0..texts[index].len() - 1)).to_vec();
    let model = model();
    let mut batch = Batch::forward(&model, &items, Adapter::Off);
    let expected = batch.likelihood(Dispatch::detect()).expect("a loss");
    let found = f64::from_le_bytes(*some.first_chunk().expect("a loss"));
    assert!((found - expected).abs() < 1e-6, "{found} and {expected}");
    let all = same_bits("masked-all");
    assert!(all.iter().all(|byte| *byte == 0 || *byte == 0x80), "nothing but zeros of either sign");
    // An answer without a token is no answer: every rank names it.
    for shape in ["1x1", "2x2", "7x1"] {
        for found in ranks("batch:masked-pair", grid(shape)) {
            let text = String::from_utf8_lossy(&found).into_owned();
            let expected = "error: sequence 7 has no scored token";
            assert!(text.starts_with(expected), "{shape}: {text}");
        }
    }
}

/// Every rank that sees such a row names it; none waits for ever.
pub(crate) fn not_finite() {
    for shape in ["1x1", "2x1", "2x2", "7x1"] {
        for found in ranks("batch:nan-weight", grid(shape)) {
            let text = String::from_utf8_lossy(&found).into_owned();
            assert!(text.starts_with("error: row 0: log Z is not finite"), "{shape}: {text}");
        }
    }
}

/// One process against the example that it comes from, whose sums have another order.
pub(crate) fn against_finetune() {
    let (model, texts, dispatch) = (model(), texts(), Dispatch::detect());
    for (case, adapter) in [("pairs", Adapter::On), ("texts", Adapter::Off)] {
        let found = ranks(&format!("batch:{case}"), grid("1x1")).remove(0);
        let items = if adapter == Adapter::On { pairs(&texts) } else { masked(&texts, &[]) };
        let sequences: Vec<Scored<'_>> = items.concat();
        let mut batch = Batch::forward(&model, &sequences, adapter);
        let loss = match adapter {
            Adapter::On => batch.preference(dispatch, &mut objective(), &reference(&items)),
            Adapter::Off => batch.likelihood(dispatch),
        };
        let loss = loss.expect("a loss");
        let expected = batch.backward(dispatch).expect("gradients");
        let (found_loss, rest) = found.split_first_chunk().expect("a loss");
        let found_loss = f64::from_le_bytes(*found_loss);
        assert!((found_loss - loss).abs() < 1e-6, "{case}: {found_loss} and {loss}");
        let found = numbers(&rest[8 * sequences.len()..]);
        assert_eq!(found.len(), expected.len(), "{case}");
        let top = expected.iter().fold(0.0_f32, |top, value| top.max(value.abs()));
        let worst = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(top > 1e-3, "{case}: there is a gradient");
        // f32 sums of some hundred numbers in two orders; the worst found is 3.7e-7.
        assert!(worst <= 1e-6 * top, "{case}: {worst:e} of {top:e}");
    }
}
