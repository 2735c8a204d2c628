//! What happens while a function is initialised.

use std::sync::Arc;
use std::time::Duration;

use backend::runtime::Environment;
use backend::secrets::Secrets;
use event_processor::{Processor, Threads};
use messenger::bot::{plain, shared};
use messenger::clock::SharedClock;
use simulator::clock::VirtualClock;
use simulator::platform::Platform;
use webhook::Webhook;

use crate::support::*;

/// An environment whose calls to AWS have no limit of time, and whose functions give up soon.
fn patient_with_aws(platform: &Platform) -> Environment {
    let mut environment = platform.containers().environment();
    environment.aws = environment.aws.without_timeouts();
    let id = environment.variables.required("SECRET_ID");
    let clock = Arc::clone(&environment.clock);
    let secrets = Secrets::new(environment.aws.secrets_manager(), id, clock);
    environment.secrets = Arc::new(secrets);
    environment.warm_up_timeout = Duration::from_millis(50);
    environment
}

#[tokio::test]
async fn a_silent_aws_does_not_hold_up_the_start() {
    for silent in ["GetSecretValue", "GetItem"] {
        let platform = platform().await;
        platform.gate.crash_at_each(move |call| call.target.ends_with(silent));
        let environment = patient_with_aws(&platform);
        let bot = shared(plain(booking::reply));
        let driver = Arc::new(Threads::default());
        let processor = environment.build(|it| Processor::new(it, bot, driver)).unwrap();
        let webhook = environment.build(Webhook::new).unwrap();
        let starts = async {
            processor.warm_up().await;
            webhook.warm_up().await;
        };
        // Without the limit this would never end.
        tokio::time::timeout(MINUTE, starts).await.expect(silent);
    }
}

#[tokio::test]
async fn the_table_is_connected_to_while_the_secret_is_read() {
    let platform = platform().await;
    let clock: SharedClock = Arc::<VirtualClock>::clone(&platform.clock);
    let functions = platform.instance(1, &clock).unwrap();
    platform.gate.close();
    let both_are_asked = async {
        while platform.gate.held_count() < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = both_are_asked => {}
        () = functions.processor.warm_up() => panic!("one waits for the other"),
    }
}
