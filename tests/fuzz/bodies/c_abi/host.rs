//! A host that says whatever it likes of the memory that it has.

use std::ffi::c_void;
use std::ptr;

use dpo_kernel::c::*;

/// Bytes of the arena; buffers begin in its first eighth.
pub const ARENA: usize = ORDER + ORDER_BYTES;
/// Where the memory to sort spans in begins: past every other buffer.
pub const ORDER: usize = 49_152;
/// Bytes of it.
pub const ORDER_BYTES: usize = 8 * MOST + 8;
/// Most elements that a true length says: of 136 bytes at most each.
pub const MOST: usize = 300;

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
}

impl<'a> Host<'a> {
    pub fn new(arena: *mut u8, choices: &'a [u16]) -> Self {
        Self { arena, choices: choices.iter(), next: 0 }
    }

    pub fn choice(&mut self) -> usize {
        self.choices.next().copied().unwrap_or(0).into()
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.choice().is_multiple_of(n)
    }

    /// Mostly a place of its own; else NULL, or anywhere in the first eighth.
    pub fn pointer<T>(&mut self) -> *mut T {
        let choice = self.choice();
        match choice % 16 {
            15 => ptr::null_mut(),
            14 => self.arena.wrapping_add(choice / 16).cast(),
            _ => {
                let own = self.next;
                // The largest buffers lie last, so that small ones are together in the first eighth.
                self.next = (own + 256) % (ORDER / 8);
                self.arena.wrapping_add(own).cast()
            }
        }
    }

    pub fn optional<T>(&mut self) -> *mut T {
        if self.one_in(4) { self.pointer() } else { ptr::null_mut() }
    }

    /// Mostly small; else just right for nothing, or more than any memory.
    pub fn count(&mut self) -> usize {
        let choice = self.choice();
        match choice % 16 {
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
        match choice % 8 {
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

    pub fn code(&mut self, most: i32) -> i32 {
        let choice = self.choice();
        if choice % 16 == 15 { i32::MIN + choice as i32 } else { choice as i32 / 16 % (most + 1) }
    }

    pub fn dispatch(&mut self) -> dpo_dispatch {
        dpo_dispatch { level: self.code(3), arithmetic: self.code(2) }
    }

    /// Mostly the size of the struct; else smaller, larger as far as the memory goes, or beyond all structs.
    pub fn size<T>(&mut self) -> usize {
        let (choice, right) = (self.choice(), size_of::<T>());
        match choice % 32 {
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

    pub fn layout(&mut self) -> dpo_layout {
        let given = if self.one_in(4) { self.code(2).cast_unsigned() } else { 0 };
        dpo_layout {
            size: self.size::<dpo_layout>(),
            targets: self.pointer(),
            rows: self.count(),
            spans: self.pointer(),
            count: self.count(),
            vocab: self.number(),
            given,
            ignore: if given == 0 && !self.one_in(16) { 0 } else { self.number() as u32 },
            order: self.order(),
        }
    }

    /// Memory to sort in, of which nothing is promised on an error, so that it lies apart from the rest,
    /// unless it overlaps a buffer and is refused.
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
            0 => (ptr::null(), ptr::null()),
            1 => (self.pointer(), self.pointer()),
            2 | 3 => (ptr::null(), self.pointer()),
            _ => (self.pointer(), ptr::null()),
        }
    }

    pub fn pairs(&mut self) -> dpo_pairs {
        let (reference_sums, reference_sequences) = self.reference();
        dpo_pairs {
            size: self.size::<dpo_pairs>(),
            pairs: self.pointer(),
            count: self.count(),
            reference_sums,
            reference_sequences,
            divisor: self.float(),
            weights: self.optional(),
            offsets: self.optional(),
        }
    }

    pub fn unpaired(&mut self) -> dpo_unpaired_batch {
        let (reference_sums, reference_sequences) = self.reference();
        dpo_unpaired_batch {
            size: self.size::<dpo_unpaired_batch>(),
            answers: self.pointer(),
            count: self.count(),
            reference_sums,
            reference_sequences,
            divisor: self.float(),
            weights: self.optional(),
        }
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
            unscored: self.code(2),
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
        let mut loss = dpo_loss { name: self.code(31), ..dpo_loss::default() };
        if self.one_in(2) {
            loss.given = self.choice() as u32;
            (loss.beta, loss.reference_kl, loss.reward_gap) =
                (self.float(), self.float(), self.float());
            (loss.label_smoothing, loss.divergence) = (self.float(), self.code(5));
        }
        loss
    }

    pub fn objective(&mut self) -> dpo_objective {
        dpo_objective {
            size: self.size::<dpo_objective>(),
            losses: self.pointer(),
            count: if self.one_in(4) { self.count() } else { 1 },
            kind: self.code(3),
            reserved: u32::from(self.one_in(64)),
            term_weights: self.optional(),
            order: self.optional(),
            order_len: self.count(),
        }
    }

    /// Of the chosen answers of a step's pairs, if it is one of a step, mostly.
    pub fn nll(&mut self, of_step: bool) -> Newer<dpo_nll> {
        let of = self.code(1);
        let is_bare = of_step && of == DPO_NLL_OF_CHOSEN && !self.one_in(16);
        let (pairs, answers) = match (of, is_bare) {
            (_, true) => (ptr::null_mut(), ptr::null_mut()),
            (DPO_NLL_OF_CHOSEN, _) => (self.pointer(), ptr::null_mut()),
            _ => (ptr::null_mut(), self.pointer()),
        };
        let nll = dpo_nll {
            size: self.size::<dpo_nll>(),
            weight: self.float(),
            divisor: self.float(),
            per: self.code(2),
            term: self.code(2),
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
            unscored: self.code(2),
            reserved: u32::from(self.one_in(64)),
        }
    }
}
