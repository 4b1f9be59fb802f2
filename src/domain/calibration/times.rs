//! Time stamps and numbers of job exports, from bytes.
//!
//! A million rows hold three million time stamps, nearly all of one form, so that form is read by hand; whatever
//! else RFC 3339 and RFC 2822 allow goes through jiff.

use jiff::Timestamp;
use jiff::civil;
use jiff::tz::TimeZone;

/// An instant in milliseconds since 1970-01-01 UTC.
pub type Millis = i64;

/// The earliest instant taken for real, 2008-01-01: before it there was no GitLab, so it is a default or an overflow.
pub const EARLIEST: Millis = 1_199_145_600_000;
/// The latest instant taken for real, 2100-01-01.
pub const LATEST: Millis = 4_102_444_800_000;

/// How a time stamp was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zone {
    /// As UTC or as seconds since 1970.
    Utc,
    /// With an offset from UTC.
    Offset,
    /// Without; read in the zone that was asked for.
    Assumed,
}

/// What a cell holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cell<T> {
    /// Nothing, or one of the words for nothing.
    Empty,
    /// A value.
    Value(T),
    /// Something else.
    Unreadable,
}

/// Returns whether a trimmed cell says "nothing" in one of the dialects of spreadsheets and databases.
pub fn is_nothing(cell: &[u8]) -> bool {
    match cell.len() {
        0 => true,
        1 => cell == b"-",
        2 => cell == b"\\N",
        3..=5 => [b"null".as_slice(), b"none", b"nil", b"n/a", b"nat", b"<na>"]
            .iter()
            .any(|word| cell.eq_ignore_ascii_case(word)),
        _ => false,
    }
}

/// Reads a time stamp; one without an offset is a wall-clock time in `zone`.
pub fn instant(cell: &[u8], zone: &TimeZone) -> Cell<(Millis, Zone)> {
    let cell = cell.trim_ascii();
    if is_nothing(cell) {
        return Cell::Empty;
    }
    let read = by_hand(cell, zone)
        .or_else(|| epoch(cell))
        .or_else(|| by_jiff(cell));
    match read {
        Some((at, how)) if (EARLIEST..LATEST).contains(&at) => Cell::Value((at, how)),
        _ => Cell::Unreadable,
    }
}

/// Reads `YYYY-MM-DD[T ]HH:MM[:SS[.fraction]]` followed by `Z`, ` UTC`, an offset or nothing.
fn by_hand(cell: &[u8], zone: &TimeZone) -> Option<(Millis, Zone)> {
    if cell.len() < 16 || cell[4] != b'-' || cell[7] != b'-' || cell[13] != b':' {
        return None;
    }
    if !matches!(cell[10], b'T' | b't' | b' ') {
        return None;
    }
    let year = two(cell, 0)? * 100 + two(cell, 2)?;
    let (month, day, hour, minute) = (two(cell, 5)?, two(cell, 8)?, two(cell, 11)?, two(cell, 14)?);
    let mut rest = &cell[16..];
    let mut second = 0;
    let mut millis = 0;
    if rest.first() == Some(&b':') {
        second = two(rest, 1)?;
        rest = &rest[3..];
        if matches!(rest.first(), Some(b'.' | b',')) {
            let digits = rest[1..].iter().take_while(|b| b.is_ascii_digit()).count();
            if digits == 0 {
                return None;
            }
            let mut place = 100;
            for digit in &rest[1..=digits.min(3)] {
                millis += i64::from(digit - b'0') * place;
                place /= 10;
            }
            rest = &rest[1 + digits..];
        }
    }
    if !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) {
        return None;
    }
    // A leap second is the second after it, as Unix time has it.
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let clock = (hour * 60 + minute) * 60 + second;
    let local = (days_from_civil(year, month, day) * 86_400 + clock) * 1000 + millis;
    let rest = rest.trim_ascii_start();
    let offset = match rest {
        b"Z" | b"z" | b"UTC" | b"GMT" | b"utc" => 0,
        [] => {
            let second = second.min(59);
            let wall = civil::DateTime::new(
                year as i16,
                month as i8,
                day as i8,
                hour as i8,
                minute as i8,
                second as i8,
                (millis * 1_000_000) as i32,
            )
            .ok()?;
            let at = zone.to_ambiguous_timestamp(wall).compatible().ok()?;
            return Some((at.as_millisecond(), Zone::Assumed));
        }
        [sign @ (b'+' | b'-'), digits @ ..] => {
            let (hours, minutes) = match digits.len() {
                2 => (two(digits, 0)?, 0),
                4 => (two(digits, 0)?, two(digits, 2)?),
                5 if digits[2] == b':' => (two(digits, 0)?, two(digits, 3)?),
                _ => return None,
            };
            if hours > 23 || minutes > 59 {
                return None;
            }
            let seconds = (hours * 60 + minutes) * 60;
            if *sign == b'-' { -seconds } else { seconds }
        }
        _ => return None,
    };
    let how = if offset == 0 { Zone::Utc } else { Zone::Offset };
    Some((local - offset * 1000, how))
}

