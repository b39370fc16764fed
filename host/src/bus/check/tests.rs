use polylink_plugin_api::Value;

use super::*;
use crate::bus::tests::product;

/// A command of this body is refused with this sentence; empty: it is acceptable.
#[track_caller]
fn check(body: CommandBody, sentence: &str) {
    let said = check_command(&product(), &body).map_or_else(|error| error.to_string(), |_| String::new());
    assert_eq!(said, sentence);
}

fn set(list: &[(u32, Value)]) -> CommandBody {
    CommandBody::Set(properties(list).into())
}

fn properties(list: &[(u32, Value)]) -> Vec<Property> {
    list.iter().map(|(id, value)| Property { id: DatapointId(*id), value: value.clone() }).collect()
}

#[test]
fn what_the_product_does_not_have_is_refused_by_number() {
    check(set(&[(9, Value::Bool(true))]), "there is no property 9; this product has 5, counted from 0");
    check(CommandBody::Get(vec![DatapointId(5)].into()), "there is no property 5; this product has 5, counted from 0");
    let params = Vec::new().into();
    check(
        CommandBody::Invoke { action: DatapointId(3), params },
        "there is no action 3; this product has 1, counted from 0",
    );
    check(CommandBody::Raw(vec![1].into()), "this product takes no raw bytes");
}

#[test]
fn a_set_names_writable_properties_once_with_values_that_fit() {
    check(set(&[(0, Value::Bool(true)), (1, Value::Int(20))]), "");
    check(set(&[]), "nothing to set");
    check(set(&[(2, Value::Int(5))]), "`count` can only be read");
    check(set(&[(0, Value::Bool(true)), (0, Value::Bool(true))]), "`power` is named twice");
    check(set(&[(1, Value::Int(21))]), "`level` takes 0 to 100 in steps of 10, not 21");
    check(set(&[(1, Value::Bool(true))]), "`level` takes int, not bool");
}

#[test]
fn an_action_needs_all_its_parameters() {
    let invoke =
        |params: &[(u32, Value)]| CommandBody::Invoke { action: DatapointId(0), params: properties(params).into() };
    check(invoke(&[(0, Value::Int(3))]), "");
    check(invoke(&[]), "action `clean` needs parameter `minutes`");
    check(invoke(&[(0, Value::Int(99))]), "`minutes` takes 0 to 60, not 99");
    check(invoke(&[(1, Value::Int(3))]), "there is no parameter 1; this product has 1, counted from 0");
}

#[test]
fn a_report_loses_only_what_does_not_fit_and_gets_into_order() {
    let said = properties(&[
        (2, Value::Int(7)),
        (0, Value::Bool(true)),
        (1, Value::Int(7)),
        (2, Value::Int(8)),
        (40, Value::Int(0)),
    ]);
    let (left, errors) = check_report(&product(), ReportBody::Properties(said.into()));
    let expected = properties(&[(0, Value::Bool(true)), (2, Value::Int(8))]);
    assert_eq!((left, errors.len()), (Some(ReportBody::Properties(expected.into())), 2));
}

#[test]
fn an_event_with_a_wrong_parameter_does_not_pass() {
    let event =
        |id: u32, params: &[(u32, Value)]| ReportBody::Event { id: DatapointId(id), params: properties(params).into() };
    assert!(check_report(&product(), event(0, &[(0, Value::Int(3))])).0.is_some());
    assert!(check_report(&product(), event(0, &[(0, Value::Int(-3))])).0.is_none());
    assert!(check_report(&product(), event(1, &[])).0.is_none());
}
