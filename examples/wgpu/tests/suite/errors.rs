//! What is refused, with its numbers, before anything is computed.

use crate::common::{Random, cases::random, device, open};
use dpo_kernel_wgpu::{
    DeviceOptions, Error, Gpu, HeadOperands, Kernels, Matrix, Targets, Transform,
};

#[test]
fn an_adapter_that_is_not_there_is_named() {
    let adapter = Some("no such adapter".to_owned());
    let error = Gpu::new(&DeviceOptions { adapter: adapter.clone(), ..DeviceOptions::default() })
        .expect_err("an adapter of that name");
    let Error::NoAdapter { wanted, .. } = &error else { panic!("{error:?}") };
    assert_eq!(wanted, &adapter, "the name");
    assert!(error.to_string().contains("no such adapter"), "{error}");
    let none = Error::NoAdapter { wanted: None, found: Vec::new() };
    assert!(none.to_string().contains("mesa-vulkan-drivers"), "{none}");
}

#[test]
fn shapes_and_targets_are_checked() {
    let Some(gpu) = device() else { return };
    let kernels = Kernels::<f32>::new(&gpu).expect("shaders");
    let data = vec![0.0_f32; 12];
    for (rows, columns, stride) in [(0, 3, 3), (3, 0, 3), (3, 4, 3)] {
        let error = Matrix::new(&gpu, &data, rows, columns, stride).expect_err("a shape");
        assert_eq!(error, Error::Shape { rows, columns, stride });
    }
    let error = Matrix::new(&gpu, &data, 4, 4, 4).expect_err("a length");
    assert_eq!(error, Error::Length { what: "matrix", expected: 16, found: 12 });
    // The last row needs no padding.
    Matrix::new(&gpu, &data, 3, 2, 5).expect("a matrix");

    let logits = Matrix::new(&gpu, &data, 3, 4, 4).expect("logits");
    let score = |ids: &[u32]| {
        kernels.token_log_probs(&logits, &Targets::new(ids), Transform::NONE).map(|_| ())
    };
    assert_eq!(score(&[0, 1]), Err(Error::Length { what: "targets", expected: 3, found: 2 }));
    assert_eq!(score(&[0, 4, 1]), Err(Error::Target { row: 1, target: 4, vocab: 4 }));

    let ids = [0, 1, dpo_kernel::IGNORE_INDEX];
    let scored =
        kernels.token_log_probs(&logits, &Targets::new(&ids), Transform::NONE).expect("a forward");
    let mut grads = Matrix::new(&gpu, &data, 3, 4, 4).expect("gradients");
    for (coefficients, row) in [([f64::NAN, 1.0, 1.0], 0), ([1.0, 3e38, 1.0], 1)] {
        let error = kernels.logit_grads(&logits, &scored, &coefficients, &mut grads);
        let Err(Error::Coefficient { row: found, .. }) = error else { panic!("{error:?}") };
        assert_eq!(found, row, "the row");
    }
    // That of a row that is not scored is not looked at.
    kernels.logit_grads(&logits, &scored, &[1.0, 1.0, f64::NAN], &mut grads).expect("gradients");
    let mut narrow = Matrix::new(&gpu, &data, 3, 3, 4).expect("gradients");
    let error = kernels.logit_grads(&logits, &scored, &[1.0; 3], &mut narrow).expect_err("a shape");
    assert_eq!(error, Error::Size { what: "gradients", expected: (3, 4), found: (3, 3) });
    let error = kernels.logit_grads_in_place(&mut narrow, &scored, &[1.0; 3]).expect_err("others");
    assert_eq!(error, Error::Size { what: "scored", expected: (3, 3), found: (3, 4) });
    let mut short = [0.0; 2];
    let error = scored.log_probs(&gpu, &mut short).expect_err("a length");
    assert_eq!(error, Error::Length { what: "log-probs", expected: 3, found: 2 });
    assert!(matches!(Transform::new(0.0, None, 1.0), Err(Error::Library(_))), "a scale of 0");

    let hidden = Matrix::new(&gpu, &data, 3, 4, 4).expect("states");
    let weight = Matrix::new(&gpu, &data, 4, 3, 3).expect("weights");
    let head = HeadOperands { hidden: &hidden, weight: &weight, bias: None };
    let error = kernels.head_log_probs(&head, &Targets::new(&ids), Transform::NONE).expect_err("H");
    assert_eq!(error, Error::Length { what: "a row of the head", expected: 4, found: 3 });
    // Between rows of the right length there is padding.
    let weight = Matrix::new(&gpu, &data, 2, 4, 5).expect("weights");
    let head = HeadOperands { hidden: &hidden, weight: &weight, bias: None };
    let error = kernels.head_log_probs(&head, &Targets::new(&ids), Transform::NONE).expect_err("H");
    assert_eq!(error, Error::Length { what: "the head's stride", expected: 4, found: 5 });
}

