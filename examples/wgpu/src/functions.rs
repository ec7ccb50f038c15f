//! The shaders' functions one argument at a time: what tests of an adapter begin with.

use crate::kernels::{Entry, Kernels, whole};
use crate::params::Params;
use crate::rows::count;
use crate::{Element, Error, Transform};

/// A function of the shaders. Numbers are bits: of f32 the first word, of f64 both, the low one first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names of the functions in the shaders")]
pub enum Function {
    /// w and 2^(n − N) of d, by the exponent N: e^(k·d) / 2^N = (1 + w)·2^(n − N).
    Exp = 0,
    Tanh = 1,
    TanhSlope = 2,
    Quotient = 3,
    ExpDouble = 4,
    Ln1pDouble = 5,
    LnDouble = 6,
    Add = 7,
    Mul = 8,
    Div = 9,
    OfF32 = 10,
    ToF32 = 11,
    /// Of a word and an element's number.
    Decoded = 12,
    Encoded = 13,
    IsBad = 14,
    ValueOf = 15,
    /// n of e^(k·shift) = 2^n · part.
    PlacePower = 16,
    /// The part, in f64.
    PlacePart = 17,
    /// f64 of an integer of 64 bits.
    OfSigned = 18,
    /// The number of the highest place of a row of two blocks, whose sums these are.
    TopPlace = 19,
    /// The places of such a row, as integers of 64 bits.
    HighPlace = 20,
    MiddlePlace = 21,
    LowPlace = 22,
}

impl<E: Element> Kernels<'_, E> {
    /// A function of pairs of arguments.
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::TooManyWorkgroups`], [`Error::Device`].
    pub fn function(
        &self,
        function: Function,
        transform: Transform,
        arguments: &[[[u32; 2]; 2]],
    ) -> Result<Vec<[u32; 2]>, Error> {
        let gpu = self.gpu();
        let from = gpu.upload("arguments", arguments)?;
        let to = gpu.bindable("results", 8 * arguments.len() as u64)?;
        let mut params = Params { rows: count(arguments.len())?, ..Params::new(&transform, 0) };
        params.flags |= (function as u32) << 8;
        let mut work = self.work();
        let bound = [whole(1, &from), whole(2, &to)];
        let groups = (arguments.len() as u64).div_ceil(64);
        work.dispatch(Entry::Functions, &params, &bound, (groups, 1))?;
        work.submit()?;
        let mut found = vec![[0; 2]; arguments.len()];
        gpu.read(&to, &mut found)?;
        Ok(found)
    }
}
