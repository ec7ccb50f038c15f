//! Rows of logits in the device's memory: their token log-probs, and their gradients.
//!
//! ```text
//! up      targets, 4 bytes a row; coefficients, 8 bytes a row
//! down    log-probs, 4 bytes a row (log Z too, if asked for)
//! stays   logits, states (40 bytes a row), norms (16), the numbers of the backward (64), gradients
//! ```

use wgpu::Buffer;

use crate::kernels::{Bound, Entry, Kernels, Work, whole};
use crate::matrix::RowTile;
use crate::params::Params;
use crate::{Element, Error, Gpu, Matrix, Transform};

/// Bytes of a row's state, norm and map in the shaders.
const STATE: u64 = 40;
const NORM: u64 = 16;
const MAP: u64 = 64;
/// Columns of a block.
const BLOCK: usize = dpo_kernel::row::BLOCK;

/// What a forward leaves on the device for the backward.
#[derive(Debug)]
pub struct Scored {
    pub(crate) targets: Buffer,
    pub(crate) norms: Buffer,
    pub(crate) transform: Transform,
    pub(crate) ignore_index: u32,
    /// Which rows are scored.
    pub(crate) rows: Vec<bool>,
    /// V
    pub(crate) vocab: usize,
    pub(crate) log_probs: Buffer,
    log_zs: Buffer,
}

impl Scored {
    /// R
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Whether it may be of so many rows and columns.
    pub(crate) fn check(&self, rows: usize, vocab: usize) -> Result<(), Error> {
        let (expected, found) = ((rows, vocab), (self.rows(), self.vocab));
        if found == expected {
            Ok(())
        } else {
            Err(Error::Size { what: "scored", expected, found })
        }
    }

