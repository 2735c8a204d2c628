//! The index of what is due, as it was some time ago.
//!
//! A global secondary index follows its table after a while: it still shows what is gone, and does not
//! show yet what is new. Its rows are noted as the table's answers tell them.

use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use backend::store::DUE_INDEX;
use messenger::clock::{Clock, Timestamp};
use serde_json::{Map, Value, json};

use crate::clock::VirtualClock;

/// A key of the table: partition and sort key.
type Key = (String, String);

/// A place in the index: partition and time.
type Place = (String, i64);

/// The index, behind its table by some time.
#[derive(Debug)]
pub struct LaggingIndex {
    clock: Arc<VirtualClock>,
    lag: Duration,
    rows: BTreeMap<Key, Place>,
    coming: VecDeque<(Timestamp, Key, Option<Place>)>,
}

impl LaggingIndex {
    /// An empty index that is behind by `lag`.
    pub fn new(clock: Arc<VirtualClock>, lag: Duration) -> Self {
        Self { clock, lag, rows: BTreeMap::new(), coming: VecDeque::new() }
    }

    /// Takes note of what a request that was carried out has written.
    ///
    /// An update tells what it wrote only if it asks for all of it, as each one of the store does.
    pub(crate) fn note(&mut self, request: &Value, answer: &Value) {
        let item =
            if request["Item"].is_object() { &request["Item"] } else { &answer["Attributes"] };
        let is_update = request["UpdateExpression"].is_string();
        if is_update || request["Item"].is_object() {
            let key = if is_update { &request["Key"] } else { item };
            self.put(key, item);
        } else if request["Key"].is_object() && request["ConsistentRead"].is_null() {
            self.put(&request["Key"], &Value::Null);
        }
        for table in request["RequestItems"].as_object().into_iter().flat_map(Map::values) {
            for write in table.as_array().into_iter().flatten() {
                self.put(&write["DeleteRequest"]["Key"], &Value::Null);
            }
        }
    }

    fn put(&mut self, key: &Value, item: &Value) {
        let text = |name: &str| key[name]["S"].as_str().map(str::to_owned);
        let (Some(pk), Some(sk)) = (text("pk"), text("sk")) else { return };
        let due_at = item["due_at"]["N"].as_str().and_then(|at| at.parse().ok());
        let place = item["due_page"]["S"].as_str().map(str::to_owned).zip(due_at);
        self.coming.push_back((self.clock.now() + self.lag, (pk, sk), place));
    }

    /// The answer to a query of the index; nothing for any other request.
    pub(crate) fn query(&mut self, request: &Value) -> Option<Value> {
        if request["IndexName"] != DUE_INDEX {
            return None;
        }
        self.catch_up();
        let values = request["ExpressionAttributeValues"].as_object()?;
        let partition = values.values().find_map(|value| value["S"].as_str())?;
        let until: i64 = values.get(":now")?["N"].as_str()?.parse().ok()?;
        let from = &request["ExclusiveStartKey"];
        let limit = request["Limit"].as_u64().and_then(|limit| usize::try_from(limit).ok());
        let mut found: Vec<_> = self
            .rows
            .iter()
            .filter(|(_, (page, due_at))| page == partition && *due_at <= until)
            .map(|(key, (_, due_at))| (*due_at, key))
            .collect();
        found.sort();
        if let Some(after) = from["due_at"]["N"].as_str().and_then(|at| at.parse::<i64>().ok()) {
            let text = |name: &str| from[name]["S"].as_str().unwrap_or_default().to_owned();
            let last = (after, (text("pk"), text("sk")));
            found.retain(|(due_at, key)| {
                (*due_at, *key).cmp(&(last.0, &last.1)) == Ordering::Greater
            });
        }
        let row = |(due_at, (pk, sk)): &(i64, &Key)| {
            json!({
                "pk": {"S": pk},
                "sk": {"S": sk},
                "due_page": {"S": partition},
                "due_at": {"N": due_at.to_string()},
            })
        };
        let limit = limit.unwrap_or(usize::MAX);
        let items: Vec<_> = found.iter().take(limit).map(row).collect();
        let mut answer = json!({"Count": items.len(), "ScannedCount": items.len()});
        if items.len() < found.len() {
            answer["LastEvaluatedKey"] = items.last().cloned().unwrap_or_default();
        }
        answer["Items"] = items.into();
        Some(answer)
    }

    /// Takes over what has had its time.
    fn catch_up(&mut self) {
        let now = self.clock.now();
        while let Some((_, key, place)) = self.coming.pop_front_if(|(at, ..)| *at <= now) {
            match place {
                Some(place) => self.rows.insert(key, place),
                None => self.rows.remove(&key),
            };
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    const LAG: Duration = Duration::from_secs(5);

    fn query(index: &mut LaggingIndex, from: &Value) -> Value {
        index
            .query(&json!({
                "IndexName": DUE_INDEX,
                "ExpressionAttributeValues": {":page": {"S": "1#bot"}, ":now": {"N": "100"}},
                "ExclusiveStartKey": from,
                "Limit": 2,
            }))
            .unwrap()
    }

    fn names(answer: &Value) -> Vec<&str> {
        answer["Items"].as_array().unwrap().iter().map(|i| i["sk"]["S"].as_str().unwrap()).collect()
    }

    #[test]
    fn it_shows_the_table_as_it_was_a_while_ago() {
        let clock = Arc::new(VirtualClock::standing_at(Timestamp::from_millis(0)));
        let mut index = LaggingIndex::new(Arc::clone(&clock), LAG);
        let item = |sk: &str, due_at: i64, page: &str| {
            json!({"Item": {"pk": {"S": "1#2"}, "sk": {"S": sk}, "due_page": {"S": page},
                "due_at": {"N": due_at.to_string()}}})
        };
        for (sk, due_at, page) in [
            ("c", 3, "1#bot"),
            ("b", 2, "1#bot"),
            ("a", 2, "1#bot"),
            ("d", 101, "1#bot"),
            ("e", 1, "x"),
        ] {
            index.note(&item(sk, due_at, page), &json!({}));
        }
        assert_eq!(names(&query(&mut index, &Value::Null)), Vec::<&str>::new());
        clock.forward(LAG);
        let first = query(&mut index, &Value::Null);
        assert_eq!(names(&first), ["a", "b"]);
        let second = query(&mut index, &first["LastEvaluatedKey"]);
        assert_eq!((names(&second), &second["LastEvaluatedKey"]), (vec!["c"], &Value::Null));

        let key = |sk: &str| json!({"pk": {"S": "1#2"}, "sk": {"S": sk}});
        let unlisted = json!({"Key": key("a"), "UpdateExpression": "REMOVE due_at"});
        index.note(&unlisted, &json!({"Attributes": {"pk": {"S": "1#2"}}}));
        index.note(&json!({"Key": key("b")}), &json!({}));
        index.note(&json!({"Key": key("c"), "ConsistentRead": true}), &json!({}));
        let deleted = json!([{"DeleteRequest": {"Key": key("c")}}]);
        assert_eq!(names(&query(&mut index, &Value::Null)), ["a", "b"]);
        clock.forward(LAG);
        assert_eq!(names(&query(&mut index, &Value::Null)), ["c"]);
        index.note(&json!({"RequestItems": {"table": deleted}}), &json!({}));
        clock.forward(LAG);
        assert_eq!(names(&query(&mut index, &Value::Null)), Vec::<&str>::new());
    }
}
