use std::time::Duration;

use serde_json::json;

use super::peer::{BEAT, Peer, RANDOM, answer, check, snapshot};
use crate::clouds::SimCloud;
use crate::clouds::joylink::behaviour::{Behaviour, Faults, Segments};
use crate::clouds::joylink::product::Product;

/// A working device at a cloud that was changed after the snapshot.
#[track_caller]
fn sees(change: impl FnOnce(&mut Behaviour), act: impl AsyncFnOnce(&mut Peer)) {
    check(Product::default(), async |cloud| {
        let mut peer = Peer::working(cloud).await;
        cloud.change(change);
        act(&mut peer).await;
    });
}

/// The same, changed before the device authenticates; it gets the cloud's answer, if there is one.
#[track_caller]
fn sees_answer(change: impl FnOnce(&mut Behaviour), act: impl AsyncFnOnce(&mut Peer, Result<Option<()>, String>)) {
    check(Product::default(), async |cloud| {
        let mut peer = Peer::connect(cloud).await;
        cloud.change(change);
        peer.ask_in(RANDOM, RANDOM).await;
        let answer = match peer.try_next().await {
            Ok(Some(packet)) => peer.enter(&packet).map(Some),
            Ok(None) => Ok(None),
            Err(fault) => Err(fault),
        };
        act(&mut peer, answer).await;
    });
}

#[test]
fn answers_stay_out_as_often_as_wanted() {
    sees(
        |behaviour| behaviour.faults(10).silent = 2,
        async |peer| {
            for _ in 0..2 {
                peer.beat().await;
            }
            // An upload is answered, the third heartbeat too.
            assert_eq!(peer.upload(&json!({"counter": 2})).await, 0);
            peer.settle().await;
        },
    );
}

#[test]
fn late_answers_are_overtaken_and_come() {
    sees(
        |behaviour| behaviour.faults(10).delay = Duration::from_secs(3600),
        async |peer| {
            peer.beat().await;
            assert_eq!(peer.upload(&json!({"counter": 2})).await, 0);
        },
    );
    sees(|behaviour| behaviour.faults(10).delay = Duration::from_millis(1), async |peer| peer.settle().await);
}

#[test]
fn packets_come_in_pieces_and_in_pairs() {
    for segments in [Segments::Pieces(1), Segments::Pieces(17), Segments::Pairs] {
        sees(
            |behaviour| behaviour.segments = segments,
            async |peer| {
                peer.beat().await;
                peer.beat().await;
                assert_eq!((peer.hear().await.0, peer.hear().await.0), (10, 10));
            },
        );
    }
}

#[test]
fn packets_are_wrong_as_often_as_wanted() {
    sees(
        |behaviour| behaviour.faults(10).wrong_crc = 1,
        async |peer| {
            peer.beat().await;
            assert!(peer.try_next().await.unwrap_err().contains("a crc of"));
        },
    );
    sees(
        |behaviour| behaviour.faults(10).wrong_key = 1,
        async |peer| {
            peer.beat().await;
            let packet = peer.next().await.unwrap();
            assert!(peer.key.as_ref().unwrap().decrypt(&packet.payload).is_err());
            peer.settle().await;
        },
    );
    sees(
        |behaviour| *behaviour.faults(12) = Faults { codes: [7].into(), ..Faults::default() },
        async |peer| {
            assert_eq!(peer.upload(&json!({"counter": 2})).await, 7);
            assert_eq!(peer.upload(&json!({"counter": 2})).await, 0);
        },
    );
    sees(
        |behaviour| behaviour.faults(10).reset = 1,
        async |peer| {
            peer.beat().await;
            assert!(peer.try_next().await.unwrap_err().contains("reset"));
        },
    );
}

#[test]
fn refused_uploads_are_not_booked() {
    check(Product::default(), async |cloud| {
        cloud.change(|behaviour| behaviour.faults(12).codes = [7].into());
        let mut peer = Peer::connect(cloud).await;
        peer.authenticate().await;
        assert_eq!(peer.upload(&json!({"counter": 1})).await, 7);
        assert!(cloud.ledger().with(|entries| entries.arrivals.is_empty() && !entries.online));
        assert_eq!(peer.upload(&json!({"counter": 1})).await, 0);
        assert_eq!(cloud.ledger().with(|entries| entries.arrivals.len()), 1);
    });
}

#[test]
fn authentication_fails_in_every_way() {
    sees_answer(
        |behaviour| behaviour.refuse_auths = 1,
        async |_, answer| assert_eq!(answer, Ok(None), "closed in order"),
    );
    sees_answer(
        |behaviour| behaviour.wrong_randoms = 1,
        async |_, answer| assert!(answer.unwrap_err().contains("randoms differ")),
    );
    sees_answer(
        |behaviour| behaviour.faults(9).wrong_key = 1,
        async |_, answer| assert!(answer.unwrap_err().contains("padding")),
    );
    sees_answer(
        |behaviour| behaviour.faults(9).reset = 1,
        async |_, answer| assert!(answer.unwrap_err().contains("reset")),
    );
    // The same connection may be used again.
    check(Product::default(), async |cloud| {
        cloud.change(|behaviour| behaviour.faults(9).silent = 1);
        let mut peer = Peer::connect(cloud).await;
        peer.ask_in(RANDOM, RANDOM).await;
        peer.authenticate().await;
        peer.upload(&json!({"counter": 1})).await;
    });
}

#[test]
fn session_keys_are_printable_unless_they_are_to_have_a_zero() {
    for with_nul in [false, true] {
        sees_answer(
            |behaviour| behaviour.nul_session_key = with_nul,
            async |peer, answer| {
                answer.unwrap();
                let key = peer.key.clone().unwrap();
                assert_eq!(key.has_nul(), with_nul);
                let printable = |part: &[u8; 16]| part.iter().all(u8::is_ascii_hexdigit);
                assert_eq!(printable(key.parts().0) && printable(key.parts().1), !with_nul);
                assert_eq!(peer.upload(&json!({"counter": 1})).await, 0);
            },
        );
    }
}

#[test]
fn packets_are_labelled_as_wanted() {
    for enctype in [3, 4] {
        sees(
            |behaviour| behaviour.enctype = enctype,
            async |peer| {
                let packet = crate::joylink_wire::packet::Packet { enctype: 7 - enctype, ..peer.packet(10, &BEAT) };
                peer.send_raw(&packet.encode()).await;
                assert_eq!(peer.next().await.unwrap().enctype, enctype);
            },
        );
    }
}

#[test]
fn a_clock_that_is_ahead_is_what_the_device_has_to_follow() {
    check(Product::default(), async |cloud| {
        cloud.change(|behaviour| behaviour.clock_ahead_s = 86_400);
        let mut peer = Peer::connect(cloud).await;
        peer.authenticate().await;
        peer.ahead_s = 86_400;
        peer.upload(&json!({"counter": 1})).await;
    });
}

#[test]
fn serials_repeat_and_each_command_is_answered() {
    check(Product::default(), async |cloud| {
        let mut peer = Peer::working(cloud).await;
        cloud.change(|behaviour| behaviour.repeat_serials = true);
        let ids = [1, 0].map(|value| cloud.control(&[("switch", json!(value))]).unwrap());
        assert_ne!(ids[0], ids[1]);
        let (one, other) = (peer.command().await, peer.command().await);
        assert_eq!(one.2, other.2);
        for _ in 0..2 {
            peer.send(11, &answer(102, one.2, snapshot(&json!({"switch": 1})).to_string().as_bytes())).await;
        }
        cloud.ledger().until(|entries| entries.commands_done() == 2).await;
    });
}
