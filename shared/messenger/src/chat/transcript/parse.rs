//! Reads the lines of a transcript.

use super::line::{LABELS, Line, ending, label_text};
use super::span::{read_instant, read_span};
use super::step::{
    Account, Act, Check, Delivery, Desk, Fault, GraphFault, Happening, Outage, Passing, StaffAct,
    Step, Waiting, What,
};
use crate::event::Platform;
use crate::window::Label;

/// The forms of each kind of line, for whoever wrote another one.
const FORMS: &str = "a line begins with `#`, `=`, `name>`, `@name>`, `@inbox>`, `+`, `!`, `<`, `x`, `~` or `?`, or is \
                     `name: instagram` or `name: page 2`";
const START: &str = "after `=` comes an instant in UTC such as 2026-11-22 09:00";
const ACT: &str = "after `name>` comes a text, `[Title]`, (quickly \"one\" \"two\"), (image), (reaction love), (unsend), (link m.me?ref=x), \
                   (comment \"How much?\") or (raw {…}); a text that begins with a bracket needs a backslash before it";
const STAFF: &str = "`@name> text` is written through the API, `@inbox> text` in the Page's inbox, `@name to guest> \
                     text` to somebody else than who acted last, `@name> (raw {…})` asks the API for something, and `@inbox> (returns control)` ends the bot's \
                     silence";
const PASSING: &str = "after `+` comes a span such as 90s, 10m, 25h or 7d; due; to 2026-11-25 09:00; or edge guest \
                       24h -1m";
const FAULT: &str = "after `!` comes service llm busy 2 (or lost, unreachable); off; graph lost_answer guest; graph \
                     error 190/463; deliver twice; deliver late 10m; deliver out of order; or deliver forged";
const SENT: &str = "after `<` comes RESPONSE, UPDATE, UTILITY or MESSAGE_TAG and a tag, and the text; (a sender \
                    action); (hands over: why); or anything";
const ENDED: &str = "after `x` comes refused, failed or cancelled, the reason, and the text";
const WAITS: &str =
    "after `~` comes waiting +1h UPDATE and the text, waiting +1h (timer key), or nothing";
const CHECK: &str = "after `?` comes state {…}, quiet 12h, quiet 0s, writes <= 8 or dead letters 0";

/// The words at the place of a name that mean something else.
const NO_NAMES: [&str; 8] =
    ["RESPONSE", "UPDATE", "UTILITY", "MESSAGE_TAG", "waiting", "refused", "failed", "cancelled"];

/// Reads a line.
///
/// # Errors
/// The forms that are allowed in its place.
pub(super) fn line(text: &str) -> Result<Line, &'static str> {
    let text = text.trim_end();
    let of = |sign: char| text.strip_prefix(sign).map(str::trim_start);
    if text.is_empty() {
        return Ok(Line::Blank);
    }
    if let Some(comment) = of('#') {
        return Ok(Line::Comment(comment.to_owned()));
    }
    if let Some(rest) = of('=') {
        return read_instant(rest).map(Line::Start).ok_or(START);
    }
    if let Some(rest) = of('+') {
        return passing(rest).map(|passing| Line::Step(Step::Time(passing))).ok_or(PASSING);
    }
    if let Some(rest) = of('!') {
        return fault(rest).map(|fault| Line::Step(Step::Fault(fault))).ok_or(FAULT);
    }
    if let Some(rest) = of('@') {
        return staff(rest).map(Line::Step).ok_or(STAFF);
    }
    if let Some(rest) = of('<') {
        return sent(rest).ok_or(SENT);
    }
    if let Some(rest) = text.strip_prefix("x ") {
        return ended(rest.trim_start()).ok_or(ENDED);
    }
    if let Some(rest) = of('~') {
        return waits(rest).ok_or(WAITS);
    }
    if let Some(rest) = of('?') {
        return must(rest).ok_or(CHECK);
    }
    if let Some((who, act)) = text.split_once('>').filter(|(who, _)| is_name(who)) {
        let act = self::act(act.trim_start()).ok_or(ACT)?;
        return Ok(Line::Step(Step::Person { who: who.to_owned(), act }));
    }
    person(text).ok_or(FORMS)
}

fn is_name(text: &str) -> bool {
    let is_of_name = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_');
    !text.is_empty() && text.chars().all(is_of_name) && !NO_NAMES.contains(&text)
}

/// A name and the rest, if one stands there and it is not one of these words.
fn name_first<'a>(text: &'a str, words: &[&str]) -> (Option<String>, &'a str) {
    match text.split_once(' ') {
        Some((who, rest)) if is_name(who) && !words.contains(&who) => {
            (Some(who.to_owned()), rest.trim_start())
        }
        _ => (None, text),
    }
}

