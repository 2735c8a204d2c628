//! The READMEs: their links lead somewhere, and they know every setting.

use std::fs;
use std::path::{Path, PathBuf};

const RUNBOOK: &str = "functions/setup/RUNBOOK.md";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The README of the root, those of the folders that have one, and the runbook.
fn readmes() -> Vec<PathBuf> {
    let inside = |parent: &str| {
        let folders = fs::read_dir(root().join(parent)).unwrap();
        folders.map(|folder| folder.unwrap().path()).collect::<Vec<_>>()
    };
    let folders = [inside("."), inside("functions"), inside("shared")].concat();
    let files = folders.into_iter().chain([root()]).map(|folder| folder.join("README.md"));
    let files = files.chain([root().join(RUNBOOK)]);
    files.filter(|file| file.is_file()).collect()
}

/// What the parentheses after `](` hold.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| rest.split(')').next())
}

/// A heading's anchor, as GitHub derives it.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

fn has_anchor(file: &Path, wanted: &str) -> bool {
    let text = fs::read_to_string(file).unwrap();
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| anchor(line.trim_start_matches('#').trim())).any(|name| name == wanted)
}

#[test]
fn every_link_in_a_readme_leads_somewhere() {
    let mut checked = 0;
    for readme in readmes() {
        let text = fs::read_to_string(&readme).unwrap();
        for link in links(&text).filter(|link| !link.contains("://")) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => readme.clone(),
                path => readme.with_file_name(path),
            };
            let place = format!("{}: {link}", readme.display());
            assert!(target.exists(), "{place}");
            assert!(anchor.is_empty() || has_anchor(&target, anchor), "{place}");
            checked += 1;
        }
    }
    assert!(checked > 50, "{checked}");
}

#[test]
fn every_file_that_a_readme_names_is_there() {
    let mut checked = 0;
    for readme in readmes() {
        let text = fs::read_to_string(&readme).unwrap();
        for named in text.split('`').skip(1).step_by(2) {
            let of_root =
                ["functions/", "shared/", "tests/", "events/"].map(|at| named.starts_with(at));
            let is_path =
                |text: &str| text.chars().all(|c| c.is_alphanumeric() || "_-./".contains(c));
            if of_root.contains(&true) && is_path(named) {
                assert!(root().join(named).exists(), "{}: {named}", readme.display());
                checked += 1;
            }
        }
    }
    assert!(checked > 15, "{checked}");
}

#[test]
fn every_parameter_of_the_template_is_described() {
    let template = fs::read_to_string(root().join("template.yaml")).unwrap();
    let (_, parameters) = template.split_once("\nParameters:\n").unwrap();
    let architecture = fs::read_to_string(root().join("shared/README.md")).unwrap();
    let is_name = |line: &&str| line.starts_with("  ") && !line.starts_with("   ");
    let parameters = parameters.lines().take_while(|line| line.is_empty() || line.starts_with(' '));
    let names: Vec<_> = parameters.filter(is_name).collect();
    assert!(names.len() > 10);
    for name in names {
        let name = name.trim().trim_end_matches(':');
        assert!(architecture.contains(&format!("`{name}`")), "{name}");
    }
}

#[test]
fn every_alarm_of_the_template_is_in_the_runbook_and_no_other() {
    let template = fs::read_to_string(root().join("template.yaml")).unwrap();
    let alarms = template.split("\n  ").filter_map(|part| part.strip_suffix("Alarm:"));
    let mut alarms: Vec<_> = alarms.map(|name| format!("{name}Alarm")).collect();
    let runbook = fs::read_to_string(root().join(RUNBOOK)).unwrap();
    let named = runbook.split('`').skip(1).step_by(2).filter(|name| name.ends_with("Alarm"));
    let mut named: Vec<_> = named.map(str::to_owned).collect();
    alarms.sort();
    named.sort();
    assert_eq!(alarms, named);
    assert!(alarms.len() > 20);
}

/// Files of the stand-in that only read and pass on.
const WITHOUT_RULES: [&str; 3] = ["node.rs", "server.rs", "tests.rs"];

#[test]
fn each_file_of_the_stand_in_names_the_source_of_its_rules() {
    let folder = root().join("tests/src/meta");
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let files: Vec<_> = files.filter(|file| file.is_file()).collect();
    assert!(files.len() > 20);
    for file in files {
        let name = file.file_name().unwrap().to_str().unwrap();
        let text = fs::read_to_string(&file).unwrap();
        let head: String = text.lines().take_while(|line| line.starts_with("//!")).collect();
        assert!(WITHOUT_RULES.contains(&name) || head.contains("Source:"), "{name}");
    }
}
