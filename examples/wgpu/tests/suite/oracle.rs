//! The shaders against the plain reference in f64, and faults planted in the shaders.

use crate::common::cases::{SIZES, TRANSFORMS, VOCABULARIES, framed, random, special};
use crate::common::oracle::{CAPPED_P, CAPPED_TARGET, LOG_Z, Number, P, TARGET, Worst, judge};
use crate::common::{Batch, Random, device, first_difference};
use dpo_kernel_wgpu::{Gpu, Kernels};
use half::{bf16, f16};

/// Rows of every kind, in some order of transforms.
fn batches<E: Number>(vocabularies: &[usize]) -> Vec<Batch<E>> {
    let mut rng = Random(3);
    let mut batches: Vec<Batch<E>> = special().iter().map(framed).collect();
    for &vocab in SIZES.iter().chain(vocabularies) {
        let rows = if vocab < 2000 { 16 } else { 4 };
        batches.push(random(&mut rng, vocab, rows));
        batches.push(random(&mut rng, vocab, rows));
    }
    let capped: Vec<Batch<E>> = batches.iter().skip(1).step_by(2).cloned().collect();
    for (index, mut batch) in capped.into_iter().enumerate() {
        (batch.scale, batch.softcap, batch.temperature) = TRANSFORMS[index % TRANSFORMS.len()];
        batches.push(batch);
    }
    batches
}

fn judge_all<E: Number>(
    kernels: &Kernels<'_, E>,
    batches: &[Batch<E>],
    worst: &mut Worst,
) -> Result<(), String> {
    for batch in batches {
        let found = batch.on_device(kernels).map_err(|error| error.to_string())?;
        judge(batch, &found, worst).map_err(|mismatch| {
            let Batch { vocab, scale, softcap, temperature, .. } = batch;
            format!("{}, V = {vocab}, ({scale}, {softcap:?}, {temperature}): {mismatch}", E::NAME)
        })?;
    }
    Ok(())
}

