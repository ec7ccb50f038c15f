//! A host that says whatever it likes of the memory that it has.

use std::any::Any;
use std::ffi::c_void;
use std::ptr;

use dpo_kernel::c::*;
use dpo_kernel::error::Parameter;
use dpo_kernel::loss::LossName;

/// Bytes of the arena; buffers begin in the first eighth before [`ORDER`].
pub const ARENA: usize = SCRATCH + 8 * SCRATCH_LEN;
/// Where the memory to sort spans in begins: past every other buffer.
pub const ORDER: usize = 49_152;
/// Bytes of it.
pub const ORDER_BYTES: usize = 8 * MOST + 8;
/// Where the memory that a head works in begins, and doubles of it: as many as small heads need.
const SCRATCH: usize = ORDER + ORDER_BYTES;
const SCRATCH_LEN: usize = 6000;
/// Most elements that a true length says: of 136 bytes at most each.
pub const MOST: usize = 300;

/// Data that make sense together, as many as any true length says.
static SPANS: [dpo_span; MOST] = {
    let mut spans = [dpo_span::new(0, 0); MOST];
    let mut i = 0;
    while i < MOST {
        spans[i] = dpo_span::new(i, i + 1);
        i += 1;
    }
    spans
};
static PAIRS: [dpo_pair; MOST] = [dpo_pair::new(0, 1); MOST];
static ANSWERS: [dpo_answer; MOST] = [dpo_answer { sequence: 0, label: DPO_DESIRABLE }; MOST];

/// DPO with its defaults, which is all zeros.
// SAFETY: numbers, of which 0 is one.
static DPO: dpo_loss = unsafe { std::mem::zeroed() };

/// A struct as a host with a newer header has it: with fields that the library does not know.
#[repr(C)]
pub struct Newer<T> {
    now: T,
    later: [u64; 4],
}

/// The structs that a step points to.
pub struct Views {
    is_apart: bool,
    logits: Newer<dpo_logits>,
    in_place: Newer<dpo_logits_mut>,
    layout: Newer<dpo_layout>,
}

/// The host: memory, and whatever it says of it.
pub struct Host<'a> {
    arena: *mut u8,
    choices: std::slice::Iter<'a, u16>,
    /// Where the next buffer begins, unless a choice says otherwise.
    next: usize,
    /// The structs of the call.
    kept: Vec<Box<dyn Any>>,
    /// Whether pointers, lengths, sizes and codes are right, so that a call gets as far as its
    /// numbers.
    is_careful: bool,
}

impl<'a> Host<'a> {
    pub fn new(arena: *mut u8, choices: &'a [u16]) -> Self {
        let mut host =
            Self { arena, choices: choices.iter(), next: 0, kept: vec![], is_careful: false };
        host.is_careful = host.one_in(2);
        host
    }

