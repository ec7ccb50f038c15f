//! A host in Rust: memory for every buffer of every function, structs that point there, and the
//! calls over them, each of which succeeds until a test spoils something.

pub mod functions;
pub mod slots;
mod table;

use std::ptr;

use dpo_kernel::IGNORE_INDEX;
use dpo_kernel::c::*;

use crate::abi::{Call, judge};
use slots::{
    ALL_AT_ONCE, AT_ONCE, HIDDEN, HIDDEN_STRIDE, PAIRS, ROWS, SCRATCH, SEQUENCES, STRIDE, SUMS,
    Slot, TRAINED, VOCAB,
};

/// Bytes between the places of two buffers.
const APART: usize = 768;

/// The memory of a host, and where in it each buffer is.
pub struct Host {
    arena: Vec<u64>,
    /// Addresses, by slot.
    pub at: [usize; Slot::ALL.len()],
    /// Of the first row, by a forward.
    norm: dpo_row_norm,
}

/// Everything that the functions take, by the names of the header.
pub struct Structs {
    pub dispatch: dpo_dispatch,
    pub transform: dpo_transform,
    pub logits: dpo_logits,
    pub in_place: dpo_logits_mut,
    pub grads_to: dpo_logits_mut,
    pub layout: dpo_layout,
    pub objective: dpo_objective,
    pub pairs: dpo_pairs,
    pub answers: dpo_unpaired_batch,
    pub nll: dpo_nll,
    pub grads: dpo_grads,
    pub tile: dpo_tile,
    pub step: dpo_step,
    pub states: dpo_hidden,
    pub head: dpo_head,
    /// Of the forward's sums, to write and to read.
    pub sums: dpo_hidden_mut,
    pub sums_in: dpo_hidden,
    pub hidden_grads: dpo_hidden_mut,
    pub scratch: dpo_head_scratch,
    pub d_head: dpo_head_mut,
    pub trained_scratch: dpo_head_scratch,
    /// `∂L/∂log p` and target's logit of a row.
    pub row: (f64, f32),
    /// Bytes of the statistics of a row.
    pub row_bytes: usize,
    pub loss: dpo_loss,
    pub answer_loss: dpo_loss,
    pub pair: dpo_pair_log_probs,
    /// As in [`Host`].
    pub at: [usize; Slot::ALL.len()],
}

impl Structs {
    pub fn at<T>(&self, slot: Slot) -> *mut T {
        ptr::without_provenance_mut(self.at[slot as usize])
    }
}

/// All zeros.
pub fn zeroed<T: Copy>() -> T {
    // SAFETY: asked for structs of numbers and pointers alone.
    unsafe { std::mem::zeroed() }
}

pub fn option(parameter: i32, value: f64) -> dpo_option {
    dpo_option { parameter, value }
}