fn all<E: Number>(gpu: &Gpu, worst: &mut Worst) {
    let kernels = Kernels::<E>::new(gpu).expect("shaders");
    judge_all(&kernels, &batches(&VOCABULARIES), worst).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn figures_are_within_their_bounds() {
    let Some(gpu) = device() else { return };
    let mut worst = Worst::default();
    all::<f32>(&gpu, &mut worst);
    all::<f16>(&gpu, &mut worst);
    all::<bf16>(&gpu, &mut worst);
    eprintln!("{worst:?}");
    for (name, bound, found) in [
        ("log Z", LOG_Z, worst.log_z.max(worst.log_prob)),
        ("p", P, worst.p),
        ("p under a softcap", CAPPED_P, worst.capped_p),
        ("target", TARGET, worst.target),
        ("target under a softcap", CAPPED_TARGET, worst.capped_target),
    ] {
        println!("{name}: {found:.3e} of {bound:e}");
        assert!(found > 0.0 && found <= bound, "{name}: {found:e} is beyond {bound:e}");
    }
}

/// (the fault, what stands there, what stands there instead)
const FAULTS: [(&str, &str, &str); 29] = [
    ("the target is in the sum, too", "column != skipped", "column != 0xffffffffu"),
    (
        "padding is read",
        "column < params.vocab && column != skipped",
        "column < params.stride && column != skipped",
    ),
    (
        "the last column is left out",
        "column < params.vocab && column != skipped",
        "column + 1u < params.vocab && column != skipped",
    ),
    (
        "the maximum starts from 0",
        "const LOWEST_KEY: i32 = -2139095041;",
        "const LOWEST_KEY: i32 = 0;",
    ),
    (
        "1 - p is a difference",
        "to_f32(div(q, add(ONE, q)))",
        "to_f32(sub(ONE, of_f32(to_f32(div(ONE, add(ONE, q))))))",
    ),
    ("exp without its last term", "0x3ab510d5u", "0u"),
    (
        "WGSL's own exp",
        "return own(mul_add(f2, own(mul_add(high, f2, low)), f));",
        "return exp(f) - 1.0;",
    ),
    (
        "WGSL's own log",
        "log_prob = to_f32(negated(ln_1p_double(q)));",
        "log_prob = bitcast<u32>(-log(1.0 + bitcast<f32>(to_f32(q))));",
    ),
    ("no slope of the softcap", "p = own(p * tanh_slope(inner_of(bits)));", ""),
    (
        "the slope from tanh",
        "return quotient(4.0 * e, own(d * d));",
        "return 1.0 - tanh_of(u) * tanh_of(u);",
    ),
    (
        "NaN by comparison",
        "return (bits & 0x7fffffffu) >= 0x7f800000u && bits != NEG_INFINITY;",
        "let x = bitcast<f32>(bits); return x != x;",
    ),
    (
        "the sign of gradients",
        "mul(mul(negated(c), params.slope_double), inverse)",
        "mul(mul(c, params.slope_double), inverse)",
    ),
    ("the target's gradient without 1 - p", "of_f32(norm.complement)", "ONE"),
    ("an ignore value of its own", "goal == params.ignore_index", "goal == 0xfffffff0u"),
    (
        "a neighbour's half is written",
        "atomicXor(&grads[word], (atomicLoad(&grads[word]) & 0xffffu) ^ grad);",
        "atomicStore(&grads[word], grad);",
    ),
    ("places stay where they are", "min(top - known.top, 3)", "0"),
    ("places move up one too few", "min(top - known.top, 3)", "min(top - known.top, 3) - 1"),
    ("a place is left out", "state.middle.x = moved.y;", ""),
    ("the highest place is left out", "up > 32u", "up > 64u"),
    (
        "the lower base is kept",
        "key_of(b.shift) > key_of(a.shift)",
        "key_of(b.shift) < key_of(a.shift)",
    ),
    (
        "bases of both signs by their words",
        "key_of(b.shift) > key_of(a.shift)",
        "b.shift > a.shift",
    ),
    ("sums of powers of two alone", "mul(sum, place.part)", "sum"),
    ("what vanishes stays", "return above;", ""),
    ("the eighths are not added up", "part < GROUPS", "part < 1u"),
    ("the block before says the base", "if any(base != ", "if false && any(base != "),
    ("a block is not summed again", "again = 1u;\n                } else", "} else"),
    (
        "the base of a value stays",
        "vec2<u32>(bitcast<u32>(bases[group].shift),",
        "vec2<u32>(base.x,",
    ),
    ("terms too large for the base", "const STEP: i32 = 96;", "const STEP: i32 = 960;"),
    ("rows without their stride", "row * params.stride", "row * params.vocab"),
];

/// Faults below the bounds, which only the bits show.
const SMALL_FAULTS: [(&str, &str, &str); 3] = [
    (
        "blocks are rounded to f32",
        "bases[group], doubles[i],",
        "bases[group], of_f32(to_f32(doubles[i])),",
    ),
    (
        "WGSL's own tanh",
        "    let a = abs(u);\n    if a <",
        "    return tanh(u);\n    let a = abs(u);\n    if a <",
    ),
    ("the quad's rounding is forgotten", "own(quad_mantissas + lost)", "quad_mantissas"),
];

#[test]
fn planted_faults_are_found() {
    let Some(gpu) = device() else { return };
    // Of 16 bits, so that rows share words; a rounding to f16 hides less than one to bf16.
    let (of_16_bits, of_32_bits) = (batches::<f16>(&[32_000]), batches::<f32>(&[32_000]));
    let mut missed = Vec::new();
    for (fault, old, new) in SMALL_FAULTS {
        let kernels = Kernels::<f32>::new(&gpu).and_then(|kernels| kernels.with_edit(old, new));
        let kernels = kernels.expect(fault);
        let is_seen = of_32_bits.iter().any(|batch| {
            let (found, expected) = (batch.on_device(&kernels).expect(fault), batch.on_cpu());
            first_difference(&found.log_z, &expected.log_z).is_some()
                || first_difference(&found.grads, &expected.grads).is_some()
        });
        if !is_seen {
            missed.push(fault);
        }
    }
    for (fault, old, new) in FAULTS {
        let halves = Kernels::<f16>::new(&gpu).and_then(|kernels| kernels.with_edit(old, new));
        let words = Kernels::<f32>::new(&gpu).and_then(|kernels| kernels.with_edit(old, new));
        let (halves, words) = (halves.expect(fault), words.expect(fault));
        let mut worst = Worst::default();
        let seen = judge_all(&words, &of_32_bits, &mut worst)
            .and_then(|()| judge_all(&halves, &of_16_bits, &mut worst));
        match seen {
            Err(mismatch) => println!("{fault}: {mismatch}"),
            Ok(()) => missed.push(fault),
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}
