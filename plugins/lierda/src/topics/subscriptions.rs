//! What a working connection subscribes to.

use serde::Deserialize;

use super::Topics;

/// How a product speaks; decides which topics are needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProductKind {
    /// Whatever the application sends.
    Passthrough,
    /// The product model as JSON.
    #[default]
    Json,
    /// The product model as hex digits of the product's own codec.
    Hex,
}

impl Topics {
    /// Topic filters of the working connection, and whether the platform may refuse one: it may lack either of the two
    /// names that the protocol has for the same thing.
    ///
    /// Each of `services` is a single level, see [`super::identifier_ok`]. Without services all calls are subscribed to.
    #[must_use]
    pub fn subscriptions(
        &self,
        kind: ProductKind,
        use_plus_wildcard: bool,
        services: &[String],
    ) -> Vec<(String, bool)> {
        let mut filters = Vec::new();
        if use_plus_wildcard {
            filters.push((self.below("+"), false));
        } else {
            let passthrough: &[&str] = match kind {
                ProductKind::Passthrough => &["downloadlink", "uplink_ack"],
                ProductKind::Json | ProductKind::Hex => &[],
            };
            let names = COMMON.iter().chain(passthrough);
            filters.extend(names.map(|name| (self.below(name), OPTIONAL.contains(name))));
        }
        // One wildcard level never covers the topics of the model.
        match kind {
            ProductKind::Passthrough => {}
            ProductKind::Json => {
                filters.extend(JSON_MODEL.iter().map(|name| (self.below(name), false)));
                if services.is_empty() {
                    filters.push((self.below("model/service/+"), false));
                }
                filters.extend(services.iter().map(|service| (self.below(&format!("model/service/{service}")), false)));
            }
            ProductKind::Hex => filters.extend(HEX_MODEL.iter().map(|name| (self.below(name), false))),
        }
        filters
    }
}

/// Needed by every product.
const COMMON: [&str; 8] = [
    "downlink",
    "firmware_report_ack",
    "ask_firmware",
    "ota_notify",
    "ask_config",
    "download_config",
    "down_config",
    "update_time_ack",
];
/// Needed by products with a JSON model, besides services.
const JSON_MODEL: [&str; 5] = [
    "model/property/ask",
    "model/property/set",
    "model/property/report_ack",
    "model/event/+/report_ack",
    "model/history/data/report_ack",
];
/// Needed by products with a HEX model.
const HEX_MODEL: [&str; 3] = ["model/hex/report_ack", "model/hex/downlink", "model/hex_ack"];
/// Second names of the same thing, which the platform may not know.
const OPTIONAL: [&str; 2] = ["down_config", "downloadlink"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Identity;
    use crate::topics::Topic;

    const BASE: &str = "/sys/o/p/d";

    fn topics() -> Topics {
        Topics::new(&Identity { open_id: "o".into(), product_id: "p".into(), node_eui: "d".into() })
    }

    fn filters(kind: ProductKind, use_plus_wildcard: bool, services: &[&str]) -> Vec<String> {
        let services: Vec<String> = services.iter().map(|&service| service.into()).collect();
        let filters = topics().subscriptions(kind, use_plus_wildcard, &services);
        filters.into_iter().map(|(filter, _)| filter.strip_prefix(BASE).unwrap()[1..].to_owned()).collect()
    }

    #[test]
    fn each_kind_of_product_subscribes_to_what_it_needs() {
        assert_eq!(filters(ProductKind::Passthrough, false, &["x"])[COMMON.len()..], ["downloadlink", "uplink_ack"]);
        let json = filters(ProductKind::Json, false, &["switch", "reset"]);
        assert_eq!(json[..COMMON.len()], COMMON);
        assert_eq!(json[COMMON.len()..COMMON.len() + 5], JSON_MODEL);
        assert_eq!(json[COMMON.len() + 5..], ["model/service/switch", "model/service/reset"]);
        assert_eq!(filters(ProductKind::Json, false, &[]).last().unwrap(), "model/service/+");
        assert_eq!(filters(ProductKind::Hex, false, &[])[COMMON.len()..], HEX_MODEL);
    }

    #[test]
    fn the_plus_wildcard_stands_for_everything_but_the_model() {
        assert_eq!(filters(ProductKind::Passthrough, true, &[]), ["+"]);
        assert_eq!(filters(ProductKind::Hex, true, &[]), ["+", HEX_MODEL[0], HEX_MODEL[1], HEX_MODEL[2]]);
    }

    #[test]
    fn only_second_names_may_be_refused() {
        let optional: Vec<String> = topics()
            .subscriptions(ProductKind::Passthrough, false, &[])
            .into_iter()
            .filter_map(|(filter, optional)| optional.then_some(filter))
            .collect();
        assert_eq!(optional, [format!("{BASE}/down_config"), format!("{BASE}/downloadlink")]);
    }

    #[test]
    fn every_topic_that_is_subscribed_to_is_understood() {
        for kind in [ProductKind::Passthrough, ProductKind::Json, ProductKind::Hex] {
            for filter in filters(kind, false, &[]) {
                let topic = topics().classify(&format!("{BASE}/{}", filter.replace('+', "x")));
                assert!(topic.is_some_and(|topic| topic != Topic::Own), "{filter}");
            }
        }
    }
}
