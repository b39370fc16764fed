//! The tables that a host offers. All of them are drafts until the ABI is 1.0 (docs/ABI.md).
//!
//! What is common to all: every function is `[any-thread]` and returns at once. A function that returns a **token**
//! always returns one, also when it cannot do what was asked: the completion, good or bad, arrives as one
//! [`crate::Event`] with that token. A token that opens something is the **handle** of what was opened. Events of kind
//! [`FAILED`] say that the call with this token did nothing; `code` is one of [`crate::HostRefusal`], `text` a sentence.
//! Everything an instance opened is closed when it stops or faults; late calls then do nothing.

pub mod http;
pub mod logs;
pub mod module;
pub mod mqtt;
pub mod network;
pub mod ota;
pub mod script;
pub mod store;
pub mod subdevices;
pub mod tcp;
pub mod udp;

pub use http::Http;
pub use logs::Logs;
pub use module::Module;
pub use mqtt::Mqtt;
pub use network::Network;
pub use ota::Ota;
pub use script::Script;
pub use store::Store;
pub use subdevices::Subdevices;
pub use tcp::Tcp;
pub use udp::Udp;

use abi_stable::StableAbi;
use abi_stable::std_types::RStr;

/// Event kind common to all services: the call with this token did nothing.
pub const FAILED: u32 = 0;

/// Whether and how a connection is protected.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct TlsOptions<'a> {
    /// False: plain text. The host refuses plain text where the product file does not allow it.
    pub enabled: bool,
    /// Name to verify, if it differs from the host name; empty: the host name.
    pub server_name: RStr<'a>,
    /// PEM certificates to trust instead of the usual roots; empty: the usual roots.
    pub ca_pem: RStr<'a>,
    /// PEM certificate chain to show the server; empty: none.
    pub client_cert_pem: RStr<'a>,
    /// PEM private key for it.
    pub client_key_pem: RStr<'a>,
}
