//! A backend whose answers lie in a folder.

use std::collections::BTreeSet;
use std::marker::PhantomData;
use std::path::Path;

use dpo_kernel::verify::PairResult;
use dpo_kernel::verify::kit::{
    Backend, Call, Format, Head, Output, Pairs, Plan, Precision, RowOut, Rows, Size, Unscored,
};
use dpo_kernel::{Element, bf16, f16};

use super::Complaint;
use super::answers::{Answers, read_json};
use super::fields::Field;

/// What the manifest of a folder of cases says of itself.
pub(crate) const FORMAT: &str = "dpo-kernel-kit 1";

/// The digest of a plan's inputs, as the manifest has it.
pub(crate) fn digest<E: Element>(plan: Plan) -> String {
    format!("{:016x}", plan.digest::<E>())
}

/// What a folder of cases was made from.
#[derive(Debug)]
pub(crate) struct Cases {
    pub(crate) dtype: Format,
    pub(crate) plan: Plan,
}

impl Cases {
    /// Reads the manifest of a folder.
    pub(crate) fn read(folder: &Path) -> Result<Self, Complaint> {
        let path = folder.join("manifest.json");
        let value = read_json(&path)?;
        Self::parse(&Field::root(&value))
            .map_err(|message| format!("{}: {message}", path.display()))
    }

    fn parse(root: &Field<'_>) -> Result<Self, Complaint> {
        let format = root.get("format")?;
        if format.text()? != FORMAT {
            return format.complain(format!("`{}` where {FORMAT} is needed", format.text()?));
        }
        let dtype = root.get("dtype")?;
        let Some(storage) = Format::from_name(dtype.text()?).filter(|&f| f != Format::F64) else {
            return dtype.complain("none of f32, f16, bf16");
        };
        let size = root.get("size")?;
        let size = match size.text()? {
            "small" => Size::Small,
            "full" => Size::Full,
            other => return size.complain(format!("`{other}` is none of small, full")),
        };
        let seed = root.get("seed")?.index()? as u64;
        let plan = Plan { size, ..Plan::new(seed) };
        let field = root.get("digest")?;
        let ours = match storage {
            Format::F16 => digest::<f16>(plan),
            Format::Bf16 => digest::<bf16>(plan),
            _ => digest::<f32>(plan),
        };
        if field.text()? != ours {
            let theirs = field.text()?;
            return field.complain(format!(
                "{theirs} where this version's cases have {ours}: write them again, and have them answered again"
            ));
        }
        Ok(Self { dtype: storage, plan })
    }
}

/// Answers of a host.
#[derive(Debug)]
pub(crate) struct Recorded<E> {
    answers: Answers,
    /// The call that is asked.
    call: String,
    element: PhantomData<E>,
}

impl<E: Element> Recorded<E> {
    /// Of a folder, to the cases of a plan.
    pub(crate) fn open(folder: &Path, plan: Plan) -> Result<Self, Complaint> {
        let answers = Answers::open(folder, Format::of::<E>())?;
        let (theirs, ours) = (&answers.digest, digest::<E>(plan));
        if *theirs != ours {
            let path = folder.join("answers.json");
            return Err(format!(
                "{}: digest: answers to the cases {theirs}, where these are {ours}: have them answered again",
                path.display()
            ));
        }
        let names: BTreeSet<String> =
            plan.groups::<E>().flat_map(|group| group.calls).map(|call| call.name).collect();
        for (field, messages) in [("skipped", &answers.skipped), ("errors", &answers.errors)] {
            if let Some(name) = messages.keys().find(|name| !names.contains(*name)) {
                let path = folder.join("answers.json");
                return Err(format!("{}: {field}: there is no case {name}", path.display()));
            }
        }
        if let Some(name) = answers.errors.keys().find(|name| answers.skipped.contains_key(*name)) {
            let path = folder.join("answers.json");
            let path = path.display();
            return Err(format!("{path}: errors: {name} is skipped, so that it cannot fail"));
        }
        Ok(Self { answers, call: String::new(), element: PhantomData })
    }

    fn offers(&self, output: Output) -> bool {
        self.answers.offers.contains(&output)
    }

    /// Copies an answer; NaN of a row that is not scored says that it was left alone.
    fn copy(
        &self,
        answer: &str,
        is_scored: &dyn Fn(usize) -> bool,
        width: usize,
        out: &mut [f64],
    ) -> Result<(), Complaint> {
        let found = self.answers.numbers(&self.call, answer, out.len())?;
        for (at, (to, from)) in out.iter_mut().zip(found).enumerate() {
            if is_scored(at / width.max(1)) || !from.is_nan() {
                *to = from;
            }
        }
        Ok(())
    }
}

impl<E: Element> Backend for Recorded<E> {
    type Element = E;
    type Error = Complaint;

