//! A conversation with your bot at the keyboard, in memory.
//!
//! A line is what you say. `[Title]` presses what is on the screen, `(image)` sends one. A line that begins with `+`,
//! `@`, `!`, or a name and `>`, is a step of a transcript: `+ 1h` lets an hour pass, `@inbox> Hi` lets the shop write.
//! `BOT_SETTINGS` holds the bot's settings as JSON.

use std::env;
use std::error::Error;
use std::io::{self, BufRead, Write};

use messenger::chat::Chat;
use messenger::chat::transcript::{Happening, Step};
use serde_json::Value;

fn main() -> Result<(), Box<dyn Error>> {
    let settings = match env::var("BOT_SETTINGS") {
        Ok(text) => serde_json::from_str(&text)?,
        Err(_) => Value::Null,
    };
    let mut chat = Chat::built(settings, bot::bot);
    let mut out = io::stdout();
    for line in io::stdin().lock().lines() {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        match step(&line) {
            Ok(step) => match chat.act(&step) {
                Ok(happened) => {
                    for Happening { what, .. } in happened {
                        writeln!(out, "{}", Happening { who: None, what })?;
                    }
                }
                Err(why) => writeln!(out, "{why}")?,
            },
            Err(why) => writeln!(out, "{why}")?,
        }
    }
    Ok(())
}

/// A step of a transcript, or else what you say.
fn step(line: &str) -> Result<Step, Box<dyn Error>> {
    let is_step = line.starts_with(['+', '@', '!']);
    match line.parse() {
        Ok(step) => Ok(step),
        Err(why) if is_step => Err(why.into()),
        Err(_) => Ok(format!("guest> {line}").parse()?),
    }
}
