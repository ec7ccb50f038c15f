//! Rows beyond 2³¹ elements: 4 GiB of logits in 16 bits and as much of gradients.

use dpo_kernel::bf16;
use dpo_kernel::verify;
use dpo_kernel::verify::kit::{Backend, Mistake, Output, Plan, Precision, Rows, run};

use crate::plain::{Plain, Style};
use crate::planted::SINGLE;

fn plan() -> Plan {
    Plan { beyond_2_31: true, ..Plan::new(7) }
}

/// Gradients alone, row by row in place: a copy of all of them would not fit.
struct Grads {
    /// Rows from this element on are not written.
    far: usize,
}

impl Backend for Grads {
    type Element = bf16;
    type Error = std::convert::Infallible;

    fn name(&self) -> &str {
        "gradients"
    }

    fn precision(&self) -> Precision {
        SINGLE
    }

    fn offers(&self) -> &[Output] {
        &[Output::LogitGrads]
    }

    fn logit_grads(
        &mut self,
        rows: &Rows<'_, bf16>,
        coefficients: &[f32],
        grads: &mut [bf16],
    ) -> Result<(), Self::Error> {
        for row in (0..rows.rows).filter(|&row| rows.is_scored(row)) {
            let start = row * rows.stride;
            let x: Vec<f64> =
                rows.logits[start..][..rows.vocab].iter().map(|x| x.to_f64()).collect();
            let mut dx = vec![0.0; rows.vocab];
            let (target, c) = (rows.targets[row] as usize, f64::from(coefficients[row]));
            if c != 0.0 {
                verify::logit_grads(&x, &rows.transform, target, c, &mut dx);
            }
            if start < self.far {
                let to = grads[start..][..rows.vocab].iter_mut();
                to.zip(dx).for_each(|(to, dx)| *to = bf16::from_f32(dx as f32));
            }
        }
        Ok(())
    }
}

#[test]
#[ignore = "takes some 10 GiB of memory"]
fn rows_beyond_2_31_are_found_and_an_index_of_32_bits_is_named() {
    let offers = [Output::LogProb, Output::LogZ];
    let mut right = Plain::<bf16, f32>::new(Style::PLAIN, SINGLE).offering(&offers);
    let report = run(&mut right, plan());
    assert!(report.is_clean(), "{report}");
    assert_eq!(run(&mut right, Plan::new(7)).calls + 1, report.calls);

    assert!(run(&mut Grads { far: usize::MAX }, plan()).is_clean());
    let report = run(&mut Grads { far: 1 << 31 }, plan());
    let failed: Vec<_> = report.failures.iter().map(|f| (f.call.as_str(), f.row)).collect();
    assert_eq!(failed, [("rows-beyond-2-31", 2)], "{report}");

    let mut wrong = Plain::<bf16, f32>::new(Style::PLAIN, SINGLE)
        .offering(&offers)
        .with(Mistake::IndexOf32Bits);
    let report = run(&mut wrong, plan());
    assert!(report.failures.iter().all(|f| f.call == "rows-beyond-2-31" && f.row == 2), "{report}");
    assert_eq!(report.failures.len(), offers.len());
    assert_eq!(report.causes, [(Mistake::IndexOf32Bits, offers.len())]);
}
