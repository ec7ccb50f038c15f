//! What a map reads and where it writes, as vectors: in place, or from one buffer to another.
//!
//! Both ways are one type, so that one loop is compiled for both. Its pointers may be the same, so
//! nothing that is read is borrowed while something is written.

#![allow(unsafe_code, reason = "reading and writing one buffer takes pointers")]

use core::marker::PhantomData;

use super::LANES;

/// Elements to read, and elements to write in their place or elsewhere.
pub(crate) struct Stream<'a, E, O> {
    from: *const E,
    /// Elements that may be read after `from`.
    from_len: usize,
    to: *mut O,
    /// Elements that may be written after `to`.
    to_len: usize,
    buffers: PhantomData<(&'a [E], &'a mut [O])>,
}

impl<'a, T> Stream<'a, T, T> {
    /// Each element is replaced by what becomes of it.
    #[inline(always)]
    pub(crate) const fn in_place(elements: &'a mut [T]) -> Self {
        let (to, len) = (elements.as_mut_ptr(), elements.len());
        Self { from: to, from_len: len, to, to_len: len, buffers: PhantomData }
    }
}

impl<'a, E, O> Stream<'a, E, O> {
    /// What becomes of an element is written elsewhere.
    #[inline(always)]
    pub(crate) const fn apart(from: &'a [E], to: &'a mut [O]) -> Self {
        let (from, from_len) = (from.as_ptr(), from.len());
        Self { from, from_len, to: to.as_mut_ptr(), to_len: to.len(), buffers: PhantomData }
    }

    /// What is read.
    #[inline(always)]
    pub(crate) const fn source(&self) -> &[E] {
        // SAFETY: `from_len` elements are borrowed after `from` for 'a; what may write to them
        // borrows `self` mutably.
        unsafe { core::slice::from_raw_parts(self.from, self.from_len) }
    }

    /// What is written.
    #[inline(always)]
    pub(crate) const fn target(&mut self) -> &mut [O] {
        // SAFETY: `to_len` elements are borrowed mutably after `to` for 'a; what may read them
        // borrows `self`.
        unsafe { core::slice::from_raw_parts_mut(self.to, self.to_len) }
    }

    /// `len` elements from two positions on; none where a buffer ends before.
    #[inline(always)]
    pub(crate) const fn part(&mut self, from: usize, to: usize, len: usize) -> Stream<'_, E, O> {
        let fits = from <= self.from_len && to <= self.to_len;
        if !fits || len > self.from_len - from || len > self.to_len - to {
            return Stream { from_len: 0, to_len: 0, buffers: PhantomData, ..*self };
        }
        // SAFETY: both positions are inside the buffers.
        let (from, to) = unsafe { (self.from.add(from), self.to.add(to)) };
        Stream { from, from_len: len, to, to_len: len, buffers: PhantomData }
    }

    /// The elements one by one: what is read, and where to write.
    #[inline(always)]
    pub(crate) fn elements(self) -> Elements<'a, E, O> {
        let left = self.from_len.min(self.to_len);
        Elements { from: self.from, to: self.to, left, buffers: self.buffers }
    }

    /// The steps of M vectors, and the elements after them.
    #[inline(always)]
    pub(crate) fn steps<const M: usize>(self) -> (Steps<'a, E, O, M>, Self) {
        let len = self.from_len.min(self.to_len);
        let left = len / (M * LANES);
        let (done, Self { from, to, buffers, .. }) = (left * M * LANES, self);
        // SAFETY: `done` is at most the length of both buffers.
        let (rest_from, rest_to) = unsafe { (from.add(done), to.add(done)) };
        let rest = len - done;
        let steps = Steps { from: from.cast(), to: to.cast(), left, buffers };
        (steps, Self { from: rest_from, from_len: rest, to: rest_to, to_len: rest, buffers })
    }
}

/// The elements of a [`Stream`], one after the other.
pub(crate) struct Elements<'a, E, O> {
    from: *const E,
    to: *mut O,
    /// Elements that are left.
    left: usize,
    buffers: PhantomData<(&'a [E], &'a mut [O])>,
}

impl<'a, E: Copy, O> Iterator for Elements<'a, E, O> {
    type Item = (E, &'a mut O);

    #[inline(always)]
    fn next(&mut self) -> Option<(E, &'a mut O)> {
        self.left = self.left.checked_sub(1)?;
        // SAFETY: an element was left, so both buffers reach that far. No other item has it, and it
        // is read before it can be written.
        unsafe {
            let item = (*self.from, &mut *self.to);
            (self.from, self.to) = (self.from.add(1), self.to.add(1));
            Some(item)
        }
    }
}

/// The steps of a [`Stream`], one after the other.
pub(crate) struct Steps<'a, E, O, const M: usize> {
    from: *const [[E; LANES]; M],
    to: *mut [[O; LANES]; M],
    /// Steps that are left.
    left: usize,
    buffers: PhantomData<(&'a [E], &'a mut [O])>,
}

impl<'a, E, O, const M: usize> Iterator for Steps<'a, E, O, M> {
    type Item = Step<'a, E, O, M>;

    #[inline(always)]
    fn next(&mut self) -> Option<Step<'a, E, O, M>> {
        self.left = self.left.checked_sub(1)?;
        let step = Step { from: self.from, to: self.to, buffers: PhantomData };
        // SAFETY: a step was left, so both buffers reach that far.
        (self.from, self.to) = unsafe { (self.from.add(1), self.to.add(1)) };
        Some(step)
    }
}

/// M vectors to read, and as many to write.
pub(crate) struct Step<'a, E, O, const M: usize> {
    from: *const [[E; LANES]; M],
    to: *mut [[O; LANES]; M],
    buffers: PhantomData<(&'a [E], &'a mut [O])>,
}

impl<E, O, const M: usize> Step<'_, E, O, M> {
    /// What is read.
    #[inline(always)]
    pub(crate) const fn source(&self) -> &[[E; LANES]; M] {
        // SAFETY: a step is inside its stream's buffers, and no other step has its elements; what
        // may write to them borrows `self` mutably.
        unsafe { &*self.from }
    }

    /// What is written.
    #[inline(always)]
    pub(crate) const fn target(&mut self) -> &mut [[O; LANES]; M] {
        // SAFETY: as above; what may read them borrows `self`.
        unsafe { &mut *self.to }
    }
}
