//! MQTT topics of the Gizwits cloud (Gizwits device-cloud protocol 4.0.2), both ways.

use crate::auth::Did;

/// Where the device asks the cloud itself, such as for the number of apps online.
pub const CLI2SER_REQ: &str = "cli2ser_req";

/// What the device subscribes to, in this order, each after the acknowledgement of the one before.
#[must_use]
pub fn subscriptions(product_key: &str, did: &Did) -> [String; 3] {
    [ser2cli_noti(product_key), ser2cli_res(did), format!("{}#", app2dev(did))]
}

/// Where a report goes: to all apps.
#[must_use]
pub fn dev2app(did: &Did) -> String {
    format!("dev2app/{did}")
}

/// Where an answer to one app goes.
#[must_use]
pub fn dev2app_client(did: &Did, client: &str) -> String {
    format!("dev2app/{did}/{client}")
}

/// Who sent a message, read from its topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// An app.
    App {
        /// Whom to answer. `None`: what it wants is done, but not answered, because its name is missing or is none
        /// that a topic can hold.
        client: Option<String>,
    },
    /// The cloud, to this device.
    Server,
    /// The cloud, to all devices of the product.
    Notice,
    /// None of the subscribed topics.
    Unknown,
}

impl Incoming {
    /// Reads a topic.
    #[must_use]
    pub fn parse(topic: &str, did: &Did, product_key: &str) -> Self {
        if topic == ser2cli_res(did) {
            return Self::Server;
        }
        if topic == ser2cli_noti(product_key) {
            return Self::Notice;
        }
        let levels = app2dev(did);
        // A subscription to `…/#` also gets what is sent to the level above.
        if levels.strip_suffix('/') == Some(topic) {
            return Self::App { client: None };
        }
        match topic.strip_prefix(&levels) {
            Some(client) => Self::App { client: is_answerable(client).then(|| client.to_owned()) },
            None => Self::Unknown,
        }
    }
}

/// Whether an answer can be published to this client: a name with a separator or wildcard would reach others, or make
/// the broker close the connection.
fn is_answerable(client: &str) -> bool {
    let fits = (1..=LONGEST_CLIENT).contains(&client.chars().count());
    fits && !client.contains(|c: char| matches!(c, '/' | '+' | '#') || c.is_control())
}

fn app2dev(did: &Did) -> String {
    format!("app2dev/{did}/")
}

fn ser2cli_res(did: &Did) -> String {
    format!("ser2cli_res/{did}")
}

fn ser2cli_noti(product_key: &str) -> String {
    format!("ser2cli_noti/{product_key}")
}

/// Longest client id that is answered (MQTT 3.1, client identifier; the vendor's module keeps no longer one).
const LONGEST_CLIENT: usize = 23;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PRODUCT_KEY: &str = "6f3074fe43894547a4f1314bd7e3ae0b";

    fn did() -> Did {
        Did::parse("AbCdEfGhIjKlMnOpQrStUv").unwrap()
    }

    #[track_caller]
    fn check(topic: &str, expected: Incoming) {
        assert_eq!(Incoming::parse(topic, &did(), PRODUCT_KEY), expected, "{topic:?}");
    }

    fn client(name: &str) -> Incoming {
        Incoming::App { client: Some(name.into()) }
    }

    #[test]
    fn subscriptions_stand_in_the_order_of_the_protocol() {
        let expected = [
            "ser2cli_noti/6f3074fe43894547a4f1314bd7e3ae0b",
            "ser2cli_res/AbCdEfGhIjKlMnOpQrStUv",
            "app2dev/AbCdEfGhIjKlMnOpQrStUv/#",
        ];
        assert_eq!(subscriptions(PRODUCT_KEY, &did()), expected);
    }

    #[test]
    fn reports_go_to_all_apps_and_answers_to_one() {
        assert_eq!(dev2app(&did()), "dev2app/AbCdEfGhIjKlMnOpQrStUv");
        assert_eq!(dev2app_client(&did(), "usr123"), "dev2app/AbCdEfGhIjKlMnOpQrStUv/usr123");
    }

    #[test]
    fn a_topic_tells_who_sent_the_message() {
        check("app2dev/AbCdEfGhIjKlMnOpQrStUv/usr123", client("usr123"));
        check("ser2cli_res/AbCdEfGhIjKlMnOpQrStUv", Incoming::Server);
        check("ser2cli_noti/6f3074fe43894547a4f1314bd7e3ae0b", Incoming::Notice);
    }

    #[test]
    fn topics_of_others_are_unknown() {
        for topic in [
            "",
            "app2dev",
            "app2dev/zzCdEfGhIjKlMnOpQrStUv/usr123",
            "app2dev/AbCdEfGhIjKlMnOpQrStUvx/usr123",
            "ser2cli_res/zzCdEfGhIjKlMnOpQrStUv",
            "ser2cli_noti/other",
            "dev2app/AbCdEfGhIjKlMnOpQrStUv",
        ] {
            check(topic, Incoming::Unknown);
        }
    }

    #[test]
    fn an_app_that_cannot_be_named_is_obeyed_but_not_answered() {
        let nobody = Incoming::App { client: None };
        check("app2dev/AbCdEfGhIjKlMnOpQrStUv", nobody.clone());
        check("app2dev/AbCdEfGhIjKlMnOpQrStUv/", nobody.clone());
        for name in ["a/b", "+", "#", "a+", "a\0b", "a\nb", "012345678901234567890123"] {
            check(&format!("app2dev/AbCdEfGhIjKlMnOpQrStUv/{name}"), nobody.clone());
        }
        check("app2dev/AbCdEfGhIjKlMnOpQrStUv/01234567890123456789012", client("01234567890123456789012"));
    }

    proptest! {
        #[test]
        fn no_topic_can_panic_the_reader(topic in "\\PC{0,60}") {
            let _ = Incoming::parse(&topic, &did(), PRODUCT_KEY);
        }

        #[test]
        fn an_answer_never_goes_to_a_wildcard_or_another_level(name in any::<String>()) {
            let topic = format!("app2dev/{}/{name}", did());
            if let Incoming::App { client: Some(client) } = Incoming::parse(&topic, &did(), PRODUCT_KEY) {
                let answer = dev2app_client(&did(), &client);
                prop_assert_eq!(answer.split('/').count(), 3);
                prop_assert!(!answer.contains(['+', '#', '\0']));
            }
        }
    }
}