/// A loss of this number with some options.
pub fn loss(name: i32, options: &[(i32, f64)]) -> dpo_loss {
    let mut loss = dpo_loss { name, ..dpo_loss::default() };
    for (to, &(parameter, value)) in loss.options.iter_mut().zip(options) {
        *to = option(parameter, value);
    }
    loss
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

impl Host {
    pub fn new() -> Self {
        let small = (Slot::ALL.len() + 2) * APART / 8;
        let mut arena = vec![0x7777_7777_7777_7777_u64; small + SCRATCH + TRAINED + SUMS];
        let base = arena.as_mut_ptr().expose_provenance();
        let mut at = Slot::ALL.map(|slot| base + (slot as usize + 1) * APART);
        at[Slot::TrainedScratch as usize] += SCRATCH * 8;
        let mut host = Self { arena, at, norm: zeroed() };
        host.fill();
        host
    }

    /// Writes values from a slot on.
    pub fn put<T: Copy>(&mut self, slot: Slot, values: &[T]) {
        let room = slot.form().0.max(APART);
        assert!(size_of_val(values) <= room, "{slot:?} has no room");
        let to = ptr::with_exposed_provenance_mut::<T>(self.at[slot as usize]);
        for (i, &value) in values.iter().enumerate() {
            // SAFETY: the place of the slot has room, and nobody else is there.
            unsafe { to.add(i).write(value) };
        }
    }

    /// Brings what a slot holds in a new host to where it is now.
    pub fn copy_slot(&mut self, slot: Slot) {
        let values: Vec<u8> = Self::new().get(slot, slot.form().0);
        self.put(slot, &values);
    }

    /// What a slot holds.
    pub fn get<T: Copy>(&self, slot: Slot, count: usize) -> Vec<T> {
        let from = ptr::with_exposed_provenance::<T>(self.at[slot as usize]);
        // SAFETY: as for `put`; memory holds numbers.
        (0..count).map(|i| unsafe { from.add(i).read() }).collect()
    }

    /// Inputs that differ wherever two could be taken for one another.
    fn fill(&mut self) {
        let number = |i: usize| ((i * 37 + 11) % 64) as f32 / 8.0 - 4.0;
        let logits: Vec<f32> = (0..ROWS * STRIDE)
            .map(|i| if i % STRIDE < VOCAB { number(i) } else { f32::NAN })
            .collect();
        self.put(Slot::Logits, &logits);
        self.put(Slot::Grads, &[0.125_f32; ROWS * STRIDE]);
        let targets = [1_u32, 0, 3, 2, IGNORE_INDEX, 1, 0, 2];
        self.put(Slot::Targets, &targets);
        let spans = [(0, 2), (2, 3), (3, 6), (7, 8)].map(|(from, to)| dpo_span::new(from, to));
        self.put(Slot::Spans, &spans);
        self.put(Slot::LogProbs, &[-0.5_f32, -1.5, -0.25, -2.0, -0.75, -1.25, -3.0, -0.125]);
        let details = (0..ROWS).map(|i| dpo_row_details {
            entropy: i as f32 / 4.0,
            mean_logit: -1.0 - i as f32,
            log_sum_sq_probs: -0.25 - i as f32 / 8.0,
            argmax: i as u32,
        });
        self.put(Slot::Details, &details.collect::<Vec<_>>());
        self.put(Slot::TokenWeights, &[1.0_f32, 0.5, 0.75, 1.0, 2.0, 1.5, 1.0, 0.25]);
        let sums = [(-2.0, 2), (-0.25, 1), (-3.25, 2), (-0.125, 1)];
        let of = |(sum, count)| dpo_sequence_log_prob { sum, count };
        self.put(Slot::Sequences, &sums.map(of));
        self.put(Slot::Pairs, &[dpo_pair::new(0, 1), dpo_pair::new(2, 3)]);
        let labels = [(0, 1), (3, 0), (2, 1), (1, 0)];
        let answer = |(sequence, label)| dpo_answer { sequence, label };
        self.put(Slot::Answers, &labels.map(answer));
        let reference = [(-2.5, 2), (-1.25, 1), (-2.0, 2), (-0.75, 1)];
        self.put(Slot::Sums, &reference.map(|(sum, _)| sum));
        self.put(Slot::Reference, &reference.map(of));
        self.put(Slot::PairWeights, &[0.5_f32, 1.5]);
        self.put(Slot::PairOffsets, &[0.25_f32, -0.5]);
        self.put(Slot::AnswerWeights, &[0.5_f32, 1.25, 2.0, 0.75]);
        self.put(Slot::D, &[0.5, -0.25, 0.75, -1.0]);
        self.put(Slot::DNll, &[-0.125, 0.375, -0.5, 0.0625]);
        self.put(Slot::Coefficients, &[-0.5, 0.25, 1.0, -1.0, f64::NAN, 0.75, f64::NAN, 0.5]);
        self.put(Slot::Losses, &[loss(0, &[(1, 0.5)]), loss(2, &[(1, 0.25)])]);
        self.put(Slot::SingleLoss, &[loss(0, &[(1, 0.5), (2, 0.125)])]);
        self.put(Slot::SortedLoss, &[loss(27, &[(1, 0.5)])]);
        let advantages = [0.5, -0.25, 1.0, 0.125].map(|advantage| loss(35, &[(33, advantage)]));
        self.put(Slot::AnswerLossKinds, &advantages);
        self.put(Slot::TermWeights, &[0.75, 0.5]);
        self.put(Slot::NllAnswers, &[3_usize, 0]);
        self.put(Slot::NllWeights, &[0.5_f32, 2.0]);
        self.put(Slot::Offsets, &[0_u32, 2, 3, 6, 8]);
        self.put(Slot::Labels, &[1_i64, 0, -100, 3, 2, 1, -100, 7]);
        self.put(Slot::Tile, &[1.0_f32, -2.0, 0.5, 3.0]);
        self.put(Slot::Name, b"s_dpo");
        for slot in [Slot::Stats, Slot::StatsFrom] {
            self.put(slot, &[zeroed::<dpo_row_stats>()]);
        }
        let rows = |from: usize, rows: usize| -> Vec<f32> {
            let is_padding = |i: usize| i % HIDDEN_STRIDE >= HIDDEN;
            let element = |i: usize| if is_padding(i) { f32::NAN } else { number(i + from) };
            (0..rows * HIDDEN_STRIDE).map(element).collect()
        };
        self.put(Slot::States, &rows(3, ROWS));
        self.put(Slot::Weights, &rows(17, VOCAB));
        self.put(Slot::Bias, &[0.25_f32, -0.5, 1.5, -2.0]);
        self.put(Slot::RowsOut, &rows(29, ROWS));
        self.put(Slot::RowsIn, &rows(29, ROWS));
        self.put(Slot::HiddenGrads, &[0.125_f32; ROWS * HIDDEN_STRIDE]);
        self.put(Slot::HeadGrads, &rows(41, VOCAB));
        self.put(Slot::BiasGrads, &[-0.25_f32, 1.5, 0.75, -3.0]);
        self.put(Slot::TargetRow, &[0.5_f32, -1.0, 2.0]);
        self.put(Slot::RowSums, &[0.75_f32, 0.125, -3.0]);
        self.make_stats();
        self.make_norms();
    }

    /// By folds of a row: its first columns, and all of them.
    fn make_stats(&mut self) {
        let (transform, none) = (self.structs().transform, ptr::null_mut());
        let dispatch = dpo_dispatch { level: 1, arithmetic: 2 };
        let mut stats: dpo_row_stats = zeroed();
        (stats.transform, stats.flags, stats.target) = (transform, DPO_ROW_TARGET, 1);
        let columns = [[0.5_f32, -1.5], [9.0, 8.5]];
        for (slot, (tile, first)) in
            [Slot::StatsBefore, Slot::StatsRow].into_iter().zip(columns.iter().zip([0, 2]))
        {
            let tile = tile.as_ptr().cast();
            // SAFETY: two columns, and statistics of this function.
            let folded =
                unsafe { dpo_row_stats_fold(dispatch, &raw mut stats, 1, tile, 2, first, none) };
            assert_eq!(folded, DPO_OK);
            self.put(slot, &[stats]);
        }
        self.put(Slot::RowBytes, &bytes_of(&stats, DPO_ROW_BYTES));
        let (tile, flags) = ([0.5_f32, -1.5, f32::NEG_INFINITY, 2.25], DPO_ROW_DETAILS);
        let mut stats = dpo_row_stats { transform, flags, ..zeroed() };
        let data = tile.as_ptr().cast();
        // SAFETY: four columns, and statistics of this function.
        let folded = unsafe { dpo_row_stats_fold(dispatch, &raw mut stats, 1, data, 4, 2, none) };
        assert_eq!(folded, DPO_OK);
        self.put(Slot::StatsDetailed, &[stats]);
        self.put(Slot::RowDetailBytes, &bytes_of(&stats, DPO_ROW_DETAIL_BYTES));
    }

    /// By a forward of the logits.
    fn make_norms(&mut self) {
        let structs = self.structs();
        let keep: Vec<f32> = self.get(Slot::LogProbs, ROWS);
        let (logits, layout) = (&raw const structs.logits, &raw const structs.layout);
        let (to, norms) = (structs.at(Slot::LogProbs), structs.at(Slot::Norms));
        self.put(Slot::Norms, &[zeroed::<dpo_row_norm>(); ROWS]);
        let (none, summary) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: the structs point to memory of their lengths.
        let status = unsafe {
            let d = structs.dispatch;
            dpo_token_log_probs(d, logits, layout, to, norms, none, summary, ptr::null_mut())
        };
        assert_eq!(status, DPO_OK);
        self.put(Slot::LogProbs, &keep);
        self.norm = self.get(Slot::Norms, 1)[0];
    }

    /// Structs that point to the slots, all of whose optional parts are there.
    pub fn structs(&self) -> Box<Structs> {
        let none = dpo_transform { scale: 0.0, softcap: 0.0, temperature: 0.0 };
        let transform = dpo_transform { scale: 1.25, softcap: 6.0, temperature: 0.75 };
        let dispatch = dpo_dispatch { level: 1, arithmetic: 2 };
        let mut s = Box::new(Structs { dispatch, transform, at: self.at, ..zeroed_structs() });
        let (rows, vocab, stride, len) = (ROWS, VOCAB, STRIDE, ROWS * STRIDE);
        let size = size_of::<dpo_logits>();
        let (from, to) = (s.at(Slot::Logits), s.at(Slot::Grads));
        let data = from;
        s.in_place = dpo_logits_mut { size, data, len, rows, vocab, stride, r#type: 1, transform };
        s.logits = dpo_logits { size, data, len, rows, vocab, stride, r#type: 1, transform };
        s.grads_to = dpo_logits_mut { data: to, transform: none, ..s.in_place };
        s.layout = dpo_layout {
            size: size_of::<dpo_layout>(),
            targets: s.at(Slot::Targets),
            rows,
            spans: s.at(Slot::Spans),
            count: SEQUENCES,
            vocab,
            given: 0,
            ignore: 0,
            order: s.at(Slot::SpanOrder),
        };
        s.objective = dpo_objective {
            size: size_of::<dpo_objective>(),
            losses: s.at(Slot::SingleLoss),
            count: 1,
            kind: DPO_OBJECTIVE_ONE,
            reserved: 0,
            term_weights: ptr::null(),
            order: ptr::null_mut(),
            order_len: 0,
        };
        s.pairs = dpo_pairs {
            size: size_of::<dpo_pairs>(),
            pairs: s.at(Slot::Pairs),
            count: PAIRS,
            reference_sums: s.at(Slot::Sums),
            reference_sequences: ptr::null(),
            weights: s.at(Slot::PairWeights),
            offsets: s.at(Slot::PairOffsets),
            divisor: 3.0,
        };
        s.answers = dpo_unpaired_batch {
            size: size_of::<dpo_unpaired_batch>(),
            answers: s.at(Slot::Answers),
            count: SEQUENCES,
            reference_sums: s.at(Slot::Sums),
            reference_sequences: ptr::null(),
            weights: s.at(Slot::AnswerWeights),
            losses: ptr::null(),
            divisor: 5.0,
        };
        s.nll = dpo_nll {
            size: size_of::<dpo_nll>(),
            weight: 0.25,
            divisor: 7.0,
            per: DPO_NLL_PER_SEQUENCE,
            term: DPO_NLL_TERM_NLL,
            of: DPO_NLL_OF_ANSWERS,
            reserved: 0,
            pairs: ptr::null(),
            answers: s.at(Slot::NllAnswers),
            count: 2,
            weights: s.at(Slot::NllWeights),
        };
        s.grads = dpo_grads {
            size: size_of::<dpo_grads>(),
            norms: s.at(Slot::Norms),
            coefficients: s.at(Slot::Coefficients),
            unscored: DPO_UNSCORED_ZERO,
            reserved: 0,
        };
        s.tile = dpo_tile {
            size: size_of::<dpo_tile>(),
            data: s.at(Slot::Tile),
            len: VOCAB,
            coefficient: -0.75,
            norm: self.norm,
            transform,
            r#type: 1,
            first_column: 2,
            target: 4,
        };
        s.step = dpo_step {
            size: size_of::<dpo_step>(),
            layout: &raw const s.layout,
            in_place: &raw const s.in_place,
            logits: ptr::null(),
            grads: ptr::null(),
            log_probs: s.at(Slot::LogProbs),
            norms: s.at(Slot::Norms),
            sequences: s.at(Slot::Sequences),
            d_log_probs: s.at(Slot::D),
            coefficients: s.at(Slot::Coefficients),
            token_weights: s.at(Slot::TokenWeights),
            tokens: s.at(Slot::Tokens),
            nll: ptr::null(),
            d_nll: ptr::null_mut(),
            nll_summary: ptr::null_mut(),
            unscored: DPO_UNSCORED_ZERO,
            reserved: 0,
        };
        let (hidden, stride, len) = (HIDDEN, HIDDEN_STRIDE, ROWS * HIDDEN_STRIDE);
        let (data, size) = (s.at(Slot::States), size_of::<dpo_hidden>());
        s.states = dpo_hidden { size, data, len, rows, hidden, stride, r#type: 1, reserved: 0 };
        s.sums_in = dpo_hidden { data: s.at(Slot::RowsIn), ..s.states };
        let data = s.at(Slot::RowsOut);
        s.sums = dpo_hidden_mut { size, data, len, rows, hidden, stride, r#type: 1, reserved: 0 };
        s.hidden_grads = dpo_hidden_mut { data: s.at(Slot::HiddenGrads), ..s.sums };
        s.head = dpo_head {
            size: size_of::<dpo_head>(),
            weights: s.at(Slot::Weights),
            len: VOCAB * HIDDEN_STRIDE,
            vocab,
            hidden,
            stride,
            r#type: 1,
            transform,
            bias: s.at(Slot::Bias),
            panels: 0,
        };
        s.scratch = dpo_head_scratch {
            size: size_of::<dpo_head_scratch>(),
            numbers: s.at(Slot::Scratch),
            len: SCRATCH,
            rows: AT_ONCE,
        };
        s.d_head = dpo_head_mut {
            size: size_of::<dpo_head_mut>(),
            weights: s.at(Slot::HeadGrads),
            len: VOCAB * HIDDEN_STRIDE,
            stride,
            r#type: 1,
            mode: DPO_GRADS_REPLACE,
            bias: s.at(Slot::BiasGrads),
        };
        s.trained_scratch = dpo_head_scratch {
            numbers: s.at(Slot::TrainedScratch),
            len: TRAINED,
            rows: ALL_AT_ONCE,
            ..s.scratch
        };
        s.row = (-0.75, -1.5);
        s.row_bytes = DPO_ROW_BYTES;
        s.loss = loss(0, &[(1, 0.5), (2, 0.125)]);
        s.answer_loss = loss(23, &[(1, 0.5), (14, 0.25), (15, 1.5), (16, 0.75)]);
        s.pair = dpo_pair_log_probs {
            policy_chosen: -20.5,
            policy_rejected: -25.25,
            reference_chosen: -21.0,
            reference_rejected: -24.5,
            chosen_tokens: 10,
            rejected_tokens: 12,
            offset: 0.125,
        };
        s
    }

    /// A call over this memory, by the model: the status that both agree on.
    pub fn judge(&self, call: &Call) -> Result<dpo_status, String> {
        let bytes = self.arena.as_ptr().cast::<u8>();
        let memory = ptr::slice_from_raw_parts(bytes, self.arena.len() * 8);
        // SAFETY: the structs of this host point to memory of their lengths, which is there.
        unsafe { judge(call, memory) }
    }
}

/// As the library writes them.
fn bytes_of(stats: &dpo_row_stats, len: usize) -> Vec<u8> {
    let mut bytes = vec![0x77; len];
    // SAFETY: a struct, and memory of the length.
    let written =
        unsafe { dpo_row_stats_write_bytes(stats, bytes.as_mut_ptr(), len, ptr::null_mut()) };
    assert_eq!(written, DPO_OK);
    bytes
}

fn zeroed_structs() -> Structs {
    Structs {
        dispatch: zeroed(),
        transform: zeroed(),
        logits: zeroed(),
        in_place: zeroed(),
        grads_to: zeroed(),
        layout: zeroed(),
        objective: zeroed(),
        pairs: zeroed(),
        answers: zeroed(),
        nll: zeroed(),
        grads: zeroed(),
        tile: zeroed(),
        step: zeroed(),
        states: zeroed(),
        head: zeroed(),
        sums: zeroed(),
        sums_in: zeroed(),
        hidden_grads: zeroed(),
        scratch: zeroed(),
        d_head: zeroed(),
        trained_scratch: zeroed(),
        row: (0.0, 0.0),
        row_bytes: 0,
        loss: zeroed(),
        answer_loss: zeroed(),
        pair: zeroed(),
        at: [0; Slot::ALL.len()],
    }
}
