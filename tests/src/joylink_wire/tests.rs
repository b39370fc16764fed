use serde_json::Value as Json;

use super::checksum::{crc16, crc32};
use super::cipher::Secret;
use super::curve::{KeyPair, decompress};
use super::fields::{Reader, Writer};
use super::fragments::{Assembly, cut};
use super::packet::{CLOUD, LAN, Packet};
use super::script::{Script, ScriptError};
use super::timers::{Form, Plan, Task, read_ids, read_snapshot, read_tasks, write_ids, write_snapshot, write_tasks};

/// Runs a check over all vectors of a kind.
#[track_caller]
fn check(kind: &str, n: usize, check: impl Fn(&str, &Json, &Json)) {
    let file: Json = serde_json::from_str(include_str!("../../vectors/joylink.json")).unwrap();
    let vectors = file["vectors"].as_array().unwrap();
    let of_kind: Vec<_> = vectors.iter().filter(|vector| vector["kind"] == kind).collect();
    assert_eq!(of_kind.len(), n, "{kind}");
    for vector in of_kind {
        check(vector["id"].as_str().unwrap(), &vector["input"], &vector["expected"]);
    }
}

#[test]
fn checksums_are_those_of_the_vectors() {
    check("crc16", 7, |id, input, expected| {
        assert_eq!(format!("{:04x}", crc16(&[&hex(&input["data_hex"])])), expected["crc16"], "{id}");
    });
    check("crc32", 5, |id, input, expected| {
        let chunks = input["chunks_hex"].as_array().map(|chunks| chunks.iter().flat_map(hex).collect());
        let image: Vec<u8> = chunks.unwrap_or_else(|| hex(&input["data_hex"]));
        assert_eq!(u64::from(crc32(&image)), expected["crc32_decimal"], "{id}");
    });
}

#[test]
fn encryption_is_that_of_the_vectors_in_both_directions() {
    check("aes", 12, |id, input, expected| {
        let secret = match input["enctype"].as_u64() {
            Some(1) => Secret::STATIC,
            Some(2) => Secret::agreed(&hex(&input["shared_secret_hex"]).try_into().unwrap()),
            _ => match input["key32_ascii"].as_str() {
                Some(text) => Secret::of_text(text).unwrap(),
                None => Secret::of_bytes(&hex(&input["key32_hex"]).try_into().unwrap()),
            },
        };
        assert_eq!(secret.parts().0.to_vec(), hex(&input["aes_key_hex"]), "{id}");
        assert_eq!(secret.parts().1.to_vec(), hex(&input["iv_hex"]), "{id}");
        let (plain, cipher) = (hex(&input["plaintext_hex"]), hex(&expected["ciphertext_hex"]));
        assert_eq!(secret.encrypt(&plain), cipher, "{id}");
        assert_eq!(secret.decrypt(&cipher).unwrap(), plain, "{id}");
        assert!(secret.decrypt(&cipher[1..]).is_err(), "{id}");
    });
}

#[test]
fn both_sides_of_a_key_agreement_come_to_the_secret_of_the_vectors() {
    check("ecdh", 5, |id, input, expected| {
        let pair = |name: &str| KeyPair::of(&hex(&input[name]).try_into().unwrap()).unwrap();
        let (a, b) = (pair("private_a_hex"), pair("private_b_hex"));
        assert_eq!(a.public().to_vec(), hex(&expected["public_a_compressed_hex"]), "{id}");
        assert_eq!(b.public().to_vec(), hex(&expected["public_b_compressed_hex"]), "{id}");
        let shared = hex(&expected["shared_secret_hex"]);
        assert_eq!(a.shared(b.public()).unwrap().to_vec(), shared, "{id}");
        assert_eq!(b.shared(a.public()).unwrap().to_vec(), shared, "{id}");
        let secret = a.agree(b.public()).unwrap();
        assert_eq!(secret.parts().0.to_vec(), hex(&expected["aes_key_hex"]), "{id}");
        assert_eq!(secret.parts().1.to_vec(), hex(&expected["iv_hex"]), "{id}");
    });
    assert!(KeyPair::of(&[0; 20]).is_err());
}

#[test]
fn points_are_decompressed_or_rejected_as_the_vectors_say() {
    check("ec_point", 7, |id, input, expected| {
        let point = decompress(&hex(&input["compressed_hex"]));
        assert_eq!(point.is_ok(), expected["valid"] == true, "{id}: {point:?}");
        if let Ok((x, y)) = point {
            assert_eq!(x.to_vec(), hex(&expected["x_hex"]), "{id}");
            assert_eq!(y.to_vec(), hex(&expected["y_hex"]), "{id}");
        }
    });
}

