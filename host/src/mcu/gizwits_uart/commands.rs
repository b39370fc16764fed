//! Numbers of the serial protocol: commands, errors, flags.

/// Acknowledgements have even numbers, up to that of the last request (Gizwits serial protocol, command table).
pub(super) const fn is_ack(command: u8) -> bool {
    command.is_multiple_of(2) && command <= RESTART_MODULE + 1
}

// Commands (Gizwits serial protocol, command table); the acknowledgement of each is one more.
pub(super) const GET_DEVICE_INFORMATION: u8 = 0x01;
pub(super) const P0_TO_MCU: u8 = 0x03;
pub(super) const P0_FROM_MCU: u8 = 0x05;
pub(super) const HEARTBEAT: u8 = 0x07;
pub(super) const ENTER_CONFIGURATION: u8 = 0x09;
pub(super) const RESET: u8 = 0x0B;
pub(super) const MODULE_STATUS: u8 = 0x0D;
pub(super) const RESTART_MCU: u8 = 0x0F;
pub(super) const ILLEGAL: u8 = 0x11;
pub(super) const ILLEGAL_ACK: u8 = 0x12;
pub(super) const PRODUCTION_TEST: u8 = 0x13;
pub(super) const OPEN_BINDING: u8 = 0x15;
pub(super) const GET_TIME: u8 = 0x17;
pub(super) const BIG_DATA_REQUEST: u8 = 0x19;
pub(super) const BIG_DATA_READY: u8 = 0x1B;
pub(super) const BIG_DATA_PIECE: u8 = 0x1D;
pub(super) const SENDER_ABORTS: u8 = 0x1F;
pub(super) const GET_MODULE_INFORMATION: u8 = 0x21;
pub(super) const RECEIVER_ABORTS: u8 = 0x27;
pub(super) const RESTART_MODULE: u8 = 0x29;

/// Requests of the MCU whose bad checksum is told as such; of others it is told that they are unknown (as the vendor's
/// module was seen to do).
pub(super) const ANSWERED: [u8; 10] = [
    P0_FROM_MCU,
    ENTER_CONFIGURATION,
    RESET,
    PRODUCTION_TEST,
    OPEN_BINDING,
    GET_TIME,
    BIG_DATA_READY,
    GET_MODULE_INFORMATION,
    RECEIVER_ABORTS,
    RESTART_MODULE,
];

// Errors of the illegal packet notice (Gizwits serial protocol, illegal packets).
pub(super) const ERROR_CHECKSUM: u8 = 1;
pub(super) const ERROR_COMMAND: u8 = 2;
pub(super) const ERROR_OTHER: u8 = 3;
pub(super) const ERROR_FILE_TYPE: u8 = 4;

/// A P0 frame with this flag names a device behind a gateway (vendor's newer gateways).
pub(super) const GATEWAY_FLAG: u16 = 1;

/// Action code of bytes that nobody interprets (Gizwits datapoint protocol 4.0.0).
pub(super) const TRANSPARENT_DOWN: u8 = 0x05;
