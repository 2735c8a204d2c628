//! What was found, what was done, and what somebody has to do.

use serde::Serialize;

/// How something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is as it must be.
    Good,
    /// It is so since now.
    Done,
    /// It works, and somebody should look at it.
    Warning,
    /// It does not work until somebody mends it.
    Wrong,
    /// It is worth knowing, and may be as it must be.
    Note,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is about: an application, a Page, the stack.
    pub about: String,
    /// How it stands.
    pub state: State,
    /// What was found or done.
    pub finding: String,
    /// How to mend it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

/// A list of findings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// What was found, in the order in which it was looked at.
    pub findings: Vec<Finding>,
}

impl Report {
    pub(crate) fn good(&mut self, about: &str, finding: impl Into<String>) {
        self.add(about, State::Good, finding.into(), None);
    }

    pub(crate) fn done(&mut self, about: &str, finding: impl Into<String>) {
        self.add(about, State::Done, finding.into(), None);
    }

    pub(crate) fn warning(
        &mut self,
        about: &str,
        finding: impl Into<String>,
        mend: impl Into<String>,
    ) {
        self.add(about, State::Warning, finding.into(), Some(mend.into()));
    }

    pub(crate) fn wrong(
        &mut self,
        about: &str,
        finding: impl Into<String>,
        mend: impl Into<String>,
    ) {
        self.add(about, State::Wrong, finding.into(), Some(mend.into()));
    }

    pub(crate) fn note(
        &mut self,
        about: &str,
        finding: impl Into<String>,
        mend: impl Into<String>,
    ) {
        self.add(about, State::Note, finding.into(), Some(mend.into()));
    }

    fn add(&mut self, about: &str, state: State, finding: String, mend: Option<String>) {
        self.findings.push(Finding { about: about.to_owned(), state, finding, mend });
    }

    /// Whether nothing is wrong.
    pub fn is_ok(&self) -> bool {
        self.findings.iter().all(|finding| finding.state != State::Wrong)
    }

    /// The findings in a few lines, the wrong ones first, at most `bytes` long.
    pub fn in_short(&self, bytes: usize) -> String {
        let wrong = self.findings.iter().filter(|finding| finding.state == State::Wrong);
        let others = self.findings.iter().filter(|finding| finding.state != State::Wrong);
        let mut text = String::new();
        for Finding { about, state, finding, mend } in wrong.chain(others) {
            let mend = mend.as_ref().map(|mend| format!(" ({mend})")).unwrap_or_default();
            let line = format!("{state:?}: {about}: {finding}{mend}\n");
            if text.len() + line.len() > bytes.saturating_sub(MORE.len()) {
                text.push_str(MORE);
                break;
            }
            text.push_str(&line);
        }
        text.trim_end().to_owned()
    }
}

/// Stands for what has no room.
const MORE: &str = "… and more: invoke the setup function with {\"action\":\"status\"}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_short_the_wrong_comes_first_and_the_rest_as_far_as_there_is_room() {
        let mut report = Report::default();
        report.good("Page 1", "subscribed");
        report.wrong("Page 2", "no token", "fill it in");
        assert!(!report.is_ok());
        let whole = "Wrong: Page 2: no token (fill it in)\nGood: Page 1: subscribed";
        assert_eq!(report.in_short(2000), whole);
        for _ in 0..100 {
            report.good("Page 3", "subscribed");
        }
        let short = report.in_short(1000);
        assert!(short.len() <= 1000 && short.starts_with("Wrong: Page 2"), "{short}");
        assert!(short.ends_with(MORE));
    }
}