    /// Copies the log-probs of scored rows from the device: 4 bytes a row. NaN where a row has NaN
    /// or +inf, or nothing but −inf. Entries of rows that are not scored stay as they are.
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::Device`].
    pub fn log_probs(&self, gpu: &Gpu, to: &mut [f32]) -> Result<(), Error> {
        self.figures(gpu, &self.log_probs, to)
    }

    /// Copies log Z of scored rows, likewise.
    ///
    /// # Errors
    /// As [`Scored::log_probs`].
    pub fn log_z(&self, gpu: &Gpu, to: &mut [f32]) -> Result<(), Error> {
        self.figures(gpu, &self.log_zs, to)
    }

    fn figures(&self, gpu: &Gpu, from: &Buffer, to: &mut [f32]) -> Result<(), Error> {
        let (expected, found) = (self.rows(), to.len());
        if found != expected {
            return Err(Error::Length { what: "log-probs", expected, found });
        }
        let mut all = vec![0.0; expected];
        gpu.read(from, &mut all)?;
        for ((to, from), is_scored) in to.iter_mut().zip(all).zip(&self.rows) {
            if *is_scored {
                *to = from;
            }
        }
        Ok(())
    }
}

/// Targets of rows: columns, or the ignore value where a row is not scored.
#[derive(Clone, Copy, Debug)]
pub struct Targets<'a> {
    /// R of them.
    pub ids: &'a [u32],
    /// The value of rows that are not scored; it may be a column's number.
    pub ignore_index: u32,
}

impl<'a> Targets<'a> {
    /// With the library's ignore value.
    #[must_use]
    pub const fn new(ids: &'a [u32]) -> Self {
        Self { ids, ignore_index: dpo_kernel::IGNORE_INDEX }
    }

    fn check(&self, rows: usize, vocab: usize) -> Result<Vec<bool>, Error> {
        if self.ids.len() != rows {
            let found = self.ids.len();
            return Err(Error::Length { what: "targets", expected: rows, found });
        }
        for (row, &target) in self.ids.iter().enumerate() {
            let is_column = usize::try_from(target).is_ok_and(|target| target < vocab);
            if target != self.ignore_index && !is_column {
                return Err(Error::Target { row, target, vocab });
            }
        }
        Ok(self.ids.iter().map(|&target| target != self.ignore_index).collect())
    }
}

/// A number of rows, columns or elements as the shaders count.
pub(crate) fn count(x: usize) -> Result<u32, Error> {
    let limit = "count of elements in 32 bits";
    let allowed = u64::from(u32::MAX);
    u32::try_from(x).map_err(|_| Error::TooLarge {
        what: "a shape",
        bytes: x as u64,
        limit,
        allowed,
    })
}

impl<E: Element> Kernels<'_, E> {
    /// Room for a forward's results, with the targets in it.
    pub(crate) fn scored(
        &self,
        targets: &Targets<'_>,
        rows: usize,
        vocab: usize,
        transform: Transform,
    ) -> Result<(Scored, Buffer), Error> {
        let is_scored = targets.check(rows, vocab)?;
        let (gpu, bytes) = (self.gpu(), rows as u64);
        gpu.check_binding("numbers of the backward", MAP * bytes)?;
        let states = gpu.bindable("states", STATE * bytes)?;
        let scored = Scored {
            targets: gpu.upload("targets", targets.ids)?,
            norms: gpu.bindable("norms", NORM * bytes)?,
            transform,
            ignore_index: targets.ignore_index,
            rows: is_scored,
            vocab,
            log_probs: gpu.bindable("log-probs", 4 * bytes)?,
            log_zs: gpu.bindable("log Z", 4 * bytes)?,
        };
        Ok((scored, states))
    }

    /// Folds the rows of `logits`, R × V, and returns what stays on the device.
    ///
    /// ```text
    /// log p_t = y_t[target_t] − log Z_t
    /// ```
    ///
    /// Rows that are not scored, and columns past V, are neither read nor written.
    ///
    /// # Numerics
    /// As [the crate says](crate): the bits of the library's portable arithmetic wherever f32
    /// additions and products are rounded to nearest.
    ///
    /// # Errors
    /// Before anything is computed: [`Error::Length`], [`Error::Target`], [`Error::TooLarge`].
    pub fn token_log_probs(
        &self,
        logits: &Matrix<E>,
        targets: &Targets<'_>,
        transform: Transform,
    ) -> Result<Scored, Error> {
        let gpu = self.gpu();
        let tiles = logits.tiles(gpu)?;
        let (scored, states) = self.scored(targets, logits.rows(), logits.columns(), transform)?;
        let mut work = self.work();
        for RowTile { first, rows } in tiles {
            let (offset, size, start) = logits.part(gpu, first, rows);
            let params = Params {
                rows: count(rows)?,
                vocab: count(logits.columns())?,
                stride: count(logits.stride())?,
                start: count(usize::try_from(start).unwrap_or(usize::MAX))?,
                first_row: count(first)?,
                ..Params::new(&transform, scored.ignore_index)
            };
            let bound = [
                Bound { at: 1, buffer: logits.buffer(), part: Some((offset, size)) },
                whole(2, &scored.targets),
                whole(3, &states),
            ];
            let is_short = logits.columns() <= BLOCK;
            let fold = if is_short { Entry::FoldShort } else { Entry::Fold };
            work.dispatch(fold, &params, &bound, (rows as u64, 1))?;
            finish(&mut work, &params, &states, &scored)?;
        }
        work.submit()?;
        Ok(scored)
    }

    /// Coefficients as the shaders read them, checked as the library checks them.
    pub(crate) fn coefficients(
        &self,
        scored: &Scored,
        coefficients: &[f64],
    ) -> Result<Buffer, Error> {
        let (expected, found) = (scored.rows(), coefficients.len());
        if expected != found {
            return Err(Error::Length { what: "coefficients", expected, found });
        }
        let largest = f64::from(f32::MAX) / 1.5;
        for (row, (&value, is_scored)) in coefficients.iter().zip(&scored.rows).enumerate() {
            let fits = |x: f64| x.abs() <= largest;
            if *is_scored && !(fits(value) && fits(value * scored.transform.slope())) {
                return Err(Error::Coefficient { row, value });
            }
        }
        self.gpu().upload("coefficients", coefficients)
    }

