//! Every level and arithmetic that this machine has, so that no test picks one.

use dpo_kernel::{Arithmetic, Dispatch, Level};

/// Runs a body on every available combination, slowest level first.
pub fn for_each_dispatch(mut body: impl FnMut(Dispatch)) {
    Dispatch::available().for_each(&mut body);
}

/// Calls `compute` on every available combination and fails unless combinations of the same
/// arithmetic give equal results. Returns the last result, the fastest level's.
#[track_caller]
pub fn same_on_all_levels<T: PartialEq + std::fmt::Debug>(
    what: &str,
    mut compute: impl FnMut(Dispatch) -> T,
) -> T {
    let mut first: Vec<(Dispatch, T)> = Vec::new();
    let mut last = None;
    for_each_dispatch(|dispatch| {
        let found = compute(dispatch);
        match first.iter().find(|(seen, _)| seen.arithmetic() == dispatch.arithmetic()) {
            None => first.push((dispatch, found)),
            Some((seen, expected)) => {
                assert!(found == *expected, "{what}: {dispatch:?} differs from {seen:?}");
                last = Some(found);
            }
        }
    });
    last.or_else(|| first.pop().map(|(_, found)| found)).unwrap()
}

/// The combinations that this machine must offer, found without the crate's own detection.
pub fn expected() -> Vec<(Level, Arithmetic)> {
    use Arithmetic::{Fused, Portable};
    let mut expected = vec![(Level::Baseline, Portable)];
    if cfg!(all(target_arch = "aarch64", target_feature = "neon")) || cfg!(target_feature = "fma") {
        expected.push((Level::Baseline, Fused));
    }
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    {
        use std::arch::is_x86_feature_detected as has;
        let avx2 = has!("avx2") && has!("fma") && has!("f16c");
        if avx2 {
            expected.extend([(Level::Avx2, Portable), (Level::Avx2, Fused)]);
        }
        if avx2 && has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl") {
            expected.extend([(Level::Avx512, Portable), (Level::Avx512, Fused)]);
        }
    }
    expected
}
