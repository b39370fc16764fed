//! The two MQTT topics of a device.
//!
//! Invariant: [`Topics`] that exist are legal topics of exactly this device, with no wildcard in them.

/// Where the device sends to (source of the Clife web console, component "simulation").
pub const UPWARD: &str = "/device/{productCode}/{devId}/upward";

/// What the device subscribes to (source of the Clife web console, component "simulation").
pub const DOWNWARD: &str = "/device/{productCode}/{devId}/downward";

/// The topics of one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topics {
    /// Where everything is sent to.
    pub upward: String,
    /// Where everything comes from.
    pub downward: String,
}

/// Why a template gives no topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// There is nothing to put in for `{productCode}`.
    #[error("the topic needs a product code")]
    NoProductCode,
    /// A product code or device id that would change the topic.
    #[error("`{0}` is empty, too long, or has a character that means something in a topic")]
    Value(&'static str),
    /// What comes out is no topic.
    #[error(
        "not a topic of 1 to {LONGEST_TOPIC} bytes without wildcards, control characters and other names in braces"
    )]
    Illegal,
}

impl Topics {
    /// Fills both templates.
    ///
    /// # Errors
    /// See [`TopicError`].
    pub fn new(upward: &str, downward: &str, product_code: Option<&str>, dev_id: &str) -> Result<Self, TopicError> {
        Ok(Self { upward: fill(upward, product_code, dev_id)?, downward: fill(downward, product_code, dev_id)? })
    }
}

/// Puts product code and device id into a template. One without `{productCode}` needs no product code.
///
/// # Errors
/// See [`TopicError`].
pub fn fill(template: &str, product_code: Option<&str>, dev_id: &str) -> Result<String, TopicError> {
    let mut topic = String::with_capacity(template.len());
    let mut rest = template;
    // In one pass, so that a value which looks like a name in braces is not filled in again.
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').ok_or(TopicError::Illegal)?;
        let (name, value) = match name {
            "productCode" => ("productCode", product_code.ok_or(TopicError::NoProductCode)?),
            "devId" => ("devId", dev_id),
            _ => return Err(TopicError::Illegal),
        };
        if !is_level(value) {
            return Err(TopicError::Value(name));
        }
        topic.push_str(before);
        topic.push_str(value);
        rest = after;
    }
    topic.push_str(rest);
    let illegal = |c: char| c.is_control() || matches!(c, '+' | '#' | '}');
    if topic.is_empty() || topic.len() > LONGEST_TOPIC || topic.contains(illegal) {
        return Err(TopicError::Illegal);
    }
    Ok(topic)
}

/// True for a text that can be one level of a topic, as a product code and a device id must be.
#[must_use]
pub fn is_level(text: &str) -> bool {
    let special = |c: char| c.is_control() || matches!(c, '/' | '+' | '#' | '{' | '}');
    !text.is_empty() && text.len() <= LONGEST_LEVEL && !text.contains(special)
}

/// Longest topic (not documented; chosen by us: far more than needed, far less than the 65535 bytes of MQTT 3.1.1, 1.5.3).
const LONGEST_TOPIC: usize = 1024;
/// Longest product code and device id taken (not documented; chosen by us: they are stored).
const LONGEST_LEVEL: usize = 128;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(template: &str, product_code: Option<&str>, dev_id: &str, expected: Result<&str, TopicError>) {
        assert_eq!(fill(template, product_code, dev_id), expected.map(str::to_owned), "{template}");
    }

    #[test]
    fn the_names_in_braces_are_filled_in_once() {
        check(UPWARD, Some("P001"), "D1", Ok("/device/P001/D1/upward"));
        check("{devId}/{devId}", None, "D1", Ok("D1/D1"));
        check("plain", None, "D1", Ok("plain"));
        check("{productCode}", Some("{devId}"), "D1", Err(TopicError::Value("productCode")));
    }

    #[test]
    fn a_product_code_is_needed_only_where_the_template_names_it() {
        check(DOWNWARD, None, "D1", Err(TopicError::NoProductCode));
        check("/d/{devId}", None, "D1", Ok("/d/D1"));
    }

    #[test]
    fn a_value_that_would_change_the_topic_is_refused() {
        for value in ["", "+", "#", "a/b", "a\0", "a\n", "{x}", &"x".repeat(129)] {
            check("/{devId}", None, value, Err(TopicError::Value("devId")));
            check("/{productCode}", Some(value), "D1", Err(TopicError::Value("productCode")));
        }
    }

    #[test]
    fn a_template_that_gives_no_topic_is_refused() {
        for template in ["", "/+/{devId}", "#", "/{devid}", "/{devId", "devId}", "/\u{7}", &"x".repeat(1025)] {
            check(template, Some("P001"), "D1", Err(TopicError::Illegal));
        }
    }

    proptest! {
        #[test]
        fn every_filled_topic_is_legal(template in "([{}/+#a]|\\{devId\\}|\\{productCode\\}|\\PC){0,12}", product in "\\PC{0,10}", dev_id in "[{}/+#a]{0,3}|\\PC{0,10}") {
            if let Ok(topic) = fill(&template, Some(&product), &dev_id) {
                let is_legal = !topic.is_empty() && !topic.contains(['+', '#', '\0', '{', '}']);
                prop_assert!(is_legal, "{}", topic);
            }
        }
    }
}
