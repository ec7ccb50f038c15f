//! Statistics of a row as plain numbers and as bytes, for hosts that keep them in memory of their
//! own or send them to other machines.

use super::base::Base;
use super::exact::Places;
use super::extra::{DetailSums, Extra, Values};
use super::stats::RowStats;
use crate::error::{Buffer, check_length};
use crate::simd::exp::MAX_EXPONENT;
use crate::{Error, Transform};

/// What [`RowStats`] holds beside transform, target and details.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct RowState {
    /// The target's value, once its column was folded.
    pub(crate) target_value: Option<f32>,
    /// Shift and exponent of the base, once there is one.
    pub(crate) base: Option<(f32, i32)>,
    /// Σ term over the columns other than the target's, in places of the base.
    pub(crate) others: Places,
    pub(crate) is_broken: bool,
    pub(crate) columns: u64,
}

impl RowState {
    /// Whether a fold can have made it.
    fn is_made(&self) -> bool {
        let is_base = |(shift, exponent): (f32, i32)| {
            shift.is_finite()
                && exponent.unsigned_abs() <= MAX_EXPONENT.unsigned_abs()
                && (exponent == 0 || shift.to_bits() == 0)
        };
        let is_sum = self.others.iter().all(|&sum| sum >= 0)
            && (self.base.is_some() || self.others == Places::default());
        let is_empty = self.base.is_none() && self.target_value.is_none() && !self.is_broken;
        self.base.is_none_or(is_base)
            && is_sum
            && self.columns < 1 << 53
            && (self.columns > 0 || is_empty)
    }
}

impl<D: Extra> RowStats<D> {
    /// What it holds, as plain numbers.
    #[cfg(feature = "c")]
    pub(crate) const fn state(&self) -> RowState {
        RowState {
            target_value: self.target_value,
            base: match self.base {
                Some(Base { shift, exponent }) => Some((shift, exponent)),
                None => None,
            },
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
        let RowState { target_value, base, others, is_broken, columns } = state;
        if !state.is_made() || (target.is_none() && target_value.is_some()) {
            return None;
        }
        let base = base.map(|(shift, exponent)| Base { shift, exponent });
        Some(Self { transform, target, target_value, base, others, is_broken, columns, extra })
    }
}

/// Bytes of [`RowStats`] without details.
pub const ROW_BYTES: usize = 64;

/// Bytes of [`RowStats`] with [`Details`](super::Details).
pub const ROW_DETAIL_BYTES: usize = 176;

/// What the bytes begin with; its last byte is the version of their form and of what is in them.
const MAGIC: u32 = u32::from_le_bytes(*b"dpo\x01");

const HAS_TARGET: u32 = 1;
const HAS_DETAILS: u32 = 2;
const HAS_VALUE: u32 = 4;
const HAS_BASE: u32 = 8;
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
        let is_masked = details.is_some_and(|details| details.values.is_masked);
        let Base { shift, exponent } = self.base.unwrap_or(Base::NONE);
        let mut to = Writer { to };
        to.put(MAGIC.to_le_bytes());
        let flags = flag(self.target.is_some(), HAS_TARGET)
            | flag(D::ON, HAS_DETAILS)
            | flag(self.target_value.is_some(), HAS_VALUE)
            | flag(self.base.is_some(), HAS_BASE)
            | flag(self.is_broken, IS_BROKEN)
            | flag(is_masked, IS_MASKED);
        to.put(flags.to_le_bytes());
        to.put(self.target.unwrap_or(0).to_le_bytes());
        to.put(self.target_value.unwrap_or(0.0).to_le_bytes());
        to.put(shift.to_le_bytes());
        to.put(exponent.to_le_bytes());
        to.put(self.columns.to_le_bytes());
        to.places(&self.others);
        to.put(digest(self.transform).to_le_bytes());
        if let Some(sums) = details {
            for places in [&sums.weighted, &sums.powers, &sums.squares, &sums.values.places] {
                to.places(places);
            }
            to.put(sums.values.below.to_le_bytes());
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
    /// first byte that no fold of this version writes; [`Error::MergeOfDifferentRows`] if they are
    /// of another transform.
    ///
    /// # Panics
    /// Never.
    pub fn from_bytes(transform: Transform, bytes: &[u8]) -> Result<Self, Error> {
        check_length(Buffer::RowBytes, Self::BYTES, bytes.len())?;
        let mut from = Reader { bytes, at: 0 };
        from.expect(u32::from_le_bytes(from.peek()) == MAGIC)?;
        let _: [u8; 4] = from.get();
        let flags = u32::from_le_bytes(from.peek());
        let has = |flag: u32| flags & flag != 0;
        let known = HAS_TARGET | HAS_DETAILS | HAS_VALUE | HAS_BASE | IS_BROKEN | IS_MASKED;
        let is_consistent = flags & !known == 0
            && has(HAS_DETAILS) == D::ON
            && (has(HAS_TARGET) || !has(HAS_VALUE))
            && (D::ON || !has(IS_MASKED));
        from.expect(is_consistent)?;
        let _: [u8; 4] = from.get();
        let target = from.optional(has(HAS_TARGET))?.map(u32::from_le_bytes);
        let target_value = from.optional(has(HAS_VALUE))?.map(f32::from_le_bytes);
        let shift = from.optional(has(HAS_BASE))?.map(f32::from_le_bytes);
        let exponent = from.optional(has(HAS_BASE))?.map(i32::from_le_bytes);
        let at = from.at;
        let columns = u64::from_le_bytes(from.get());
        let others = from.places();
        let its = u64::from_le_bytes(from.get());
        let extra = D::from_sums(if D::ON { Some(from.details(has(IS_MASKED))?) } else { None });
        if its != digest(transform) {
            return Err(Error::MergeOfDifferentRows);
        }
        let base = shift.zip(exponent);
        let state = RowState { target_value, base, others, is_broken: has(IS_BROKEN), columns };
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

    fn places(&mut self, places: &Places) {
        for place in places {
            self.put(place.to_le_bytes());
        }
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
    const fn expect(&self, is_expected: bool) -> Result<(), Error> {
        if is_expected { Ok(()) } else { Err(Error::RowBytes { byte: self.at }) }
    }

    /// A number that is there, or zeros in its place.
    fn optional(&mut self, is_there: bool) -> Result<Option<[u8; 4]>, Error> {
        self.expect(is_there || self.peek() == [0; 4])?;
        let bytes = self.get();
        Ok(is_there.then_some(bytes))
    }

    fn places(&mut self) -> Places {
        let mut places = Places::default();
        for place in &mut places {
            *place = i64::from_le_bytes(self.get());
        }
        places
    }

    fn details(&mut self, is_masked: bool) -> Result<DetailSums, Error> {
        let [weighted, powers, squares, places] =
            [self.places(), self.places(), self.places(), self.places()];
        let below = i32::from_le_bytes(self.peek());
        self.expect(Values::is_below(below))?;
        let _: [u8; 4] = self.get();
        let max = f32::from_le_bytes(self.peek());
        self.expect(!max.is_nan())?;
        let _: [u8; 4] = self.get();
        let argmax = u32::from_le_bytes(self.get());
        self.expect(self.peek() == [0; 4])?;
        let values = Values { places, below, is_masked };
        Ok(DetailSums { weighted, powers, squares, values, max, argmax })
    }
}
