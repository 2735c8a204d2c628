//! Plays a transcript on whatever carries conversations, and compares.

use std::fmt;

use super::compare::{Compared, compare, fits};
use super::line::Line;
use super::step::{Account, Check, Happening, Step, Waiting};
use super::{Misread, Transcript};
use crate::clock::Timestamp;

/// Who talks if a transcript names nobody.
pub const SOMEBODY: &str = "guest";

/// What a transcript says before its first step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scene {
    /// Who takes part; without an account, where the driver likes.
    pub people: Vec<(String, Option<Account>)>,
    /// Where the clock stands, if the transcript says so.
    pub start: Option<Timestamp>,
}

/// Why a step cannot be played, as one sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// What carries conversations: the test kit in memory, or the real functions on a platform.
///
/// Its methods are async for the sake of the latter. What they return is in the order in which it happened, and always
/// names the person.
#[expect(async_fn_in_trait, reason = "whoever plays a transcript awaits it where it is")]
pub trait Driver {
    /// Sets the scene, before the first step.
    ///
    /// # Errors
    /// [`Refused`] if there cannot be such people or such a clock.
    async fn begin(&mut self, scene: &Scene) -> Result<(), Refused>;

    /// Does a step and everything that follows from it: what left, and what ended without having left.
    ///
    /// # Errors
    /// [`Refused`] if it cannot be done.
    async fn act(&mut self, step: &Step) -> Result<Vec<Happening>, Refused>;

    /// What waits, in the order in which it is due.
    ///
    /// # Errors
    /// [`Refused`] if that cannot be known.
    async fn waiting(&mut self) -> Result<Vec<Waiting>, Refused>;

    /// How something is that must hold: the same kind of check with what it really is.
    ///
    /// # Errors
    /// [`Refused`] if that cannot be known.
    async fn measure(&mut self, who: &str, check: &Check) -> Result<Check, Refused>;
}

/// How a line fared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// It is written, and it happened.
    Same,
    /// It is written, and it did not happen.
    Missing,
    /// It happened, and it is not written.
    Unexpected,
}

/// What came of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Played {
    /// The step's line, from 1.
    pub number: usize,
    /// The step, as it is written.
    pub step: String,
    /// What is written after it, and what happened.
    pub lines: Vec<(Mark, String)>,
}

/// What came of a transcript.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The transcript's title; empty if it has none.
    pub title: String,
    /// The steps that were played.
    pub played: Vec<Played>,
    /// The line at which the play ended because it could not go on, and why.
    pub refused: Option<(usize, Refused)>,
    /// The transcript as it would be accepted: what is written, but for what happened otherwise. From a refused line
    /// on it is as written.
    pub accepted: String,
}

impl Report {
    /// Whether everything happened as it is written.
    pub fn is_as_written(&self) -> bool {
        let mut lines = self.played.iter().flat_map(|played| &played.lines);
        self.refused.is_none() && lines.all(|(mark, _)| *mark == Mark::Same)
    }
}

impl fmt::Display for Report {
    /// Writes the conversation; `-` marks what is written and did not happen, `+` what happened and is not written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.title.is_empty() {
            writeln!(f, "{}", self.title)?;
        }
        for Played { step, lines, .. } in &self.played {
            writeln!(f, "  {step}")?;
            for (mark, line) in lines {
                let sign = match mark {
                    Mark::Same => ' ',
                    Mark::Missing => '-',
                    Mark::Unexpected => '+',
                };
                writeln!(f, "{sign} {line}")?;
            }
        }
        self.refused.as_ref().map_or(Ok(()), |(number, why)| writeln!(f, "line {number}: {why}"))
    }
}

/// Plays a transcript.
///
/// # Errors
/// [`Misread`] if a line is not understood; nothing is played then.
pub async fn play(text: &str, driver: &mut impl Driver) -> Result<Report, Misread> {
    let transcript: Transcript = text.parse()?;
    let title = transcript.title().unwrap_or_default().to_owned();
    let named = transcript.people();
    let people: Vec<_> = named.into_iter().map(|(who, at)| (who.to_owned(), at)).collect();
    let mut current = people.first().map_or(SOMEBODY, |(who, _)| who).to_owned();
    let mut report = Report { title, played: Vec::new(), refused: None, accepted: String::new() };
    let mut accepted = Vec::new();
    let lines = &transcript.lines[..];
    let is_step = |(_, line): &(String, Line)| matches!(line, Line::Step(_));
    let mut at = lines.iter().position(is_step).unwrap_or(lines.len());
    accepted.extend(lines[..at].iter().map(|(text, _)| text.clone()));
    let scene = Scene { people, start: transcript.start() };
    report.refused = driver.begin(&scene).await.err().map(|why| (1, why));
    while at < lines.len() && report.refused.is_none() {
        let length = lines[at + 1..].iter().position(is_step).unwrap_or(lines.len() - at - 1);
        let block = Block { number: at + 1, lines: &lines[at..=at + length] };
        match block.play(&mut current, driver).await {
            Ok((played, text)) => {
                report.played.push(played);
                accepted.extend(text);
            }
            Err(why) => {
                report.refused = Some((block.number, why));
                break;
            }
        }
        at += length + 1;
    }
    accepted.extend(lines[at..].iter().map(|(text, _)| text.clone()));
    report.accepted = accepted.into_iter().map(|line| line + "\n").collect();
    Ok(report)
}

/// A step, and what is written after it.
struct Block<'a> {
    /// The line of the step.
    number: usize,
    lines: &'a [(String, Line)],
}

