//! Whatever is signed is kept, in any form: notifications of random shapes, with a text at random places.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use super::*;

/// Names of fields: those that mean something, and others. `mid` is not among them, because a message
/// that comes again with its mid is the same message.
const NAMES: [&str; 12] = [
    "id",
    "time",
    "messaging",
    "standby",
    "changes",
    "object",
    "entry",
    "sender",
    "message",
    "text",
    "recipient",
    "novelty",
];

/// Writes JSON of random shapes.
struct Shapes {
    rng: Xoshiro256PlusPlus,
    /// How many texts were written; each has its number.
    texts: usize,
}

impl Shapes {
    fn value(&mut self, depth: usize) -> String {
        match self.rng.random_range(0..if depth == 0 { 4 } else { 8 }) {
            0..3 => {
                self.texts += 1;
                format!("\"text<{}>\"", self.texts)
            }
            3 => ["5", "null", "true", "{}", "[]", PAGE][self.rng.random_range(0..6)].to_owned(),
            4..6 => self.list(depth),
            _ => self.object(depth, None),
        }
    }

    fn list(&mut self, depth: usize) -> String {
        let items = (0..self.rng.random_range(0..4)).map(|_| self.value(depth - 1));
        format!("[{}]", items.collect::<Vec<_>>().join(","))
    }

    /// Up to five fields, of which two may have one name; often the given one is among them.
    fn object(&mut self, depth: usize, field: Option<(&str, String)>) -> String {
        let mut fields = Vec::new();
        for _ in 0..self.rng.random_range(0..5) {
            let name = NAMES[self.rng.random_range(0..NAMES.len())];
            fields.push(format!("\"{name}\":{}", self.value(depth - 1)));
        }
        if let Some((name, value)) = field {
            let place = self.rng.random_range(0..=fields.len());
            fields.insert(place, format!("\"{name}\":{value}"));
        }
        format!("{{{}}}", fields.join(","))
    }

    fn notification(&mut self) -> String {
        if self.rng.random_range(0..10) == 0 {
            return self.value(4);
        }
        let entries: Vec<_> = (0..self.rng.random_range(0..4))
            .map(|_| match self.rng.random_range(0..5) {
                0 => self.value(3),
                _ => self.object(4, Some(("id", format!("\"{PAGE}\"")))),
            })
            .collect();
        self.object(4, Some(("entry", format!("[{}]", entries.join(",")))))
    }
}

/// The numbers of the texts in what was kept.
fn numbers(kept: &str) -> BTreeSet<usize> {
    let after = kept.split("text<").skip(1);
    after.filter_map(|rest| rest.split_once('>')?.0.parse().ok()).collect()
}

#[tokio::test]
async fn every_text_of_a_signed_notification_is_found_again_whatever_its_form() {
    let platform = platform().await;
    let mut shapes = Shapes { rng: Xoshiro256PlusPlus::seed_from_u64(1), texts: 0 };
    let mut written = Vec::new();
    for _ in 0..400 {
        let before = shapes.texts;
        let body = shapes.notification();
        assert_eq!(receive(&platform, body.as_bytes()).await, 200, "{body}");
        written.push((before + 1..=shapes.texts, body));
    }
    let mut found = BTreeSet::new();
    for view in platform.sqs.messages(EVENTS) {
        found.extend(numbers(&view.body));
    }
    for view in platform.sqs.messages(UNREADABLE) {
        if view.attributes.contains_key("encoding") {
            let bytes = STANDARD.decode(view.body.trim_start_matches('=')).unwrap();
            found.extend(numbers(&String::from_utf8(bytes).unwrap()));
        } else {
            found.extend(numbers(&view.body));
        }
    }
    for (texts, body) in written {
        for number in texts {
            assert!(found.contains(&number), "text<{number}> of {body} has vanished");
        }
    }
    assert!(found.len() > 2000, "{} texts were placed", found.len());
}
