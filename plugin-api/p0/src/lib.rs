//! The P0 payload of the Gizwits family: what the bytes of a report, a control or a read mean for one product.
//!
//! Pure: bytes and a [`Schema`] in, [`Packet`]s out, and back. No clock, no I/O, no floats. Nothing that comes from a
//! wire or a schema file can panic it, and a schema that was accepted can encode and decode without further checks of
//! its layout. Envelopes (serial, LAN, MQTT), retries and access rules are left to the callers.
//!
//! A number travels as an unsigned integer *x*; people see *y = x × ratio + addition* (see [`Scaling`]).

mod decimal;
mod fixed;
mod packet;
mod parse;
mod scaling;
mod schema;
mod varlen;

pub use decimal::{Decimal, DecimalError};
pub use packet::{P0Error, Packet, Raw};
pub use parse::MAX_FILE_BYTES;
pub use scaling::{ScaleError, Scaling};
pub use schema::{Access, Attribute, DataType, Format, Position, Schema, SchemaError};
