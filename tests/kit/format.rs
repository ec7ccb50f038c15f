//! Rounding to a format, against the conversions of `half` and of the machine.

use dpo_kernel::verify::kit::{Additions, Format, Ulps};
use dpo_kernel::{bf16, f16};

fn same(a: f64, b: f64) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
}

/// Each number of 16 bits, its middle with the next, and what lies beside both in f32.
fn around(x: f32, next: f32) -> [f32; 6] {
    let middle = x + (next - x) / 2.0;
    [x, x.next_up(), x.next_down(), middle, middle.next_up(), middle.next_down()]
}

#[test]
fn rounding_to_16_bits_is_that_of_half() {
    for bits in 0..=u16::MAX {
        let (x, next) = (f16::from_bits(bits), f16::from_bits(bits.wrapping_add(1)));
        for x in around(x.to_f32(), next.to_f32()) {
            let half = f16::from_f32(x).to_f32().into();
            let ours = Format::F16.round(x.into());
            assert!(same(ours, half), "f16 of {x:e}: {ours:e}, {half:e}");
        }
        let (x, next) = (bf16::from_bits(bits), bf16::from_bits(bits.wrapping_add(1)));
        for x in around(x.to_f32(), next.to_f32()) {
            let half = bf16::from_f32(x).to_f32().into();
            let ours = Format::Bf16.round(x.into());
            assert!(same(ours, half), "bf16 of {x:e}: {ours:e}, {half:e}");
        }
    }
}

#[test]
fn rounding_to_f32_is_that_of_the_machine() {
    let mut x = 1.234_567_890_123e-46_f64;
    while x < 1e40 {
        for x in [x, -x, f64::from(x as f32), f64::from(x as f32) * (1.0 + 2.0_f64.powi(-24))] {
            let (ours, theirs) = (Format::F32.round(x), f64::from(x as f32));
            assert!(same(ours, theirs), "f32 of {x:e}: {ours:e}, {theirs:e}");
            assert!(same(Format::F64.round(x), x));
        }
        x *= 1.003_7;
    }
}

#[test]
fn a_format_knows_its_numbers() {
    for format in Format::ALL {
        let (u, ulp) = (format.unit(), format.ulp(1.0));
        assert_eq!(2.0 * u, ulp, "{format:?}");
        assert_eq!(format.round(1.0 + u), 1.0, "ties to even");
        assert_eq!(format.round(1.0 + 3.0 * u), 1.0 + 4.0 * u);
        assert_eq!(format.round(format.least_normal()), format.least_normal());
        assert_eq!(Format::from_name(format.name()), Some(format));
        assert_eq!(format.round(format.overflow()), f64::INFINITY);
    }
    assert!(Format::ALL.windows(2).all(|pair| pair[0] < pair[1]));
    assert!(Format::from_name("f8").is_none());
    assert_eq!(Format::of::<f32>(), Format::F32);
    assert_eq!(Format::of::<f16>(), Format::F16);
    assert_eq!(Format::of::<bf16>(), Format::Bf16);
}

#[test]
fn ulps_and_additions_grow() {
    let ulps = Ulps::new(3.0).and_slope(2.0);
    assert_eq!(ulps.at(0.0), 3.0);
    assert_eq!(ulps.at(-4.0), 11.0);
    assert_eq!(Ulps::new(1.0).at(f64::INFINITY), 1.0);
    assert_eq!(Additions::Any.roundings(0), 0);
    assert_eq!(Additions::Any.roundings(9), 8);
    assert_eq!(Additions::Chain(5).roundings(9), 5);
    assert_eq!(Additions::Chain(5).roundings(3), 2);
}
