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
    let folder = folder.as_ref();
    let problems = match files(folder) {
        Err(error) => vec![format!("{}: {error}", folder.display())],
        Ok(files) if files.is_empty() => vec![format!("{}: no .chat file", folder.display())],
        Ok(files) => files.iter().filter_map(|file| play_file(file, begin()).err()).collect(),
    };
    assert!(
        problems.is_empty(),
        "{}\n{UPDATE}=1 writes what happened into the files.",
        problems.join("\n")
    );
}

fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path()));
    let mut files: Vec<_> = entries.collect::<io::Result<_>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "chat"));
    files.sort();
    Ok(files)
}

fn play_file(file: &Path, mut chat: Chat) -> Result<(), String> {
    let name = file.display();
    let text = fs::read_to_string(file).map_err(|error| format!("{name}: {error}"))?;
    let report = chat.play(&text).map_err(|misread| format!("{name}, {misread}"))?;
    if report.is_as_written() {
        return Ok(());
    }
    if report.refused.is_none() && env::var_os(UPDATE).is_some_and(|value| value == "1") {
        return fs::write(file, report.accepted).map_err(|error| format!("{name}: {error}"));
    }
    Err(format!("{name}: {report}"))
}
