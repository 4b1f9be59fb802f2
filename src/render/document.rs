//! A document for programs: JSON and YAML of the same value.

use serde_json::Value;

/// Returns the document as indented JSON with a line end.
pub fn json(document: &Value) -> String {
    // `Display` of a value cannot fail: keys are strings, and numbers are finite.
    format!("{document:#}\n")
}

/// Returns the document as YAML that reads back as the same value, in YAML 1.1 readers too.
pub fn yaml(document: &Value) -> Result<String, serde_yaml::SerializeError> {
    // Folded blocks save nothing a program needs, and one more style is one more thing to get wrong.
    let options = serde_yaml::ser_options! { prefer_block_scalars: false };
    serde_yaml::to_string_with_options(document, options)
}

/// Returns the document as YAML for people to go on with: scripts in it stand line by line.
pub fn readable_yaml(document: &Value) -> Result<String, serde_yaml::SerializeError> {
    // No folding: only texts that have lines stand as blocks.
    let options = serde_yaml::ser_options! { prefer_block_scalars: true, folded_wrap_chars: usize::MAX };
    serde_yaml::to_string_with_options(document, options)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn round_trip(value: &Value) {
        let text = yaml(value).unwrap();
        let back: Value = serde_yaml::from_str(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        assert_eq!(&back, value, "{text}");
    }

    #[test]
    fn json_ends_with_a_line_end() {
        assert_eq!(json(&json!({"a": [1]})), "{\n  \"a\": [\n    1\n  ]\n}\n");
    }

    #[test]
    fn strings_that_look_like_something_else_are_quoted() {
        let strings = [
            "08",
            "010",
            "0o7",
            "0x1f",
            "0b1",
            "no",
            "No",
            "YES",
            "on",
            "off",
            "y",
            "n",
            "true",
            "null",
            "~",
            "",
            " ",
            " a",
            "a ",
            "1e3",
            "1E3",
            ".5",
            "5.",
            "+1",
            "-1",
            "1_000",
            ".inf",
            "-.INF",
            ".nan",
            "nan",
            "2026-07-20",
            "2026-07-20T10:00:00Z",
            "12:30:00",
            "190:20:30",
            "=",
            "<<",
            "- a",
            "-",
            "? a",
            "a: b",
            "a:",
            ": a",
            "#a",
            "a #b",
            "&a",
            "*a",
            "!a",
            "!!str a",
            "|",
            ">",
            "%a",
            "@a",
            "`a`",
            "'",
            "\"",
            "a'b",
            "[a]",
            "{a}",
            ",",
            "---",
            "...",
            "a\nb",
            "\n",
            "a\n",
            "\na",
            "a\n\nb\n\n",
            "a\r\nb",
            "\t",
            "a\tb",
            "\u{0}",
            "\u{1b}[31m",
            "\u{7f}",
            "\u{85}",
            "\u{a0}",
            "\u{2028}",
            "\u{feff}a",
            "\u{1f600}",
            "größe",
            "back\\slash",
            "${HOME}",
            "$HOME",
            "c5.xlarge",
            "0.085",
            "124.10",
        ];
        for string in strings {
            round_trip(&json!({ "value": string }));
            round_trip(&json!([string, [string]]));
            round_trip(&json!({ string: 1 }));
        }
        let long = "a long sentence, with: colons and # signs, ".repeat(8);
        round_trip(&json!({ "value": long, "nested": { "deep": [long, { "x": long }] } }));
    }

    #[test]
    fn other_values_read_back_the_same() {
        for value in [
            json!({}),
            json!([]),
            json!({"a": {}, "b": [], "c": null, "d": [{"e": [[1], []]}, {}]}),
            json!([1, -1, 0, u64::MAX, i64::MIN, 0.1, 1.0, 1e300, -1e-300, 300.0]),
            json!([true, false, null]),
        ] {
            round_trip(&value);
        }
    }
}
