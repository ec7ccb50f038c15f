//! Makes `header.h` in the target folder, where maturin looks for what cffi shall declare.
//!
//! cffi reads declarations and `#define NAME number`, and nothing else of the preprocessor. So the headers of the
//! library become one file, in the order in which they include each other; guards, C++ and other macros are left out.

use std::error::Error;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    let include = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../../include");
    println!("cargo::rerun-if-changed={}", include.display());
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let target = target_folder(&out, &env::var("TARGET")?)?;
    let mut header = Header::default();
    header.declare(&include, "dpo_kernel.h")?;
    fs::write(target.join("header.h"), header.text)?;
    Ok(())
}

/// `OUT_DIR` is `TARGET_FOLDER/PROFILE/build/PACKAGE/out`, or `TARGET_FOLDER/TRIPLE/PROFILE/…` where cargo was given one.
fn target_folder<'a>(out: &'a Path, triple: &str) -> Result<&'a Path, Box<dyn Error>> {
    let above = |folder: &'a Path| folder.parent().ok_or("OUT_DIR is not where cargo puts it");
    let folder = out.ancestors().nth(4).ok_or("OUT_DIR is not where cargo puts it")?;
    Ok(if folder.ends_with(triple) { above(folder)? } else { folder })
}

#[derive(Default)]
struct Header {
    text: String,
    /// The files that are in it.
    files: Vec<String>,
}

impl Header {
    /// Adds what a file declares, and before it what the files that it includes do; each file once.
    fn declare(&mut self, include: &Path, name: &str) -> Result<(), Box<dyn Error>> {
        if self.files.iter().any(|file| file == name) {
            return Ok(());
        }
        self.files.push(name.to_owned());
        let path = include.join(name);
        println!("cargo::rerun-if-changed={}", path.display());
        let text =
            fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut of_cplusplus = false;
        // A line that ends in a backslash goes on.
        for line in text.replace("\\\n", " ").lines() {
            let Some(directive) = line.trim_start().strip_prefix('#') else {
                if !of_cplusplus {
                    self.text.extend([line, "\n"]);
                }
                continue;
            };
            let directive = directive.trim();
            if let Some(other) = directive.strip_prefix("include \"") {
                self.declare(include, other.trim_end_matches('"'))?;
            } else if directive == "ifdef __cplusplus" {
                of_cplusplus = true;
            } else if directive == "endif" {
                of_cplusplus = false;
            } else if let Some((name, number)) = number(directive) {
                writeln!(self.text, "#define {name} {number}")?;
            }
        }
        Ok(())
    }
}

/// `define NAME 8` or `define NAME UINT32_C(8)`.
fn number(directive: &str) -> Option<(&str, u64)> {
    let (name, value) = directive.strip_prefix("define ")?.split_once(' ')?;
    let value = value.trim();
    let value =
        value.strip_prefix("UINT32_C(").and_then(|rest| rest.strip_suffix(')')).unwrap_or(value);
    Some((name, value.parse().ok()?))
}
