//! The tensors of a `.safetensors` file: the header by the crate of that name, the elements where
//! they are wanted.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::Metadata;

use super::array::{Array, Kind, complaint};

/// Bytes of a header that are read at most, as in the crate.
const MOST: u64 = 100_000_000;

/// The tensors that a dump may have, all of them known by name; complaints name the file.
pub(crate) fn open(path: &Path, known: &[&str]) -> Result<Vec<Array>, String> {
    let complain = |what: &dyn std::fmt::Display| complaint(path, None, what);
    let mut file = File::open(path).map_err(|error| complain(&error))?;
    let length = file.metadata().map_err(|error| complain(&error))?.len();
    let mut size = [0; 8];
    file.read_exact(&mut size)
        .map_err(|_| complain(&format!("{length} bytes, too few for a safetensors file")))?;
    let size = u64::from_le_bytes(size);
    if size > length.saturating_sub(8).min(MOST) {
        return Err(complain(&format!("a header of {size} bytes in a file of {length}")));
    }
    let mut header = Vec::new();
    file.take(size).read_to_end(&mut header).map_err(|error| complain(&error))?;
    let metadata: Metadata = serde_json::from_slice(&header)
        .map_err(|error| complain(&format!("no safetensors header: {error}")))?;
    let start = 8 + size;
    let (needed, found) = (metadata.data_len(), length - start);
    if u64::try_from(needed).ok() != Some(found) {
        return Err(complain(&format!(
            "{found} bytes of elements where the header needs {needed}"
        )));
    }
    let mut names = metadata.offset_keys();
    names.sort_unstable();
    names.into_iter().map(|name| tensor(path, &metadata, name, known, start)).collect()
}

fn tensor(
    path: &Path,
    metadata: &Metadata,
    name: String,
    known: &[&str],
    start: u64,
) -> Result<Array, String> {
    let complain = |what: &dyn std::fmt::Display| Err(complaint(path, Some(&name), what));
    if !known.contains(&name.as_str()) {
        return complain(&format!("unknown tensor; known are {}", known.join(", ")));
    }
    let Some(info) = metadata.info(&name) else { return complain(&"a tensor without a place") };
    let kind = match info.dtype {
        Dtype::F16 => Kind::F16,
        Dtype::BF16 => Kind::Bf16,
        Dtype::F32 => Kind::F32,
        Dtype::F64 => Kind::F64,
        Dtype::I8 => Kind::I8,
        Dtype::I16 => Kind::I16,
        Dtype::I32 => Kind::I32,
        Dtype::I64 => Kind::I64,
        Dtype::U8 => Kind::U8,
        Dtype::U16 => Kind::U16,
        Dtype::U32 => Kind::U32,
        Dtype::U64 => Kind::U64,
        other => return complain(&format!("{other:?} is no type of floats or whole numbers")),
    };
    let offset = start + info.data_offsets.0 as u64;
    let shape = info.shape.clone();
    Ok(Array { path: path.to_owned(), name: Some(name), kind, shape, offset })
}
