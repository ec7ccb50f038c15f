//! Files of named matrices (safetensors), each written whole or not at all.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};

use crate::{Outcome, fault};

/// A matrix and its name.
#[derive(Clone, Debug, PartialEq)]
pub struct Named {
    /// Its name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its numbers, row after row.
    pub data: Vec<f32>,
}

impl Named {
    /// Of these.
    ///
    /// # Errors
    /// The shape is of another number of elements.
    pub fn new(name: String, shape: &[usize], data: Vec<f32>) -> Outcome<Self> {
        if shape.iter().product::<usize>() != data.len() {
            return Err(fault(format!("`{name}`: {} numbers for {shape:?}", data.len())));
        }
        Ok(Self { name, shape: shape.to_vec(), data })
    }
}

/// Writes matrices, and texts in the file's head.
///
/// # Errors
/// The file cannot be written.
pub fn write(path: &Path, all: &[Named], texts: &[(&str, &str)]) -> Outcome {
    write_with(path, all, texts, &[])
}

/// Writes long texts, too. They stand among the matrices, as bytes: readers take no head above 100 MB.
///
/// # Errors
/// The file cannot be written.
pub fn write_with(
    path: &Path,
    all: &[Named],
    texts: &[(&str, &str)],
    long: &[(&str, &str)],
) -> Outcome {
    let bytes: Vec<Vec<u8>> =
        all.iter().map(|one| one.data.iter().flat_map(|x| x.to_le_bytes()).collect()).collect();
    let views = all.iter().zip(&bytes).map(|(one, bytes)| {
        let view = TensorView::new(Dtype::F32, one.shape.clone(), bytes);
        view.map(|view| (one.name.as_str(), view))
    });
    let long = long.iter().map(|(name, text)| {
        TensorView::new(Dtype::U8, vec![text.len()], text.as_bytes()).map(|view| (*name, view))
    });
    let views = views.chain(long).collect::<Result<Vec<_>, _>>()?;
    let texts: HashMap<String, String> =
        texts.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect();
    write_whole(path, &serialize(views, Some(texts))?)
}

/// The matrices of a file, and all its texts.
///
/// # Errors
/// The file cannot be read, or holds something else.
pub fn read(path: &Path) -> Outcome<(Vec<Named>, HashMap<String, String>)> {
    let say = |what: String| fault(format!("{}: {what}", path.display()));
    let bytes = fs::read(path).map_err(|error| say(error.to_string()))?;
    let (_, head) = SafeTensors::read_metadata(&bytes).map_err(|error| say(error.to_string()))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|error| say(error.to_string()))?;
    let mut all = Vec::new();
    let mut texts = head.metadata().clone().unwrap_or_default();
    for (name, view) in file.iter() {
        if view.dtype() == Dtype::U8 {
            let text = str::from_utf8(view.data()).map_err(|error| say(error.to_string()))?;
            texts.insert(name.to_owned(), text.to_owned());
            continue;
        }
        if view.dtype() != Dtype::F32 {
            return Err(say(format!("`{name}` is {:?}, not F32", view.dtype())));
        }
        let (data, _) = view.data().as_chunks::<4>();
        let data = data.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        all.push(Named::new(name.to_owned(), view.shape(), data)?);
    }
    Ok((all, texts))
}

/// Writes a file beside its place and then moves it there: whoever reads it finds what was there
/// before, or all of this.
///
/// # Errors
/// It cannot be written.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Outcome {
    let say = |error: std::io::Error| fault(format!("{}: {error}", path.display()));
    let mut beside = path.as_os_str().to_owned();
    beside.push(".part");
    let beside = PathBuf::from(beside);
    let mut file = File::create(&beside).map_err(say)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(say)?;
    drop(file);
    fs::rename(&beside, path).map_err(say)?;
    sync_folder(path.parent()).map_err(say)
}

/// Makes a folder, and those that it lies in, so that they last as the files in them do.
///
/// # Errors
/// It cannot be made.
pub fn make_folder(path: &Path) -> Outcome {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    path.parent().map_or(Ok(()), make_folder)?;
    let made =
        fs::create_dir(path).or_else(|error| if path.is_dir() { Ok(()) } else { Err(error) });
    let made = made.and_then(|()| sync_folder(path.parent()));
    made.map_err(|error| fault(format!("{}: {error}", path.display())))
}

/// Names stand in a folder, and are on the disk only once the folder is.
fn sync_folder(folder: Option<&Path>) -> std::io::Result<()> {
    let folder = folder.filter(|folder| !folder.as_os_str().is_empty());
    // Elsewhere a folder cannot be opened as a file.
    if cfg!(unix) { File::open(folder.unwrap_or(Path::new(".")))?.sync_all() } else { Ok(()) }
}
