//! Dumps as files, written out byte by byte.

use std::path::Path;

use serde_json::{Value, json};

use crate::random::Case;

/// A tensor of a file.
pub(crate) struct Tensor {
    pub(crate) name: &'static str,
    pub(crate) dtype: &'static str,
    pub(crate) shape: Vec<usize>,
    pub(crate) bytes: Vec<u8>,
}

pub(crate) fn f32s(x: &[f64]) -> Vec<u8> {
    x.iter().flat_map(|&x| (x as f32).to_le_bytes()).collect()
}

pub(crate) fn bf16s(x: &[f64]) -> Vec<u8> {
    // Values that are bf16 numbers already: the upper half of their bits.
    x.iter().flat_map(|&x| (((x as f32).to_bits() >> 16) as u16).to_le_bytes()).collect()
}

pub(crate) fn i64s(x: &[i64]) -> Vec<u8> {
    x.iter().flat_map(|x| x.to_le_bytes()).collect()
}

pub(crate) fn log_probs(x: &[f64]) -> Tensor {
    Tensor { name: "log_probs", dtype: "F32", shape: vec![x.len()], bytes: f32s(x) }
}

pub(crate) fn tokens(x: &[i64]) -> Tensor {
    Tensor { name: "tokens", dtype: "I64", shape: vec![x.len()], bytes: i64s(x) }
}

pub(crate) fn logits(case: &Case, dtype: &'static str) -> Tensor {
    let flat = case.logits.concat();
    let bytes = if dtype == "BF16" { bf16s(&flat) } else { f32s(&flat) };
    Tensor { name: "logits", dtype, shape: vec![case.logits.len(), case.vocab], bytes }
}

pub(crate) fn spans(x: &[[i64; 2]]) -> Tensor {
    Tensor { name: "spans", dtype: "I64", shape: vec![x.len(), 2], bytes: i64s(&x.concat()) }
}

pub(crate) fn positions(x: &[i64]) -> Tensor {
    Tensor { name: "positions", ..tokens(x) }
}

/// Writes a safetensors file; its path.
pub(crate) fn tensors(path: &Path, all: &[Tensor]) -> String {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::<u8>::new());
    for Tensor { name, dtype, shape, bytes } in all {
        let start = data.len();
        data.extend(bytes);
        let offsets = [start, data.len()];
        header.insert(
            (*name).to_owned(),
            json!({ "dtype": dtype, "shape": shape, "data_offsets": offsets }),
        );
    }
    let header = Value::Object(header).to_string();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend(data);
    std::fs::write(path, file).unwrap();
    path.to_str().unwrap().to_owned()
}

/// The bytes of a .npy file as numpy writes them.
pub(crate) fn npy_bytes(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    while (header.len() + 11) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((header.len() as u16).to_le_bytes());
    file.extend(header.as_bytes());
    file.extend(data);
    file
}

pub(crate) fn npy(path: &Path, descr: &str, shape: &str, data: &[u8]) -> String {
    std::fs::write(path, npy_bytes(descr, shape, data)).unwrap();
    path.to_str().unwrap().to_owned()
}
