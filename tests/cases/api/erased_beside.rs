//! An erasure side by side with what the person says once its mark is there: that is new, and stays.

use std::sync::Arc;

use messenger::clock::SharedClock;
use simulator::functions::Functions;

use super::erased_midway::{beside, promising};
use super::midway::{process, request, take_turns};
use super::*;

const PROCESSING: u64 = 1;
const ERASURE: u64 = 2;

fn eraser(platform: &Platform) -> Functions {
    let clock: SharedClock = Arc::clone(&platform.clock) as _;
    platform.instance(ERASURE, &clock).unwrap()
}

/// How many calls an erasure makes beside which nothing happens.
async fn calls_of_an_erasure() -> usize {
    let platform = promising().await;
    platform.deliver(&platform.meta.person_says(PAGE, PSID, "hello")).await;
    platform.clock.forward(MINUTE);
    let eraser = eraser(&platform);
    let erasure = request(&platform, &eraser, "api/erase-person", None);
    take_turns(&platform, [Box::pin(async {}), Box::pin(erasure)], &[]).await.calls.len()
}

#[tokio::test]
async fn what_a_person_says_once_the_mark_is_there_is_answered_once() {
    // Its last call looks for an event that is being decided.
    let before_the_last = calls_of_an_erasure().await.checked_sub(1).unwrap();
    for recorded in 0.. {
        for decided in 0..5 {
            let platform = promising().await;
            platform.deliver(&platform.meta.person_says(PAGE, PSID, "hello")).await;
            platform.clock.forward(MINUTE);
            let eraser = eraser(&platform);
            let erasure = request(&platform, &eraser, "api/erase-person", None);
            let functions = beside(&platform);
            let processing = async {
                // It is said once the mark is there.
                platform.clock.forward(SECOND);
                platform.post(&platform.meta.person_says(PAGE, PSID, "again")).await;
                process(&platform, &functions).await;
            };
            let turns = [
                (ERASURE, before_the_last),
                (PROCESSING, recorded),
                (ERASURE, 1),
                (PROCESSING, decided),
            ];
            let turns =
                take_turns(&platform, [Box::pin(processing), Box::pin(erasure)], &turns).await;
            platform.advance(12 * MINUTE).await;
            let when = format!("after {recorded} and {decided} calls");
            assert_eq!(delivered(&platform, PSID), ["RESPONSE hi", "RESPONSE hi"], "{when}");
            let conversation = conversation(&platform, PSID).await;
            assert_eq!(conversation["state_revision"], 1, "{when}");
            platform.advance(3 * HOUR).await;
            let all = ["RESPONSE hi", "RESPONSE hi", "UPDATE later", "UPDATE later"];
            assert_eq!(delivered(&platform, PSID), all, "{when}");
            assert_eq!(ends(&platform, PSID).await, ["sent"; 3], "{when}");
            if decided == 0 && !turns.was_midway {
                return assert!(recorded > 8, "an event takes {recorded} calls");
            }
        }
    }
}
