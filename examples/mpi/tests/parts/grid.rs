//! Columns and pairs: each has one owner, in order, whatever the grid.

use dpo_kernel::row::{BLOCK, shard_columns};
use dpo_kernel_mpi::grid::{Grid, Place, part};
use dpo_kernel_mpi::shards::{columns, units};

#[test]
fn parts_cover_everything_once_in_order() {
    for count in [0, 1, 2, 5, 7, 16, 131] {
        for parts in 1..20 {
            let mut next = 0;
            for index in 0..parts {
                let range = part(count, parts, index);
                assert_eq!(range.start, next, "{count} things, part {index} of {parts}");
                assert!(range.len() <= count.div_ceil(parts), "as even as they go");
                next = range.end;
            }
            assert_eq!(next, count, "{parts} parts of {count}");
        }
    }
}

#[test]
fn columns_begin_at_units_and_cover_the_vocabulary() {
    for (vocab, unit) in [(256, 32), (200, 32), (1003, 64), (40, 32), (1, 512), (131_072, 512)] {
        for shards in 1..12 {
            let mut next = 0;
            for shard in 0..shards {
                let own = columns(vocab, unit, shards, shard);
                assert_eq!(own.start, next, "{vocab} columns, shard {shard} of {shards}");
                let of_units: Vec<_> = units(own.clone(), unit).collect();
                assert_eq!(of_units.iter().map(ExactSizeIterator::len).sum::<usize>(), own.len());
                for of_unit in &of_units {
                    assert_eq!(of_unit.start % unit, 0, "a unit does not depend on the shard");
                    assert!(of_unit.len() == unit || of_unit.end == vocab, "whole, or the last");
                }
                // In units of the library's blocks they are the library's shards.
                if unit == BLOCK {
                    assert_eq!(own, shard_columns(vocab, shards, shard));
                }
                next = own.end;
            }
            assert_eq!(next, vocab, "{shards} shards");
        }
    }
    assert!((0..7).any(|shard| columns(40, 32, 7, shard).is_empty()), "some have none");
}

#[test]
fn a_group_takes_what_its_ranks_take() {
    for (vocab, data) in [(1, 1), (2, 2), (3, 2), (7, 1), (1, 7)] {
        let grid = Grid { vocab, data };
        for count in [0, 1, 4, 5, 16] {
            let mut next = 0;
            for group in 0..data {
                let place = Place::new(grid, group * vocab);
                assert_eq!((place.group, place.shard), (group, 0));
                assert_eq!(place.items_of_group(count).start, next, "{grid}, {count} items");
                let own: usize = (0..vocab).map(|shard| place.items_of(count, shard).len()).sum();
                assert_eq!(place.items_of_group(count).len(), own);
                next = place.items_of_group(count).end;
            }
            assert_eq!(next, count);
        }
    }
}

#[test]
fn a_grid_is_read_as_it_is_written() {
    let grid: Grid = "3x2".parse().unwrap();
    assert_eq!((grid.vocab, grid.data, grid.ranks(), grid.to_string()), (3, 2, 6, "3x2".into()));
    for text in ["", "3", "x", "0x2", "2x0", "2x-1", "2x2x2", " 2x2", "4097x1", "2X2"] {
        let error = text.parse::<Grid>().unwrap_err();
        assert!(error.contains(&format!("`{text}`")), "{error}");
    }
}