    /// A struct that stays where it is as long as the host.
    pub fn keep<T: 'static>(&mut self, value: T) -> *const T {
        let kept = Box::new(value);
        let at = &raw const *kept;
        self.kept.push(kept);
        at
    }

    /// A struct of a newer header, kept.
    pub fn keep_newer<T: 'static>(&mut self, value: T) -> *const T {
        let newer = self.newer(value);
        self.keep(newer).cast()
    }

    pub fn choice(&mut self) -> usize {
        self.choices.next().copied().unwrap_or(0).into()
    }

    /// One of `n` kinds of choice, of which the first is the ordinary one.
    const fn kind(&self, choice: usize, n: usize) -> usize {
        if self.is_careful { 0 } else { choice % n }
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        // Not where choices have run out: those that are left are ordinary.
        self.choice() % n == n - 1
    }

    /// Mostly a place of its own; else NULL, or anywhere in the first eighth.
    pub fn pointer<T>(&mut self) -> *mut T {
        let choice = self.choice();
        match self.kind(choice, 16) {
            15 => ptr::null_mut(),
            14 => self.arena.wrapping_add(choice / 16).cast(),
            _ => {
                let own = self.next;
                // The largest buffers lie last, so that small ones are together in the first
                // eighth.
                self.next = (own + 256) % (ORDER / 8);
                self.arena.wrapping_add(own).cast()
            }
        }
    }

    /// Data that make sense, or any memory.
    pub fn either<T>(&mut self, good: &'static [T; MOST]) -> *const T {
        if self.one_in(2) { self.pointer() } else { good.as_ptr() }
    }

    pub fn optional<T>(&mut self) -> *mut T {
        if self.one_in(4) { self.pointer() } else { ptr::null_mut() }
    }

    /// Mostly small; else just right for nothing, or more than any memory.
    pub fn count(&mut self) -> usize {
        let choice = self.choice();
        match self.kind(choice, 16) {
            15 => usize::MAX - choice / 16,
            14 => usize::MAX / 2 + choice / 16,
            13 => 1 << 62,
            12 => choice / 16 % MOST,
            _ => choice / 16 % 4,
        }
    }

    /// Any number, which is no length.
    pub fn number(&mut self) -> usize {
        let choice = self.choice();
        match self.kind(choice, 8) {
            7 => usize::MAX - choice / 8,
            6 => 1 << (choice / 8 % 64),
            _ => choice / 8 % 9,
        }
    }

    pub fn float(&mut self) -> f64 {
        const FLOATS: [f64; 10] =
            [1.0, 0.5, 0.1, 0.0, -1.0, f64::NAN, f64::INFINITY, 1e300, 5e-324, 2.0];
        FLOATS[self.choice() % 24 % FLOATS.len()]
    }

    /// Mostly 1.
    fn positive(&mut self) -> f64 {
        if self.one_in(4) { self.float() } else { 1.0 }
    }

    pub fn code(&mut self, most: i32) -> i32 {
        let choice = self.choice();
        if self.kind(choice, 16) == 15 {
            i32::MIN + choice as i32
        } else {
            choice as i32 / 16 % (most + 1)
        }
    }

    pub fn dispatch(&mut self) -> dpo_dispatch {
        dpo_dispatch { level: self.code(3), arithmetic: self.code(2) }
    }

    /// Mostly the size of the struct; else smaller, larger as far as the memory goes, or beyond all
    /// structs.
    pub fn size<T>(&mut self) -> usize {
        let (choice, right) = (self.choice(), size_of::<T>());
        match self.kind(choice, 32) {
            31 => usize::MAX - choice / 32,
            30 => choice / 32 % right,
            29 => right + 8 * (choice / 32 % 5),
            _ => right,
        }
    }

    /// The struct, and what a newer host may have behind it.
    pub fn newer<T>(&mut self, now: T) -> Newer<T> {
        let later = if self.one_in(32) { [0, 0, 0, 1] } else { [0; 4] };
        Newer { now, later }
    }

    pub fn transform(&mut self) -> dpo_transform {
        if !self.one_in(4) {
            return dpo_transform { scale: 0.0, softcap: 0.0, temperature: 0.0 };
        }
        let mut float = || self.float() as f32;
        dpo_transform { scale: float(), softcap: float(), temperature: float() }
    }

    pub fn logits_mut(&mut self) -> dpo_logits_mut {
        let (rows, vocab) = (self.number(), self.number());
        let stride = if self.one_in(4) { self.number() } else { 0 };
        let apart = if stride == 0 { vocab } else { stride };
        let fits = rows.checked_mul(apart).filter(|&len| len <= MOST);
        let len = fits.filter(|_| !self.one_in(8)).unwrap_or_else(|| self.count());
        let (r#type, transform) = (1 + self.code(2), self.transform());
        let (data, size) = (self.pointer::<c_void>(), self.size::<dpo_logits_mut>());
        dpo_logits_mut { size, data, len, rows, vocab, stride, r#type, transform }
    }

    pub fn logits(&mut self) -> dpo_logits {
        let dpo_logits_mut { size, data, len, rows, vocab, stride, r#type, transform } =
            self.logits_mut();
        dpo_logits { size, data, len, rows, vocab, stride, r#type, transform }
    }

    /// A head, mostly of weights that are there.
    pub fn head(&mut self) -> dpo_head {
        let dpo_logits_mut {
            data, len, rows: vocab, vocab: hidden, stride, r#type, transform, ..
        } = self.logits_mut();
        dpo_head {
            size: self.size::<dpo_head>(),
            weights: data,
            len,
            vocab,
            hidden,
            stride,
            r#type,
            transform,
            bias: if vocab <= MOST { self.optional() } else { ptr::null() },
            panels: self.number(),
        }
    }

    /// Where gradients of a head go, mostly of its shape.
    pub fn head_mut(&mut self, head: &dpo_head) -> dpo_head_mut {
        let of = self.logits_mut();
        let (is_other, kind) = (self.one_in(8), self.choice() % 4);
        let fits = head.vocab.checked_mul(head.hidden).filter(|&len| len <= MOST && !is_other);
        let bias = if kind < 2 && head.vocab <= MOST { self.pointer() } else { ptr::null_mut() };
        let size = self.size::<dpo_head_mut>();
        let mode = if self.one_in(16) { 2 } else { self.code(1) };
        if kind == 0 {
            // Of a bias alone: mostly all else is 0.
            let stride = if is_other { of.stride } else { 0 };
            let (weights, len, r#type) = (ptr::null_mut(), 0, 0);
            return dpo_head_mut { size, weights, len, stride, r#type, mode, bias };
        }
        let len = fits.unwrap_or(of.len);
        let stride = if is_other { of.stride } else { 0 };
        dpo_head_mut { size, weights: of.data, len, stride, r#type: of.r#type, mode, bias }
    }

    /// A place for rows of a head, mostly of its size and of this type.
    pub fn hidden_mut(&mut self, rows: usize, hidden: usize, number: i32) -> dpo_hidden_mut {
        let of = self.logits_mut();
        let is_other = self.one_in(8);
        let (rows, hidden) = if is_other { (of.rows, of.vocab) } else { (rows, hidden) };
        let stride = if is_other { of.stride } else { 0 };
        let fits = rows.checked_mul(hidden).filter(|&len| len <= MOST && !is_other);
        dpo_hidden_mut {
            size: self.size::<dpo_hidden_mut>(),
            data: of.data,
            len: fits.unwrap_or(of.len),
            rows,
            hidden,
            stride,
            r#type: if self.one_in(8) { of.r#type } else { number },
            reserved: u32::from(self.one_in(64)),
        }
    }

    /// The same to read.
    pub fn hidden(&mut self, rows: usize, hidden: usize, number: i32) -> dpo_hidden {
        let dpo_hidden_mut { data, len, rows, hidden, stride, r#type, reserved, .. } =
            self.hidden_mut(rows, hidden, number);
        let size = self.size::<dpo_hidden>();
        dpo_hidden { size, data, len, rows, hidden, stride, r#type, reserved }
    }

    /// Memory of its own, mostly.
    pub fn scratch(&mut self) -> dpo_head_scratch {
        let own = self.arena.wrapping_add(SCRATCH).cast();
        let (numbers, len) = match self.choice() % 8 {
            0 => (self.pointer(), self.count()),
            1 => (own, self.choice() % SCRATCH_LEN),
            _ => (own, SCRATCH_LEN),
        };
        dpo_head_scratch {
            size: self.size::<dpo_head_scratch>(),
            numbers,
            len,
            rows: if self.one_in(4) { self.number() } else { 1 + self.choice() % 7 },
        }
    }

    pub fn layout(&mut self) -> dpo_layout {
        let given = if self.one_in(4) { self.code(2).cast_unsigned() } else { 0 };
        dpo_layout {
            size: self.size::<dpo_layout>(),
            targets: self.pointer(),
            rows: self.count(),
            spans: self.either(&SPANS),
            count: self.count(),
            vocab: self.number(),
            given,
            ignore: if given == 0 && !self.one_in(16) { 0 } else { self.number() as u32 },
            order: self.order(),
        }
    }

    /// Memory to sort in, of which nothing is promised on an error, so that it lies apart from the
    /// rest, unless it overlaps a buffer and is refused.
    fn order(&mut self) -> *mut usize {
        match self.choice() % 8 {
            0 => self.arena.wrapping_add(ORDER).cast(),
            1 => self.arena.wrapping_add(ORDER + 1).cast(),
            _ => ptr::null_mut(),
        }
    }

    /// The layout of logits of this shape, mostly.
    pub fn layout_of(&mut self, rows: usize, vocab: usize) -> dpo_layout {
        let layout = self.layout();
        if self.one_in(8) { layout } else { dpo_layout { rows: rows.min(MOST), vocab, ..layout } }
    }

    pub fn reference(&mut self) -> (*const f64, *const dpo_sequence_log_prob) {
        match self.choice() % 8 {
            7 => (ptr::null(), ptr::null()),
            6 => (self.pointer(), self.pointer()),
            4 | 5 => (ptr::null(), self.pointer()),
            _ => (self.pointer(), ptr::null()),
        }
    }

    pub fn pairs(&mut self) -> dpo_pairs {
        let (reference_sums, reference_sequences) = self.reference();
        dpo_pairs {
            size: self.size::<dpo_pairs>(),
            pairs: self.either(&PAIRS),
            count: self.count(),
            reference_sums,
            reference_sequences,
            divisor: self.positive(),
            weights: self.optional(),
            offsets: self.optional(),
        }
    }

    pub fn unpaired(&mut self) -> dpo_unpaired_batch {
        let (reference_sums, reference_sequences) = self.reference();
        dpo_unpaired_batch {
            size: self.size::<dpo_unpaired_batch>(),
            answers: self.either(&ANSWERS),
            count: self.count(),
            reference_sums,
            reference_sequences,
            divisor: self.positive(),
            weights: self.optional(),
            losses: if self.one_in(4) { self.pointer() } else { ptr::null() },
        }
    }

    /// The one loss of a batch, NULL where each answer has its own, mostly.
    pub fn one_of(&mut self, batch: &dpo_unpaired_batch, loss: *const dpo_loss) -> *const dpo_loss {
        if batch.losses.is_null() == self.one_in(8) { ptr::null() } else { loss }
    }

    /// One that unpaired answers can have, mostly.
    pub fn unpaired_loss(&mut self) -> dpo_loss {
        const NAMES: [LossName; 6] = [
            LossName::ApoZero,
            LossName::Nca,
            LossName::Bco,
            LossName::SppoHard,
            LossName::Kto,
            LossName::AStarPo,
        ];
        if self.one_in(8) {
            return self.loss();
        }
        let name = NAMES[self.choice() % NAMES.len()];
        let mut loss = dpo_loss { name: name as i32, ..dpo_loss::default() };
        let needed = match name {
            LossName::Kto => Parameter::ReferenceKl as i32,
            LossName::AStarPo => Parameter::Advantage as i32,
            _ => 0,
        };
        loss.options[0].parameter = needed;
        loss
    }

    /// A step over structs that the caller keeps.
    pub fn step(&mut self, of: &Views, nll: &Newer<dpo_nll>) -> dpo_step {
        let has_nll = self.one_in(4);
        dpo_step {
            size: self.size::<dpo_step>(),
            layout: if self.one_in(64) { ptr::null() } else { (&raw const of.layout).cast() },
            in_place: if of.is_apart { ptr::null() } else { (&raw const of.in_place).cast() },
            logits: if of.is_apart { (&raw const of.logits).cast() } else { ptr::null() },
            grads: if of.is_apart { (&raw const of.in_place).cast() } else { ptr::null() },
            log_probs: self.pointer(),
            norms: self.pointer(),
            sequences: self.pointer(),
            d_log_probs: self.pointer(),
            coefficients: self.pointer(),
            token_weights: self.optional(),
            tokens: self.optional(),
            nll: if has_nll { (&raw const *nll).cast() } else { ptr::null() },
            d_nll: if has_nll { self.pointer() } else { ptr::null_mut() },
            nll_summary: if has_nll { self.optional() } else { ptr::null_mut() },
            unscored: if self.one_in(16) { 2 } else { self.code(1) },
            reserved: u32::from(self.one_in(64)),
        }
    }

    /// Views and layout of a step.
    pub fn views(&mut self) -> Views {
        let (logits, mut in_place) = (self.logits(), self.logits_mut());
        if !self.one_in(4) {
            let dpo_logits { len, rows, vocab, stride, r#type, .. } = logits;
            in_place = dpo_logits_mut { len, rows, vocab, stride, r#type, ..in_place };
        }
        let layout = self.layout_of(in_place.rows, in_place.vocab);
        Views {
            is_apart: self.one_in(3),
            logits: self.newer(logits),
            in_place: self.newer(in_place),
            layout: self.newer(layout),
        }
    }

    pub fn loss(&mut self) -> dpo_loss {
        let mut loss = dpo_loss { name: self.code(38), ..dpo_loss::default() };
        if self.one_in(2) {
            for i in 0..3 {
                let value = if self.one_in(4) { self.code(5).into() } else { self.float() };
                loss.options[i] = dpo_option { parameter: self.code(35), value };
            }
        }
        loss
    }

    pub fn objective(&mut self) -> dpo_objective {
        let kind = if self.one_in(4) { self.code(3) } else { DPO_OBJECTIVE_ONE };
        let is_mixture = kind == DPO_OBJECTIVE_MIXTURE || self.one_in(16);
        let objective = dpo_objective {
            size: self.size::<dpo_objective>(),
            losses: if self.one_in(2) { self.pointer() } else { &raw const DPO },
            count: if self.one_in(4) { self.count() } else { 1 },
            kind,
            reserved: u32::from(self.one_in(64)),
            term_weights: if is_mixture { self.optional() } else { ptr::null() },
            order: if self.one_in(16) { self.pointer() } else { ptr::null_mut() },
            order_len: self.count(),
        };
        // Without memory a length is an error.
        let is_none = objective.order.is_null() && objective.order_len != 3;
        dpo_objective { order_len: if is_none { 0 } else { objective.order_len }, ..objective }
    }

    /// Of the chosen answers of a step's pairs, if it is one of a step, mostly.
    pub fn nll(&mut self, of_step: bool) -> Newer<dpo_nll> {
        let of = if self.one_in(16) { 2 } else { self.code(1) };
        let is_bare = of_step && of == DPO_NLL_OF_CHOSEN && !self.one_in(16);
        let (pairs, answers) = match (of, is_bare) {
            (_, true) => (ptr::null(), ptr::null()),
            (DPO_NLL_OF_CHOSEN, _) => (self.either(&PAIRS), ptr::null()),
            _ => (ptr::null(), self.pointer::<usize>().cast_const()),
        };
        let nll = dpo_nll {
            size: self.size::<dpo_nll>(),
            weight: self.float(),
            divisor: self.positive(),
            per: if self.one_in(16) { 2 } else { self.code(1) },
            term: if self.one_in(16) { 2 } else { self.code(1) },
            of,
            reserved: u32::from(self.one_in(64)),
            pairs,
            answers,
            count: if is_bare { 0 } else { self.count() },
            weights: self.optional(),
        };
        self.newer(nll)
    }

    pub fn grads(&mut self) -> dpo_grads {
        dpo_grads {
            size: self.size::<dpo_grads>(),
            norms: self.pointer(),
            coefficients: self.pointer(),
            unscored: if self.one_in(16) { 2 } else { self.code(1) },
            reserved: u32::from(self.one_in(64)),
        }
    }
}