    fn name(&self) -> &str {
        &self.answers.backend
    }

    fn precision(&self) -> Precision {
        self.answers.precision
    }

    fn offers(&self) -> &[Output] {
        &self.answers.offers
    }

    fn unscored(&self) -> Unscored {
        self.answers.unscored
    }

    fn accepts(&mut self, call: &Call<E>) -> Result<(), String> {
        self.call.clone_from(&call.name);
        self.answers.skipped.get(&call.name).map_or(Ok(()), |reason| Err(reason.clone()))
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "read as u32")]
    fn token_log_probs(
        &mut self,
        rows: &Rows<'_, E>,
        out: &mut RowOut<'_>,
    ) -> Result<(), Complaint> {
        self.fail()?;
        let scored = |row| rows.is_scored(row);
        let lists = [
            (Output::LogProb, "log_probs", &mut *out.log_probs),
            (Output::LogZ, "log_z", &mut *out.log_z),
            (Output::Entropy, "entropy", &mut *out.entropy),
            (Output::MeanLogit, "mean_logit", &mut *out.mean_logit),
            (Output::LogSumSqProbs, "log_sum_sq_probs", &mut *out.log_sum_sq_probs),
        ];
        for (output, answer, list) in lists {
            if self.offers(output) {
                self.copy(answer, &scored, 1, list)?;
            }
        }
        if self.offers(Output::Argmax) {
            let found = self.answers.numbers(&self.call, "argmax", rows.rows)?;
            for (row, (to, from)) in out.argmax.iter_mut().zip(found).enumerate() {
                // An integer has no NaN to say that a row was left alone.
                if scored(row) {
                    *to = from as u32;
                }
            }
        }
        Ok(())
    }

    fn logit_grads(
        &mut self,
        rows: &Rows<'_, E>,
        _: &[f32],
        grads: &mut [E],
    ) -> Result<(), Complaint> {
        self.fail()?;
        let found: Vec<E> = self.answers.elements(&self.call, "grads", grads.len())?;
        for (at, (to, from)) in grads.iter_mut().zip(found).enumerate() {
            let (row, column) = (at / rows.stride.max(1), at % rows.stride.max(1));
            let is_written = rows.is_scored(row) && column < rows.vocab;
            // A host's buffer may have been of zeros before: past the vocabulary they say nothing.
            let is_blank = from.to_f32().is_nan() || (column >= rows.vocab && from.to_f32() == 0.0);
            if is_written || !is_blank {
                *to = from;
            }
        }
        Ok(())
    }

    fn pair_loss(&mut self, _: &Pairs<'_>, out: &mut [PairResult]) -> Result<(), Complaint> {
        self.fail()?;
        let found = self.answers.numbers(&self.call, "pairs", 6 * out.len())?;
        for (to, from) in out.iter_mut().zip(found.as_chunks().0) {
            let &[loss, reward_chosen, reward_rejected, margin, d_chosen, d_rejected] = from;
            *to = PairResult { loss, reward_chosen, reward_rejected, margin, d_chosen, d_rejected };
        }
        Ok(())
    }

    fn head(&mut self, head: &Head<'_, E>, out: &mut RowOut<'_>) -> Result<(), Complaint> {
        self.fail()?;
        let scored = |row: usize| is_scored(head, row);
        if self.offers(Output::HeadLogProb) {
            self.copy("log_probs", &scored, 1, out.log_probs)?;
        }
        if self.offers(Output::HeadLogZ) {
            self.copy("log_z", &scored, 1, out.log_z)?;
        }
        Ok(())
    }

    fn hidden_grads(
        &mut self,
        head: &Head<'_, E>,
        _: &[f32],
        d_hidden: &mut [f64],
    ) -> Result<(), Complaint> {
        self.fail()?;
        self.copy("d_hidden", &|row| is_scored(head, row), head.hidden_size, d_hidden)
    }
}

impl<E: Element> Recorded<E> {
    /// The host's own failure in this call.
    fn fail(&self) -> Result<(), Complaint> {
        self.answers.errors.get(&self.call).map_or(Ok(()), |message| Err(message.clone()))
    }
}

fn is_scored<E>(head: &Head<'_, E>, row: usize) -> bool {
    head.targets.get(row).is_some_and(|&target| target != head.ignore)
}

/// A number as its type stores it, little-endian.
pub(crate) fn to_bytes<E: Element>(x: E) -> Vec<u8> {
    let x = x.to_f32();
    match Format::of::<E>() {
        Format::F16 => f16::from_f32(x).to_le_bytes().to_vec(),
        Format::Bf16 => bf16::from_f32(x).to_le_bytes().to_vec(),
        Format::F32 | Format::F64 => x.to_le_bytes().to_vec(),
    }
}
