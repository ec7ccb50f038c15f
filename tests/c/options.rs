//! Losses by their numbers, with every option away from its default: what C makes of them is what
//! Rust makes of them by name.

use std::collections::BTreeSet;
use std::ffi::CStr;
use std::ptr;

use dpo_kernel::c::*;
use dpo_kernel::error::Parameter;
use dpo_kernel::loss::LossName;

use crate::abi::{Call, Out, Policy};
use crate::host::slots::{PAIRS, SEQUENCES, Slot};
use crate::host::{Host, Structs, loss};

/// The outcome of a loss in one place: the status, and the bytes of what was written.
type Found = (dpo_status, Vec<u8>);

/// A loss for all pairs, for an answer, and for one pair by itself, with or without a reference.
fn everywhere(of: dpo_loss) -> Vec<Found> {
    let mut found = Vec::new();
    for has_reference in [true, false] {
        let mut host = Host::new();
        host.put(Slot::SingleLoss, &[of]);
        let mut structs = host.structs();
        (structs.loss, structs.answer_loss) = (of, of);
        structs.pairs.offsets = ptr::null();
        if !has_reference {
            structs.pairs.reference_sums = ptr::null();
            structs.pair.reference_chosen = f64::NAN;
            structs.pair.reference_rejected = f64::NAN;
        }
        structs.pair.offset = 0.0;
        if is_sorted(of.name) {
            structs.objective.order = structs.at(Slot::PairOrder);
            structs.objective.order_len = 2 * PAIRS;
            structs.pairs.weights = ptr::null();
        }
        let (single, batch, answers) = calls(&structs);
        for (call, slots) in [
            (single, &[Slot::OneLoss][..]),
            (batch, &[Slot::PairLosses, Slot::D, Slot::Summary]),
            (answers, &[Slot::AnswerLosses, Slot::D, Slot::UnpairedSummary]),
        ] {
            let status = host.judge(&call).unwrap_or_else(|why| panic!("{of:?}: {why}"));
            let bytes = |&slot: &Slot| host.get::<u8>(slot, slot.form().0);
            found.push((status, slots.iter().flat_map(bytes).collect()));
        }
    }
    found
}

fn is_sorted(name: i32) -> bool {
    name == LossName::Aot as i32 || name == LossName::AotUnpaired as i32
}

fn calls(s: &Structs) -> (Call, Call, Call) {
    let policy = Policy { sums: s.at(Slot::Sequences), sequences: SEQUENCES };
    let d_log_probs = s.at(Slot::D);
    let single = Call::EvaluatePair(&raw const s.loss, &raw const s.pair, s.at(Slot::OneLoss));
    let out = Out { losses: s.at(Slot::PairLosses), d_log_probs, summary: s.at(Slot::Summary) };
    let batch = Call::PreferenceLoss(&raw const s.objective, &raw const s.pairs, policy, out);
    let losses = s.at(Slot::AnswerLosses);
    let out = Out { losses, d_log_probs, summary: s.at(Slot::UnpairedSummary) };
    let answers = &raw const s.answers;
    (single, batch, Call::UnpairedLoss(&raw const s.answer_loss, answers, policy, out))
}

/// What a loss must be given.
fn needed(name: LossName) -> Vec<(i32, f64)> {
    match name {
        LossName::Kto => vec![(14, 0.25)],
        LossName::RpoForward | LossName::RpoBackward | LossName::RpoSquare => vec![(17, 0.5)],
        LossName::AStarPo => vec![(33, 0.5)],
        _ => vec![],
    }
}

/// Some value of these is in the domain of any option, and no default.
const VALUES: [f64; 6] = [0.3, 0.0625, 1.75, -0.5, 2.0, 0.0];

#[test]
fn every_option_of_every_loss_is_that_of_rust() {
    let mut taken = BTreeSet::new();
    for name in LossName::ALL {
        let default = everywhere(loss(name as i32, &needed(name)));
        for parameter in Parameter::ALL {
            if parameter == Parameter::DivergenceAlpha {
                continue;
            }
            let number = parameter as i32;
            let with = |value| {
                let mut options = needed(name);
                options.retain(|&(needed, _)| needed != number);
                options.push((number, value));
                options
            };
            // Refused by its number, whatever its value.
            let is_refused = |(status, _): &Found| {
                [DPO_ERROR_PARAMETER_UNUSED, DPO_ERROR_UNKNOWN_VALUE, DPO_ERROR_FIELD_UNUSED]
                    .contains(status)
            };
            let is_divergence = parameter == Parameter::Divergence;
            if !is_divergence && everywhere(loss(name as i32, &with(0.3))).iter().all(is_refused) {
                continue;
            }
            let mut is_read = false;
            for value in VALUES {
                let options = with(value);
                let found = everywhere(loss(name as i32, &options));
                is_read |= found.iter().any(|(status, _)| *status == DPO_OK) && found != default;
                // In any place of the list.
                let mut last = loss(name as i32, &[]);
                for (to, &(parameter, value)) in last.options.iter_mut().rev().zip(&options) {
                    *to = dpo_option { parameter, value };
                }
                assert_eq!(everywhere(last), found, "{name:?}, {parameter:?}");
            }
            assert!(is_read || is_divergence, "{name:?} takes {parameter:?} and does not read it");
            if is_read {
                taken.insert(number);
            }
        }
    }
    // All options of losses are those of some loss.
    let options = [1, 2, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15, 16, 17, 24, 32, 33];
    assert!(options.iter().all(|option| taken.contains(option)), "{taken:?}");
}

