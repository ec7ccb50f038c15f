//! The views of a backward and of a step: the logits, and where their gradients go.

use dpo_kernel::c::*;
use dpo_kernel::gradient::{GradBatch, GradElement, logit_grads, logit_grads_in_place};
use dpo_kernel::{Dispatch, Element};

use super::memory::{Due, Memory, Ranges, Written};
use super::report::report_of;
use super::same::Same;
use super::structs::{view, view_mut};

/// Where logits are, and where their gradients go.
#[derive(Clone, Copy, Debug)]
pub enum Views {
    InPlace(dpo_logits_mut),
    Apart(dpo_logits, dpo_logits_mut),
}

/// Runs a body for the element types of views.
macro_rules! for_views {
    ($views:expr, $from:ident, $to:ident => $body:expr) => {{
        use dpo_kernel::{bf16, f16};
        macro_rules! of {
            ($e:ty, $o:ty) => {{
                type $from = $e;
                type $to = $o;
                $body
            }};
        }
        let known = |number: i32| (1..=3).contains(&number);
        let (from, to) = match $views {
            Views::InPlace(of) => (of.r#type, of.r#type),
            Views::Apart(of, to) => (of.r#type, to.r#type),
        };
        match (from, to) {
            (1, 1) => of!(f32, f32),
            (2, 2) => of!(f16, f16),
            (3, 3) => of!(bf16, bf16),
            (2, 1) => of!(f16, f32),
            (3, 1) => of!(bf16, f32),
            _ if !known(from) => Err(unknown(DPO_BUFFER_TYPE, from)),
            _ => Err(unknown(DPO_BUFFER_TYPE, to)),
        }
    }};
}
pub(super) use for_views;

/// The buffers of views.
pub struct ViewMemory<E, O> {
    logits: Memory<E>,
    grads: Option<Memory<O>>,
}

/// What they hold.
pub struct OwnViews<E, O> {
    pub logits: Vec<E>,
    pub grads: Vec<O>,
}

impl<E, O> ViewMemory<E, O>
where
    E: Element + Same + std::fmt::Debug + 'static,
    O: Element + GradElement<E> + Same + std::fmt::Debug + 'static,
{
    pub fn of(views: &Views, ranges: &mut Ranges) -> Due<Self> {
        match views {
            Views::InPlace(of) => {
                let logits = ranges.write(of.data.cast(), of.len, DPO_BUFFER_LOGITS)?;
                Ok(Self { logits, grads: None })
            }
            Views::Apart(of, to) => {
                let logits = ranges.read(of.data.cast(), of.len, DPO_BUFFER_LOGITS)?;
                let grads = ranges.write(to.data.cast(), to.len, DPO_BUFFER_GRADS)?;
                Ok(Self { logits, grads: Some(grads) })
            }
        }
    }

    pub fn get(&self) -> OwnViews<E, O> {
        let grads = self.grads.map_or(Vec::new(), |grads| grads.get());
        OwnViews { logits: self.logits.get(), grads }
    }

    pub fn becomes(&self, due: OwnViews<E, O>, w: &mut Vec<Written>) {
        match self.grads {
            Some(grads) => w.push(grads.becomes("gradients", due.grads)),
            None => w.push(self.logits.becomes("logits", due.logits)),
        }
    }
}

impl<E: Element, O: Element + GradElement<E>> OwnViews<E, O> {
    /// Shapes and transforms.
    pub fn check(&mut self, views: &Views) -> Due<()> {
        match views {
            Views::InPlace(of) => view_mut(of, &mut self.logits).map(|_| ()),
            Views::Apart(of, to) => {
                view(of, &self.logits)?;
                view_mut(to, &mut self.grads).map(|_| ())
            }
        }
    }

    pub fn write_grads(
        &mut self,
        dispatch: Dispatch,
        views: &Views,
        batch: &GradBatch<'_>,
    ) -> Due<()> {
        match views {
            Views::InPlace(of) => {
                logit_grads_in_place(dispatch, view_mut(of, &mut self.logits)?, batch)
            }
            Views::Apart(of, to) => {
                let to = view_mut(to, &mut self.grads)?;
                logit_grads(dispatch, view(of, &self.logits)?, batch, to)
            }
        }
        .map_err(report_of)
    }
}