/// Matrices with as many elements as they should have, of other rows and columns.
#[test]
fn rows_and_columns_are_named() {
    let Some(gpu) = device() else { return };
    let kernels = Kernels::<f32>::new(&gpu).expect("shaders");
    let data = vec![0.0_f32; 12];
    let matrix = |rows, columns| Matrix::new(&gpu, &data, rows, columns, columns).expect("matrix");
    let score = |logits: &Matrix<f32>, ids: &[u32]| {
        kernels.token_log_probs(logits, &Targets::new(ids), Transform::NONE).expect("a forward")
    };
    let (mut three, mut four) = (matrix(3, 4), matrix(4, 3));
    let (of_three, of_four) = (score(&three, &[0; 3]), score(&four, &[0; 4]));
    let size = |what| Err(Error::Size { what, expected: (3, 4), found: (4, 3) });

    let found = kernels.logit_grads(&three, &of_three, &[1.0; 3], &mut four);
    assert_eq!(found, size("gradients"));
    let text = found.expect_err("a shape").to_string();
    assert_eq!(text, "gradients: 3 rows of 4 columns expected, 4 of 3 found");
    let found = kernels.logit_grads_in_place(&mut three, &of_four, &[1.0; 4]);
    assert_eq!(found, size("scored"));

    let (hidden, mut weight) = (matrix(3, 2), matrix(4, 2));
    let head = HeadOperands { hidden: &hidden, weight: &weight, bias: None };
    assert_eq!(kernels.logits(&head, &mut four), size("logits"));
    assert_eq!(kernels.hidden_grads(&head, &of_four, &[1.0; 4]).map(|_| ()), size("scored"));
    let bias = matrix(4, 1);
    let head = HeadOperands { bias: Some(&bias), ..head };
    let found = kernels.head_log_probs(&head, &Targets::new(&[0; 3]), Transform::NONE);
    let expected = Error::Size { what: "bias", expected: (1, 4), found: (4, 1) };
    assert_eq!(found.map(|_| ()), Err(expected));

    let mut step = |scored, grads| kernels.weight_step(&hidden, scored, grads, &mut weight, 1.0);
    assert_eq!(step(&of_three, &four), size("gradients"));
    assert_eq!(step(&of_four, &three), size("scored"));
}

/// The library's limit, on a coefficient by itself and times dy/dx.
#[test]
fn coefficients_fit_with_the_slope() {
    let Some(gpu) = device() else { return };
    let kernels = Kernels::<f32>::new(&gpu).expect("shaders");
    let mut logits = Matrix::new(&gpu, &[0.0_f32; 8], 2, 4, 4).expect("logits");
    for (scale, value, fits) in [
        (1.0, 2.2e38, true),
        (1.0, -2.3e38, false),
        (16.0, 1.4e37, true),
        (16.0, -1.5e37, false),
        (0.0625, 2.2e38, true),
        (0.0625, 2.3e38, false),
    ] {
        let transform = Transform::new(scale, None, 1.0).expect("a transform");
        let targets = Targets::new(&[0, 1]);
        let scored = kernels.token_log_probs(&logits, &targets, transform).expect("a forward");
        let found = kernels.logit_grads_in_place(&mut logits, &scored, &[1.0, value]);
        let expected = if fits { Ok(()) } else { Err(Error::Coefficient { row: 1, value }) };
        assert_eq!(found, expected, "{value:e} under a scale of {scale}");
    }
}

#[test]
fn what_does_not_fit_is_refused_with_its_numbers() {
    let options = DeviceOptions { max_binding: Some(4096), ..DeviceOptions::default() };
    let Some(gpu) = open(&options) else { return };
    let kernels = Kernels::<f32>::new(&gpu).expect("shaders");
    let batch = random::<f32>(&mut Random(1), 1200, 3);
    let logits = Matrix::new(&gpu, &batch.logits, 3, 1200, batch.stride).expect("logits");
    let error = kernels
        .token_log_probs(&logits, &batch.targets(), Transform::NONE)
        .expect_err("a row that does not fit");
    let Error::TooLarge { bytes, allowed, limit, .. } = error else { panic!("{error:?}") };
    assert!(bytes >= 4800 && allowed == 4096, "{bytes} of {allowed}");
    assert_eq!(limit, "max_storage_buffer_binding_size");

    let weight = Matrix::new(&gpu, &vec![0.0_f32; 64 * 64], 64, 64, 64).expect("weights");
    let hidden = Matrix::new(&gpu, &vec![0.0_f32; 64], 1, 64, 64).expect("states");
    let head = HeadOperands { hidden: &hidden, weight: &weight, bias: None };
    let error = kernels
        .head_log_probs(&head, &Targets::new(&[1]), Transform::NONE)
        .expect_err("weights that do not fit");
    let Error::TooLarge { bytes, allowed, .. } = error else { panic!("{error:?}") };
    assert_eq!((bytes, allowed), (16_384, 4096));

    // 64 bytes a row of the backward are bound whole.
    for (rows, expected) in [
        (64, Ok(())),
        (
            65,
            Err(Error::TooLarge {
                what: "numbers of the backward",
                bytes: 4160,
                limit: "max_storage_buffer_binding_size",
                allowed: 4096,
            }),
        ),
    ] {
        let logits = Matrix::new(&gpu, &vec![0.0_f32; rows], rows, 1, 1).expect("logits");
        let targets = vec![0; rows];
        let scored = kernels.token_log_probs(&logits, &Targets::new(&targets), Transform::NONE);
        assert_eq!(scored.map(|_| ()), expected, "{rows} rows");
    }

    let options = DeviceOptions { max_workgroups: Some(2), ..DeviceOptions::default() };
    let Some(gpu) = open(&options) else { return };
    let kernels = Kernels::<f32>::new(&gpu).expect("shaders");
    let wide = Matrix::new(&gpu, &vec![0.0_f32; 9000], 1, 9000, 9000).expect("logits");
    let scored =
        kernels.token_log_probs(&wide, &Targets::new(&[1]), Transform::NONE).expect("a forward");
    let mut grads = Matrix::zeros(&gpu, 1, 9000).expect("gradients");
    let error = kernels.logit_grads(&wide, &scored, &[1.0], &mut grads).expect_err("too wide");
    assert_eq!(error, Error::TooManyWorkgroups { what: "map", needed: 5, allowed: 2 });
}