#[test]
fn packets_are_built_and_parsed_as_the_vectors_say() {
    check("packet", 58, |id, input, expected| {
        let magic = magic(&input["magic"]);
        let plain = hex(&input["plaintext_hex"]);
        let key = &input["key"];
        let secret = match key["kind"].as_str() {
            Some("ecdh") => Some(Secret::agreed(&hex(&key["shared_secret_hex"]).try_into().unwrap())),
            Some("key32") => Some(Secret::of_bytes(&hex(&key["value_hex"]).try_into().unwrap())),
            _ => None,
        };
        let payload = secret.as_ref().map_or(plain.clone(), |secret| secret.encrypt(&plain));
        let packet =
            Packet::new(magic, byte(&input["type"]), byte(&input["enctype"]), &hex(&input["opt_hex"]), &payload);
        let bytes = hex(&expected["packet_hex"]);
        assert_eq!(packet.encode(), bytes, "{id}");
        assert_eq!(Packet::exact(magic, &bytes).unwrap(), packet, "{id}");
        if let Some(secret) = secret {
            assert_eq!(secret.decrypt(&packet.payload).unwrap(), plain, "{id}");
        }
        for end in 0..bytes.len() {
            assert_eq!(Packet::parse(magic, &bytes[..end]).unwrap(), None, "{id} up to {end}");
        }
    });
}

#[test]
fn captured_packets_are_read() {
    check("packet_capture", 10, |id, input, expected| {
        let packet = Packet::exact(magic(&expected["magic"]), &hex(&input["packet_hex"])).unwrap();
        assert_eq!(packet.kind, byte(&expected["type"]), "{id}");
        assert_eq!(packet.enctype, byte(&expected["enctype"]), "{id}");
        assert_eq!(packet.opt.len() as u64, expected["optlen"], "{id}");
        let Some(plain) = expected["plaintext_hex"].as_str() else { return };
        let read = match input["key"]["value_hex"].as_str() {
            None => packet.payload,
            Some(_) => {
                let key = hex(&input["key"]["value_hex"]).try_into().unwrap();
                Secret::of_bytes(&key).decrypt(&packet.payload).unwrap()
            }
        };
        assert_eq!(read, hex(&Json::from(plain)), "{id}");
    });
}

#[test]
fn every_wrong_word_of_a_header_is_named() {
    let bytes = Packet::new(CLOUD, 10, 3, &[], &[7; 16]).encode();
    let broken = |at: usize| {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        Packet::exact(CLOUD, &bytes)
    };
    for (at, word) in [(0, "begins"), (4, "datagram"), (6, "datagram"), (8, "version"), (14, "crc"), (20, "crc")] {
        let fault = broken(at).unwrap_err();
        assert!(fault.contains(word), "byte {at}: {fault}");
    }
    assert!(Packet::parse(LAN, &bytes).is_err());
}

#[test]
fn long_messages_are_cut_and_put_together_in_any_order() {
    check("fragmentation", 3, |id, input, expected| {
        if let Some(payload) = input["payload_hex"].as_str() {
            let message = Packet::new(LAN, 1, 0, &[], &hex(&Json::from(payload)));
            let cut: Vec<_> = cut(&message, byte(&input["message_id"])).iter().map(Packet::encode).collect();
            assert_eq!(cut, hexes(&expected["fragments_hex"]), "{id}");
            return;
        }
        let mut assembly = Assembly::default();
        let mut whole = None;
        for fragment in hexes(&input["fragments_hex"]) {
            assert!(whole.is_none(), "{id}: whole too early");
            whole = assembly.take(Packet::exact(LAN, &fragment).unwrap()).unwrap();
        }
        assert_eq!(whole.unwrap().payload, hex(&expected["payload_hex"]), "{id}");
    });
}

#[test]
fn fragments_that_contradict_each_other_are_an_error() {
    let message = Packet::new(LAN, 3, 3, &[], &[1; 2048]);
    let fragments = cut(&message, 9);
    let mut assembly = Assembly::default();
    assembly.take(fragments[0].clone()).unwrap();
    let other = Packet { total: 4, ..fragments[1].clone() };
    assert!(assembly.take(other).is_err());
    assert!(assembly.take(Packet { index: 4, ..fragments[1].clone() }).is_err());
    assert!(assembly.take(Packet { index: 0, ..fragments[1].clone() }).is_err());
    assert!(assembly.take(Packet { payload: vec![1; 10], ..fragments[1].clone() }).is_err());
    assert!(assembly.take(Packet::new(LAN, 1, 0, &[], &[1; 1001])).is_err());
}

#[test]
fn timer_structures_are_those_of_the_vectors() {
    check("timer_struct", 29, |id, input, expected| {
        let (fields, bytes) = (&input["fields"], hex(&expected["bytes_hex"]));
        let mut reader = Reader::new(&bytes);
        let again = match input["struct"].as_str().unwrap() {
            "task_t" | "simplified_task_t" => {
                let form = if input["struct"] == "task_t" { Form::Full } else { Form::Simplified };
                let task = Task::read(form, &mut reader).unwrap();
                assert_eq!(task, task_of(fields), "{id}");
                task.write(form, Writer::default()).done()
            }
            name => {
                let head = [reader.word().unwrap(), reader.word().unwrap(), reader.word().unwrap()];
                let to = Writer::at(head[0]).word(head[1]).word(head[2]);
                let tasks = || fields["tasks"].as_array().unwrap().iter().map(task_of).collect::<Vec<_>>();
                match name {
                    "time_task_req_t" => {
                        let read = read_tasks(&mut reader).unwrap();
                        assert_eq!(read, tasks(), "{id}");
                        write_tasks(to, &read)
                    }
                    "simplified_time_task_req_t" => {
                        let (feedid, read) = read_snapshot(&mut reader).unwrap();
                        assert_eq!((feedid.as_str(), &read), (fields["feedid"].as_str().unwrap(), &tasks()), "{id}");
                        write_snapshot(to, &feedid, &read)
                    }
                    "time_task_ids_req_t" => write_ids(to, &read_ids(&mut reader).unwrap()),
                    "time_task_ids_rsp_t" => {
                        let to = to.int(reader.int().unwrap());
                        write_ids(to, &read_ids(&mut reader).unwrap())
                    }
                    _ => to.bytes(reader.rest()),
                }
                .done()
            }
        };
        assert_eq!(again, bytes, "{id}");
    });
}

