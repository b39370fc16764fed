//! MQTT topics of the Deli cloud.
//!
//! The platform subscribes the device by itself to a private topic whose name is not published: messages come on topics
//! that were never subscribed to, and are told apart by their content only. So nothing here reads a topic.

use crate::auth::Identity;

/// Where the device publishes everything (Deli access document, device publishing).
pub const PUBLISH: &str = "device";

/// The two broadcast topics a device may subscribe to: its product type, and its model. The gateway refuses any other
/// (Deli access document, topic subscription).
#[must_use]
pub fn broadcasts(identity: &Identity) -> [String; 2] {
    [identity.product_type.clone(), format!("{}/{}", identity.product_type, identity.model)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_topics_are_those_printed_in_the_access_document() {
        assert_eq!(broadcasts(&Identity::new("KQ", "DL3785W", "1")), ["KQ", "KQ/DL3785W"]);
    }
}
