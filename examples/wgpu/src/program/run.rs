//! The run: both trainers, step by step, and how far apart they are.

use std::error::Error;
use std::ffi::OsString;
use std::time::Duration;

use dpo_kernel::Dpo;
use dpo_kernel_wgpu::{DeviceOptions, Gpu, Kernels};

use super::args::{HELP, Options, Request, parse};
use super::{by_library, by_shaders, data};

const BETA: f64 = 0.1;
const RATE: f32 = 0.1;

pub(crate) fn start(arguments: impl Iterator<Item = OsString>) -> Result<(), Box<dyn Error>> {
    match parse(arguments)? {
        Request::Help => {
            print!("{HELP}");
            Ok(())
        }
        Request::Train(options) => train(&options),
    }
}

/// The largest difference of two slices; infinite where one is NaN.
fn furthest(a: &[f32], b: &[f32]) -> f64 {
    let difference = |(a, b): (&f32, &f32)| (f64::from(*a) - f64::from(*b)).abs();
    a.iter().zip(b).map(difference).fold(0.0, |most, x| if x <= most { most } else { x })
}

/// The largest differences so far.
#[derive(Debug, Default)]
struct Apart {
    loss: f64,
    log_prob: f64,
}

fn train(options: &Options) -> Result<(), Box<dyn Error>> {
    let adapter = options.adapter.clone();
    let gpu = Gpu::new(&DeviceOptions { adapter, ..DeviceOptions::default() })?;
    println!("adapter: {}", gpu.name());
    if gpu.is_software() {
        println!("it computes in software, on the processor that the library runs on");
    }
    let kernels = Kernels::<f32>::new(&gpu)?;
    let (batches, dpo) = (data::batches()?, Dpo::new(BETA)?);
    let weights = data::first_weights();
    let mut shaders = by_shaders::Trainer::new(&kernels, &weights)?;
    let mut library = by_library::Trainer::new(weights)?;
    let (mut on_device, mut references) = (Vec::new(), Vec::new());
    for batch in &batches {
        let resident = shaders.upload(batch)?;
        let reference = shaders.score(batch, &resident)?;
        if reference != library.score(batch)? {
            return Err("the reference log-probs differ".into());
        }
        on_device.push(resident);
        references.push(reference);
    }

    println!("step   loss by shaders   by library    difference   margin   accuracy   ms    ms");
    let (mut apart, mut times) = (Apart::default(), [Duration::ZERO; 2]);
    let (mut rows, before) = (0, gpu.traffic());
    let mut last = 0.0;
    let steps = batches.iter().zip(&mut on_device).zip(&references).enumerate();
    let trained = batches.len().saturating_sub(data::HELD_OUT);
    let mut steps: Vec<_> = steps.take(trained).collect();
    for step in 0..options.steps {
        let at = step % steps.len().max(1);
        let Some((_, ((batch, resident), reference))) = steps.get_mut(at) else { break };
        let device = shaders.step(batch, resident, reference, &dpo, RATE)?;
        let host = library.step(batch, reference, &dpo, RATE)?;
        let [loss, expected] = [&device, &host].map(|step| step.summary.mean_loss());
        apart.loss = apart.loss.max((loss - expected).abs());
        apart.log_prob = apart.log_prob.max(furthest(&device.log_probs, &host.log_probs));
        rows += batch.targets.len();
        for (total, time) in times.iter_mut().zip([device.time, host.time]) {
            // The first step compiles the shaders.
            *total += if step == 0 { Duration::ZERO } else { time };
        }
        let [ms, host_ms] = [&device, &host].map(|step| step.time.as_secs_f64() * 1e3);
        let (margin, accuracy) = (device.summary.mean_margin(), device.summary.accuracy());
        let difference = loss - expected;
        println!(
            "{:4}   {loss:.9}     {expected:.9}   {difference:+.1e}      {margin:+.4}  {accuracy:.2}   \
             {ms:7.1}  {host_ms:6.1}",
            step + 1,
        );
        last = loss;
    }
    let (up, down) = gpu.traffic();
    let (mut right, mut held_out) = (0, 0);
    for ((batch, resident), reference) in
        batches.iter().zip(&on_device).zip(&references).skip(trained)
    {
        let policy = shaders.score(batch, resident)?;
        for pair in policy.chunks(2).zip(reference.chunks(2)) {
            if let ([chosen, rejected], [before, rejected_before]) = pair {
                let margin = (chosen.sum - before.sum) - (rejected.sum - rejected_before.sum);
                (right, held_out) = (right + usize::from(margin > 0.0), held_out + 1);
            }
        }
    }
    println!("of {held_out} pairs that were held out, {right} are told apart");
    let weights = furthest(&shaders.weights()?, &library.weights);
    println!(
        "largest difference: loss {:e}, log-prob {:e}, weight after the last step {weights:e}",
        apart.loss, apart.log_prob
    );
    println!(
        "a row: {:.1} bytes up, {:.1} down; its logits are {}",
        per(up - before.0, rows),
        per(down - before.1, rows),
        4 * data::VOCAB
    );
    let steps = options.steps.saturating_sub(1).max(1);
    let [shaders, library] = times.map(|time| time.as_secs_f64() * 1e3 / per(steps as u64, 1));
    println!(
        "result: steps={} loss={last:.6} shaders_ms={shaders:.2} library_ms={library:.2}",
        options.steps
    );
    Ok(())
}

#[allow(clippy::cast_precision_loss, reason = "counts far below 2^53")]
fn per(x: u64, n: usize) -> f64 {
    x as f64 / n.max(1) as f64
}
