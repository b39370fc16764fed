//! How commands of several clouds are judged: each reaches the MCU once, and its result reaches every cloud.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::clouds::ledger::Entries;
use crate::mcu::log::ReceivedCommand;
use crate::mcu::p0::Schema;

/// A command as it was given to a cloud.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Property of the product.
    pub property: String,
    /// Its value in the product's words.
    pub value: Json,
}

/// Commands that the MCU did not obey as often as they were sent, in words.
pub fn not_once(sent: &[Sent], obeyed: &[ReceivedCommand], schema: &Schema) -> Vec<String> {
    let mut counts: BTreeMap<(String, String), (usize, usize)> = BTreeMap::new();
    for command in sent {
        let attribute = schema.attribute(&command.property);
        let raw = attribute.and_then(|attribute| Some((attribute, attribute.raw(&command.value).ok()?)));
        // What the product does not know reaches no MCU, and the cloud has its answer.
        let Some((attribute, raw)) = raw else { continue };
        counts.entry((command.property.clone(), attribute.text(&raw))).or_default().0 += 1;
    }
    for command in obeyed {
        let text = schema.attribute(&command.name).map(|attribute| attribute.text(&command.value));
        counts.entry((command.name.clone(), text.unwrap_or_default())).or_default().1 += 1;
    }
    let wrong = counts.into_iter().filter(|(_, (sent, obeyed))| sent != obeyed);
    wrong
        .map(|((name, value), (sent, obeyed))| format!("mcu: {name} = {value} was sent {sent} times, obeyed {obeyed}"))
        .collect()
}

/// Commands, whoever sent them, whose result a cloud has seen: a report made after the MCU had obeyed.
pub fn results_seen(cloud: &Entries, obeyed: &[ReceivedCommand]) -> usize {
    let last = cloud.arrivals.iter().map(|arrival| arrival.counter).max();
    obeyed.iter().filter(|command| last >= Some(command.reported_by)).count()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use serde_json::json;

    use super::*;
    use crate::clouds::ledger::Ledger;
    use crate::demo::product;
    use crate::mcu::p0::Raw;

    fn obeyed(list: &[(&str, u64, u32)]) -> Vec<ReceivedCommand> {
        let command = |&(name, value, reported_by): &(&str, u64, u32)| ReceivedCommand {
            name: name.to_owned(),
            value: Raw::Number(value),
            at: Instant::now(),
            reported_by,
        };
        list.iter().map(command).collect()
    }

    #[track_caller]
    fn check(sent: &[(&str, Json)], list: &[(&str, u64, u32)], expected: &[&str]) {
        let sent: Vec<Sent> = sent
            .iter()
            .map(|(property, value)| Sent { property: (*property).to_owned(), value: value.clone() })
            .collect();
        let found = not_once(&sent, &obeyed(list), &product::schema());
        assert_eq!(found, expected);
    }

    #[test]
    fn each_command_is_to_be_obeyed_as_often_as_it_was_sent() {
        let twice = [("switch", json!(true)), ("target", json!(21.5)), ("switch", json!(true))];
        check(&twice, &[("switch", 1, 1), ("target", 23, 2), ("switch", 1, 3)], &[]);
        check(
            &twice,
            &[("switch", 1, 1), ("target", 23, 2), ("target", 23, 3)],
            &["mcu: switch = 1 was sent 2 times, obeyed 1", "mcu: target = 21.5 was sent 1 times, obeyed 2"],
        );
        check(&[], &[("mode", 2, 1)], &["mcu: mode = heat was sent 0 times, obeyed 1"]);
    }

    #[test]
    fn a_result_is_seen_with_a_report_made_afterwards() {
        let ledger = Ledger::default();
        let commands = obeyed(&[("switch", 1, 3), ("switch", 0, 5)]);
        for (counter, expected) in [(2, 0), (4, 1), (5, 2)] {
            ledger.arrived(counter);
            assert_eq!(ledger.with(|entries| results_seen(entries, &commands)), expected);
        }
    }
}
