//! Statistics of a row as plain numbers and as bytes, for hosts that keep them in memory of their
//! own or send them to other machines.

use super::base::Base;
use super::exact::{PLACES, Places, Sum};
use super::extra::{DetailSums, Extra};
use super::stats::RowStats;
use crate::error::{Buffer, check_length};
use crate::{Error, Transform};

/// What [`RowStats`] holds beside transform, target and details.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct RowState {
    /// The target's value, once its column was folded.
    pub(crate) target_value: Option<f32>,
    /// The largest shift of a block, once a column above −inf was folded.
    pub(crate) shift: Option<f32>,
    /// Σ term over the columns other than the target's.
    pub(crate) others: Sum,
    pub(crate) is_broken: bool,
    pub(crate) columns: u64,
}

impl RowState {
    /// Whether a fold can have made it.
    fn is_made(&self, factor: f64) -> bool {
        let Self { target_value, shift, others, is_broken, columns } = *self;
        let is_sum = match shift {
            Some(shift) => {
                !is_broken && is_near(shift, &others, factor) && others.places > [0; PLACES]
            }
            None => others == Sum::NONE,
        };
        let is_empty = shift.is_none() && target_value.is_none() && !is_broken;
        others.is_made()
            && others.places.iter().all(|&place| place >= 0)
            && is_sum
            && columns < 1 << 53
            && (columns > 0 || is_empty)
    }
}

/// Whether a block of this shift can be the largest of a sum.
fn is_near(shift: f32, others: &Sum, factor: f64) -> bool {
    let base = Base::of_value(shift);
    if shift.to_bits() == (-0.0_f32).to_bits() || !base.is_made(factor) {
        return false;
    }
    if base.is_power() {
        // Exponents of terms are below 2^11.
        return others.power().unsigned_abs() <= 1 << 11;
    }
    let (power, _) = base.parts(factor);
    (power >> 5).abs_diff(others.top) <= 1
}

impl<D: Extra> RowStats<D> {
    /// What it holds, as plain numbers.
    #[cfg(feature = "c")]
    pub(crate) fn state(&self) -> RowState {
        RowState {
            target_value: self.target_value,
            shift: self.base().map(|_| self.shift),
            others: self.others,
            is_broken: self.is_broken,
            columns: self.columns,
        }
    }

    /// The statistics that held these numbers, if a fold can have made them.
    pub(crate) fn from_state(
        transform: Transform,
        target: Option<u32>,
        state: RowState,
        extra: D::Sums,
    ) -> Option<Self> {
        let RowState { target_value, shift, others, is_broken, columns } = state;
        let is_extra = D::sums(&extra).is_none_or(|sums| sums.is_made(is_broken || columns == 0));
        if !state.is_made(transform.factor())
            || !is_extra
            || (target.is_none() && target_value.is_some())
        {
            return None;
        }
        let shift = shift.unwrap_or(f32::NEG_INFINITY);
        Some(Self { transform, target, target_value, shift, others, is_broken, columns, extra })
    }
}

/// Bytes of [`RowStats`] without details.
pub const ROW_BYTES: usize = 64;

/// Bytes of [`RowStats`] with [`Details`](super::Details).
pub const ROW_DETAIL_BYTES: usize = 160;

/// What the bytes begin with; its last byte is the version of their form and of what is in them.
const MAGIC: u32 = u32::from_le_bytes(*b"dpo\x01");

const HAS_TARGET: u32 = 1;
const HAS_DETAILS: u32 = 2;
const HAS_VALUE: u32 = 4;
const HAS_SHIFT: u32 = 8;
const IS_BROKEN: u32 = 16;
const IS_MASKED: u32 = 32;

#[allow(private_bounds, reason = "sealed: () and Details")]
impl<D: Extra> RowStats<D> {
    /// Bytes that [`RowStats::write_bytes`] writes: [`ROW_BYTES`], with [`Details`](super::Details)
    /// [`ROW_DETAIL_BYTES`].
    pub const BYTES: usize = if D::ON { ROW_DETAIL_BYTES } else { ROW_BYTES };

    /// Writes the statistics as bytes for another machine: little-endian whatever the machine,
    /// without pointers or padding, and the same for the same statistics.
    ///
    /// # Errors
    /// [`Error::Length`] unless there are [`RowStats::BYTES`] of them; nothing is written then.
    ///
    /// # Panics
    /// Never.
    pub fn write_bytes(&self, to: &mut [u8]) -> Result<(), Error> {
        check_length(Buffer::RowBytes, Self::BYTES, to.len())?;
        let details = D::sums(&self.extra);
        let flag = |on: bool, flag: u32| if on { flag } else { 0 };
        let is_masked = details.is_some_and(|details| details.is_masked);
        let shift = self.base().map(|_| self.shift);
        let mut to = Writer { to };
        to.put(MAGIC.to_le_bytes());
        let flags = flag(self.target.is_some(), HAS_TARGET)
            | flag(D::ON, HAS_DETAILS)
            | flag(self.target_value.is_some(), HAS_VALUE)
            | flag(shift.is_some(), HAS_SHIFT)
            | flag(self.is_broken, IS_BROKEN)
            | flag(is_masked, IS_MASKED);
        to.put(flags.to_le_bytes());
        to.put(self.target.unwrap_or(0).to_le_bytes());
        to.put(self.target_value.unwrap_or(0.0).to_le_bytes());
        to.put(shift.unwrap_or(0.0).to_le_bytes());
        to.put(self.columns.to_le_bytes());
        to.put(digest(self.transform).to_le_bytes());
        to.sum(&self.others);
        if let Some(sums) = details {
            for sum in [&sums.weighted, &sums.squares, &sums.values] {
                to.sum(sum);
            }
            to.put(sums.max.to_le_bytes());
            to.put(sums.argmax.to_le_bytes());
            to.put([0; 4]);
        }
        Ok(())
    }

