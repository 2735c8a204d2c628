//! Texts that are too long for one message.

use super::{Invalid, MAX_MESSAGES, Message};
use crate::event::Platform;

/// Where a text is split, the best place first: after a paragraph, a line, a sentence, a word.
const PLACES: [&[&str]; 4] = [&["\n\n"], &["\n"], &[". ", "! ", "? ", "。"], &[" "]];

impl Message {
    /// A text of any length in as many messages as it needs, at most 10, split after a paragraph, a line, a sentence or
    /// a word, as it comes. White space at the ends of a message goes.
    ///
    /// Each has at most 2,000 characters; on Instagram at most 1,000 bytes.
    ///
    /// # Errors
    /// [`Invalid`] if nothing is said, or more than 10 messages were needed.
    pub fn texts(long: &str, platform: Platform) -> Result<Vec<Self>, Invalid> {
        let mut parts = Vec::new();
        let mut rest = long.trim();
        while !rest.is_empty() || parts.is_empty() {
            if parts.len() == MAX_MESSAGES {
                let problem = format!("needs more than {MAX_MESSAGES} messages");
                return Err(Invalid::new("text", problem));
            }
            let (part, more) = rest.split_at(end_of_first(rest, platform));
            parts.push(Self::text(part.trim_end())?);
            rest = more.trim_start();
        }
        Ok(parts)
    }
}

/// Where the first message of a text ends, in bytes.
fn end_of_first(text: &str, platform: Platform) -> usize {
    let longest = match platform {
        Platform::Messenger => text.char_indices().nth(2000).map(|(at, _)| at),
        Platform::Instagram => (text.len() > 1000).then(|| text.floor_char_boundary(1000)),
    };
    let Some(longest) = longest else { return text.len() };
    let fits = &text[..longest];
    let end_of = |place: &&str| fits.rfind(place).map(|at| at + place.len());
    let places = PLACES.iter().filter_map(|places| places.iter().filter_map(end_of).max());
    // A very short message would look like a mistake.
    places.into_iter().find(|end| *end > longest / 4).unwrap_or(longest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(long: &str, platform: Platform) -> Result<Vec<String>, Invalid> {
        let messages = Message::texts(long, platform)?.into_iter();
        let text = |message: Message| serde_json::to_value(message).unwrap()["text"].clone();
        Ok(messages.map(|message| text(message).as_str().unwrap().to_owned()).collect())
    }

    #[test]
    fn a_text_is_split_at_the_best_place() {
        let (short, long) = ("x".repeat(600), "x".repeat(1500));
        for (parts, separator) in [
            (vec![short.clone(), format!("{short}\n{short}. {short}")], "\n\n"),
            (vec![format!("{short}. {short}\n{short}"), short.clone()], "\n"),
            (vec![format!("{short} {short}."), format!("{short} {short}")], " "),
            (vec![long.clone(), long.clone()], " "),
        ] {
            let text = parts.join(separator);
            assert_eq!(texts(&text, Platform::Messenger).unwrap(), parts, "{separator:?}");
        }
        assert_eq!(texts(&"x".repeat(2001), Platform::Messenger).unwrap()[1], "x");
    }

    #[test]
    fn a_text_needs_something_and_not_too_much() {
        for platform in [Platform::Messenger, Platform::Instagram] {
            assert!(texts(" \n", platform).is_err());
            let most = if platform == Platform::Messenger { 20_000 } else { 10_000 };
            assert_eq!(texts(&"x".repeat(most), platform).unwrap().len(), 10);
            assert!(texts(&"x".repeat(most + 1), platform).is_err());
        }
    }

    proptest! {
        #[test]
        fn nothing_but_white_space_is_lost_and_each_part_may_be_sent(
            words in prop::collection::vec(prop::collection::vec(any::<char>(), 1..40), 1..200),
            separators in prop::collection::vec(prop::sample::select(vec![" ", ". ", "\n", "\n\n"]), 200),
        ) {
            let words = words.into_iter().map(String::from_iter).zip(separators);
            let text: String = words.map(|(word, separator)| word + separator).collect();
            let solid = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            for platform in [Platform::Messenger, Platform::Instagram] {
                let Ok(parts) = Message::texts(&text, platform) else { continue };
                prop_assert!(parts.iter().all(|part| part.check(platform).is_ok()));
                let said: String = texts(&text, platform).unwrap().concat();
                prop_assert_eq!(solid(&said), solid(&text));
            }
        }
    }
}