fn person(text: &str) -> Option<Line> {
    let (who, account) = text.split_once(':').filter(|(who, _)| is_name(who))?;
    let (platform, page) = match account.split_whitespace().collect::<Vec<_>>()[..] {
        ["instagram"] => (Platform::Instagram, 1),
        ["instagram", page] => (Platform::Instagram, page.parse().ok()?),
        ["page", page] => (Platform::Messenger, page.parse().ok()?),
        _ => return None,
    };
    (page > 0).then(|| Line::Person(who.to_owned(), Account { platform, page }))
}

fn act(text: &str) -> Option<Act> {
    if let Some(title) = text.strip_prefix('[') {
        return title.strip_suffix(']').map(|title| Act::Taps(unescaped(title)));
    }
    let Some(form) = text.strip_prefix('(') else {
        return (!text.is_empty()).then(|| Act::Says(unescaped(text)));
    };
    let form = form.strip_suffix(')')?;
    let (word, rest) = form.split_once(' ').unwrap_or((form, ""));
    Some(match (word, rest.trim()) {
        ("image", "") => Act::SendsImage,
        ("unsend", "") => Act::Unsends,
        ("quickly", texts) => Act::Quickly(quoted(texts)?),
        ("reaction", reaction) if is_name(reaction) => Act::Reacts(reaction.to_owned()),
        ("link", link) => {
            let (_, reference) = link.split_once("?ref=")?;
            Act::FollowsLink(reference.to_owned())
        }
        ("comment", quoted) => {
            let said = quoted.strip_prefix('"')?.strip_suffix('"')?;
            Act::Comments(unescaped(said))
        }
        ("raw", json) => Act::Raw(serde_json::from_str(json).ok()?),
        _ => return None,
    })
}

/// One or more texts between quotation marks.
fn quoted(text: &str) -> Option<Vec<String>> {
    let (mut texts, mut rest) = (Vec::new(), text);
    while !rest.is_empty() || texts.is_empty() {
        let inside = rest.strip_prefix('"')?;
        let mut is_escaped = false;
        let end = inside.find(|c| {
            let is_end = c == '"' && !is_escaped;
            is_escaped = c == '\\' && !is_escaped;
            is_end
        })?;
        texts.push(Some(unescaped(&inside[..end])).filter(|text| !text.is_empty())?);
        rest = inside[end + 1..].trim_start();
    }
    Some(texts)
}

fn staff(text: &str) -> Option<Step> {
    let (desk, act) = text.split_once('>')?;
    let (desk, to) = match desk.split_once(" to ") {
        Some((desk, to)) => (desk, Some(to)),
        None => (desk, None),
    };
    if !is_name(desk) || to.is_some_and(|to| !is_name(to)) {
        return None;
    }
    let desk = if desk == "inbox" { Desk::Inbox } else { Desk::Api(desk.to_owned()) };
    let act = match act.trim_start() {
        "(returns control)" if desk == Desk::Inbox => StaffAct::ReturnsControl,
        raw if raw.starts_with("(raw ") && desk != Desk::Inbox => {
            let json = raw.strip_prefix("(raw ")?.strip_suffix(')')?;
            StaffAct::Asks(serde_json::from_str(json).ok()?)
        }
        act if act.is_empty() || act.starts_with(['(', '[']) => return None,
        text => StaffAct::Says(unescaped(text)),
    };
    Some(Step::Staff { desk, to: to.map(str::to_owned), act })
}

fn passing(text: &str) -> Option<Passing> {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    match (word, rest.trim()) {
        ("due", "") => Some(Passing::UntilDue),
        ("to", instant) => read_instant(instant).map(Passing::To),
        ("edge", edge) => {
            let (who, window, offset) = match edge.split_whitespace().collect::<Vec<_>>()[..] {
                [who, window] => (who, window, 0),
                [who, window, offset] => (who, window, signed(offset)?),
                _ => return None,
            };
            let window = read_span(window)?;
            is_name(who).then(|| Passing::Edge { who: who.to_owned(), window, offset })
        }
        (span, "") => read_span(span).map(Passing::For),
        _ => None,
    }
}

/// A span in milliseconds with a sign before it.
fn signed(text: &str) -> Option<i64> {
    let millis = |span: &str| i64::try_from(read_span(span)?.as_millis()).ok();
    match text.strip_prefix('-') {
        Some(span) => millis(span).map(|millis| -millis),
        None => millis(text.strip_prefix('+')?),
    }
}

