//! Kubernetes quantities: `250m`, `0.5`, `448Mi`, `1.5G`.

/// Bytes in a MiB.
const MIB: f64 = 1_048_576.0;

/// Reads a plain decimal number as YAML and JSON write it; `None` for anything else, infinities included.
///
/// Refuses on purpose: underscores, octal and hexadecimal forms, leading zeros (8 to YAML 1.1, 10 to YAML 1.2).
pub(super) fn decimal(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if !digits(whole) || !digits(fraction) || whole.len() + fraction.len() == 0 {
        return None;
    }
    if whole.len() > 1 && whole.starts_with('0') {
        return None;
    }
    if let Some(exponent) = exponent {
        let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        if exponent.is_empty() || exponent.len() > 4 || !digits(exponent) {
            return None;
        }
    }
    let number: f64 = text.parse().ok()?;
    // `+ 0.0` turns -0 into 0.
    number.is_finite().then_some(number + 0.0)
}

/// Splits a quantity into its number and the factor of its suffix.
fn split(text: &str) -> Option<(f64, f64)> {
    const SUFFIXES: [(&str, f64); 15] = [
        ("Ki", 1024.0),
        ("Mi", MIB),
        ("Gi", 1024.0 * MIB),
        ("Ti", MIB * MIB),
        ("Pi", 1024.0 * MIB * MIB),
        ("Ei", MIB * MIB * MIB),
        ("n", 1e-9),
        ("u", 1e-6),
        ("m", 1e-3),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
        ("E", 1e18),
    ];
    if let Some(number) = decimal(text) {
        return Some((number, 1.0));
    }
    SUFFIXES
        .iter()
        .find_map(|(suffix, factor)| Some((decimal(text.strip_suffix(suffix)?)?, *factor)))
}

/// Rounds to a millionth, so that `0.29` CPU is 290 thousandths and not 289.99999999999994.
fn rounded(number: f64) -> f64 {
    let scaled = (number * 1e6).round() / 1e6;
    if scaled.is_finite() { scaled } else { number }
}

/// Returns thousandths of a CPU.
pub(super) fn millicpus(text: &str) -> Option<f64> {
    let (number, factor) = split(text)?;
    // A thousandth is the unit of the result and must come back unchanged.
    Some(if factor == 1e-3 {
        number
    } else {
        rounded(number * factor * 1e3)
    })
}

/// Returns MiB.
pub(super) fn mebibytes(text: &str) -> Option<f64> {
    let (number, factor) = split(text)?;
    Some(if factor == MIB {
        number
    } else {
        rounded(number * factor / MIB)
    })
}

/// Writes thousandths of a CPU so that `millicpus` returns the same number.
pub(super) fn write_cpu(millicpus: f64) -> String {
    format!("{millicpus}m")
}

/// Writes MiB so that `mebibytes` returns the same number.
pub(super) fn write_memory(mebibytes: f64) -> String {
    format!("{mebibytes}Mi")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_what_json_and_yaml_agree_on() {
        for (text, number) in [
            ("0", 0.0),
            ("-0", 0.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("+1e3", 1000.0),
            ("1E-2", 0.01),
        ] {
            assert_eq!(decimal(text), Some(number), "{text}");
        }
        assert!(decimal("-0").unwrap().is_sign_positive());
        for bad in [
            "", ".", "-", "+", "e5", "1e", "1e+", "1_000", "0x1F", "0o17", "017", "00", "1,5", "1:30",
            ".nan", "NaN", "nan", "inf", ".inf", "-.inf", "infinity", "1e400", "-1e400", "1e99999", "1 0",
            "٣", "1f", "--1",
        ] {
            assert_eq!(decimal(bad), None, "{bad}");
        }
    }

    #[test]
    fn quantities_are_those_of_kubernetes() {
        for (text, milli) in [
            ("250m", 250.0),
            ("1", 1000.0),
            ("0.5", 500.0),
            ("0.29", 290.0),
            (".1", 100.0),
            ("1e-1", 100.0),
            ("2k", 2e6),
            ("500000u", 500.0),
        ] {
            assert_eq!(millicpus(text), Some(milli), "{text}");
        }
        for (text, mib) in [
            ("448Mi", 448.0),
            ("1Gi", 1024.0),
            ("1.5G", 1430.511475),
            ("1048576", 1.0),
            ("512Ki", 0.5),
            ("1e9", 953.674316),
            ("128M", 122.070313),
        ] {
            assert_eq!(mebibytes(text), Some(mib), "{text}");
        }
        for bad in [
            "448MB", "448mi", "448 Mi", "Mi", "m", "1mm", "0x10Mi", "1e400Mi", "NaN",
        ] {
            assert_eq!(mebibytes(bad), None, "{bad}");
        }
    }
}