#[test]
fn every_divergence_is_that_of_rust() {
    let mut seen = Vec::new();
    for (kind, alpha) in [
        (0, None),
        (1, None),
        (2, None),
        (3, Some(0.25)),
        (3, Some(0.875)),
        (4, Some(0.25)),
        (4, Some(0.625)),
        (3, None),
        (4, None),
        (0, Some(0.5)),
        (2, Some(0.5)),
        (5, None),
        (-1, Some(0.5)),
    ] {
        let mut options = vec![(24, f64::from(kind))];
        options.extend(alpha.map(|alpha| (9, alpha)));
        let found = everywhere(loss(0, &options));
        let due = match (kind, alpha) {
            (0..=2, None) | (3 | 4, Some(_)) => DPO_OK,
            (3 | 4, None) => DPO_ERROR_PARAMETER_MISSING,
            (0..=2, Some(_)) => DPO_ERROR_FIELD_UNUSED,
            _ => DPO_ERROR_UNKNOWN_VALUE,
        };
        assert_eq!(found[0].0, due, "{kind}, {alpha:?}");
        if due == DPO_OK {
            assert!(!seen.contains(&found), "{kind}, {alpha:?} is one of the others");
            seen.push(found);
        }
        // In the other order.
        options.reverse();
        assert_eq!(everywhere(loss(0, &options))[0].0, due, "{kind}, {alpha:?}");
    }
    let [paper, trl] =
        [(3.0, 0.75), (4.0, 0.25)].map(|(kind, alpha)| loss(0, &[(24, kind), (9, alpha)]));
    assert_eq!(everywhere(paper), everywhere(trl), "TRL's alpha is 1 less that of the paper");
    for kind in [0.5, f64::NAN, f64::INFINITY, -0.5, 4.5, 1.0 + 1e-15] {
        assert_eq!(everywhere(loss(0, &[(24, kind)]))[0].0, DPO_ERROR_UNKNOWN_VALUE, "{kind}");
    }
    assert_eq!(everywhere(loss(0, &[(9, 0.5)]))[0].0, DPO_ERROR_FIELD_UNUSED);
}

#[test]
fn options_that_say_nothing_are_refused() {
    let cases: [(&[(i32, f64)], dpo_status); 9] = [
        (&[(0, 0.0), (0, 0.0), (1, 0.5)], DPO_OK),
        (&[(0, 0.5)], DPO_ERROR_FIELD_UNUSED),
        (&[(0, -0.0)], DPO_ERROR_FIELD_UNUSED),
        (&[(1, 0.5), (1, 0.5)], DPO_ERROR_FIELD_UNUSED),
        (&[(24, 1.0), (2, 0.0), (24, 1.0)], DPO_ERROR_FIELD_UNUSED),
        (&[(24, 3.0), (9, 0.5), (9, 0.5)], DPO_ERROR_FIELD_UNUSED),
        (&[(3, 0.1)], DPO_ERROR_UNKNOWN_VALUE),
        (&[(35, 0.1)], DPO_ERROR_UNKNOWN_VALUE),
        (&[(-1, 0.1)], DPO_ERROR_UNKNOWN_VALUE),
    ];
    for (options, due) in cases {
        assert_eq!(everywhere(loss(0, options))[0].0, due, "{options:?}");
    }
}

#[test]
fn every_loss_has_its_number_and_its_name() {
    let host = Host::new();
    let structs = host.structs();
    for number in -2..60 {
        let name = dpo_loss_name(number);
        let due = LossName::ALL.into_iter().find(|&name| name as i32 == number);
        // SAFETY: names are static and end in 0.
        let found = (!name.is_null()).then(|| unsafe { CStr::from_ptr(name) }.to_str().unwrap());
        assert_eq!(found, due.map(LossName::name), "{number}");
        if let Some(name) = found {
            let (text, len) = (name.as_ptr().cast(), name.len());
            let call = Call::LossParse(text, len, structs.at(Slot::Number));
            assert_eq!(host.judge(&call), Ok(DPO_OK), "{name}");
            assert_eq!(host.get::<i32>(Slot::Number, 1), [number], "{name}");
        }
    }
    for wrong in ["", "sigmoi", "Sigmoid ", "sigmoid\0"] {
        let call = Call::LossParse(wrong.as_ptr().cast(), wrong.len(), structs.at(Slot::Number));
        assert_eq!(host.judge(&call), Ok(DPO_ERROR_UNKNOWN_LOSS), "{wrong:?}");
    }
    for parameter in Parameter::ALL {
        // SAFETY: names are static and end in 0.
        let name = unsafe { CStr::from_ptr(dpo_parameter_name(parameter as i32)) };
        let error = dpo_kernel::Error::ParameterMissing { parameter };
        let due = format!("{} must be given for this loss", name.to_str().unwrap());
        assert_eq!(error.to_string(), due);
    }
    for none in [-1, 0, 37, 1000] {
        assert!(dpo_parameter_name(none).is_null(), "{none}");
    }
    // SAFETY: the version is static and ends in 0.
    let version = unsafe { CStr::from_ptr(dpo_version()) };
    assert_eq!(version.to_str().unwrap(), env!("CARGO_PKG_VERSION"));
}
