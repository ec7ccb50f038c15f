//! What a program on a target says.

use core::fmt::{self, Write};

use dpo_kernel::Dispatch;

use crate::suite::{Buffers, EXPECTED, Plan, run};

/// Runs a suite on every level that the machine has and writes a line for each; whether all agree.
///
/// # Errors
/// Those of `out`.
pub fn report<const N: usize, const N_F16: usize>(
    plan: &Plan,
    buffers: &mut Buffers<N, N_F16>,
    out: &mut impl Write,
) -> Result<bool, fmt::Error> {
    let mut all = true;
    for dispatch in Dispatch::available() {
        let arithmetic = dispatch.arithmetic();
        let found = run(plan, dispatch, buffers, |_, _| ()).value();
        let expected = EXPECTED.iter().filter(|e| e.arithmetic == arithmetic);
        let same = expected.map(plan.expected).any(|expected| expected == found);
        let verdict = if same { "ok" } else { "DIFFERENT" };
        let (level, name) = (dispatch.level(), plan.name);
        writeln!(out, "digest {level:?} {arithmetic:?} {name} {found:016x} {verdict}")?;
        if !same {
            all = false;
            let mut written = Ok(());
            run(plan, dispatch, buffers, |section, digest| {
                written = written.and(writeln!(out, "  {section}: {:016x}", digest.value()));
            });
            written?;
        }
    }
    Ok(all)
}
