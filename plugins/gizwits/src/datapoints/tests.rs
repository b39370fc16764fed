use hex_literal::hex;
use polylink_plugin_sdk::hex;
use polylink_plugin_sdk::thing_model::{Class, History, Kind, Property};
use proptest::prelude::*;
use serde_json::Value as Json;

use super::*;

fn file() -> Json {
    serde_json::from_str(include_str!("../../tests/vectors/p0.json")).unwrap()
}

/// The thing model that belongs to a layout, as the host makes it, and the layout.
fn product(schema: &str) -> (ThingModel, String) {
    let json = file()["schemas"][schema].to_string();
    let layout = Schema::parse(&json).unwrap();
    let property = |(id, attribute): (u32, &Attribute)| Property {
        field: Field {
            id: DatapointId(id),
            name: attribute.name.clone(),
            cloud_name: attribute.name.clone(),
            title: String::new(),
            unit: String::new(),
            kind: kind(&attribute.data_type),
            cloud_labels: Vec::new(),
            cloud_shift: 0,
        },
        writable: attribute.access == Access::Writable,
        class: Class::Value,
        history: History::Latest,
    };
    let model = ThingModel {
        product_key: layout.product_key.clone(),
        properties: (0..).zip(layout.attributes()).map(property).collect(),
        ..ThingModel::default()
    };
    (model, json)
}

fn kind(data_type: &DataType) -> Kind {
    match data_type {
        DataType::Bool => Kind::Bool,
        DataType::Enum { labels, .. } => Kind::Enum { labels: labels.clone() },
        DataType::Binary { bytes } => Kind::Bytes { max_bytes: usize::from(*bytes) },
        DataType::Number { scaling, .. } => {
            let ((min, max), step) = (scaling.limits(), scaling.step());
            match scaling.scale() {
                0 => Kind::Int { min: min.mantissa, max: max.mantissa, step: step.mantissa },
                scale => Kind::Decimal { scale, min: min.mantissa, max: max.mantissa, step: step.mantissa },
            }
        }
    }
}

fn datapoints(schema: &str) -> Datapoints {
    let (model, json) = product(schema);
    Datapoints::new(&model, &json).unwrap()
}

fn values(schema: &str, named: &Json) -> Values {
    let (model, _) = product(schema);
    let value = |(name, value): (&String, &Json)| {
        let field = &model.property_named(name).unwrap().field;
        let value = match (&field.kind, value) {
            (Kind::Enum { .. }, index) => Value::Enum(index.as_u64().unwrap() as u32),
            (_, Json::String(hex)) => field.from_text(hex).unwrap(),
            (_, other) => field.from_text(&other.to_string()).unwrap(),
        };
        (field.id, value)
    };
    let mut values: Values = named.as_object().unwrap().iter().map(value).collect();
    values.sort_by_key(|(id, _)| *id);
    values
}

fn vector(id: &str) -> (String, Vec<u8>, Json) {
    let vector = file()["vectors"].as_array().unwrap().iter().find(|vector| vector["id"] == id).unwrap().clone();
    let payload = hex::decode(vector["p0_hex"].as_str().unwrap()).unwrap();
    (vector["schema"].as_str().unwrap_or_default().to_owned(), payload, vector)
}

fn no_problem(problem: String) {
    panic!("{problem}");
}

#[test]
fn reports_are_those_of_the_vectors() {
    for id in ["p0-001", "p0-009", "p0-010", "p0-011", "p0-012", "p0-018"] {
        let (schema, payload, vector) = vector(id);
        let report = datapoints(&schema).report(&values(&schema, &vector["values"]), no_problem);
        assert_eq!(report, Some(payload), "{id}");
    }
}

#[test]
fn controls_of_the_vectors_set_what_they_flag() {
    for id in ["p0-003", "p0-004", "p0-005", "p0-007", "p0-008", "p0-017"] {
        let (schema, payload, vector) = vector(id);
        let expected = DeviceCommand::Set(values(&schema, &vector["values"]));
        assert_eq!(datapoints(&schema).command(&payload), Ok(expected), "{id}");
    }
}

#[test]
fn a_short_control_is_refused() {
    let (schema, payload, _) = vector("p0-022");
    let error = datapoints(&schema).command(&payload).unwrap_err();
    assert!(matches!(error, CommandError::Payload(P0Error::Short { .. })), "{error}");
}

#[test]
fn a_report_of_fixed_length_waits_until_every_attribute_is_known() {
    let mut datapoints = datapoints("gokit_std");
    let (_, payload, vector) = vector("p0-001");
    let all = values("gokit_std", &vector["values"]);
    let (last, others) = all.split_last().unwrap();
    assert_eq!(datapoints.report(others, no_problem), None);
    assert_eq!(datapoints.unknown().collect::<Vec<_>>(), ["Fault_IR"]);
    assert_eq!(datapoints.report(std::slice::from_ref(last), no_problem), Some(payload));
    assert_eq!(datapoints.unknown().count(), 0);
    let report = datapoints.report(&values("gokit_std", &serde_json::json!({"LED_R": 9})), no_problem);
    assert_eq!(report.unwrap(), hex!("04 05 09 FF 01 0002 01 26 3C 02 04"));
}