/// Lines of one kind, and what they come to.
#[derive(Default)]
struct Judged {
    /// Which of the block's lines it is about.
    about: Vec<usize>,
    lines: Vec<(Mark, String)>,
    /// What they are to be instead.
    instead: Option<Vec<String>>,
}

impl Block<'_> {
    /// Plays it: what came of it, and its lines as they would be accepted.
    async fn play(
        &self,
        current: &mut String,
        driver: &mut impl Driver,
    ) -> Result<(Played, Vec<String>), Refused> {
        let (text, Line::Step(step)) = &self.lines[0] else {
            return Err(Refused("a block begins with a step".to_owned()));
        };
        if let Step::Person { who, .. } = step {
            current.clone_from(who);
        }
        let short = |who: Option<String>| who.filter(|who| who != current);
        let happened = driver.act(&step.clone().about(current)).await?;
        let happened = happened.into_iter().map(|Happening { who, what }| {
            Line::Happens(Happening { who: short(who), what }).to_string()
        });
        let happened: Vec<_> = happened.collect();
        let mut judged =
            vec![self.judge(current, &happened, |line| {
                matches!(line, Line::Happens(_) | Line::Anything)
            })];
        let is_waiting = |line: &Line| matches!(line, Line::Waits(_) | Line::NothingWaits);
        if self.lines.iter().any(|(_, line)| is_waiting(line)) {
            let waiting = driver.waiting().await?.into_iter().map(|waiting| {
                Line::Waits(Waiting { who: short(waiting.who.clone()), ..waiting }).to_string()
            });
            let mut waiting: Vec<_> = waiting.collect();
            if waiting.is_empty() {
                waiting.push(Line::NothingWaits.to_string());
            }
            judged.push(self.judge(current, &waiting, is_waiting));
        }
        for (index, (text, line)) in self.lines.iter().enumerate() {
            let Line::Must { who, check } = line else { continue };
            let whose = who.as_ref().unwrap_or(current);
            let found = driver.measure(whose, check).await?;
            let mut lines = vec![(Mark::Same, text.clone())];
            let mut instead = None;
            if !check.holds(&found) {
                let found = Line::Must { who: who.clone(), check: found }.to_string();
                lines[0].0 = Mark::Missing;
                lines.push((Mark::Unexpected, found.clone()));
                instead = Some(vec![found]);
            }
            judged.push(Judged { about: vec![index], lines, instead });
        }
        let accepted = self.accepted(&judged);
        let lines = judged.into_iter().flat_map(|judged| judged.lines).collect();
        Ok((Played { number: self.number, step: text.clone(), lines }, accepted))
    }

    /// Compares the lines of one kind with those that happened.
    fn judge(&self, current: &str, happened: &[String], is_kind: impl Fn(&Line) -> bool) -> Judged {
        let of_kind = self.lines.iter().enumerate().filter(|(_, (_, line))| is_kind(line));
        let about: Vec<_> = of_kind.map(|(index, _)| index).collect();
        let line = |index: &usize| &self.lines[*index];
        let is_open = about.iter().any(|index| line(index).1 == Line::Anything);
        let written = about.iter().filter(|index| line(index).1 != Line::Anything);
        let written: Vec<_> = written.map(line).collect();
        let patterns: Vec<_> = written.iter().map(|(_, line)| pattern(line, current)).collect();
        let compared =
            compare(written.len(), happened.len(), |w, h| fits(&patterns[w], &happened[h]));
        let is_same = compared.iter().all(|line| match line {
            Compared::Both(_) => true,
            Compared::Written(_) => false,
            Compared::Happened(_) => is_open,
        });
        let marked = |line: &Compared| match *line {
            Compared::Both(w) => (Mark::Same, written[w].0.clone()),
            Compared::Written(w) => (Mark::Missing, written[w].0.clone()),
            Compared::Happened(h) if is_open && is_same => (Mark::Same, happened[h].clone()),
            Compared::Happened(h) => (Mark::Unexpected, happened[h].clone()),
        };
        let lines: Vec<_> = compared.iter().map(marked).collect();
        let left = lines.iter().filter(|(mark, _)| *mark != Mark::Missing);
        let instead = (!is_same).then(|| left.map(|(_, text)| text.clone()).collect());
        Judged { about, lines, instead }
    }

    /// The lines, with what happened in the place of what is written otherwise.
    fn accepted(&self, judged: &[Judged]) -> Vec<String> {
        let mut accepted = Vec::new();
        for (index, (text, _)) in self.lines.iter().enumerate() {
            let changed = judged.iter().filter(|judged| judged.instead.is_some());
            let mut changed = changed.clone().filter(|judged| judged.about.contains(&index));
            match changed.next() {
                None => accepted.push(text.clone()),
                Some(Judged { about, instead, .. }) if about.first() == Some(&index) => {
                    accepted.extend(instead.iter().flatten().cloned());
                }
                Some(_) => {}
            }
            if index == 0 {
                let new = judged.iter().filter(|judged| judged.about.is_empty());
                accepted.extend(new.filter_map(|judged| judged.instead.clone()).flatten());
            }
        }
        accepted
    }
}

/// A line as a pattern for what happens, without the name of whoever acted last.
fn pattern(line: &Line, current: &str) -> String {
    let mut line = line.clone();
    match &mut line {
        Line::Happens(Happening { who, .. }) | Line::Waits(Waiting { who, .. })
            if who.as_deref() == Some(current) =>
        {
            *who = None;
        }
        _ => {}
    }
    line.to_string()
}
