//! A conversation in memory: what people do.
#![expect(
    clippy::return_self_not_must_use,
    reason = "where a chat is dropped the conversation ends"
)]

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use serde_json::Value;

use super::at_once::at_once;
use super::kit::{Kit, Said};
use super::transcript::{
    Account, Act, Check, Desk, Driver, Happening, Misread, Passing, Refused, Report, SOMEBODY,
    Scene, StaffAct, Step, Waiting, play,
};
use super::world::World;
use crate::bot::{Bot, NoAnswer, Setup, SetupError, SharedBot, State, shared};
use crate::clock::Timestamp;
use crate::event::Platform;

/// A conversation of one person with a bot, in memory.
///
/// It begins on 22 November 2026 at 09:00 UTC, on Messenger, with a person of whom nothing is known. What cannot be
/// done, and what was not expected, panics with the conversation so far.
pub struct Chat {
    kit: Kit,
    /// What happened and nobody has expected yet.
    pub(super) unseen: VecDeque<Said>,
    /// What was expected last.
    pub(super) seen: Option<Said>,
    /// The conversation so far, in the lines of a transcript.
    log: Vec<String>,
}

impl fmt::Debug for Chat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chat").field("log", &self.log).finish_non_exhaustive()
    }
}

/// What the conversation begins with.
impl Chat {
    /// A conversation with a bot.
    pub fn with(bot: impl Bot) -> Self {
        Self::of(shared(bot), Arc::default())
    }

    /// A conversation with a bot that is built from its settings, an object or `null`, as the event processor builds
    /// it. Its secrets are those of [`knowing`](Self::knowing), which it can read once it is asked.
    ///
    /// # Panics
    /// If it cannot be built, or waits for something real.
    pub fn built<B: Bot>(
        settings: Value,
        build: impl AsyncFnOnce(&Setup) -> Result<B, SetupError>,
    ) -> Self {
        let world = Arc::new(World::default());
        let setup = Setup::new(settings, Arc::clone(&world) as _);
        match at_once(build(&setup)) {
            Some(Ok(bot)) => Self::of(shared(bot), world),
            Some(Err(error)) => panic!("the bot cannot be built: {error}"),
            None => panic!("the bot cannot be built: it waits for something real"),
        }
    }

    fn of(bot: SharedBot, world: Arc<World>) -> Self {
        let kit = Kit::new(bot, world);
        Self { kit, unseen: VecDeque::new(), seen: None, log: Vec::new() }
    }

    /// Lets a service of this name answer; a bot that calls another one fails the test.
    pub fn world(
        self,
        service: &str,
        serve: impl FnMut(Request<Vec<u8>>) -> Result<Response<Vec<u8>>, NoAnswer> + Send + 'static,
    ) -> Self {
        self.kit.world.serve(service, serve);
        self
    }

    /// Puts a text into the part `bot` of the secret.
    pub fn knowing(self, name: &str, text: &str) -> Self {
        self.kit.world.know(name, text);
        self
    }

    /// Lets the bot remember this of the person, as if it had decided so.
    pub fn remembering<S: State>(mut self, state: &S) -> Self {
        let Ok(state) = serde_json::to_value(state) else {
            self.fail("the state cannot be serialized")
        };
        let conversation = &mut self.kit.person(SOMEBODY).conversation;
        conversation.state = state;
        conversation.state_version = S::VERSION;
        self
    }

    /// Moves the conversation to a platform.
    pub fn on(mut self, platform: Platform) -> Self {
        let account = Account { platform, ..self.kit.account };
        self.kit.account = account;
        self.kit.person(SOMEBODY).write_at(account);
        self
    }

    /// Sets the clock.
    pub fn at(mut self, instant: Timestamp) -> Self {
        self.kit.begin(&Scene { people: Vec::new(), start: Some(instant) });
        self
    }
}