/// Reads seconds since 1970 (ten digits, a fraction allowed) or milliseconds (thirteen digits).
fn epoch(cell: &[u8]) -> Option<(Millis, Zone)> {
    let whole = cell.iter().take_while(|b| b.is_ascii_digit()).count();
    let fraction_ok = match &cell[whole..] {
        [] => true,
        [b'.', digits @ ..] => whole == 10 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if !fraction_ok || !(whole == 10 || whole == 13) {
        return None;
    }
    let text = std::str::from_utf8(cell).ok()?;
    let at = if whole == 13 {
        text.parse().ok()?
    } else {
        (text.parse::<f64>().ok()? * 1000.0).round() as Millis
    };
    Some((at, Zone::Utc))
}

/// Reads what RFC 9557 and RFC 2822 allow beyond the common form.
fn by_jiff(cell: &[u8]) -> Option<(Millis, Zone)> {
    let text = std::str::from_utf8(cell).ok()?;
    let at: Timestamp = match text.parse() {
        Ok(at) => at,
        Err(_) => jiff::fmt::rfc2822::DateTimeParser::new()
            .parse_timestamp(text)
            .ok()?,
    };
    Some((at.as_millisecond(), Zone::Utc))
}

/// Reads a length of time in seconds: a number, or `H:MM:SS`.
///
/// NaN, infinities and anything beyond ten years are unreadable. A decimal comma is read where `decimal_comma` says
/// that commas do not separate the columns.
pub fn seconds(cell: &[u8], decimal_comma: bool) -> Cell<f64> {
    const TEN_YEARS: f64 = 3.2e8;
    let cell = cell.trim_ascii();
    if is_nothing(cell) {
        return Cell::Empty;
    }
    let Ok(text) = std::str::from_utf8(cell) else {
        return Cell::Unreadable;
    };
    let value = match text.parse::<f64>() {
        Ok(value) => value,
        Err(_) if decimal_comma && text.contains(',') => match text.replacen(',', ".", 1).parse() {
            Ok(value) => value,
            Err(_) => return Cell::Unreadable,
        },
        Err(_) => match clock(text) {
            Some(value) => value,
            None => return Cell::Unreadable,
        },
    };
    if value.is_finite() && value.abs() <= TEN_YEARS {
        Cell::Value(value)
    } else {
        Cell::Unreadable
    }
}

fn clock(text: &str) -> Option<f64> {
    let mut parts = text.split(':');
    let (hours, minutes) = (
        parts.next()?.parse::<u32>().ok()?,
        parts.next()?.parse::<u32>().ok()?,
    );
    let seconds = parts.next()?.parse::<f64>().ok()?;
    let ok = parts.next().is_none() && minutes < 60 && (0.0..60.0).contains(&seconds);
    ok.then(|| f64::from(hours) * 3600.0 + f64::from(minutes) * 60.0 + seconds)
}

fn two(bytes: &[u8], at: usize) -> Option<i64> {
    match bytes.get(at..at + 2)? {
        [tens @ b'0'..=b'9', ones @ b'0'..=b'9'] => {
            Some(i64::from(tens - b'0') * 10 + i64::from(ones - b'0'))
        }
        _ => None,
    }
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Returns the days from 1970-01-01 to a date of the Gregorian calendar.
///
/// Years begin in March, so that the leap day is the last; 400 years have 146 097 days.
pub fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year - era * 400;
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Returns year, month and day of the date that is `days` after 1970-01-01.
pub fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utc(text: &str) -> Cell<(Millis, Zone)> {
        instant(text.as_bytes(), &TimeZone::UTC)
    }

    #[test]
    fn every_spelling_of_one_instant_is_the_same_instant() {
        let at = 1_717_236_000_250;
        for text in [
            "2024-06-01T10:00:00.250Z",
            "2024-06-01T12:00:00.25+02:00",
            "2024-06-01 12:00:00,250 +0200",
            "2024-06-01 10:00:00.250999 UTC",
            "2024-06-01T15:30:00.250+05:30",
            "2024-06-01T05:00:00.250-05",
            "1717236000.25",
            "1717236000250",
            "2024-06-01T12:00:00.250+02:00[Europe/Berlin]",
        ] {
            assert!(
                matches!(utc(text), Cell::Value((read, _)) if read == at),
                "{text}"
            );
        }
        assert_eq!(
            utc("Sat, 1 Jun 2024 10:00:00 +0000"),
            Cell::Value((1_717_236_000_000, Zone::Utc))
        );
    }

    #[test]
    fn a_time_without_an_offset_is_read_in_the_given_zone() {
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        let read = |text: &str| instant(text.as_bytes(), &berlin);
        assert_eq!(
            read("2024-06-01 12:00:00"),
            Cell::Value((1_717_236_000_000, Zone::Assumed))
        );
        // 02:30 does not exist on the night of the change; the clock goes on an hour later.
        assert_eq!(read("2024-03-31 02:30:00"), read("2024-03-31 03:30:00"));
    }

    #[test]
    fn what_is_no_time_is_unreadable_and_nothing_is_empty() {
        for text in ["", " ", "null", "NaT", "\\N", "-", "None"] {
            assert_eq!(utc(text), Cell::Empty, "{text:?}");
        }
        for text in [
            "2024-13-01T00:00:00Z",
            "2023-02-29T00:00:00Z",
            "2024-06-01T24:00:01Z",
            "1970-01-01T00:00:00Z",
            "9999-12-31T23:59:59Z",
            "01/06/2024 10:00",
            "17172360001",
            "yesterday",
            "2024-06-01T10:00:00.Z",
            "2024-06-01T10:0é",
            "-1",
            "NaN",
        ] {
            assert_eq!(utc(text), Cell::Unreadable, "{text:?}");
        }
    }

    #[test]
    fn the_calendar_agrees_with_jiff_on_every_day_of_a_century() {
        let mut date = civil::date(2000, 1, 1);
        for days in 10_957..10_957 + 36_525 {
            let (year, month, day) = (
                i64::from(date.year()),
                i64::from(date.month()),
                i64::from(date.day()),
            );
            assert_eq!(days_from_civil(year, month, day), days);
            assert_eq!(civil_from_days(days), (year, month, day));
            date = date.tomorrow().unwrap();
        }
    }

    #[test]
    fn lengths_of_time_are_finite_numbers_or_clocks() {
        assert_eq!(seconds(b"12.5", false), Cell::Value(12.5));
        assert_eq!(seconds(b"12,5", true), Cell::Value(12.5));
        assert_eq!(seconds(b"12,5", false), Cell::Unreadable);
        assert_eq!(seconds(b"1:02:03", false), Cell::Value(3723.0));
        assert_eq!(seconds(b"-4", false), Cell::Value(-4.0));
        assert_eq!(seconds(b" ", false), Cell::Empty);
        for bad in ["NaN", "inf", "-inf", "1e300", "12s", "1:99:00"] {
            assert_eq!(seconds(bad.as_bytes(), false), Cell::Unreadable, "{bad}");
        }
    }
}
