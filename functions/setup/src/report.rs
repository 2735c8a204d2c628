//! A report: what was found or changed, and what somebody has to do.

use serde::Serialize;

/// How important a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// It works.
    Ok,
    /// It was just changed, and works.
    Changed,
    /// It works, and somebody should look at it.
    Warning,
    /// It does not work until somebody fixes it.
    Error,
    /// It may be intended.
    Note,
}

/// One finding of a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The subject: an application, a Page, the stack.
    pub about: String,
    /// How important it is.
    pub level: Level,
    /// What was found or changed.
    pub finding: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

/// A list of findings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The findings, in the order of the checks.
    pub findings: Vec<Finding>,
}

impl Report {
    pub(crate) fn ok(&mut self, about: &str, finding: impl Into<String>) {
        self.add(about, Level::Ok, finding.into(), None);
    }

    pub(crate) fn changed(&mut self, about: &str, finding: impl Into<String>) {
        self.add(about, Level::Changed, finding.into(), None);
    }

    pub(crate) fn warning(
        &mut self,
        about: &str,
        finding: impl Into<String>,
        fix: impl Into<String>,
    ) {
        self.add(about, Level::Warning, finding.into(), Some(fix.into()));
    }

    pub(crate) fn error(
        &mut self,
        about: &str,
        finding: impl Into<String>,
        fix: impl Into<String>,
    ) {
        self.add(about, Level::Error, finding.into(), Some(fix.into()));
    }

    pub(crate) fn note(&mut self, about: &str, finding: impl Into<String>, fix: impl Into<String>) {
        self.add(about, Level::Note, finding.into(), Some(fix.into()));
    }

    fn add(&mut self, about: &str, level: Level, finding: String, fix: Option<String>) {
        self.findings.push(Finding { about: about.to_owned(), level, finding, fix });
    }

    /// Whether there is no error.
    pub fn is_ok(&self) -> bool {
        self.findings.iter().all(|finding| finding.level != Level::Error)
    }

    /// The findings as lines of text, errors first, at most `bytes` long.
    pub fn in_short(&self, bytes: usize) -> String {
        let errors = self.findings.iter().filter(|finding| finding.level == Level::Error);
        let others = self.findings.iter().filter(|finding| finding.level != Level::Error);
        let mut text = String::new();
        for Finding { about, level, finding, fix } in errors.chain(others) {
            let fix = fix.as_ref().map(|fix| format!(" ({fix})")).unwrap_or_default();
            let line = format!("{level:?}: {about}: {finding}{fix}\n");
            if text.len() + line.len() > bytes.saturating_sub(MORE.len()) {
                text.push_str(MORE);
                break;
            }
            text.push_str(&line);
        }
        text.trim_end().to_owned()
    }
}

/// Replaces the lines that do not fit.
const MORE: &str = "… and more: invoke the setup function with {\"action\":\"status\"}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_short_errors_come_first_and_the_rest_as_far_as_it_fits() {
        let mut report = Report::default();
        report.ok("Page 1", "subscribed");
        report.error("Page 2", "no token", "add it");
        assert!(!report.is_ok());
        let whole = "Error: Page 2: no token (add it)\nOk: Page 1: subscribed";
        assert_eq!(report.in_short(2000), whole);
        for _ in 0..100 {
            report.ok("Page 3", "subscribed");
        }
        let short = report.in_short(1000);
        assert!(short.len() <= 1000 && short.starts_with("Error: Page 2"), "{short}");
        assert!(short.ends_with(MORE));
    }
}
