//! [`Fault`]: how a plugin tells the host that it cannot go on.

use abi_stable::StableAbi;
use abi_stable::std_types::RString;

/// What kind of thing went wrong. Unknown values count as [`FaultCode::OTHER`].
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FaultCode(pub u32);

impl FaultCode {
    /// None of the others.
    pub const OTHER: Self = Self(0);
    /// The plugin panicked; the SDK caught it. The instance is not called again.
    pub const PANIC: Self = Self(1);
    /// The settings are wrong; no use in trying again before they change.
    pub const SETTINGS: Self = Self(2);
    /// The host lacks a service, or offers another revision of it.
    pub const MISSING_SERVICE: Self = Self(3);
    /// The product lacks something this cloud needs.
    pub const PRODUCT: Self = Self(4);
}

/// What the plugin advises the host to do. Unknown values count as [`Advice::RETRY`].
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Advice(pub u8);

impl Advice {
    /// Make a new instance after the usual backoff.
    pub const RETRY: Self = Self(0);
    /// Wait until the configuration or the product changes.
    pub const GIVE_UP: Self = Self(1);
}

/// Why a plugin instance cannot go on. After returning one, the instance gets no further call but its drop.
#[repr(C)]
#[derive(StableAbi, Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The kind, for programs.
    pub code: FaultCode,
    /// What to do next.
    pub advice: Advice,
    /// The story, for people. Never contains a secret.
    pub message: RString,
}

impl Fault {
    /// A fault of this kind with the usual advice for it.
    pub fn new(code: FaultCode, message: impl Into<String>) -> Self {
        let advice = match code {
            FaultCode::SETTINGS | FaultCode::MISSING_SERVICE | FaultCode::PRODUCT => Advice::GIVE_UP,
            _ => Advice::RETRY,
        };
        Self { code, advice, message: message.into().into() }
    }

    /// The settings are wrong.
    pub fn settings(message: impl Into<String>) -> Self {
        Self::new(FaultCode::SETTINGS, message)
    }

    /// The product lacks something.
    pub fn product(message: impl Into<String>) -> Self {
        Self::new(FaultCode::PRODUCT, message)
    }
}
