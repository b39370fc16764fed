//! Result codes, and the JSON that carries nothing else.

use serde::{Deserialize, Serialize};

use super::{WireError, json};

/// A result code. Those that are not listed may come too, such as JD's own below -1000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Code(pub i32);

macro_rules! codes {
    ($($name:ident = $number:literal, $text:literal;)*) => {
        /// The codes of JoyLink V1.79, table of codes.
        impl Code {
            $(
                #[doc = concat!("\"", $text, "\".")]
                pub const $name: Self = Self($number);
            )*

            /// All that are listed.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// What it means, as a message for people.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self.0 {
                    $($number => $text,)*
                    _ => "unknown code",
                }
            }
        }
    };
}

codes! {
    AUTHENTICATION_FAILED = -1, "authentication failed";
    NO_AUTHENTICATION_DATA = -2, "no authentication data";
    DEVICE_OFFLINE = -3, "device offline";
    NOT_SUPPORTED = -4, "not supported";
    SUCCESS = 0, "success";
    SERVER_UNREACHABLE = 1, "cannot reach server";
    REFUSED = 2, "refused by device";
    TIMER_FAILED = 3, "timer operation failed";
    PROPERTY_FAILED = 4, "changing a property failed";
    AUTHORIZATION_FAILED = 5, "authorization failed";
    UPGRADE_FAILED = 6, "firmware upgrade failed";
    UPLOAD_FAILED = 7, "upload failed";
    LINKAGE_FAILED = 8, "linkage failed";
    SUB_DEVICE_FAILED = 9, "sub-device operation failed";
    MCU_TIMEOUT = 10, "main controller timeout";
    MCU_LOST = 11, "connection to main controller lost";
    SCRIPT_CHECK = 12, "script check error";
    OUT_OF_MEMORY = 13, "out of memory";
    SCRIPT_EXECUTION = 14, "script execution error";
    INSUFFICIENT_RIGHTS = 15, "insufficient rights";
    ALREADY_BOUND = 16, "already bound, ask the administrator";
    LIMIT_REACHED = 17, "limit reached";
    INCOMPATIBLE_VERSION = 18, "incompatible version";
    NO_SUCH_SUB_DEVICE = 19, "no such sub-device";
    SUB_DEVICE_OFFLINE = 20, "sub-device offline";
    SUB_DEVICE_SILENT = 21, "sub-device does not answer";
    DOWNLOADING = 22, "download in progress";
    FILE_DAMAGED = 23, "file damaged";
    WRITING_FAILED = 24, "writing failed";
    OPERATION_NOT_SUPPORTED = 100, "operation not supported";
}

impl Code {
    /// Reads the field of a binary structure, in which -1 is 0xFFFFFFFF.
    #[must_use]
    pub const fn of_field(field: u32) -> Self {
        Self(field.cast_signed())
    }

    /// The field of a binary structure.
    #[must_use]
    pub const fn field(self) -> u32 {
        self.0.cast_unsigned()
    }

    /// Whether all went well.
    #[must_use]
    pub const fn is_success(self) -> bool {
        self.0 == 0
    }

    /// What the main controller's own code means here: 0 done, 1 bad parameter, 2 refused (the mapping is ours).
    #[must_use]
    pub const fn of_mcu(code: u8) -> Self {
        match code {
            0 => Self::SUCCESS,
            2 => Self::REFUSED,
            _ => Self::PROPERTY_FAILED,
        }
    }
}

/// `{"code":…,"msg":…}`: the answer to an authorization (2) or a status of an upgrade (8), and what stands for the main
/// controller's answer if there is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The result.
    pub code: Code,
    /// The same for people.
    #[serde(default)]
    pub msg: String,
}

impl Answer {
    /// The answer with this code and its text.
    #[must_use]
    pub fn of(code: Code) -> Self {
        Self { code, msg: code.text().to_owned() }
    }

    /// As JSON.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        json::encode(self)
    }

    /// Reads JSON.
    ///
    /// # Errors
    /// See [`WireError`].
    pub fn decode(body: &[u8]) -> Result<Self, WireError> {
        json::object(body)
    }
}
