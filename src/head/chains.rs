//! Rows that go through the head together, in whole chains of tokens.

use super::grads::all_rows;
use super::outer::TOKENS;
use super::row::HeadRow;
use crate::Error;
use crate::error::Buffer;
use crate::layout::Layout;

/// Room for all scored rows, or for a whole chain of them.
pub(super) fn check_chains(room: usize, layout: &Layout<'_>) -> Result<(), Error> {
    let scored = layout.scored_rows_within(all_rows(layout)).count();
    let expected = scored.clamp(1, TOKENS);
    if room < expected {
        return Err(Error::Length { buffer: Buffer::HeadRows, expected, found: room });
    }
    Ok(())
}

/// All of the room, or whole chains of it.
pub(super) fn whole_chains(room: &mut [HeadRow]) -> &mut [HeadRow] {
    let found = room.len();
    let whole = if found < TOKENS { found } else { found - found % TOKENS };
    room.get_mut(..whole).unwrap_or_default()
}

/// The next rows, as many as there is room for.
pub(super) fn next<'a>(
    room: &'a mut [HeadRow],
    rows: &mut impl Iterator<Item = HeadRow>,
) -> Option<&'a mut [HeadRow]> {
    let mut count = 0;
    for (to, row) in room.iter_mut().zip(rows) {
        *to = row;
        count += 1;
    }
    room.get_mut(..count).filter(|rows| !rows.is_empty())
}
