//! Types of packets: which way they go, and how they may be encrypted on it (JoyLink V1.79, table of packet types).

/// Where packets travel. Each network has its own first word, so that none strays into the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// UDP on the local network.
    Lan,
    /// TCP to the cloud.
    Wan,
}

impl Network {
    /// First word of its packets (JoyLink V1.79, packet).
    #[must_use]
    pub const fn magic(self) -> u32 {
        match self {
            Self::Lan => 0x1234_55BB,
            Self::Wan => 0x1234_55CC,
        }
    }
}

/// Who sends to whom. A gateway is a device here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// On the local network, to the device.
    AppToDevice,
    /// On the local network, from the device.
    DeviceToApp,
    /// Down from the cloud.
    CloudToDevice,
    /// Up to the cloud.
    DeviceToCloud,
}

impl Route {
    /// The network that it is on.
    #[must_use]
    pub const fn network(self) -> Network {
        match self {
            Self::AppToDevice | Self::DeviceToApp => Network::Lan,
            Self::CloudToDevice | Self::DeviceToCloud => Network::Wan,
        }
    }
}

/// Values of the header's `enctype` (JoyLink V1.79, encryption modes).
pub mod enctype {
    /// Not encrypted.
    pub const PLAIN: u8 = 0;
    /// A key that everybody knows; accepted nowhere.
    pub const FIXED_KEY: u8 = 1;
    /// The secret of a key exchange; the sender's public key is in `opt`.
    pub const EXCHANGED: u8 = 2;
    /// A key of 32 bytes.
    pub const KEY32: u8 = 3;
    /// The same; how JD's SDKs label packets under the session key (JD device SDK 2.0, `joylink_packets.c`).
    pub const SESSION_KEY: u8 = 4;
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)*) => {
        /// Type of a packet. An answer has the type of its request, but for [`Kind::VideoAnswer`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Kind {
            $($(#[$doc])* $name = $number,)*
        }

        impl Kind {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The type with this number; `None`: no type of this version of the protocol.
            #[must_use]
            pub const fn of(number: u8) -> Option<Self> {
                match number {
                    $($number => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

kinds! {
    /// An app looks for devices.
    Discovery = 1,
    /// An app binds a device.
    Authorization = 2,
    /// An app controls with JSON.
    Json = 3,
    /// An app controls with bytes that a script made.
    Script = 4,
    /// The cloud orders new firmware.
    OtaOrder = 7,
    /// The device tells how far it is with it.
    OtaStatus = 8,
    /// The device proves who it is.
    CloudAuthentication = 9,
    /// The device is there.
    Heartbeat = 10,
    /// The cloud controls.
    Command = 11,
    /// The device reports.
    Upload = 12,
    /// Schedules, from the cloud, an app or the device.
    Timers = 13,
    /// What a command that no app gave led to; never answered.
    AsyncResult = 14,
    /// The device asks for the weather and the like.
    Information = 15,
    /// The device tells how far it is with a recipe.
    RecipeProgress = 16,
    /// An app binds a sub-device.
    SubAuthorization = 102,
    /// An app controls a sub-device with JSON.
    SubJson = 103,
    /// An app controls a sub-device with bytes that a script made.
    SubScript = 104,
    /// An app announces a sub-device.
    AddSubDevice = 105,
    /// A gateway and its sub-devices are there.
    SubHeartbeat = 110,
    /// The cloud controls a sub-device.
    SubCommand = 111,
    /// A sub-device reports.
    SubUpload = 112,
    /// The cloud unbinds sub-devices.
    SubUnbind = 113,
    /// The cloud tells where a video goes.
    VideoAddress = 200,
    /// Its answer.
    VideoAnswer = 201,
}

impl Kind {
    /// How such a packet may be encrypted on this route; empty: it never goes this way.
    #[must_use]
    pub const fn enctypes(self, route: Route) -> &'static [u8] {
        use Route::{AppToDevice, CloudToDevice, DeviceToApp, DeviceToCloud};
        match (self, route) {
            (Self::Discovery, AppToDevice | DeviceToApp) => &[enctype::PLAIN],
            (Self::Authorization | Self::SubAuthorization, AppToDevice) => &[enctype::EXCHANGED],
            // The answer is in plain text, but one product encrypts it, and apps take that too.
            (Self::Authorization | Self::SubAuthorization, DeviceToApp) => &[enctype::PLAIN, enctype::EXCHANGED],
            (
                Self::Json | Self::Script | Self::Timers | Self::SubJson | Self::SubScript | Self::AddSubDevice,
                AppToDevice | DeviceToApp,
            ) => &[enctype::KEY32],
            (Self::AsyncResult | Self::VideoAnswer, DeviceToCloud)
            | (Self::VideoAddress, CloudToDevice)
            | (
                Self::OtaOrder
                | Self::OtaStatus
                | Self::CloudAuthentication
                | Self::Heartbeat
                | Self::Command
                | Self::Upload
                | Self::Timers
                | Self::Information
                | Self::RecipeProgress
                | Self::SubHeartbeat
                | Self::SubCommand
                | Self::SubUpload
                | Self::SubUnbind,
                CloudToDevice | DeviceToCloud,
            ) => &[enctype::KEY32, enctype::SESSION_KEY],
            _ => &[],
        }
    }

    /// Whether a request of an app must be newer than the one before (JoyLink V1.79, encryption; the set is ours: all
    /// that are encrypted).
    #[must_use]
    pub const fn needs_replay_check(self) -> bool {
        !matches!(self, Self::Discovery) && !self.enctypes(Route::AppToDevice).is_empty()
    }
}
