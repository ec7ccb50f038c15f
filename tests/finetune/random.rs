//! The generator against published figures, and what is made of its bits.

use crate::finetune::random::Random;

/// `SplitMix64` from 1234567: the first five of its published sequence.
#[test]
fn bits_are_those_of_splitmix64() {
    let mut random = Random(1_234_567);
    for expected in [
        6_457_827_717_110_365_317,
        3_203_168_211_198_807_973,
        9_817_491_932_198_370_423,
        4_593_380_528_125_082_431,
        16_408_922_859_458_223_821,
    ] {
        assert_eq!(random.bits(), expected);
    }
}

/// A uniform is the top 24 bits as a fraction, a normal twelve of them less six.
#[test]
fn numbers_are_made_of_bits() {
    let (mut bits, mut random) = (Random(9), Random(9));
    let mut next = || f64::from(u32::try_from(bits.bits() >> 40).expect("24 bits")) / 16_777_216.0;
    for _ in 0..50 {
        assert_eq!(f64::from(random.uniform()), next(), "uniform");
    }
    for _ in 0..50 {
        let twelve: f64 = (0..12).map(|_| next()).sum();
        let found = f64::from(random.normal());
        assert!((found - (twelve - 6.0)).abs() < 1e-5, "{found} is not {twelve} - 6");
    }
}

/// From the last item to the second, each changes places with one that is not behind it: every
/// order is as likely as any other.
#[test]
fn a_shuffle_makes_every_order_alike() {
    let (mut bits, mut random) = (Random(3), Random(3));
    for count in 0..9_u64 {
        let mut expected: Vec<u64> = (0..count).collect();
        for last in (1..count).rev() {
            let other = bits.bits() % (last + 1);
            expected
                .swap(usize::try_from(last).expect("few"), usize::try_from(other).expect("few"));
        }
        let mut items: Vec<u64> = (0..count).collect();
        random.shuffle(&mut items);
        assert_eq!(items, expected, "{count} items");
    }
    let mut seen = std::collections::HashMap::new();
    for _ in 0..6000 {
        let mut items = [0, 1, 2];
        random.shuffle(&mut items);
        *seen.entry(items).or_insert(0) += 1;
    }
    assert_eq!(seen.len(), 6, "all six orders occur");
    // 1000 each, and 29 is the deviation of such a count.
    assert!(seen.values().all(|count| (880..1120).contains(count)), "as often: {seen:?}");
}
