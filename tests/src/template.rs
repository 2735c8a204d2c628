//! What `template.yaml` gives each function as environment variables.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

/// The text of the template.
pub const TEXT: &str = include_str!("../../template.yaml");

/// The programs that get a variable, by its name; `Globals` gives it to [`EVERYBODY`].
static GIVEN: LazyLock<BTreeMap<&str, BTreeSet<&str>>> = LazyLock::new(|| {
    let mut given = BTreeMap::<_, BTreeSet<_>>::new();
    let mut program = EVERYBODY;
    let mut lines = TEXT.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(binary) = line.trim().strip_prefix("Binary: ") {
            program = binary;
        }
        if line.trim() != "Variables:" {
            continue;
        }
        let is_deeper = |other: &&str| indentation(other) > indentation(line);
        while let Some(variable) = lines.next_if(is_deeper) {
            let name = variable.trim().split(':').next().unwrap_or_default();
            given.entry(name).or_default().insert(program);
        }
    }
    given
});

const EVERYBODY: &str = "";

fn indentation(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// Whether the template sets a variable.
pub fn is_given(variable: &str) -> bool {
    GIVEN.contains_key(variable)
}

/// Whether the environment of a program may hold a variable: what the template gives to others only, it
/// has not in a stack either. What the template gives nobody is a setting for tests, or the SDK's.
pub fn may_have(program: &str, variable: &str) -> bool {
    GIVEN
        .get(variable)
        .is_none_or(|programs| programs.contains(EVERYBODY) || programs.contains(program))
}

#[cfg(test)]
mod tests {
    use super::may_have;

    #[test]
    fn a_variable_reaches_the_functions_that_the_template_gives_it_to() {
        for (program, variable, expected) in [
            ("webhook", "SECRET_ID", true),
            ("webhook", "QUEUE_URL", true),
            ("webhook", "TABLE_NAME", false),
            ("setup", "WEBHOOK_URL", true),
            ("follow-ups", "WEBHOOK_URL", false),
            ("follow-ups", "AWS_ENDPOINT_URL", true),
        ] {
            assert_eq!(may_have(program, variable), expected, "{program} {variable}");
        }
    }
}
