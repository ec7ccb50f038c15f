//! Rows beyond 2³¹ elements: 4 GiB of logits in 16 bits and as much of gradients.

use dpo_kernel::bf16;
use dpo_kernel::verify::kit::{Mistake, Output, Plan, run};

use crate::plain::{Plain, Style};
use crate::planted::SINGLE;

fn plan() -> Plan {
    Plan { beyond_2_31: true, ..Plan::new(7) }
}

#[test]
#[ignore = "takes some 10 GiB of memory"]
fn rows_beyond_2_31_are_found_and_an_index_of_32_bits_is_named() {
    let offers = [Output::LogProb, Output::LogZ];
    let mut right = Plain::<bf16, f32>::new(Style::PLAIN, SINGLE).offering(&offers);
    let report = run(&mut right, plan());
    assert!(report.is_clean(), "{report}");
    assert_eq!(run(&mut right, Plan::new(7)).calls + 1, report.calls);

    let mut wrong = Plain::<bf16, f32>::new(Style::PLAIN, SINGLE)
        .offering(&offers)
        .with(Mistake::IndexOf32Bits);
    let report = run(&mut wrong, plan());
    assert!(report.failures.iter().all(|f| f.call == "rows-beyond-2-31" && f.row == 2), "{report}");
    assert_eq!(report.failures.len(), offers.len());
    assert_eq!(report.causes, [(Mistake::IndexOf32Bits, offers.len())]);
}
