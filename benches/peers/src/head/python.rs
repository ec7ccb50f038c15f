//! Peers in Python processes, which take their turns on request.

use std::io::{BufRead, BufReader, Error, Result, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use dpo_kernel::{Element, Level};

use crate::work::Work;

/// What all peers of a race are started with: the interpreter, the inputs in files, instructions.
pub struct Setting {
    python: String,
    level: Level,
    folder: PathBuf,
    arguments: [String; 4],
}

impl Setting {
    pub fn new<E: Element>(python: &str, level: Level, kind: &str, work: &Work<E>) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("dpo-kernel-head-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let write = |name: &str, elements: &[E]| {
            let bytes = elements.iter().flat_map(|x| x.to_f32().to_le_bytes()).collect::<Vec<_>>();
            std::fs::write(folder.join(name), bytes)
        };
        write("states", &work.states)?;
        write("weights", &work.weights)?;
        let targets = work.targets.iter().flat_map(|id| id.to_le_bytes()).collect::<Vec<_>>();
        std::fs::write(folder.join("targets"), targets)?;
        let dtype = if kind == "f32" { "float32" } else { "bfloat16" };
        let [rows, size, vocab] = [work.rows, work.size, work.vocab].map(|n| n.to_string());
        let arguments = [rows, size, vocab, dtype.into()];
        Ok(Self { python: python.into(), level, folder, arguments })
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        // What is left in the temporary folder does no harm.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

pub struct Peer<'a> {
    pub name: String,
    key: &'static str,
    child: Child,
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
    folder: &'a Path,
}

impl<'a> Peer<'a> {
    /// Starts Python; an error says why there is no such peer here.
    pub fn new(setting: &'a Setting, key: &'static str) -> Result<Self> {
        // The same instructions as dpo-kernel has, for PyTorch's own kernels and its products.
        let (aten, mkl, onednn) = if setting.level == Level::Avx512 {
            ("avx512", "AVX512", "DEFAULT")
        } else {
            ("avx2", "AVX2", "AVX2")
        };
        let mut child = Command::new(&setting.python)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("head.py"))
            .arg(&setting.folder)
            .args(&setting.arguments)
            .arg(key)
            .env("OMP_NUM_THREADS", "1")
            .env("ATEN_CPU_CAPABILITY", aten)
            .env("MKL_ENABLE_INSTRUCTIONS", mkl)
            .env("ONEDNN_MAX_CPU_ISA", onednn)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (ask, answers) = pipes.ok_or_else(|| Error::other("the child has no pipes"))?;
        let (name, folder) = (String::new(), setting.folder.as_path());
        let mut peer = Self { name, key, child, ask, answers: BufReader::new(answers), folder };
        peer.name = peer.ask("name")?;
        Ok(peer)
    }

    fn ask(&mut self, what: &str) -> Result<String> {
        writeln!(self.ask, "{what}")?;
        self.ask.flush()?;
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            let status = self.child.wait()?;
            return Err(Error::other(format!("{}: Python stopped with {status}", self.key)));
        }
        Ok(line.trim_end().to_string())
    }

    fn number(&mut self, what: &str) -> Result<u64> {
        let answer = self.ask(what)?;
        answer.parse().map_err(|_| Error::other(format!("{}: {answer}", self.key)))
    }

    /// Does it once: results lie in files then.
    pub fn turn(&mut self, what: &str) -> Result<Duration> {
        self.number(what).map(Duration::from_nanos)
    }

    /// Bytes by which its resident size rose, in a step.
    pub fn memory(&mut self, what: &str) -> Result<f64> {
        self.number(&format!("memory {what}")).map(|bytes| bytes as f64)
    }

    /// A result of the last turn: `loss`, `hidden` or `weights`.
    pub fn found(&self, what: &str) -> Result<Vec<f32>> {
        let found = std::fs::read(self.folder.join(format!("{}-{what}", self.key)))?;
        let (values, _) = found.as_chunks::<4>();
        Ok(values.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect())
    }
}

impl Drop for Peer<'_> {
    fn drop(&mut self) {
        // The child ends with its input.
        let _ = self.ask("end");
        let _ = self.child.wait();
    }
}
