//! How transcripts are played and compared.

use std::fs;

use messenger::chat::transcript::{Mark, Report};
use messenger::chat::{Chat, play_folder};

use super::bots::{answering, obedient, settings, with_fallback};
use super::failure;

fn play(text: &str) -> Report {
    Chat::with(obedient()).play(text).unwrap()
}

/// What is wrong with a transcript, in the marks of a report.
fn differences(text: &str) -> Vec<String> {
    let report = play(text);
    let refused = report.refused.iter().map(|(number, why)| format!("line {number}: {why}"));
    let lines = report.played.iter().flat_map(|played| &played.lines);
    let different = lines.filter_map(|(mark, line)| match mark {
        Mark::Same => None,
        Mark::Missing => Some(format!("- {line}")),
        Mark::Unexpected => Some(format!("+ {line}")),
    });
    let different: Vec<_> = different.chain(refused).collect();
    assert_eq!(different.is_empty(), report.is_as_written());
    different
}

#[test]
fn what_leaves_is_exactly_what_is_written() {
    for (text, expected) in [
        ("guest> Hi\n< RESPONSE 1: Hi", &[][..]),
        ("guest> Hi\n< RESPONSE 1:*", &[]),
        ("guest> Hi\n< RESPONSE *", &[]),
        ("guest> Hi\n< guest RESPONSE 1: Hi", &[]),
        ("guest> Hi\n< anything", &[]),
        ("guest> Hi", &["+ < RESPONSE 1: Hi"]),
        ("guest> Hi\n< UPDATE 1: Hi", &["- < UPDATE 1: Hi", "+ < RESPONSE 1: Hi"]),
        ("guest> Hi\n< other RESPONSE *", &["- < other RESPONSE *", "+ < RESPONSE 1: Hi"]),
        ("guest> choose\n< RESPONSE Which? [Red | Blue]\n< RESPONSE Or*", &[]),
        ("guest> choose\n< RESPONSE Or*\n< anything", &[]),
        ("guest> choose\n< RESPONSE Or*", &["+ < RESPONSE Which? [Red | Blue]"]),
        (
            "guest> choose\n< RESPONSE Or*\n< RESPONSE Which*",
            &["- < RESPONSE Or*", "+ < RESPONSE Or [More | The site]"],
        ),
        ("guest> Hi\n< RESPONSE No\n< anything", &["- < RESPONSE No", "+ < RESPONSE 1: Hi"]),
        ("guest> a\\nb \\\\ c\n< RESPONSE 1: a\\nb \\\\ c", &[]),
        ("guest> \\[a]\n< RESPONSE 1: [a]", &[]),
    ] {
        assert_eq!(differences(text), expected, "{text}");
    }
}

#[test]
fn each_act_has_its_event() {
    for (act, answer) in [
        ("[Get Started]", "1: GET_STARTED"),
        ("(image)", "1: an image"),
        ("(link m.me?ref=sale)", "by sale"),
        ("(comment \"How much?\")", "in private: How much?"),
        ("(raw {\"message\":{\"mid\":\"a\",\"text\":\"b\"}})", "1: b"),
    ] {
        for at in ["page 2", "instagram"] {
            if (act, at) == ("[Get Started]", "instagram") {
                continue;
            }
            let text = format!("guest: {at}\nguest> {act}\n< RESPONSE {answer}");
            assert_eq!(differences(&text), [""; 0], "{text}");
        }
    }
    assert_eq!(
        differences("guest> a\n< anything\nguest> (unsend)\n< RESPONSE taken back"),
        [""; 0]
    );
    let no = |act| differences(&format!("guest> {act}"));
    assert_eq!(no("(unsend)"), ["line 1: there is no message to take back"]);
    assert_eq!(no("(reaction love)"), ["line 1: there is no message to react to"]);
    assert!(no("[Red]")[0].starts_with("line 1: [Red] is not on the screen"));
}

