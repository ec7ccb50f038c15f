//! The state of a run in one file, which does not know the grid.
//!
//! Rank 0 writes whole matrices, gathered from the shards, to a file beside the target, flushes it
//! to the disk and renames it: the file is complete or not there. The format is safetensors; what a
//! result depends on stands in its metadata, with a digest of the numbers.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};

use crate::digest::Digest;
use crate::error::Error;

/// Whole vectors, in the order in which one process has them.
pub const VECTORS: [&str; 4] = ["base", "adapter", "mean", "square"];

/// The state between two steps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// What the run was told, by name: a run goes on with the same alone.
    pub settings: Vec<(String, String)>,
    /// 0 and 1 train the base weights, 2 the adapter.
    pub phase: usize,
    /// Steps of the phase that are done.
    pub step: usize,
    /// [`VECTORS`]: weights, and the moments of what the phase trains.
    pub vectors: [Vec<f32>; 4],
}

impl State {
    fn digest(&self) -> u64 {
        let mut digest = Digest::default();
        for (which, values) in (0_u64..).zip(&self.vectors) {
            digest.add_all(which << 40, values);
            digest.add(which << 40 | 1 << 39, values.len() as u64);
        }
        digest.add(u64::MAX, (self.phase as u64) << 32 | self.step as u64);
        digest.0
    }

    /// Writes it: after an error the file is what it was before.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let fail = |why: String| Error::File { path: path.to_owned(), why };
        let bytes = self.vectors.each_ref().map(|values| -> Vec<u8> {
            values.iter().flat_map(|value| value.to_le_bytes()).collect()
        });
        let mut views = Vec::new();
        for ((name, bytes), values) in VECTORS.iter().zip(&bytes).zip(&self.vectors) {
            let view = TensorView::new(Dtype::F32, vec![values.len()], bytes);
            views.push((*name, view.map_err(|error| fail(error.to_string()))?));
        }
        let mut metadata: HashMap<String, String> = self.settings.iter().cloned().collect();
        metadata.insert("phase".into(), self.phase.to_string());
        metadata.insert("step".into(), self.step.to_string());
        metadata.insert("digest".into(), format!("{:016x}", self.digest()));
        let all = serialize(views, Some(metadata)).map_err(|error| fail(error.to_string()))?;
        replace(path, &all).map_err(|error| fail(error.to_string()))
    }

    /// Reads one, and compares its settings with those of this run.
    ///
    /// # Errors
    /// [`Error::File`]: it cannot be read, it is no state, or it is one of another run; it names the
    /// setting.
    pub fn read(path: &Path, settings: &[(String, String)]) -> Result<Self, Error> {
        let fail = |why: String| Error::File { path: path.to_owned(), why };
        let bytes = fs::read(path).map_err(|error| fail(error.to_string()))?;
        let no_state = |error| fail(format!("it is no state of a run: {error}"));
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(no_state)?;
        let tensors = SafeTensors::deserialize(&bytes).map_err(no_state)?;
        let metadata = header.metadata().clone().unwrap_or_default();
        let find = |name: &str| {
            metadata
                .get(name)
                .ok_or_else(|| fail(format!("it has no `{name}`: it is no state of a run")))
        };
        for (name, expected) in settings {
            let found = find(name)?;
            if found != expected {
                return Err(fail(format!("its {name} is {found}, this run's {expected}")));
            }
        }
        let number = |name: &str| -> Result<usize, Error> {
            let text = find(name)?;
            text.parse().map_err(|_| fail(format!("its `{name}` is `{text}`, no number")))
        };
        let mut state = Self {
            settings: settings.to_vec(),
            phase: number("phase")?,
            step: number("step")?,
            vectors: Default::default(),
        };
        for (name, values) in VECTORS.iter().zip(&mut state.vectors) {
            let tensor = tensors.tensor(name).map_err(no_state)?;
            if tensor.dtype() != Dtype::F32 {
                return Err(fail(format!("`{name}` is of type {:?}, not F32", tensor.dtype())));
            }
            let words = tensor.data().as_chunks().0.iter();
            *values = words.map(|bytes| f32::from_le_bytes(*bytes)).collect();
        }
        let (found, expected) = (format!("{:016x}", state.digest()), find("digest")?);
        if found != *expected {
            return Err(fail(format!(
                "its digest is {expected}, its numbers have {found}: it is damaged"
            )));
        }
        Ok(state)
    }
}

