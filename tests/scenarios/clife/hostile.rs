//! What makes no sense, from the platform.

use polylink_testbed::clouds::clife::product::Product;
use serde_json::{Value as Json, json};

use super::{Room, facts};
use crate::set::check;

#[test]
fn garbage_is_counted_and_nothing_else_suffers() {
    check(async || {
        let room = Room::online(Product::default()).await?;
        let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
        let odd: [&[u8]; 7] = [
            b"",
            b"\xff\xfe",
            b"{\"cmd\":2011",
            b"[2011]",
            b"{\"cmd\":2006,\"dir\":\"30\",\"msgId\":1,\"timestamp\":1,\"data\":{}}",
            b"{\"cmd\":2011,\"dir\":\"30\",\"timestamp\":1,\"data\":{}}",
            deep.as_bytes(),
        ];
        for bytes in odd {
            room.said(room.clife.deliver_raw(bytes))?;
        }
        let dropped = |status: &Json| {
            facts(status)["input_dropped"].as_str().and_then(|count| count.parse::<usize>().ok()).unwrap_or(0)
        };
        room.rig.until("all of it to be counted", |status| dropped(status) >= odd.len()).await?;
        room.reports_arrive(50).await?;
        assert_eq!(room.command(&room.clife, "switch", json!(true)).await?.len(), 1);
        room.finish().await
    });
}

#[test]
fn a_control_under_another_key_is_refused() {
    check(async || {
        let room = Room::online(Product::default()).await?;
        room.clife.change(|behaviour| behaviour.wrong_key = true);
        let id = room.said(room.clife.control(&[("switch", json!(true))]))?;
        room.seen("the refusal", |seen| seen.answers.contains_key(&id)).await?;
        assert_eq!(room.clife.seen().answers[&id].body["respCode"], -1);
        assert_eq!(room.mcu.log().commands.len(), 0);
        room.clife.change(|behaviour| behaviour.wrong_key = false);
        assert_eq!(room.command(&room.clife, "switch", json!(true)).await?.len(), 1);
        room.finish().await
    });
}
