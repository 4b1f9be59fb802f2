//! Quantities that must not be mixed up: money here; seconds, MiB and slots carry their unit in the field name.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Mul, Sub};

use serde::{Serialize, Serializer};

/// Hours in a month, as AWS' own calculators count them (`reference`: 365 * 24 / 12).
pub const HOURS_PER_MONTH: i64 = 730;

/// An amount of money in millionths of a US dollar.
///
/// Whole numbers only, so that sums do not depend on their order. Serialised as a decimal string of dollars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Micros(pub i64);

impl Micros {
    /// Reads a decimal amount of dollars such as `0.08925`; more than nine decimals, signs and exponents are refused.
    ///
    /// Decimals beyond the sixth are rounded half up.
    pub fn parse_dollars(text: &str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || whole.len() > 9 || !digits(whole) || !digits(fraction) {
            return None;
        }
        let nine: String = fraction.chars().chain(std::iter::repeat('0')).take(7).collect();
        let sevenths: i64 = nine.parse().ok()?;
        Some(Self(whole.parse::<i64>().ok()? * 1_000_000 + (sevenths + 5) / 10))
    }

    /// Returns the amount for a month of running at this price an hour.
    pub fn per_month(self) -> Self {
        Self(self.0 * HOURS_PER_MONTH)
    }

    /// Returns this amount times a fractional quantity, rounded to the nearest millionth.
    pub fn times(self, quantity: f64) -> Self {
        Self((self.0 as f64 * quantity).round() as i64)
    }

    /// Returns the amount in dollars, for axes and ratios, never for sums.
    pub fn dollars(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// Returns the amount with two decimals, as a monthly total is shown.
    pub fn cents(self) -> String {
        let sign = if self.0 < 0 { "-" } else { "" };
        let cents = (self.0.unsigned_abs() + 5_000) / 10_000;
        format!("{sign}{}.{:02}", cents / 100, cents % 100)
    }
}

impl fmt::Display for Micros {
    /// Writes dollars with at least two and at most six decimals, without trailing zeros beyond the second.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let magnitude = self.0.unsigned_abs();
        let mut fraction = format!("{:06}", magnitude % 1_000_000);
        while fraction.len() > 2 && fraction.ends_with('0') {
            fraction.pop();
        }
        write!(f, "{sign}{}.{fraction}", magnitude / 1_000_000)
    }
}

impl Serialize for Micros {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Add for Micros {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl AddAssign for Micros {
    fn add_assign(&mut self, other: Self) {
        self.0 += other.0;
    }
}

impl Sub for Micros {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}

impl Mul<i64> for Micros {
    type Output = Self;
    fn mul(self, factor: i64) -> Self {
        Self(self.0 * factor)
    }
}

impl Sum for Micros {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self(0), Add::add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollars_are_read_and_written_exactly() {
        for (text, micros, shown) in [
            ("0.085", 85_000, "0.085"),
            ("0.08925", 89_250, "0.08925"),
            ("12", 12_000_000, "12.00"),
            ("0.0000005", 1, "0.000001"),
            ("0.00000049", 0, "0.00"),
            ("73.000", 73_000_000, "73.00"),
        ] {
            assert_eq!(Micros::parse_dollars(text), Some(Micros(micros)), "{text}");
            assert_eq!(Micros(micros).to_string(), shown);
        }
        for bad in ["", ".5", "-1", "1e3", "1,5", "1234567890", "0.1x"] {
            assert_eq!(Micros::parse_dollars(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_month_has_730_hours() {
        assert_eq!(Micros(170_000).per_month().cents(), "124.10");
        assert_eq!(Micros(100_000).per_month().cents(), "73.00");
    }
}
