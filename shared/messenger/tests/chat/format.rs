//! How transcripts are read and written.

use messenger::chat::transcript::{Account, Line, Misread, Passing, Step, Transcript};
use messenger::event::Platform;

/// Each form, as it is written.
const FORMS: &str = r#"# A guest goes quiet
#
guest: instagram
other: page 2
third: instagram 3
= 2026-11-22 09:00

guest> BOOK
guest> x refused nothing here
guest> one\ntwo \\ three
guest> \[not a title]
guest> \(not a form)
guest> [A table]
guest> (quickly "one")
guest> (quickly "a \"table\"" "for \\ \n(two)")
guest> (image)
guest> (reaction love)
guest> (unsend)
guest> (link m.me?ref=summer_sale)
guest> (comment "How "much"?")
guest> (raw {"optin":{"ref":"a","user_ref":"b"}})
< RESPONSE What would you like to book? [A table | A room]
< UPDATE Are you still there?*
< UTILITY (template) order_shipped
< MESSAGE_TAG HUMAN_AGENT Shall we keep it?
< MESSAGE_TAG CUSTOMER_FEEDBACK (customer_feedback) Rate your visit
< MESSAGE_TAG ACCOUNT_UPDATE Changed
< guest RESPONSE Hello
< (typing_on)
< other (typing_on)
< (hands over: asked for a person)
< anything
x refused window_closed Your table is still free?*
x cancelled answered For which day*
x failed too_many_waiting Hello
x failed panic
x guest refused window_closed Hello
~ waiting +1h UPDATE Are you still there?*
~ other waiting +1h30m RESPONSE Hello
~ waiting +2h (timer remind)
~ other waiting +2h (timer remind)
~ nothing
+ 45s
+ 1h
+ 25h
+ 7d
+ due
+ to 2026-11-25 09:00:30
+ edge guest 24h
+ edge guest 24h -1m
+ edge guest 7d +1s
@front-desk> Shall we keep it?
@front-desk to guest> Shall we keep it?
@inbox> We are here
@inbox to guest> We are here
@inbox> (returns control)
! service llm busy 2
! service llm lost 1
! service llm unreachable 2
! off
! graph lost_answer
! graph lost_answer guest
! graph error 4
! graph error 190/463
! graph error 190/463 guest
! deliver twice
! deliver late 10m
! deliver out of order
! deliver forged
? state {"step":"idle"}
? state null
? guest state [1]
? quiet 12h
? quiet 0s
? guest quiet 12h
? writes <= 8
? dead letters 0
"#;

#[test]
fn each_form_is_written_as_it_is_read() {
    let transcript: Transcript = FORMS.parse().unwrap();
    assert_eq!(transcript.to_string(), FORMS);
    assert_eq!(transcript.to_string().parse(), Ok(transcript));
}

#[test]
fn other_ways_to_write_a_form_are_read() {
    for (given, written) in [
        ("guest>BOOK", "guest> BOOK"),
        ("#title", "# title"),
        ("+  48h", "+ 2d"),
        ("+ 90m", "+ 1h30m"),
        ("= 2026-11-22 09:00:00", "= 2026-11-22 09:00"),
        ("guest: page 1", "guest: page 1"),
        ("guest> (link https://m.me/shop?ref=a)", "guest> (link m.me?ref=a)"),
        ("guest> (raw {\"a\": 1})", "guest> (raw {\"a\":1})"),
        ("guest> [A table]  ", "guest> [A table]"),
    ] {
        let transcript: Transcript = given.parse().unwrap();
        assert_eq!(transcript.to_string().trim_end(), written);
    }
}

