//! What a backend is asked, and how it answers.

use alloc::string::String;
use core::fmt;

use super::{Call, Head, Output, Pairs, Precision, RowOut, Rows, Unscored};
use crate::Element;
use crate::verify::PairResult;

/// A backend to test: kernels of another language, on another device.
///
/// It offers any subset of the [`Output`]s; the functions of what it does not offer are never
/// called, and need not be written. Each call is a batch, because launches cost. A call may fail:
/// the report then says of which case, and with what message.
pub trait Backend {
    /// How logits, hidden states and the gradients of logits are stored.
    type Element: Element;
    /// What a call fails with.
    type Error: fmt::Display;

    /// Name and version, for the report.
    fn name(&self) -> &str;

    /// What bounds follow from.
    fn precision(&self) -> Precision;

    /// What it can be asked for.
    fn offers(&self) -> &[Output];

    /// What it does to the outputs of rows that are not scored.
    fn unscored(&self) -> Unscored {
        Unscored::Untouched
    }

    /// Whether a call can be asked, before it is. One that is declined is listed in the report with
    /// the reason, and neither passed nor failed: a softcap that a library lacks, say. Where as many
    /// calls of an output are declined as are taken, the report is not clean.
    ///
    /// # Errors
    /// The reason.
    fn accepts(&mut self, call: &Call<Self::Element>) -> Result<(), String> {
        let _ = call;
        Ok(())
    }

    /// Log-probs, log Z and details of rows.
    ///
    /// # Errors
    /// What the backend's own calls fail with.
    fn token_log_probs(
        &mut self,
        rows: &Rows<'_, Self::Element>,
        out: &mut RowOut<'_>,
    ) -> Result<(), Self::Error> {
        let _ = (rows, out);
        Ok(())
    }

    /// `grads[t·S + j] = c[t] · ([j = target] − p[j]) · dy/dx[j]`, laid out as the logits. Columns
    /// past the vocabulary are left alone.
    ///
    /// # Errors
    /// What the backend's own calls fail with.
    fn logit_grads(
        &mut self,
        rows: &Rows<'_, Self::Element>,
        coefficients: &[f32],
        grads: &mut [Self::Element],
    ) -> Result<(), Self::Error> {
        let _ = (rows, coefficients, grads);
        Ok(())
    }

    /// The loss of pairs: `w · (softplus(−z) + ε z)` with `z = β[(πc − rc) − (πr − rr)] − offset`.
    ///
    /// # Errors
    /// What the backend's own calls fail with.
    fn pair_loss(&mut self, pairs: &Pairs<'_>, out: &mut [PairResult]) -> Result<(), Self::Error> {
        let _ = (pairs, out);
        Ok(())
    }

    /// Log-probs and log Z from hidden states.
    ///
    /// # Errors
    /// What the backend's own calls fail with.
    fn head(
        &mut self,
        head: &Head<'_, Self::Element>,
        out: &mut RowOut<'_>,
    ) -> Result<(), Self::Error> {
        let _ = (head, out);
        Ok(())
    }

    /// `d_hidden[t·H + k] = Σ_j dx[t, j] · W[j, k]`, R × H numbers as found, widened to f64.
    ///
    /// # Errors
    /// What the backend's own calls fail with.
    fn hidden_grads(
        &mut self,
        head: &Head<'_, Self::Element>,
        coefficients: &[f32],
        d_hidden: &mut [f64],
    ) -> Result<(), Self::Error> {
        let _ = (head, coefficients, d_hidden);
        Ok(())
    }
}
