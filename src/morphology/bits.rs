//! A row of pixels as bits: bit `i % 64` of word `i / 64` is column `i`. Bits past the width are 0.

/// Words that hold `width` columns.
pub fn words_for(width: usize) -> usize {
    width.div_ceil(64)
}

/// A row of columns as bits.
pub fn pack(row: &[bool]) -> Vec<u64> {
    let mut words = vec![0; words_for(row.len())];
    for (i, _) in row.iter().enumerate().filter(|(_, set)| **set) {
        words[i / 64] |= 1 << (i % 64);
    }
    words
}

/// The bits of the last word that are columns.
fn last_word_mask(width: usize) -> u64 {
    match width % 64 {
        0 => u64::MAX,
        used => (1 << used) - 1,
    }
}

/// Clears what lies past `width`.
pub fn trim(row: &mut [u64], width: usize) {
    if let Some(last) = row.last_mut() {
        *last &= last_word_mask(width);
    }
}

/// Background becomes foreground and the reverse.
pub fn complement(row: &mut [u64], width: usize) {
    for word in row.iter_mut() {
        *word = !*word;
    }
    trim(row, width);
}

/// `into |= from`.
pub fn or(into: &mut [u64], from: &[u64]) {
    for (a, b) in into.iter_mut().zip(from) {
        *a |= b;
    }
}

/// `into &= with`.
pub fn and(into: &mut [u64], with: &[u64]) {
    for (a, b) in into.iter_mut().zip(with) {
        *a &= b;
    }
}

/// `into |= from` moved by `columns` to the right (to higher columns); may set bits past the width.
pub fn or_moved_right(into: &mut [u64], from: &[u64], columns: usize) {
    let (words, bits) = (columns / 64, columns % 64);
    if words >= from.len() {
        return;
    }
    for i in words..into.len() {
        let mut moved = from[i - words] << bits;
        if bits > 0 && i > words {
            moved |= from[i - words - 1] >> (64 - bits);
        }
        into[i] |= moved;
    }
}

/// `into |= from` moved by `columns` to the left (to lower columns).
pub fn or_moved_left(into: &mut [u64], from: &[u64], columns: usize) {
    let (words, bits) = (columns / 64, columns % 64);
    let len = from.len();
    for i in 0..len.saturating_sub(words) {
        let mut moved = from[i + words] >> bits;
        if bits > 0 && i + words + 1 < len {
            moved |= from[i + words + 1] << (64 - bits);
        }
        into[i] |= moved;
    }
}

/// Calls `run(start, end)` for every maximal run of set columns, half-open, left to right.
pub fn for_each_run(row: &[u64], width: usize, mut run: impl FnMut(usize, usize)) {
    let mut start = None;
    let mut carry = 0;
    for (i, &word) in row.iter().enumerate() {
        // A bit of `turns` is a column that differs from the one at its left.
        let mut turns = word ^ (word << 1 | carry);
        carry = word >> 63;
        while turns != 0 {
            let column = i * 64 + turns.trailing_zeros() as usize;
            turns &= turns - 1;
            start = match start {
                None => Some(column),
                Some(start) => {
                    run(start, column);
                    None
                }
            };
        }
    }
    if let Some(start) = start {
        run(start, width);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn unpack(words: &[u64], width: usize) -> Vec<bool> {
        (0..width).map(|i| words[i / 64] >> (i % 64) & 1 == 1).collect()
    }

    proptest! {
        #[test]
        fn runs_cover_exactly_the_set_columns(row in prop::collection::vec(any::<bool>(), 1..300)) {
            let mut again = vec![false; row.len()];
            let mut last_end = None;
            for_each_run(&pack(&row), row.len(), |start, end| {
                assert!(start < end && last_end.is_none_or(|last| last < start));
                last_end = Some(end);
                again[start..end].fill(true);
            });
            prop_assert_eq!(again, row);
        }

        #[test]
        fn moving_bits_is_moving_columns(
            row in prop::collection::vec(any::<bool>(), 1..300),
            by in 0_usize..200,
        ) {
            let (from, width) = (pack(&row), row.len());
            let (mut right, mut left) = (vec![0; from.len()], vec![0; from.len()]);
            or_moved_right(&mut right, &from, by);
            trim(&mut right, width);
            or_moved_left(&mut left, &from, by);
            let expect_right: Vec<_> = (0..width).map(|i| i >= by && row[i - by]).collect();
            let expect_left: Vec<_> = (0..width).map(|i| i + by < width && row[i + by]).collect();
            prop_assert_eq!(unpack(&right, width), expect_right);
            prop_assert_eq!(unpack(&left, width), expect_left);
        }
    }
}
