//! Lines no wider than asked, broken between words.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Returns the columns that `text` takes.
pub(super) fn width_of(text: &str) -> usize {
    UnicodeWidthStr::width(text)
}

/// What happens to a word that is wider than the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LongWord {
    /// It is broken, behind a `/`, `-`, `_`, `.`, `,` or `:` where there is one.
    Break,
    /// It is broken unless it is an address, which nobody could copy afterwards.
    KeepAddresses,
}

/// Breaks `text` into lines of at most `width` columns; its own line ends stay.
pub(super) fn wrap(text: &str, width: usize, long: LongWord) -> Vec<String> {
    let width = width.max(1);
    let mut lines = Vec::new();
    for paragraph in text.split('\n') {
        let mut line = String::new();
        let mut used = 0;
        for word in paragraph.split_whitespace() {
            let mut word = word;
            let mut needed = width_of(word);
            if used > 0 && used + 1 + needed <= width {
                line.push(' ');
                line.push_str(word);
                used += 1 + needed;
                continue;
            }
            if used > 0 {
                lines.push(std::mem::take(&mut line));
            }
            let keep = long == LongWord::KeepAddresses && word.contains("://");
            while needed > width && !keep {
                let (head, tail) = split_word(word, width);
                lines.push(head.to_owned());
                word = tail;
                needed = width_of(word);
            }
            line.push_str(word);
            used = needed;
        }
        lines.push(line);
    }
    lines
}

/// Splits a word that is wider than `width` so that its head fits.
fn split_word(word: &str, width: usize) -> (&str, &str) {
    let mut used = 0;
    let mut hard = 0;
    let mut soft = 0;
    for (start, c) in word.char_indices() {
        used += c.width().unwrap_or(0);
        let end = start + c.len_utf8();
        if used > width {
            break;
        }
        hard = end;
        if matches!(c, '/' | '-' | '_' | '.' | ',' | ':') {
            soft = end;
        }
    }
    if hard == 0 {
        // A character wider than the whole line: it goes alone.
        hard = word.chars().next().map_or(word.len(), char::len_utf8);
    }
    // A soft break that leaves most of the line empty is worse than a hard one.
    word.split_at(if soft * 3 >= hard { soft } else { hard })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stay_whole_where_they_fit() {
        assert_eq!(
            wrap("the quick brown fox", 10, LongWord::Break),
            ["the quick", "brown fox"]
        );
        assert_eq!(wrap("a\n\nb", 10, LongWord::Break), ["a", "", "b"]);
        assert_eq!(wrap("", 10, LongWord::Break), [""]);
    }

    #[test]
    fn long_words_are_broken_at_their_joints() {
        assert_eq!(
            wrap("docs.example.com/guide", 12, LongWord::Break),
            ["docs.", "example.com/", "guide"]
        );
        assert_eq!(wrap("aaaaaaaaaa", 4, LongWord::Break), ["aaaa", "aaaa", "aa"]);
    }

    #[test]
    fn addresses_stay_whole_on_request() {
        let address = "https://docs.example.com/guide";
        assert_eq!(
            wrap(&format!("see {address} there"), 12, LongWord::KeepAddresses),
            ["see", address, "there"]
        );
    }

    #[test]
    fn nothing_is_lost_and_nothing_is_too_wide() {
        let text = "größe 東京のホスト i-0123456789abcdef0 e\u{301}t\u{e9} \u{1f469}\u{200d}\u{1f4bb} x";
        for width in 1..40 {
            let lines = wrap(text, width, LongWord::Break);
            let kept: String = lines.concat().split_whitespace().collect();
            assert_eq!(kept, text.split_whitespace().collect::<String>());
            if width >= 2 {
                assert!(
                    lines.iter().all(|line| width_of(line) <= width),
                    "{width}: {lines:?}"
                );
            }
        }
    }
}
