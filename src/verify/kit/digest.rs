//! One number for all inputs of a plan.

use super::Plan;
use super::call::Given;
use crate::Element;

/// FNV-1a over 64 bits: a change of any input is a change of the digest.
struct Digest(u64);

impl Digest {
    fn add(&mut self, number: u64) {
        for byte in number.to_le_bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn numbers(&mut self, numbers: impl Iterator<Item = f64>) {
        let before = self.0;
        let mut count = 0;
        for number in numbers {
            // NaNs have many forms.
            self.add(if number.is_nan() { f64::NAN.to_bits() } else { number.to_bits() });
            count += 1;
        }
        self.add(before ^ count);
    }

    fn elements<E: Element>(&mut self, elements: &[E]) {
        self.numbers(elements.iter().map(|x| x.to_f32().into()));
    }
}

impl Plan {
    /// A number that differs if any input of the plan does: cases that were written by another version
    /// of the kit are told by it.
    #[must_use]
    pub fn digest<E: Element>(self) -> u64 {
        let mut digest = Digest(0xcbf2_9ce4_8422_2325);
        for call in self.groups::<E>().flat_map(|group| group.calls) {
            match &call.given {
                Given::Rows(rows) => {
                    digest.elements(&rows.logits);
                    digest.add(rows.vocab as u64);
                    digest.add(rows.stride as u64);
                    digest.numbers(rows.targets.iter().map(|&target| target.into()));
                    digest.elements(&rows.coefficients);
                }
                Given::Pairs(pairs) => {
                    let parameters = [pairs.dpo.beta, pairs.dpo.label_smoothing];
                    digest.numbers(parameters.into_iter());
                    digest.numbers(pairs.log_probs.iter().flat_map(|pair| {
                        let chosen = [pair.policy_chosen, pair.reference_chosen];
                        chosen.into_iter().chain([pair.policy_rejected, pair.reference_rejected])
                    }));
                    digest.numbers(pairs.weights.iter().chain(&pairs.offsets).copied());
                }
                Given::Head(head) => {
                    digest.elements(&head.hidden);
                    digest.elements(&head.weight);
                    digest.elements(head.bias.as_deref().unwrap_or_default());
                    digest.numbers(head.targets.iter().map(|&target| target.into()));
                    digest.elements(&head.coefficients);
                }
            }
            let transform = match &call.given {
                Given::Rows(rows) => Some(rows.transform),
                Given::Head(head) => Some(head.transform),
                Given::Pairs(_) => None,
            };
            digest.numbers(
                transform
                    .iter()
                    .flat_map(|t| [t.scale, t.softcap.unwrap_or(f64::NAN), t.temperature]),
            );
        }
        digest.0
    }
}
