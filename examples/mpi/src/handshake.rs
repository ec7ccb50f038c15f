//! Ranks that do not belong together refuse each other by name, before the first step.
//!
//! Each rank writes a record of fixed size; one Allgather; every rank compares all with that of rank
//! 0 and comes to the same verdict. A rank that could not get ready says so in its record, so that
//! none waits for it.

use crate::comm::{Comm, Load};
use crate::error::Error;

/// Bytes of a record.
pub const LEN: usize = 512;
/// Bytes of a field's text, and of the note at the end.
const FIELD: usize = 32;
const FIELDS: usize = 9;
const MAGIC: &[u8; 16] = b"dpo-kernel mpi 1";
const NOTE: usize = LEN - MAGIC.len() - FIELDS * FIELD;

/// What must be the same on all ranks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Of the library.
    pub version: String,
    /// Of the forward and backward: fused or portable.
    pub arithmetic: String,
    /// Columns of the vocabulary, and of a unit.
    pub vocab: String,
    /// Bytes of a row's partial.
    pub partial: String,
    /// Shards × groups.
    pub grid: String,
    /// Everything that training is told.
    pub recipe: String,
    /// Digest of the pairs.
    pub data: String,
    /// Digest of the weights before the first step.
    pub weights: String,
    /// The step it begins at.
    pub start: String,
    /// Why this rank cannot take part; empty if it can.
    pub trouble: String,
}

impl Record {
    fn fields(&self) -> [(&'static str, &str); FIELDS] {
        [
            ("version", &self.version),
            ("arithmetic", &self.arithmetic),
            ("vocabulary", &self.vocab),
            ("bytes of a partial", &self.partial),
            ("grid", &self.grid),
            ("recipe", &self.recipe),
            ("data", &self.data),
            ("first weights", &self.weights),
            ("start", &self.start),
        ]
    }

    /// As it is sent: texts are cut to their room.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        let mut at = bytes.as_mut_slice();
        let rooms = [FIELD; FIELDS].into_iter().chain([NOTE]);
        let texts = self.fields().into_iter().map(|(_, text)| text.as_bytes());
        let all = [MAGIC.as_slice()].into_iter().chain(texts).chain([self.trouble.as_bytes()]);
        for (text, room) in all.zip([MAGIC.len()].into_iter().chain(rooms)) {
            let (to, rest) = std::mem::take(&mut at).split_at_mut(room);
            at = rest;
            to.iter_mut().zip(text).for_each(|(to, byte)| *to = *byte);
        }
        bytes
    }

    /// None for what is no record of this layout.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(MAGIC)?;
        if bytes.len() != LEN {
            return None;
        }
        let text = |bytes: &[u8]| {
            let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
            String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()
        };
        let mut texts = rest.chunks(FIELD).map(text);
        let mut next = || texts.next().unwrap_or_default();
        Some(Self {
            version: next(),
            arithmetic: next(),
            vocab: next(),
            partial: next(),
            grid: next(),
            recipe: next(),
            data: next(),
            weights: next(),
            start: next(),
            trouble: text(rest.get(FIELDS * FIELD..).unwrap_or_default()),
        })
    }
}

/// Compares all records, in the order of ranks.
///
/// # Errors
/// [`Error::Refused`] with a line for each rank and field that differs from rank 0's, and for each
/// rank that has trouble.
pub fn compare(records: &[u8]) -> Result<(), Error> {
    let records: Vec<Option<Record>> = records.chunks(LEN).map(Record::from_bytes).collect();
    let mut lines = Vec::new();
    let first = records.iter().flatten().next().cloned().unwrap_or_default();
    let of = records.iter().position(Option::is_some).unwrap_or(0);
    for (rank, record) in records.iter().enumerate() {
        let Some(record) = record else {
            lines.push(format!("rank {rank}: it speaks another protocol"));
            continue;
        };
        if !record.trouble.is_empty() {
            lines.push(format!("rank {rank}: {}", record.trouble));
            continue;
        }
        if !first.trouble.is_empty() {
            continue;
        }
        for ((name, expected), (_, found)) in first.fields().into_iter().zip(record.fields()) {
            if expected != found {
                lines.push(format!("rank {rank}: {name} {found}, on rank {of} {expected}"));
            }
        }
    }
    if lines.is_empty() { Ok(()) } else { Err(Error::Refused(lines)) }
}

