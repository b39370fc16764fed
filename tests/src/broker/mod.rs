//! A small strict MQTT broker for tests.

pub mod packet;
