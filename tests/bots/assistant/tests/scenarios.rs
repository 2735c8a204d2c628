//! The bot's conversations, with a stand-in for the model.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use assistant::bot;
use http::{Request, Response, StatusCode};
use messenger::bot::NoAnswer;
use messenger::chat::{Chat, play_folder};
use serde_json::{Value, json};

/// A model that does what the guest's newest message asks for.
///
/// `throttled` is answered at the third try, `recall` with all that the model sees; each answer costs 300 tokens.
fn model() -> impl FnMut(Request<Vec<u8>>) -> Result<Response<Vec<u8>>, NoAnswer> + Send {
    let mut throttled = 0;
    move |request| {
        assert_eq!(request.uri(), "https://llm.example/v1/chat/completions");
        assert_eq!(request.headers()["authorization"], "Bearer s3cret");
        let body: Value = serde_json::from_slice(request.body()).unwrap();
        assert_eq!(body["model"], "small");
        let messages = body["messages"].as_array().unwrap();
        let rules = messages[0]["content"].as_str().unwrap();
        assert!(rules.starts_with("You answer guests.\n") && rules.contains("UNSURE"), "{rules}");
        let said = |message: &Value| {
            let role = if message["role"] == "user" { "guest" } else { "you" };
            format!("{role}: {}", message["content"].as_str().unwrap())
        };
        let talk: Vec<_> = messages[1..].iter().map(said).collect();
        let newest = messages.last().unwrap()["content"].as_str().unwrap();
        let sentence = "There is much to say about this house. ";
        let content = match newest {
            "slow" => return Err(NoAnswer::Lost),
            "throttled" if throttled < 2 => {
                throttled += 1;
                let busy = Response::builder().status(StatusCode::TOO_MANY_REQUESTS);
                return Ok(busy.header("retry-after", "50").body(Vec::new()).unwrap());
            }
            "nonsense" => return Ok(Response::new(br#"{"choices": "?"}"#.to_vec())),
            "nothing" => return Ok(Response::new(br#"{"choices": []}"#.to_vec())),
            "refused" => {
                let refused = Response::builder().status(StatusCode::BAD_REQUEST);
                return Ok(refused.body(Vec::new()).unwrap());
            }
            "everything" => sentence.repeat(75),
            "a novel" => sentence.repeat(1000),
            "a refund" => "UNSURE: The guest wants a refund.".to_owned(),
            "a saga" => format!("UNSURE: {}", sentence.repeat(10)),
            "riddle" => "UNSURE".to_owned(),
            "recall" => talk.join(" / "),
            newest => format!("You said: {newest}"),
        };
        let message = json!({"role": "assistant", "content": content});
        let answer = json!({"choices": [{"message": message}], "usage": {"total_tokens": 300}});
        Ok(Response::new(answer.to_string().into_bytes()))
    }
}

fn chat() -> Chat {
    let settings = json!({
        "services": {"llm": {"url": "https://llm.example/v1"}},
        "model": "small", "instructions": "You answer guests.", "tokens_per_day": 900,
    });
    Chat::built(settings, bot).world("llm", model()).knowing("llm_key", "s3cret")
}

#[test]
fn the_scenarios_happen_as_they_are_written() {
    play_folder("scenarios", chat);
}

#[test]
fn a_model_that_does_not_say_what_it_costs_is_not_free() {
    let answer = json!({"choices": [{"message": {"content": "Yes"}}]}).to_string();
    let chat = chat().world("llm", move |_| Ok(Response::new(answer.clone().into_bytes())));
    chat.says("One").expect_exactly("Yes").says("Two").expect_text("all that I can answer today");
}

#[test]
fn a_bot_that_is_asked_again_asks_the_model_with_the_same_key() {
    chat().says("Hi").expect_text("Hi").dies_before_writing().expect_nothing();
}