/// Every rank gives its record.
///
/// # Errors
/// As [`compare`], and [`Error::Mpi`].
pub fn shake(world: &Comm, own: &Record) -> Result<(), Error> {
    let counts = vec![LEN; world.size];
    compare(&world.gather(Load::Rest, &own.to_bytes(), &counts)?)
}

#[cfg(test)]
#[allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::type_complexity,
    reason = "tests"
)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            version: "0.1.0".into(),
            arithmetic: "fused".into(),
            vocab: "256 in units of 32".into(),
            partial: "64".into(),
            grid: "2x1".into(),
            recipe: "0123456789abcdef".into(),
            data: "fedcba9876543210".into(),
            weights: "00112233aabbccdd".into(),
            start: "0".into(),
            trouble: String::new(),
        }
    }

    fn lines(records: &[Record]) -> Vec<String> {
        let bytes: Vec<u8> = records.iter().flat_map(Record::to_bytes).collect();
        match compare(&bytes) {
            Ok(()) => Vec::new(),
            Err(Error::Refused(lines)) => lines,
            Err(error) => panic!("another error: {error}"),
        }
    }

    #[test]
    fn a_record_crosses_as_it_is() {
        let record = Record { trouble: "no such file".into(), ..record() };
        assert_eq!(Record::from_bytes(&record.to_bytes()), Some(record));
    }

    #[test]
    fn equal_ranks_go_together() {
        assert_eq!(lines(&[record(), record(), record()]), [""; 0]);
    }

    #[test]
    fn each_field_is_compared_and_named() {
        let changes: [(&str, fn(&mut Record) -> &mut String); FIELDS] = [
            ("version", |r| &mut r.version),
            ("arithmetic", |r| &mut r.arithmetic),
            ("vocabulary", |r| &mut r.vocab),
            ("bytes of a partial", |r| &mut r.partial),
            ("grid", |r| &mut r.grid),
            ("recipe", |r| &mut r.recipe),
            ("data", |r| &mut r.data),
            ("first weights", |r| &mut r.weights),
            ("start", |r| &mut r.start),
        ];
        for (name, field) in changes {
            let mut other = record();
            let was = field(&mut other).clone();
            "another".clone_into(field(&mut other));
            let expected = format!("rank 2: {name} another, on rank 0 {was}");
            assert_eq!(lines(&[record(), record(), other]), [expected]);
        }
    }

    #[test]
    fn trouble_is_told_and_hides_nothing_else() {
        let troubled = Record { trouble: "pairs.jsonl: no such file".into(), ..Record::default() };
        let found = lines(&[record(), troubled.clone()]);
        assert_eq!(found, ["rank 1: pairs.jsonl: no such file"]);
        assert_eq!(lines(&[troubled, record()]), ["rank 0: pairs.jsonl: no such file"]);
    }

    #[test]
    fn what_is_no_record_is_named() {
        let mut bytes = [record().to_bytes(), record().to_bytes()].concat();
        bytes[LEN + 15] = b'2';
        let Err(Error::Refused(lines)) = compare(&bytes) else { panic!("it must be refused") };
        assert_eq!(lines, ["rank 1: it speaks another protocol"]);
    }

    #[test]
    fn texts_are_cut_to_their_room() {
        let long = "x".repeat(LEN);
        let record = Record { version: long.clone(), trouble: long, ..record() };
        let found = Record::from_bytes(&record.to_bytes()).expect("it is a record");
        assert_eq!((found.version.len(), found.trouble.len()), (FIELD, NOTE));
        assert_eq!(found.arithmetic, record.arithmetic);
    }
}