#[test]
fn each_error_names_its_line_and_the_forms_that_are_allowed() {
    for (line, allowed) in [
        ("hello", "a line begins with"),
        ("BOOK it", "a line begins with"),
        ("guest: whatsapp", "`name: instagram`"),
        ("guest: page 0", "`name: instagram`"),
        ("two words> hello", "a line begins with"),
        ("RESPONSE> hello", "a line begins with"),
        ("= 09:00", "after `=` comes an instant"),
        ("guest>", "after `name>` comes"),
        ("guest> [A table", "after `name>` comes"),
        ("guest> (picture)", "after `name>` comes"),
        ("guest> (reaction)", "after `name>` comes"),
        ("guest> (link summer)", "after `name>` comes"),
        ("guest> (comment How much?)", "after `name>` comes"),
        ("guest> (raw [1])", "after `name>` comes"),
        ("guest> (image", "after `name>` comes"),
        ("guest> (quickly)", "after `name>` comes"),
        ("guest> (quickly one two)", "after `name>` comes"),
        ("guest> (quickly \"one\" two)", "after `name>` comes"),
        ("guest> (quickly \"one)", "after `name>` comes"),
        ("guest> (quickly \"\")", "after `name>` comes"),
        ("@front-desk Hello", "`@name> text`"),
        ("@front-desk>", "`@name> text`"),
        ("@front-desk> (returns control)", "`@name> text`"),
        ("@front desk> Hello", "`@name> text`"),
        ("@inbox to two words> Hello", "`@name> text`"),
        ("+ soon", "after `+` comes"),
        ("+ 1", "after `+` comes"),
        ("+ 1h later", "after `+` comes"),
        ("+ to 09:00", "after `+` comes"),
        ("+ edge guest", "after `+` comes"),
        ("+ edge guest 24h 1m", "after `+` comes"),
        ("! graph slow", "after `!` comes"),
        ("! graph error many", "after `!` comes"),
        ("! service llm busy", "after `!` comes"),
        ("! service llm tired 2", "after `!` comes"),
        ("! deliver late", "after `!` comes"),
        ("! on", "after `!` comes"),
        ("< Hello", "after `<` comes"),
        ("< RESPONSES Hello", "after `<` comes"),
        ("< MESSAGE_TAG OTHER Hello", "after `<` comes"),
        ("x gone window_closed Hello", "after `x` comes"),
        ("x refused", "after `x` comes"),
        ("~ waiting 1h UPDATE Hello", "after `~` comes"),
        ("~ waiting +1h Hello", "after `~` comes"),
        ("? state {", "after `?` comes"),
        ("? quiet long", "after `?` comes"),
        ("? writes 8", "after `?` comes"),
        ("? dead letters none", "after `?` comes"),
        ("? mood good", "after `?` comes"),
    ] {
        let text = format!("# Title\nguest> Hello\n{line}\n");
        let misread = text.parse::<Transcript>().unwrap_err();
        assert_eq!((misread.number, misread.text.as_str()), (3, line));
        assert!(misread.allowed.contains(allowed), "{line}: {}", misread.allowed);
        assert!(misread.to_string().starts_with("line 3 is not understood: "), "{misread}");
    }
}

#[test]
fn what_stands_at_the_wrong_place_is_an_error() {
    for (text, number, allowed) in [
        ("< RESPONSE Hello", 1, "after the step"),
        ("# Title\n\n? quiet 12h\nguest> Hello", 3, "after the step"),
        ("~ nothing", 1, "after the step"),
        ("= 2026-11-22 09:00\n= 2026-11-23 09:00", 2, "once, at the start"),
        ("guest> Hello\n= 2026-11-22 09:00", 2, "before the first step"),
        ("guest> Hello\nguest: instagram", 2, "before the first step"),
    ] {
        let Misread { number: found, allowed: told, .. } = text.parse::<Transcript>().unwrap_err();
        assert_eq!(found, number, "{text}");
        assert!(told.contains(allowed), "{text}: {told}");
    }
}

#[test]
fn a_transcript_tells_its_title_its_start_and_its_people() {
    let transcript: Transcript = FORMS.parse().unwrap();
    assert_eq!(transcript.title(), Some("A guest goes quiet"));
    assert_eq!(transcript.start().unwrap().to_string(), "2026-11-22T09:00:00Z");
    let at = |platform, page| Some(Account { platform, page });
    let people = [
        ("guest", at(Platform::Instagram, 1)),
        ("other", at(Platform::Messenger, 2)),
        ("third", at(Platform::Instagram, 3)),
    ];
    assert_eq!(transcript.people(), people);
    let transcript: Transcript = "guest> a\n@inbox to other> b\n+ edge third 24h".parse().unwrap();
    assert_eq!(transcript.people(), [("guest", None), ("other", None), ("third", None)]);
    assert_eq!(transcript.title(), None);
    assert_eq!(transcript.lines().count(), 3);
}

#[test]
fn a_step_is_read_alone() {
    assert_eq!("+ due".parse(), Ok(Step::Time(Passing::UntilDue)));
    let misread = "< RESPONSE a".parse::<Step>().unwrap_err();
    assert!(misread.allowed.contains("a step begins with"));
    let line: Vec<_> = "# a".parse::<Transcript>().unwrap().lines().cloned().collect();
    assert_eq!(line, [Line::Comment("a".to_owned())]);
}
