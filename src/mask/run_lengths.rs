//! Masks as run lengths: pairs of a start, counted from 1, and a length.

use std::str::FromStr;

use crate::truth::Mask;

/// The order in which pixels are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Along the rows, as in Kaggle's Carvana challenge.
    #[default]
    Row,
    /// Down the columns, as in Kaggle's TGS and Airbus challenges.
    Column,
}

impl FromStr for Order {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "row" => Ok(Self::Row),
            "column" => Ok(Self::Column),
            _ => Err(format!("expected row or column, found `{text}`")),
        }
    }
}

impl Order {
    /// Where the pixel that is counted as number `at`, from 0, lies in `[row][col]`.
    fn place(self, at: usize, width: usize, height: usize) -> usize {
        match self {
            Self::Row => at,
            Self::Column => at % height * width + at / height,
        }
    }
}

/// The runs of a mask as text, ascending, none touching the next: `20 3 29 3`. An empty mask is an empty text.
pub fn encode(mask: &Mask, order: Order) -> String {
    let area = mask.width * mask.height;
    let object = |at: usize| mask.object[order.place(at, mask.width, mask.height)];
    let mut runs = Vec::new();
    let mut at = 0;
    while at < area {
        let start = at;
        while at < area && object(at) {
            at += 1;
        }
        if at > start {
            runs.push(format!("{} {}", start + 1, at - start));
        }
        at += 1;
    }
    runs.join(" ")
}

/// The mask that a text of runs describes.
///
/// # Errors
/// In words, what the text holds instead of ascending runs inside a mask of this size.
pub fn decode(text: &str, (width, height): (usize, usize), order: Order) -> Result<Mask, String> {
    let numbers = text
        .split_whitespace()
        .map(|word| word.parse::<usize>().map_err(|_| format!("`{word}`, which is no count")))
        .collect::<Result<Vec<_>, _>>()?;
    let (pairs, odd) = numbers.as_chunks::<2>();
    if !odd.is_empty() {
        return Err(format!("{} numbers, a start without a length", numbers.len()));
    }
    let area = width * height;
    let mut object = vec![false; area];
    let mut free = 1;
    for &[start, length] in pairs {
        let end = start.checked_add(length).filter(|end| *end <= area + 1);
        let Some(end) = end.filter(|_| start >= free && length > 0) else {
            return Err(format!(
                "a run of {length} from {start} on, where {free} to {area} are free"
            ));
        };
        for at in start - 1..end - 1 {
            object[order.place(at, width, height)] = true;
        }
        free = end;
    }
    Ok(Mask { width, height, object })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_orders_count_from_one() {
        // . # .
        // # # .
        let object = [0, 1, 0, 1, 1, 0].map(|value| value == 1).to_vec();
        let mask = Mask { width: 3, height: 2, object };
        assert_eq!(encode(&mask, Order::Row), "2 1 4 2");
        assert_eq!(encode(&mask, Order::Column), "2 3");
        let empty = Mask { object: vec![false; 6], ..mask };
        assert_eq!(encode(&empty, Order::Row), "");
        assert_eq!(decode(" ", (3, 2), Order::Row).unwrap(), empty);
    }

    #[test]
    fn a_text_that_is_no_runs_is_described() {
        for (text, problem) in [
            ("1 2 3", "without a length"),
            ("1 x", "`x`"),
            ("0 1", "from 0"),
            ("3 0", "run of 0"),
            ("3 5", "run of 5"),
            ("2 3 4 1", "from 4 on, where 5 to 6"),
            ("18446744073709551615 1", "from 18446744073709551615"),
        ] {
            let message = decode(text, (3, 2), Order::Row).unwrap_err();
            assert!(message.contains(problem), "{text}: {message}");
        }
    }

    proptest! {
        #[test]
        fn runs_lead_back_to_their_mask_and_never_touch(
            width in 1usize..20, height in 1usize..20, density in 0.0..1.0f64, seed in any::<u64>(),
            by_column in any::<bool>(),
        ) {
            let bit = |i: u64| {
                let h = (seed ^ i).wrapping_mul(0x9E37_79B9_7F4A_7C15);
                ((h ^ h >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 11) as f64 / (1u64 << 53) as f64
            };
            let object = (0..(width * height) as u64).map(|i| bit(i) < density).collect();
            let mask = Mask { width, height, object };
            let order = if by_column { Order::Column } else { Order::Row };
            let text = encode(&mask, order);
            prop_assert_eq!(&decode(&text, (width, height), order).unwrap(), &mask);
            let numbers: Vec<usize> = text.split_whitespace().map(|n| n.parse().unwrap()).collect();
            let pixels: usize = numbers.chunks(2).map(|run| run[1]).sum();
            prop_assert_eq!(pixels, mask.object.iter().filter(|object| **object).count());
            for pair in numbers.chunks(2).collect::<Vec<_>>().windows(2) {
                prop_assert!(pair[0][0] + pair[0][1] < pair[1][0]);
            }
        }
    }
}
