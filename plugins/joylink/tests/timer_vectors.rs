//! Runs the vectors of `vectors/joylink.json` that are about timers. Each names where it comes from; this file only says
//! how a kind is judged.

use serde_json::Value;

use crate::timers::expression::TimeExpression;

#[derive(serde::Deserialize)]
struct Vectors {
    vectors: Vec<Vector>,
}

#[derive(serde::Deserialize)]
struct Vector {
    id: String,
    kind: String,
    input: Value,
    expected: Value,
}

#[track_caller]
fn check(kind: &str, n_expected: usize, judge: fn(&Vector)) {
    let file: Vectors = serde_json::from_str(include_str!("vectors/joylink.json")).unwrap();
    let vectors: Vec<_> = file.vectors.iter().filter(|vector| vector.kind == kind).collect();
    assert_eq!(vectors.len(), n_expected);
    for vector in vectors {
        judge(vector);
    }
}

#[test]
fn expressions_are_valid_or_not_and_fire_when_the_vectors_say() {
    check("time_expression", 39, |Vector { id, input, expected, .. }| {
        let parsed = input["expression"].as_str().unwrap().parse::<TimeExpression>();
        assert_eq!(parsed.is_ok(), expected["valid"].as_bool().unwrap(), "{id}");
        let Ok(expression) = parsed else { return };
        let now = input["now"].as_i64().unwrap();
        let anchor = input["anchor"].as_i64().unwrap_or(now);
        let offset = input["tz_offset_seconds"].as_i64().unwrap() as i32;
        let mut fires: Vec<_> = successors(now, |now| expression.next_after(anchor, now, offset), input);
        let exhausted = fires.pop_if(|fire| *fire == NEVER).is_some();
        assert_eq!(serde_json::json!(fires), expected["fires"], "{id}");
        assert_eq!(exhausted, expected["exhausted"].as_bool().unwrap(), "{id}");
    });
}

/// Up to `count` instants, each the next after the one before; at the end `NEVER` if there is none.
fn successors(now: i64, next: impl Fn(i64) -> Option<i64>, input: &Value) -> Vec<i64> {
    let mut fires = Vec::new();
    let mut at = now;
    while fires.len() < input["count"].as_u64().unwrap() as usize && at != NEVER {
        at = next(at).unwrap_or(NEVER);
        fires.push(at);
    }
    fires
}

const NEVER: i64 = i64::MAX;