#[test]
fn a_report_of_variable_length_tells_only_what_is_new() {
    let mut datapoints = datapoints("mixed_varlen");
    let (_, _, vector) = vector("p0-018");
    datapoints.report(&values("mixed_varlen", &vector["values"]), no_problem).unwrap();
    let one = values("mixed_varlen", &serde_json::json!({"Hum": 60}));
    assert_eq!(datapoints.report(&one, no_problem).unwrap(), hex!("14 0100 3C"));
    assert_eq!(datapoints.report(&[], no_problem), None);
}

#[test]
fn a_read_of_fixed_length_is_answered_completely_or_not_at_all() {
    let mut datapoints = datapoints("gokit_std");
    let DeviceCommand::Get { properties, asked } = datapoints.command(&[2]).unwrap() else { panic!() };
    assert_eq!(properties.len(), 15);
    assert_eq!(datapoints.read_answer(&asked, &[], no_problem), None);
    let (_, payload, vector) = vector("p0-001");
    let answer = datapoints.read_answer(&asked, &values("gokit_std", &vector["values"]), no_problem).unwrap();
    assert_eq!((answer[0], &answer[1..]), (3, &payload[1..]));
}

#[test]
fn a_read_of_variable_length_is_answered_with_what_was_asked_and_is_known() {
    let mut datapoints = datapoints("mixed_varlen");
    let (_, payload, _) = vector("p0-019");
    let command = datapoints.command(&payload).unwrap();
    let DeviceCommand::Get { properties, asked } = command else { panic!("{command:?}") };
    assert_eq!(properties, [DatapointId(0), DatapointId(10)]);
    // Hum was not asked, and RoomTemp is not known.
    let told = values("mixed_varlen", &serde_json::json!({"Power": true, "Hum": 60}));
    assert_eq!(datapoints.read_answer(&asked, &told, no_problem).unwrap(), hex!("13 0001 01"));
    let told = values("mixed_varlen", &serde_json::json!({"RoomTemp": 21.5}));
    assert_eq!(datapoints.read_answer(&asked, &told, no_problem).unwrap(), hex!("13 0401 01 0267"));
}

#[track_caller]
fn check_command(schema: &str, payload: &[u8], expected: Result<DeviceCommand, &str>) {
    let got = datapoints(schema).command(payload).map_err(|error| error.to_string());
    assert_eq!(got, expected.map_err(str::to_owned), "{payload:02X?}");
}

#[test]
fn a_control_without_flags_and_a_read_of_nothing_do_not_trouble_the_device() {
    check_command("gokit_std", &hex!("01 00 00 000000 0000"), Ok(DeviceCommand::Nothing { answer: None }));
    check_command("mixed_varlen", &hex!("11 0000"), Ok(DeviceCommand::Nothing { answer: None }));
    let answer = Some(hex!("13 0000").to_vec());
    check_command("mixed_varlen", &hex!("12 0000"), Ok(DeviceCommand::Nothing { answer: answer.clone() }));
    check_command("mixed_varlen", &hex!("12 8000"), Ok(DeviceCommand::Nothing { answer }));
}

#[test]
fn what_only_the_device_changes_is_not_set() {
    // Infrared has id 6, which is in the last flag byte.
    check_command("gokit_std", &hex!("01 41 01 000000 0000"), Err("Infrared is not writable"));
    check_command("mixed_varlen", &hex!("11 0004 01"), Err("Door is not writable"));
}

#[test]
fn uninterpreted_bytes_pass_in_both_directions() {
    let (_, payload, _) = vector("p0-021");
    check_command("gokit_std", &payload, Ok(DeviceCommand::Raw(hex!("CAFE0D0A").to_vec())));
    assert_eq!(Datapoints::transparent(&hex!("CAFE")), hex!("06 CAFE"));
}

#[test]
fn what_no_app_sends_to_this_product_is_refused() {
    let known = "known: 0x01 to 0x06, 0x11 to 0x14";
    check_command("gokit_std", &[], Err("the payload is empty; it begins with an action code"));
    for action in [0x00, 0x71, 0x72, 0x73, 0xFF] {
        check_command("gokit_std", &[action], Err(&format!("action 0x{action:02X} is unknown; {known}")));
    }
    check_command("gokit_std", &hex!("11 01 01"), Err("action 0x11 does not belong to a product of Fixed payloads"));
    check_command("sensor_varlen", &hex!("14 01 01"), Err("action 0x14 comes from devices, not to them"));
    check_command("gokit_std", &hex!("06 01"), Err("action 0x06 comes from devices, not to them"));
}

#[test]
fn a_value_beyond_the_limits_is_left_to_the_host() {
    // Motor_Speed: x is at most 10, and comes as 200.
    let set = vec![(DatapointId(5), Value::Int(195))];
    check_command("gokit_std", &hex!("01 20 00 000000 00C8"), Ok(DeviceCommand::Set(set)));
}

