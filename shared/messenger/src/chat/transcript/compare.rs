//! Compares what is written with what happened, line by line.

/// A line of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compared {
    /// Written, by its index, and happened.
    Both(usize),
    /// Written, by its index, and did not happen.
    Written(usize),
    /// Happened, by its index, and is not written.
    Happened(usize),
}

/// The longest way through both lists on which `fits` holds, and what is beside it.
///
/// What happened and is not written stands after what is written and did not happen.
pub(super) fn compare(
    written: usize,
    happened: usize,
    fits: impl Fn(usize, usize) -> bool,
) -> Vec<Compared> {
    // `common[w][h]`: how much the ends of both lists from there on have in common.
    let mut common = vec![vec![0_usize; happened + 1]; written + 1];
    for w in (0..written).rev() {
        for h in (0..happened).rev() {
            let beside = common[w + 1][h].max(common[w][h + 1]);
            let through = if fits(w, h) { common[w + 1][h + 1] + 1 } else { 0 };
            common[w][h] = beside.max(through);
        }
    }
    let (mut w, mut h, mut lines) = (0, 0, Vec::new());
    while w < written || h < happened {
        let is_way =
            w < written && h < happened && fits(w, h) && common[w][h] == common[w + 1][h + 1] + 1;
        if is_way {
            lines.push(Compared::Both(w));
            (w, h) = (w + 1, h + 1);
        } else if h == happened || w < written && common[w + 1][h] >= common[w][h + 1] {
            lines.push(Compared::Written(w));
            w += 1;
        } else {
            lines.push(Compared::Happened(h));
            h += 1;
        }
    }
    lines
}

/// Whether a text fits a pattern in which `*` stands for any text.
pub(super) fn fits(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(start) else { return false };
    let mut parts = rest.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return text.ends_with(part);
        }
        let Some(at) = text.find(part) else { return false };
        text = &text[at + part.len()..];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, text, expected) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("a*", "ab", true),
            ("a*", "a", true),
            ("*b", "ab", true),
            ("*b", "abc", false),
            ("a*c*e", "abcde", true),
            ("a*c*e", "abde", false),
            ("one*one", "one", false),
            ("*", "", true),
            ("**", "x", true),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_comparison_keeps_what_both_have() {
        use Compared::{Both, Happened, Written};
        let lines = |written: &str, happened: &str| {
            let (w, h) = (written.as_bytes(), happened.as_bytes());
            compare(w.len(), h.len(), |a, b| w[a] == h[b])
        };
        assert_eq!(lines("ab", "ab"), [Both(0), Both(1)]);
        assert_eq!(lines("ab", "b"), [Written(0), Both(1)]);
        assert_eq!(lines("b", "abc"), [Happened(0), Both(0), Happened(2)]);
        assert_eq!(lines("ab", "xb"), [Written(0), Happened(0), Both(1)]);
        assert_eq!(lines("", ""), []);
    }
}