#[test]
fn scripts_convert_as_the_vectors_say() {
    check("lua", 6, |id, input, expected| {
        let script = Script::load(input["script"].as_str().unwrap()).unwrap();
        let args = &input["args"];
        let bizcode = args["bizcode"].as_u64().unwrap() as u32;
        let failed = expected["err"] != 0;
        if input["function"] == "jds2pri" {
            let done = script.to_private(bizcode, args["cmd"].as_str().unwrap());
            assert_eq!(done.is_err(), failed, "{id}: {done:?}");
            if let Ok(bytes) = done {
                assert_eq!(bytes, hex(&expected["bin_hex"]), "{id}");
            }
        } else {
            let done = script.to_json(bizcode, &hex(&args["bin_hex"]));
            assert_eq!(done.is_err(), failed, "{id}: {done:?}");
            if let Ok((json, bizcode)) = done {
                let json: Json = serde_json::from_str(&json).unwrap();
                let wanted: Json = serde_json::from_str(expected["json"].as_str().unwrap()).unwrap();
                assert_eq!(json, wanted, "{id}");
                assert_eq!(u64::from(bizcode), expected["bizcode"], "{id}");
            }
        }
    });
}

#[test]
fn a_script_that_does_not_load_and_one_that_fails_are_told_apart() {
    assert!(matches!(Script::load("function jds2pri("), Err(ScriptError::Load(_))));
    assert!(matches!(Script::load("function jds2pri() end"), Err(ScriptError::Load(_))));
    let echo = "function jds2pri(b, c) return 0, #c, c end function pri2jds(b, n, c)
                  return 0, cjson.encode({a = {1, 2.5, 'x'}, b = cjson.decode(c)}), b end";
    let script = Script::load(echo).unwrap();
    assert_eq!(script.to_private(1002, "a\0b").unwrap(), b"a\0b");
    let (json, _) = script.to_json(102, br#"{"c":[true,null]}"#).unwrap();
    let json: Json = serde_json::from_str(&json).unwrap();
    assert_eq!(json, serde_json::json!({"a": [1, 2.5, "x"], "b": {"c": [true, null]}}));
    assert!(matches!(script.to_json(102, b"no JSON"), Err(ScriptError::Run(_))));
}

fn task_of(fields: &Json) -> Task {
    let int = |name: &str| fields[name].as_i64().unwrap() as i32;
    let text = |name: &str| fields[name].as_str().unwrap_or_default().to_owned();
    let commands = |name: &str| hexes(&fields[name]);
    let plan = match int("mode") {
        0 => Plan::Expression { at: text("exp"), commands: commands("cmds_hex") },
        1 => Plan::Span {
            start: text("start_exp"),
            stop: text("stop_exp"),
            repeat: byte(&fields["repeat_flag"]),
            period_type: byte(&fields["period_type"]),
            period: fields["period"].as_array().unwrap().iter().map(byte).collect::<Vec<_>>().try_into().unwrap(),
            start_commands: commands("start_cmds_hex"),
            stop_commands: commands("stop_cmds_hex"),
        },
        2 => Plan::Cycle {
            action_s: int("action_interval"),
            sleep_s: int("sleep_interval"),
            times: int("times"),
            action_commands: commands("action_cmds_hex"),
            sleep_commands: commands("sleep_cmds_hex"),
        },
        _ => Plan::Countdown {
            interval_s: int("interval"),
            action_commands: commands("action_cmds_hex"),
            stop_commands: commands("stop_cmds_hex"),
        },
    };
    let (state, origin) = (byte(&fields["state"]), byte(&fields["type"]));
    Task { version: int("version"), feedid: text("feedid"), name: text("name"), id: int("id"), state, origin, plan }
}

fn magic(hex: &Json) -> u32 {
    if hex == "123455bb" { LAN } else { CLOUD }
}

fn byte(json: &Json) -> u8 {
    json.as_u64().unwrap() as u8
}

fn hexes(list: &Json) -> Vec<Vec<u8>> {
    list.as_array().unwrap().iter().map(hex).collect()
}

fn hex(json: &Json) -> Vec<u8> {
    let digits: Vec<_> = json.as_str().unwrap().chars().map(|digit| digit.to_digit(16).unwrap() as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}
