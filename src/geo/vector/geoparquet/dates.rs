//! Dates and times as GDAL writes them.

use chrono::{DateTime, NaiveTime, TimeDelta};

/// A day by its number from 1 January 1970 on: `2026/03/31`.
pub(super) fn date(day: i64) -> Option<String> {
    let midnight = DateTime::from_timestamp(day.checked_mul(86_400)?, 0)?;
    Some(midnight.format("%Y/%m/%d").to_string())
}

/// Milliseconds since midnight: `13:05:00`, or `13:05:00.250`.
pub(super) fn time(ms: i64) -> Option<String> {
    let (time, _) = NaiveTime::MIN.overflowing_add_signed(TimeDelta::try_milliseconds(ms)?);
    Some(time.format(if ms % 1000 == 0 { "%H:%M:%S" } else { "%H:%M:%S%.3f" }).to_string())
}

/// Milliseconds since the beginning of 1970: `2026/03/31 13:05:00+00`, without the offset where it is unknown.
pub(super) fn timestamp(ms: i64, utc: bool) -> Option<String> {
    let when = DateTime::from_timestamp_millis(ms)?;
    let format = if ms % 1000 == 0 { "%Y/%m/%d %H:%M:%S" } else { "%Y/%m/%d %H:%M:%S%.3f" };
    Some(format!("{}{}", when.format(format), if utc { "+00" } else { "" }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_worded_as_gdal_words_them() {
        assert_eq!(date(20_000).unwrap(), "2024/10/04");
        assert_eq!(timestamp(1_728_046_800_250, true).unwrap(), "2024/10/04 13:00:00.250+00");
        assert_eq!(timestamp(-1, false).unwrap(), "1969/12/31 23:59:59.999");
        assert_eq!(time(3_661_000).unwrap(), "01:01:01");
        assert_eq!((date(i64::MAX), timestamp(i64::MIN, true)), (None, None));
    }
}
