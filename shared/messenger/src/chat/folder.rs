//! Scenarios in a folder, as a test.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

use super::Chat;

/// The variable that lets what happened be written into the files.
const UPDATE: &str = "UPDATE_SCENARIOS";

/// Plays each `.chat` file of a folder with a conversation of its own, in the order of their names.
///
/// The folder is given from the root of the package. With `UPDATE_SCENARIOS=1` in the environment what happened is
/// written into the files, to be read in the diff.
///
/// # Panics
/// If something happens otherwise than it is written, with the conversation and its differences; if a line is not
/// understood or a step cannot be played; if there is no such file.
pub fn play_folder(folder: impl AsRef<Path>, begin: impl Fn() -> Chat) {
    let writes = env::var_os(UPDATE).is_some_and(|value| value == "1");
    let problems = play_files(folder.as_ref(), begin, writes);
    assert!(
        problems.is_empty(),
        "{}\n{UPDATE}=1 writes what happened into the files.",
        problems.join("\n")
    );
}

fn play_files(folder: &Path, begin: impl Fn() -> Chat, writes: bool) -> Vec<String> {
    match files(folder) {
        Err(error) => vec![format!("{}: {error}", folder.display())],
        Ok(files) if files.is_empty() => vec![format!("{}: no .chat file", folder.display())],
        Ok(files) => {
            files.iter().filter_map(|file| play_file(file, begin(), writes).err()).collect()
        }
    }
}

fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path()));
    let mut files: Vec<_> = entries.collect::<io::Result<_>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "chat"));
    files.sort();
    Ok(files)
}

fn play_file(file: &Path, mut chat: Chat, writes: bool) -> Result<(), String> {
    let name = file.display();
    let text = fs::read_to_string(file).map_err(|error| format!("{name}: {error}"))?;
    let report = chat.play(&text).map_err(|misread| format!("{name}, {misread}"))?;
    if report.is_as_written() {
        return Ok(());
    }
    if report.refused.is_none() && writes {
        return fs::write(file, report.accepted).map_err(|error| format!("{name}: {error}"));
    }
    Err(format!("{name}: {report}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bot::{Stateless, Turn, bot_fn};
    use crate::decision::Decision;
    use crate::message::Message;

    #[test]
    fn what_happened_is_written_if_it_is_wanted_and_could_be_played() {
        let bot = || {
            bot_fn(async |turn: &Turn<Stateless>| {
                Ok(Decision::nothing().say(Message::text(turn.text())?))
            })
        };
        let begin = || Chat::with(bot());
        let folder = env::temp_dir().join(format!("scenarios-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
        let (text, refused) = ("guest> Hi\n", "guest> Hi\n+ due\n");
        fs::write(folder.join("a.chat"), text).unwrap();
        fs::write(folder.join("b.chat"), refused).unwrap();
        assert_eq!(play_files(&folder, begin, false).len(), 2);
        assert_eq!(read("a.chat"), text);
        let problems = play_files(&folder, begin, true);
        assert_eq!(read("a.chat"), "guest> Hi\n< RESPONSE Hi\n");
        assert_eq!(read("b.chat"), refused);
        assert!(problems.len() == 1 && problems[0].contains("line 2: nothing is waiting"));
        fs::remove_dir_all(&folder).unwrap();
    }
}
