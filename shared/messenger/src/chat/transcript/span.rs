//! Spans and instants, as a transcript writes them.

use std::time::Duration;

use crate::clock::Timestamp;

const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

/// Reads a span such as `90s`, `10m`, `1h30m`, `25h` or `7d`: units once each, the largest first.
pub(super) fn read_span(text: &str) -> Option<Duration> {
    let (mut rest, mut seconds, mut units) = (text, 0_u64, UNITS.iter());
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..end].parse().ok()?;
        let unit = rest[end..].chars().next()?;
        let (_, length) = units.find(|(name, _)| *name == unit)?;
        seconds = seconds.checked_add(number.checked_mul(*length)?)?;
        rest = &rest[end + 1..];
    }
    (!text.is_empty()).then(|| Duration::from_secs(seconds))
}

/// Writes a span, to the nearest second; whole days from two on as days.
pub(super) fn write_span(span: Duration) -> String {
    let seconds = whole_seconds(span);
    let day = UNITS[0].1;
    if seconds >= 2 * day && seconds.is_multiple_of(day) {
        return format!("{}d", seconds / day);
    }
    let mut left = seconds;
    let mut text = Vec::new();
    for (unit, length) in &UNITS[1..] {
        if left >= *length {
            text.push(format!("{}{unit}", left / length));
            left %= length;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text.concat() }
}

/// A span to the nearest second: what happens one after the other is milliseconds apart.
pub(super) fn whole_seconds(span: Duration) -> u64 {
    (span + Duration::from_millis(500)).as_secs()
}

/// Reads an instant such as `2026-11-22 09:00` or `2026-11-22 09:00:30`, in UTC.
pub(super) fn read_instant(text: &str) -> Option<Timestamp> {
    let (date, time) = text.split_once(' ')?;
    let seconds = if time.len() == "09:00".len() { ":00" } else { "" };
    Timestamp::from_rfc3339(&format!("{date}T{time}{seconds}Z"))
}

/// Writes an instant in UTC; the seconds only if there are any.
pub(super) fn write_instant(at: Timestamp) -> String {
    let text = at.to_string().replace('T', " ");
    let text = text.trim_end_matches('Z');
    text.strip_suffix(":00").unwrap_or(text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_read_as_it_is_written() {
        for (text, seconds) in [
            ("0s", 0),
            ("90m", 5_400),
            ("1h30m", 5_400),
            ("24h", 86_400),
            ("25h", 90_000),
            ("7d", 604_800),
            ("1d2h3m4s", 93_784),
        ] {
            assert_eq!(read_span(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "1", "h", "1x", "1m1h", "1h1h", "-1h", "1.5h", "99999999999999999999d"] {
            assert_eq!(read_span(text), None, "{text}");
        }
        for text in ["0s", "45s", "1m", "1h30m", "24h", "25h", "36h", "2d", "7d", "1h0s"] {
            let written = write_span(read_span(text).unwrap());
            assert_eq!(read_span(&written), read_span(text), "{text}");
        }
        assert_eq!(write_span(Duration::from_millis(3_599_999)), "1h");
    }

    #[test]
    fn an_instant_is_read_as_it_is_written() {
        for text in ["2026-11-22 09:00", "2026-11-22 09:00:30"] {
            assert_eq!(write_instant(read_instant(text).unwrap()), text);
        }
        for text in ["2026-11-22", "09:00", "2026-13-22 09:00", "2026-11-22 9:00", ""] {
            assert_eq!(read_instant(text), None, "{text}");
        }
    }
}