/// Puts bytes in the place of a file, or leaves it as it was.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let beside = beside(path);
    let write = || {
        let mut file = File::create(&beside)?;
        file.write_all(bytes)?;
        // Before the rename: a crash must not leave a name without its bytes.
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    write().inspect_err(|_| {
        // What was begun is of no use to anyone; whether it can be removed changes nothing.
        let _ = fs::remove_file(&beside);
    })?;
    // The new name itself.
    File::open(folder)?.sync_all()
}

/// Where a state is written first. By this process alone: ranks whose launcher was killed may go on
/// for a while beside those of the next run.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.partial", std::process::id()));
    path.with_file_name(name)
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

    fn state() -> State {
        State {
            settings: vec![("seed".into(), "1".into()), ("version".into(), "0.1.0".into())],
            phase: 2,
            step: 17,
            vectors: [vec![1.0, -0.0, f32::MIN_POSITIVE], vec![2.5], vec![0.1; 5], vec![]],
        }
    }

    fn place(name: &str) -> PathBuf {
        let folder =
            std::env::temp_dir().join(format!("dpo-kernel-mpi-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        folder.join("state")
    }

    #[test]
    fn what_was_written_is_read_to_the_bit() {
        let (path, state) = (place("round"), state());
        state.write(&path).expect("it is written");
        let found = State::read(&path, &state.settings).expect("it is read");
        let bits = |state: &State| {
            state.vectors.each_ref().map(|v| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>())
        };
        assert_eq!((bits(&found), found.phase, found.step), (bits(&state), 2, 17));
        assert!(!beside(&path).exists(), "nothing is left beside it");
    }

    #[test]
    fn another_run_is_refused_by_name() {
        let (path, state) = (place("other"), state());
        state.write(&path).expect("it is written");
        let mut settings = state.settings.clone();
        settings[0].1 = "2".into();
        let error = State::read(&path, &settings).expect_err("another seed").to_string();
        assert!(error.ends_with("its seed is 1, this run's 2"), "{error}");
    }

    #[test]
    fn a_changed_number_or_step_is_damage() {
        let (path, state) = (place("damage"), state());
        state.write(&path).expect("it is written");
        let whole = fs::read(&path).expect("it is there");
        let mut changed = whole.clone();
        *changed.last_mut().expect("bytes") ^= 1;
        fs::write(&path, &changed).expect("it is written");
        let error = State::read(&path, &state.settings).expect_err("damage").to_string();
        assert!(error.contains("it is damaged"), "{error}");
        let text = String::from_utf8_lossy(&whole).into_owned();
        let at = text.find("\"step\":\"17\"").expect("the step") + 8;
        let mut changed = whole.clone();
        changed[at] = b'2';
        fs::write(&path, &changed).expect("it is written");
        let error = State::read(&path, &state.settings).expect_err("another step").to_string();
        assert!(error.contains("it is damaged"), "{error}");
    }

    #[test]
    fn every_cut_file_is_refused() {
        let (path, state) = (place("cut"), state());
        state.write(&path).expect("it is written");
        let whole = fs::read(&path).expect("it is there");
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).expect("it is written");
            assert!(
                State::read(&path, &state.settings).is_err(),
                "{length} of {} bytes",
                whole.len()
            );
        }
    }

    #[test]
    fn a_failed_write_leaves_the_old_file() {
        let (path, old) = (place("old"), state());
        old.write(&path).expect("it is written");
        // A folder stands where the new file is to be made.
        fs::create_dir_all(beside(&path)).expect("a folder");
        let new = State { step: 18, ..old.clone() };
        assert!(new.write(&path).is_err(), "it cannot be written");
        assert_eq!(State::read(&path, &old.settings).expect("the old one").step, 17);
    }
}