    /// Writes `c · (onehot − p) · dy/dx` of every scored row into `grads`, R × V with a stride of its
    /// own. `scored` is of these logits. Rows that are not scored, and columns past V, stay as they
    /// are.
    ///
    /// A row without a finite log Z gets NaN in its V columns, and any row 0 where c is 0.
    ///
    /// # Numerics
    /// As [the crate says](crate): the bits of the library's portable arithmetic, above 2⁻¹²⁴.
    ///
    /// # Errors
    /// Before anything is written: [`Error::Size`], [`Error::Length`], [`Error::Coefficient`],
    /// [`Error::TooLarge`], [`Error::TooManyWorkgroups`].
    pub fn logit_grads(
        &self,
        logits: &Matrix<E>,
        scored: &Scored,
        coefficients: &[f64],
        grads: &mut Matrix<E>,
    ) -> Result<(), Error> {
        grads.check("gradients", (logits.rows(), logits.columns()))?;
        self.map(logits, scored, coefficients, Some(grads))
    }

    /// The same over the logits.
    ///
    /// # Errors
    /// As [`Kernels::logit_grads`].
    pub fn logit_grads_in_place(
        &self,
        logits: &mut Matrix<E>,
        scored: &Scored,
        coefficients: &[f64],
    ) -> Result<(), Error> {
        self.map(logits, scored, coefficients, None)
    }

    fn map(
        &self,
        logits: &Matrix<E>,
        scored: &Scored,
        coefficients: &[f64],
        grads: Option<&Matrix<E>>,
    ) -> Result<(), Error> {
        let gpu = self.gpu();
        scored.check(logits.rows(), logits.columns())?;
        let coefficients = self.coefficients(scored, coefficients)?;
        let maps = gpu.bindable("numbers of the backward", MAP * scored.rows() as u64)?;
        let to = grads.unwrap_or(logits);
        let mut work = self.work();
        for RowTile { first, rows } in logits.tiles_with(gpu, to)? {
            let (offset, size, start) = logits.part(gpu, first, rows);
            let (to_offset, to_size, out_start) = to.part(gpu, first, rows);
            let params = Params {
                rows: count(rows)?,
                vocab: count(logits.columns())?,
                stride: count(logits.stride())?,
                start: count(usize::try_from(start).unwrap_or(usize::MAX))?,
                first_row: count(first)?,
                out_start: count(usize::try_from(out_start).unwrap_or(usize::MAX))?,
                out_stride: count(to.stride())?,
                ..Params::new(&scored.transform, scored.ignore_index)
            };
            let from = Bound { at: 5, buffer: logits.buffer(), part: Some((offset, size)) };
            let bound = [
                whole(1, &scored.targets),
                whole(2, &scored.norms),
                whole(3, &coefficients),
                whole(4, &maps),
                from,
            ];
            work.dispatch(Entry::Factors, &params, &bound, ((rows as u64).div_ceil(64), 1))?;
            let out = Bound { at: 2, buffer: to.buffer(), part: Some((to_offset, to_size)) };
            // A row of 16 bits may begin in the middle of a word.
            let words = (logits.columns() * size_of::<E>()).div_ceil(4) as u64 + 1;
            let groups = (words.div_ceil(2048), rows as u64);
            if grads.is_some() {
                let bound = [whole(1, &maps), out, Bound { at: 3, ..from }];
                work.dispatch(Entry::MapApart, &params, &bound, groups)?;
            } else {
                work.dispatch(Entry::MapInPlace, &params, &[whole(1, &maps), out], groups)?;
            }
        }
        work.submit()
    }
}

/// From states to results.
pub(crate) fn finish<E: Element>(
    work: &mut Work<'_, '_, E>,
    params: &Params,
    states: &Buffer,
    scored: &Scored,
) -> Result<(), Error> {
    let bound = [
        whole(1, states),
        whole(2, &scored.log_probs),
        whole(3, &scored.log_zs),
        whole(4, &scored.norms),
    ];
    work.dispatch(Entry::Finish, params, &bound, (u64::from(params.rows).div_ceil(64), 1))
}