#[test]
fn a_reported_value_that_has_no_place_is_named_and_the_rest_is_told() {
    let mut datapoints = datapoints("mixed_varlen");
    let mut problems = Vec::new();
    let report = datapoints.report(
        &[
            (DatapointId(0), Value::Int(1)),
            (DatapointId(7), Value::Decimal { mantissa: 99_999, scale: 1 }),
            (DatapointId(8), Value::Int(60)),
            (DatapointId(12), Value::Bytes(vec![0; 6])),
            (DatapointId(5), Value::Enum(8)),
            (DatapointId(99), Value::Int(1)),
        ],
        |problem| problems.push(problem),
    );
    assert_eq!(report.unwrap(), hex!("14 0100 3C"));
    assert_eq!(problems.len(), 4, "{problems:?}");
    for (problem, name) in problems.iter().zip(["Power", "SetTemp", "Sched", "Mode"]) {
        assert!(problem.starts_with(&format!("{name}: ")), "{problem}");
    }
}

fn layout_error(edit: impl FnOnce(&mut ThingModel)) -> String {
    let (mut model, json) = product("gokit_std");
    edit(&mut model);
    Datapoints::new(&model, &json).unwrap_err().to_string()
}

#[test]
fn an_attribute_needs_a_property_of_its_type() {
    assert_eq!(
        layout_error(|model| drop(model.properties.remove(4))),
        "attribute `LED_B` of the datapoint layout is no property of the product; rename it, or map a property to it"
    );
    assert_eq!(
        layout_error(|model| model.properties[0].field.kind = Kind::Text { max_bytes: 1 }),
        "attribute `LED_OnOff` of the datapoint layout is a bool, and the product has a property of type text"
    );
    assert_eq!(
        layout_error(|model| model.properties[1].field.kind = Kind::Enum { labels: vec!["red".into()] }),
        "attribute `LED_Color` of the datapoint layout is an enum of 4 labels, and the product has one of 1"
    );
    let shifted = layout_error(|model| model.properties[2].field.cloud_shift = 1);
    assert!(
        shifted.starts_with("attribute `LED_R` of the datapoint layout is a number from 0 in steps of 1"),
        "{shifted}"
    );
    assert!(matches!(Datapoints::new(&ThingModel::default(), "{"), Err(LayoutError::File(_))));
}

#[test]
fn one_property_is_one_attribute() {
    let message = layout_error(|model| {
        model.properties[3].field.cloud_name = "LED_R".into();
        model.properties[2].field.cloud_name = "other".into();
    });
    assert_eq!(message, "attributes `LED_R` and `LED_G` of the datapoint layout are both the property `LED_G`");
}

#[test]
fn a_property_without_attribute_is_left_out_and_noted() {
    let (mut model, json) = product("gokit_std");
    let mut extra = model.properties[0].clone();
    (extra.field.id, extra.field.name, extra.field.cloud_name) = (DatapointId(15), "Extra".into(), "Extra".into());
    model.properties.push(extra);
    model.product_key = "other".into();
    let mut datapoints = Datapoints::new(&model, &json).unwrap();
    assert_eq!(
        datapoints.notes(),
        [
            "property `Extra` has no attribute in the datapoint layout",
            "the datapoint layout is of product ede16da98b4d496b92312d75da74bf16, and the device is of product other",
        ]
    );
    assert_eq!(datapoints.report(&[(DatapointId(15), Value::Bool(true))], no_problem), None);
}

#[test]
fn a_property_is_found_by_its_name_at_this_cloud_first() {
    let (mut model, json) = product("gokit_std");
    model.properties[0].field.name = "power".into();
    model.properties[2].field.cloud_name = "red".into();
    let datapoints = Datapoints::new(&model, &json).unwrap();
    let set = vec![(DatapointId(0), Value::Bool(true)), (DatapointId(2), Value::Int(7))];
    assert_eq!(datapoints.command(&hex!("01 05 01 070000 0000")), Ok(DeviceCommand::Set(set)));
}

proptest! {
    #[test]
    fn no_payload_can_panic_the_reader(payload: Vec<u8>, action in 0_u8..0x20) {
        for schema in ["gokit_std", "mixed_varlen"] {
            let mut datapoints = datapoints(schema);
            let payload = [&[action], payload.as_slice()].concat();
            if let Ok(DeviceCommand::Get { asked, .. }) = datapoints.command(&payload) {
                let _ = datapoints.read_answer(&asked, &[], |_| ());
            }
        }
    }

    #[test]
    fn what_an_app_sets_is_what_the_report_of_it_says(on: bool, color in 0_u32..4, red: u8, speed in 0_u16..=10) {
        let [high, low] = speed.to_be_bytes();
        let control = [1, 0b10_0111, u8::from(on) | (color as u8) << 1, red, 0, 0, high, low];
        let mut datapoints = datapoints("gokit_std");
        let (_, _, vector) = vector("p0-001");
        datapoints.report(&values("gokit_std", &vector["values"]), no_problem).unwrap();
        let Ok(DeviceCommand::Set(set)) = datapoints.command(&control) else { panic!() };
        let report = datapoints.report(&set, no_problem).unwrap();
        prop_assert_eq!(&report[1..], [control[2], red, 0xFF, 1, high, low, 1, 0x26, 0x3C, 2, 4]);
    }
}