fn fault(text: &str) -> Option<Fault> {
    let name = |word: &str| is_name(word).then(|| word.to_owned());
    Some(match text.split_whitespace().collect::<Vec<_>>()[..] {
        ["off"] => Fault::Off,
        ["service", service, outage, times] => {
            let outage = match outage {
                "busy" => Outage::Busy,
                "lost" => Outage::Lost,
                "unreachable" => Outage::Unreachable,
                _ => return None,
            };
            Fault::Service { name: name(service)?, outage, times: times.parse().ok()? }
        }
        ["graph", "lost_answer"] => Fault::Graph { fault: GraphFault::LostAnswer, who: None },
        ["graph", "lost_answer", who] => {
            Fault::Graph { fault: GraphFault::LostAnswer, who: Some(name(who)?) }
        }
        ["graph", "error", code] => Fault::Graph { fault: graph_error(code)?, who: None },
        ["graph", "error", code, who] => {
            Fault::Graph { fault: graph_error(code)?, who: Some(name(who)?) }
        }
        ["deliver", "twice"] => Fault::Deliver(Delivery::Twice),
        ["deliver", "late", span] => Fault::Deliver(Delivery::Late(read_span(span)?)),
        ["deliver", "out", "of", "order"] => Fault::Deliver(Delivery::OutOfOrder),
        ["deliver", "forged"] => Fault::Deliver(Delivery::Forged),
        _ => return None,
    })
}

fn graph_error(text: &str) -> Option<GraphFault> {
    let (code, subcode) = text.split_once('/').unwrap_or((text, "0"));
    Some(GraphFault::Error { code: code.parse().ok()?, subcode: subcode.parse().ok()? })
}

/// A label and the text after it.
fn labelled(text: &str) -> Option<(Label, &str)> {
    LABELS.into_iter().find_map(|label| {
        let rest = text.strip_prefix(label_text(label).as_str())?;
        (rest.is_empty() || rest.starts_with(' ')).then(|| (label, rest.trim_start()))
    })
}

/// A label and the text after it, or no label and a text in parentheses, which is none that is sent.
fn labelled_or_in_parentheses(text: &str) -> Option<(Option<Label>, &str)> {
    match labelled(text) {
        Some((label, text)) => Some((Some(label), text)),
        None => text.starts_with('(').then_some((None, text)),
    }
}

fn sent(text: &str) -> Option<Line> {
    if text == "anything" {
        return Some(Line::Anything);
    }
    let (who, text) = name_first(text, &[]);
    let (label, text) = labelled_or_in_parentheses(text)?;
    Some(Line::Happens(Happening { who, what: What::Sent { label, text: text.to_owned() } }))
}

fn ended(text: &str) -> Option<Line> {
    let (who, text) = name_first(text, &[]);
    let (word, rest) = text.split_once(' ')?;
    let ending = ending(word)?;
    let (reason, text) = rest.split_once(' ').unwrap_or((rest, ""));
    let (reason, text) = (reason.to_owned(), text.trim_start().to_owned());
    let what = What::Ended { ending, reason, text };
    Some(Line::Happens(Happening { who, what }))
}

fn waits(text: &str) -> Option<Line> {
    if text == "nothing" {
        return Some(Line::NothingWaits);
    }
    let (who, text) = name_first(text, &[]);
    let (due_in, text) = text.strip_prefix("waiting +")?.split_once(' ')?;
    let (label, text) = labelled_or_in_parentheses(text)?;
    Some(Line::Waits(Waiting { who, due_in: read_span(due_in)?, label, text: text.to_owned() }))
}

fn must(text: &str) -> Option<Line> {
    let (who, text) = name_first(text, &["state", "quiet", "writes", "dead"]);
    let (word, rest) = text.split_once(' ')?;
    let check = match (word, rest.trim()) {
        ("state", json) => Check::State(serde_json::from_str(json).ok()?),
        ("quiet", span) => Check::Quiet(read_span(span)?),
        ("writes", most) => Check::Writes(most.strip_prefix("<= ")?.parse().ok()?),
        ("dead", count) => Check::DeadLetters(count.strip_prefix("letters ")?.parse().ok()?),
        _ => return None,
    };
    Some(Line::Must { who, check })
}

/// The reverse of [`escaped`](super::line::escaped): a backslash stands for nothing before any other character.
fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        let meant = if c == '\\' { rest.next().unwrap_or('\\') } else { c };
        plain.push(match (c, meant) {
            ('\\', 'n') => '\n',
            ('\\', 'r') => '\r',
            _ => meant,
        });
    }
    plain
}