#[test]
fn what_waits_is_listed_in_its_order() {
    let text = |lines: &str| format!("guest> remind\n< anything\n+ 10m\nother> remind\n{lines}");
    let after = |lines: &str| differences(&text(&format!("< RESPONSE I will\n{lines}")));
    assert_eq!(after(""), [""; 0]);
    assert_eq!(after("~ guest waiting +50m UPDATE N*\n~ waiting +1h UPDATE Now"), [""; 0]);
    assert_eq!(after("~ waiting +1h UPDATE Now"), ["+ ~ guest waiting +50m UPDATE Now"]);
    assert_eq!(
        after("~ nothing"),
        ["- ~ nothing", "+ ~ guest waiting +50m UPDATE Now", "+ ~ waiting +1h UPDATE Now"]
    );
    assert_eq!(after("+ 1h\n< guest UPDATE Now\n< UPDATE Now\n~ nothing"), [""; 0]);
}

#[test]
fn what_must_hold_is_measured() {
    let after = |lines: &str| differences(&format!("guest> be quiet\n< anything\n{lines}"));
    assert_eq!(after("? state 1\n? quiet 2h"), [""; 0]);
    assert_eq!(after("? other state null\n? other quiet 0s"), [""; 0]);
    assert_eq!(after("+ 30m\n? quiet 1h30m"), [""; 0]);
    assert_eq!(after("? state 2"), ["- ? state 2", "+ ? state 1"]);
    assert_eq!(after("? quiet 1h"), ["- ? quiet 1h", "+ ? quiet 2h"]);
    assert_eq!(after("? guest quiet 0s"), ["- ? guest quiet 0s", "+ ? guest quiet 2h"]);
}

#[test]
fn people_of_the_business_write_to_whoever_acted_last() {
    let text = "guest> a\n< anything\nother> b\n< anything\n@desk> c\n< RESPONSE c\n? quiet 12h\n\
                ? guest quiet 0s\n@inbox to guest> d\n? guest quiet 12h\n@inbox to guest> (returns control)\n\
                ? guest quiet 0s";
    assert_eq!(differences(text), [""; 0]);
}

#[test]
fn time_passes_to_where_it_is_told() {
    let text = "= 2026-11-22 09:00\nguest> remind\n< anything\n+ due\n< UPDATE Now\n+ to 2026-11-22 10:30\n\
                guest> be quiet\n< anything\n+ to 2026-11-22 11:30\n? quiet 1h\n+ edge guest 24h -1m\n@desk> in time\n\
                < RESPONSE in time\n+ 1s\n@desk> late\n< MESSAGE_TAG HUMAN_AGENT late";
    assert_eq!(differences(text), [""; 0]);
    let text = "= 2026-11-22 09:00\nguest> a\n< anything\nguest> (raw {\"timestamp\":1795334400000,\"message\":\
                {\"mid\":\"late\",\"text\":\"b\"}})\n< anything\n+ to 2026-11-23 08:58\n@desk> in time\n< RESPONSE in time";
    assert_eq!(differences(text), [""; 0], "what comes late does not shorten the window");
    assert_eq!(differences("+ due"), ["line 1: nothing is waiting"]);
    let back = differences("= 2026-11-22 09:00\n+ to 2026-11-22 08:59");
    assert_eq!(back, ["line 2: it is 2026-11-22T09:00:00Z already"]);
    assert_eq!(differences("+ edge guest 24h"), ["line 1: guest has not opened a window"]);
}

#[test]
fn services_fail_as_they_are_told() {
    let play = |text: &str| {
        let mut chat = Chat::built(settings(), with_fallback).world("llm", answering);
        chat.play(text).unwrap()
    };
    for outage in ["busy 5", "lost 5", "unreachable 11"] {
        let text = format!("! service llm {outage}\nguest> Hi\n< RESPONSE as nobody");
        assert!(play(&text).is_as_written(), "{}", play(&text));
    }
    for outage in ["busy 6", "lost 6", "unreachable 12"] {
        let text =
            format!("! service llm {outage}\nguest> Hi\n< RESPONSE Please try again later (llm)");
        assert!(play(&text).is_as_written(), "{}", play(&text));
    }
    // A success gives the patience back.
    let text = "! service llm busy 5\nguest> Hi\n< RESPONSE as nobody\n".repeat(2);
    assert!(play(&text).is_as_written(), "{}", play(&text));
    let text = "! service llm busy 9\n! off\nguest> Hi\n< RESPONSE as nobody";
    assert!(play(text).is_as_written(), "{}", play(text));
}

