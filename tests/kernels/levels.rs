//! No level is skipped, and the table of bounds means what it says.

use dpo_kernel::{Arithmetic, Dispatch, Error, Level};

use crate::common::bounds::{BOUNDS, Bound};
use crate::common::levels::{expected, for_each_dispatch};
use crate::common::measure::Worst;

/// Detection by the standard library and by the crate agree.
#[test]
fn every_level_of_this_machine_is_run() {
    let mut ran = Vec::new();
    for_each_dispatch(|dispatch| ran.push((dispatch.level(), dispatch.arithmetic())));
    let mut expected = expected();
    ran.sort_unstable();
    expected.sort_unstable();
    assert_eq!(ran, expected, "combinations that tests run on, and those that the machine has");
    let best = expected.iter().map(|&(level, _)| level).max();
    assert_eq!(Some(Level::detect()), best, "the highest level");
    assert_eq!(Dispatch::detect().level(), Level::detect(), "detection picks the highest level");
    let fused = expected.contains(&(Level::detect(), Arithmetic::Fused));
    assert_eq!(
        Dispatch::detect().arithmetic() == Arithmetic::Fused,
        fused,
        "fused where it can be"
    );
}

/// Whatever is not available is refused, by name.
#[test]
fn levels_that_are_not_there_are_refused() {
    let expected = expected();
    for &level in Level::ALL {
        let present = expected.iter().any(|&(has, _)| has == level);
        assert_eq!(level.is_present(), present, "{level:?}");
        for arithmetic in [Arithmetic::Fused, Arithmetic::Portable] {
            let found = Dispatch::new(level, arithmetic);
            if expected.contains(&(level, arithmetic)) {
                let found = found.unwrap();
                assert_eq!((found.level(), found.arithmetic()), (level, arithmetic));
            } else if present {
                assert_eq!(found, Err(Error::FusedUnavailable { level }));
            } else {
                assert_eq!(found, Err(Error::LevelUnavailable { level }));
            }
        }
    }
}

#[test]
fn bounds_have_one_entry_each_and_are_not_loose() {
    for (i, entry) in BOUNDS.iter().enumerate() {
        let same =
            |other: &&Bound| other.name == entry.name && other.arithmetic == entry.arithmetic;
        assert_eq!(BOUNDS.iter().filter(same).count(), 1, "entry {i}, {entry:?}");
        let (worst, at) = entry.worst;
        assert!(worst <= entry.most && entry.most <= 2.0 * worst, "{entry:?}");
        assert!(!at.is_empty(), "{entry:?} has no worst input");
    }
}

/// The table's own control: it must object to what is too large, too small, NaN or unknown.
#[test]
fn planted_faults_of_the_table_are_caught() {
    let table = [Bound {
        name: "planted",
        arithmetic: Dispatch::detect().arithmetic(),
        most: 1.5,
        worst: (1.0, "here"),
    }];
    let objections = |name, error| {
        let mut worst = Worst::of(name);
        worst.see(Dispatch::detect(), error, || "there".into());
        worst.failures(&table)
    };
    assert!(objections("planted", 1.0).is_empty(), "what was measured is right");
    for (name, error) in [
        ("planted", 1.6),
        ("planted", 0.7),
        ("planted", 1.2),
        ("planted", f64::NAN),
        ("other", 1.0),
    ] {
        assert_eq!(objections(name, error).len(), 1, "{name} {error}");
    }
}
