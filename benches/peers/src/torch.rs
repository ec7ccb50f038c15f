//! PyTorch with TRL's `selective_log_softmax`, in a Python process that takes its turns on request.

use std::io::{BufRead, BufReader, Error, Result, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use dpo_kernel::Level;

use crate::work::{Peer, Work};

pub struct Torch {
    name: String,
    child: Child,
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
    folder: PathBuf,
}

fn bytes(values: impl Iterator<Item = [u8; 4]>) -> Vec<u8> {
    values.flatten().collect()
}

impl Torch {
    /// Starts `python`; an error says why there is no such peer here.
    pub fn new(python: &str, level: Level, work: &Work) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("dpo-kernel-peers-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let write = |name: &str, bytes: Vec<u8>| std::fs::write(folder.join(name), bytes);
        write("logits", bytes(work.logits.iter().map(|x| x.to_le_bytes())))?;
        write("targets", bytes(work.targets.iter().map(|x| x.to_le_bytes())))?;
        write("coefficients", bytes(work.coefficients.iter().map(|x| x.to_le_bytes())))?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("torch_trl.py");
        let mut child = Command::new(python)
            .arg(script)
            .arg(&folder)
            .args([work.rows.to_string(), work.vocab.to_string()])
            .arg(work.kind.name())
            .env("OMP_NUM_THREADS", "1")
            // The same instructions as dpo-kernel has.
            .env("ATEN_CPU_CAPABILITY", if level == Level::Avx512 { "avx512" } else { "avx2" })
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (ask, answers) = pipes.ok_or_else(|| Error::other("the child has no pipes"))?;
        let mut torch =
            Self { name: String::new(), child, ask, answers: BufReader::new(answers), folder };
        torch.name = torch.ask("name")?;
        Ok(torch)
    }

    fn ask(&mut self, what: &str) -> Result<String> {
        writeln!(self.ask, "{what}")?;
        self.ask.flush()?;
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            let status = self.child.wait()?;
            return Err(Error::other(format!("Python stopped with {status}")));
        }
        Ok(line.trim_end().to_string())
    }

    /// Does it once: nanoseconds come back, and results lie in a file.
    fn turn(&mut self, what: &str) -> (Duration, Vec<f32>) {
        let answer = self.ask(what).expect("an answer from Python");
        let nanoseconds = answer.parse().expect("nanoseconds from Python");
        let found = std::fs::read(self.folder.join(what)).expect("results from Python");
        let (values, _) = found.as_chunks::<4>();
        let values = values.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
        (Duration::from_nanos(nanoseconds), values)
    }
}

impl Peer for Torch {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn forward(&mut self) -> (Duration, Vec<f32>) {
        self.turn("forward")
    }

    fn step(&mut self) -> Option<(Duration, Vec<f32>)> {
        Some(self.turn("step"))
    }
}

impl Drop for Torch {
    fn drop(&mut self) {
        // The child ends with its input; what is left in the temporary folder does no harm.
        let _ = self.ask("end");
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