/// What people do.
impl Chat {
    /// The person writes a text.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        self.person(Act::Says(text.to_owned()))
    }

    /// The person writes several texts, all of which have arrived before the bot is asked: one turn if it gathers them,
    /// else one each, in order.
    #[track_caller]
    pub fn quickly<'a>(self, texts: impl IntoIterator<Item = &'a str>) -> Self {
        self.person(Act::Quickly(texts.into_iter().map(str::to_owned).collect()))
    }

    /// The person presses the quick reply or the button with this title, which must be on the screen.
    ///
    /// On Messenger a new conversation has the button `Get Started`.
    #[track_caller]
    pub fn taps(self, title: &str) -> Self {
        self.person(Act::Taps(title.to_owned()))
    }

    /// The person sends an image.
    #[track_caller]
    pub fn sends_image(self) -> Self {
        self.person(Act::SendsImage)
    }

    /// The person reacts to the bot's newest message, by Meta's name of the reaction, such as `love`.
    #[track_caller]
    pub fn reacts(self, reaction: &str) -> Self {
        self.person(Act::Reacts(reaction.to_owned()))
    }

    /// The person comments on a post; what the bot answers is the private reply.
    #[track_caller]
    pub fn comments(self, text: &str) -> Self {
        self.person(Act::Comments(text.to_owned()))
    }

    /// A person of the business writes through the API, with purpose `human`; the bot is quiet after that.
    #[track_caller]
    pub fn agent_says(self, text: &str) -> Self {
        self.staff(Desk::Api("agent".to_owned()), StaffAct::Says(text.to_owned()))
    }

    /// A person of the business writes in the Page's inbox; the bot is quiet after that.
    #[track_caller]
    pub fn inbox_says(self, text: &str) -> Self {
        self.staff(Desk::Inbox, StaffAct::Says(text.to_owned()))
    }

    /// The Page's inbox gives the conversation back to the bot.
    #[track_caller]
    pub fn control_returns(self) -> Self {
        self.staff(Desk::Inbox, StaffAct::ReturnsControl)
    }

    /// Time passes; what falls due on the way leaves at its time.
    #[track_caller]
    pub fn after(self, span: Duration) -> Self {
        self.does(&Step::Time(Passing::For(span)))
    }

    /// The function dies after the bot decided about the last event and before that was written: the bot is asked
    /// again, and whatever it changes outside must have the `Idempotency-Key` of the first time. What it decides now is
    /// not looked at.
    #[track_caller]
    pub fn dies_before_writing(mut self) -> Self {
        if let Err(why) = self.kit.ask_again() {
            self.fail(&why.0);
        }
        self
    }

    #[track_caller]
    fn person(self, act: Act) -> Self {
        self.does(&Step::Person { who: SOMEBODY.to_owned(), act })
    }

    #[track_caller]
    fn staff(self, desk: Desk, act: StaffAct) -> Self {
        self.does(&Step::Staff { desk, to: None, act })
    }

    /// Does a step; what happens is for the expectations, but for what is none of the person's business.
    #[track_caller]
    fn does(mut self, step: &Step) -> Self {
        match self.act_and_log(step) {
            Ok(said) => {
                self.unseen.extend(said.into_iter().filter(|said| said.is_of_interest));
                self
            }
            Err(why) => self.fail(&why.0),
        }
    }
}

/// The conversation as a transcript.
impl Chat {
    /// Does a step of a transcript: what left, and what ended without having left. None of it needs to be expected.
    ///
    /// # Errors
    /// [`Refused`] if it cannot be done.
    pub fn act(&mut self, step: &Step) -> Result<Vec<Happening>, Refused> {
        let said = self.act_and_log(step)?;
        Ok(said.into_iter().map(|said| said.happening).collect())
    }

    /// Plays a transcript.
    ///
    /// # Errors
    /// [`Misread`] if a line is not understood.
    ///
    /// # Panics
    /// Never: nothing in memory needs to be waited for.
    #[expect(clippy::expect_used, reason = "nothing in memory needs to be waited for")]
    pub fn play(&mut self, text: &str) -> Result<Report, Misread> {
        at_once(play(text, self)).expect("nothing in memory needs to be waited for")
    }

    fn act_and_log(&mut self, step: &Step) -> Result<Vec<Said>, Refused> {
        self.log.push(step.to_string());
        let said = self.kit.act(step)?;
        self.log.extend(said.iter().map(|said| {
            let who = said.happening.who.clone().filter(|who| who != SOMEBODY);
            Happening { who, ..said.happening.clone() }.to_string()
        }));
        Ok(said)
    }

    /// How something is that is expected.
    pub(super) fn measured(&mut self, check: &Check) -> Result<Check, Refused> {
        self.kit.measure(SOMEBODY, check)
    }

    /// Ends the test.
    #[track_caller]
    pub(super) fn fail(&self, problem: &str) -> ! {
        panic!("{problem}\n\nThe conversation so far:\n{}\n", self.log.join("\n"))
    }
}

impl Driver for Chat {
    async fn begin(&mut self, scene: &Scene) -> Result<(), Refused> {
        self.kit.begin(scene);
        Ok(())
    }

    async fn act(&mut self, step: &Step) -> Result<Vec<Happening>, Refused> {
        Self::act(self, step)
    }

    async fn waiting(&mut self) -> Result<Vec<Waiting>, Refused> {
        Ok(self.kit.waiting())
    }

    async fn measure(&mut self, who: &str, check: &Check) -> Result<Check, Refused> {
        self.kit.measure(who, check)
    }
}