    /// The statistics that wrote these bytes, on this machine or another.
    ///
    /// # Errors
    /// [`Error::Length`] unless there are [`RowStats::BYTES`] of them; [`Error::RowBytes`] with the
    /// first byte that no fold of this version writes, or 20 where numbers do not fit each other; [`Error::MergeOfDifferentRows`] if they are
    /// of another transform.
    ///
    /// # Panics
    /// Never.
    pub fn from_bytes(transform: Transform, bytes: &[u8]) -> Result<Self, Error> {
        check_length(Buffer::RowBytes, Self::BYTES, bytes.len())?;
        let mut from = Reader { bytes, at: 0 };
        from.require(u32::from_le_bytes(from.peek()) == MAGIC)?;
        let _: [u8; 4] = from.get();
        let flags = u32::from_le_bytes(from.peek());
        let has = |flag: u32| flags & flag != 0;
        let known = HAS_TARGET | HAS_DETAILS | HAS_VALUE | HAS_SHIFT | IS_BROKEN | IS_MASKED;
        let is_consistent = flags & !known == 0
            && has(HAS_DETAILS) == D::ON
            && (has(HAS_TARGET) || !has(HAS_VALUE))
            && (D::ON || !has(IS_MASKED));
        from.require(is_consistent)?;
        let _: [u8; 4] = from.get();
        let target = from.optional(has(HAS_TARGET))?.map(u32::from_le_bytes);
        let target_value = from.optional(has(HAS_VALUE))?.map(f32::from_le_bytes);
        let shift = from.optional(has(HAS_SHIFT))?.map(f32::from_le_bytes);
        let at = from.at;
        let columns = u64::from_le_bytes(from.get());
        let its = u64::from_le_bytes(from.get());
        let others = from.sum();
        let extra = D::from_sums(if D::ON { Some(from.details(has(IS_MASKED))?) } else { None });
        if its != digest(transform) {
            return Err(Error::MergeOfDifferentRows);
        }
        let state = RowState { target_value, shift, others, is_broken: has(IS_BROKEN), columns };
        Self::from_state(transform, target, state, extra).ok_or(Error::RowBytes { byte: at })
    }
}

/// A number that differs where transforms do.
fn digest(transform: Transform) -> u64 {
    let inner = transform.softcap().map_or(0, |softcap| softcap.inner.to_bits());
    let words = [transform.factor().to_bits(), transform.slope().to_bits(), inner.into()];
    // FNV-1a over 64-bit words.
    words.iter().fold(0xcbf2_9ce4_8422_2325, |hash, word| {
        (hash ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23)
    })
}

/// Bytes that are left to be written. Past the end nothing is.
struct Writer<'a> {
    to: &'a mut [u8],
}

impl Writer<'_> {
    fn put<const N: usize>(&mut self, bytes: [u8; N]) {
        let Some((to, rest)) = core::mem::take(&mut self.to).split_first_chunk_mut() else {
            return;
        };
        *to = bytes;
        self.to = rest;
    }

    fn sum(&mut self, sum: &Sum) {
        for place in sum.places {
            self.put(place.to_le_bytes());
        }
        self.put(sum.top.to_le_bytes());
    }
}

/// Bytes that are left to be read. Past the end they are 0.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn peek<const N: usize>(&self) -> [u8; N] {
        self.bytes.get(self.at..).and_then(<[u8]>::first_chunk).copied().unwrap_or([0; N])
    }

    fn get<const N: usize>(&mut self) -> [u8; N] {
        let bytes = self.peek();
        self.at += N;
        bytes
    }

    /// Refuses what comes next unless it is as it has to be.
    const fn require(&self, is_expected: bool) -> Result<(), Error> {
        if is_expected { Ok(()) } else { Err(Error::RowBytes { byte: self.at }) }
    }

    /// A number that is there, or zeros in its place.
    fn optional(&mut self, is_there: bool) -> Result<Option<[u8; 4]>, Error> {
        self.require(is_there || self.peek() == [0; 4])?;
        let bytes = self.get();
        Ok(is_there.then_some(bytes))
    }

    fn sum(&mut self) -> Sum {
        let mut places = Places::default();
        for place in &mut places {
            *place = i64::from_le_bytes(self.get());
        }
        Sum { places, top: i32::from_le_bytes(self.get()) }
    }

    fn details(&mut self, is_masked: bool) -> Result<DetailSums, Error> {
        let [weighted, squares, values] = [self.sum(), self.sum(), self.sum()];
        let max = f32::from_le_bytes(self.get());
        let argmax = u32::from_le_bytes(self.get());
        self.require(self.peek() == [0; 4])?;
        Ok(DetailSums { weighted, squares, values, is_masked, max, argmax })
    }
}