#[test]
fn what_only_the_full_platform_can_do_is_refused_with_a_sentence() {
    for (line, why) in [
        ("! graph lost_answer guest", "there is no Graph in memory"),
        ("! deliver twice", "there is no queue in memory"),
        ("? writes <= 8", "there is no table in memory"),
        ("? dead letters 0", "there is no dead-letter queue in memory"),
    ] {
        let text = format!("# Title\nguest> Hi\n< anything\n{line}\nguest> no more");
        let report = play(&text);
        let (number, refused) = report.refused.clone().unwrap();
        assert!(refused.0.starts_with(why), "{refused}");
        assert!(refused.0.ends_with("only the full platform can do this"), "{refused}");
        assert!(number == 4 || line.starts_with('?') && number == 2, "{number}");
        assert!(!report.is_as_written() && report.played.len() < 2);
        assert_eq!(report.accepted, text + "\n");
    }
}

#[test]
fn what_is_accepted_changes_only_what_happened_otherwise() {
    let text = "# Title\n= 2026-11-22 09:00\n\nguest>   choose\n# why\n< RESPONSE Which*\n< RESPONSE No\n\n\
                ? state 7\n? quiet 0s\n+ 60m\nguest> remind\n~ nothing\n< RESPONSE I w*\n+ due\n";
    let accepted = "# Title\n= 2026-11-22 09:00\n\nguest>   choose\n# why\n< RESPONSE Which*\n\
                    < RESPONSE Or [More | The site]\n\n? state 1\n? quiet 0s\n+ 60m\nguest> remind\n\
                    ~ waiting +1h UPDATE Now\n< RESPONSE I w*\n+ due\n< UPDATE Now\n";
    assert_eq!(play(text).accepted, accepted);
    assert!(play(accepted).is_as_written());
    assert_eq!(play(accepted).accepted, accepted);
    let open = "guest> choose\n< anything\n< RESPONSE Or*\n";
    assert_eq!(play(open).accepted, open);
}

#[test]
fn a_report_shows_the_conversation_and_what_differs() {
    let report =
        play("# Title\nguest> Hi\n< RESPONSE Bye\nguest> Hi\n< RESPONSE 2:*\n! deliver twice");
    assert_eq!(
        report.to_string(),
        "Title\n  guest> Hi\n- < RESPONSE Bye\n+ < RESPONSE 1: Hi\n  guest> Hi\n  < RESPONSE 2:*\n\
         line 6: there is no queue in memory that could deliver otherwise; only the full platform can do this\n"
    );
}

#[test]
fn a_folder_is_played_file_by_file() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("scenarios");
    let _ = fs::remove_dir_all(&folder);
    let play = || play_folder(&folder, || Chat::with(obedient()));
    assert!(failure(play).contains("scenarios: "));
    fs::create_dir_all(&folder).unwrap();
    assert!(failure(play).contains("no .chat file"));
    fs::write(folder.join("a.chat"), "guest> Hi\n< RESPONSE 1: Hi\n").unwrap();
    fs::write(folder.join("b.txt"), "not one of them").unwrap();
    play();
    fs::write(folder.join("b.chat"), "guest> Hi\n< RESPONSE 2: Hi\n").unwrap();
    fs::write(folder.join("c.chat"), "guest> Hi\n\nhm\n").unwrap();
    let told = failure(play);
    assert!(told.contains("b.chat: ") && told.contains("+ < RESPONSE 1: Hi"), "{told}");
    assert!(told.contains("c.chat, line 3 is not understood: hm"), "{told}");
    assert!(!told.contains("a.chat"), "{told}");
}
