//! The types of the ABI as the session's ordinary ones, and back.

use polylink_plugin_api as api;
use polylink_plugin_api::abi_stable::std_types::{ROption, RVec, Tuple2};
use polylink_plugin_api::services::TlsOptions;
use polylink_plugin_api::services::{
    logs as abi_logs, module as abi_module, network as abi_network, ota as abi_ota, subdevices as abi_subdevices,
};
use polylink_plugin_api::{HostRefusal, LogLevel, OutcomeKind, StatusPhase};

use crate::services::{Failure, Reason, Tls, logs, module, network, ota, subdevices};
use crate::session::{Level, Phase, Status};
use crate::value::{Cause, Command, CommandBody, Outcome, OutcomeResult, ReportBody, Value, Values};

pub fn value(value: &api::Value) -> Value {
    match value {
        api::Value::Bool(on) => Value::Bool(*on),
        api::Value::Int(number) => Value::Int(*number),
        api::Value::Decimal { mantissa, scale } => Value::Decimal { mantissa: *mantissa, scale: *scale },
        api::Value::Enum(index) => Value::Enum(*index),
        api::Value::Text(text) => Value::Text(text.to_string()),
        api::Value::Bytes(bytes) => Value::Bytes(bytes.to_vec()),
        api::Value::Json(text) => Value::Json(text.to_string()),
    }
}

pub fn abi_value(value: Value) -> api::Value {
    match value {
        Value::Bool(on) => api::Value::Bool(on),
        Value::Int(number) => api::Value::Int(number),
        Value::Decimal { mantissa, scale } => api::Value::Decimal { mantissa, scale },
        Value::Enum(index) => api::Value::Enum(index),
        Value::Text(text) => api::Value::text(text),
        Value::Bytes(bytes) => api::Value::bytes(bytes),
        Value::Json(text) => api::Value::json(text),
    }
}

pub fn values(values: &[api::Property]) -> Values {
    values.iter().map(|property| (property.id, value(&property.value))).collect()
}

pub fn abi_values(values: Values) -> RVec<api::Property> {
    values.into_iter().map(|(id, value)| api::Property { id, value: abi_value(value) }).collect()
}

pub fn cause(cause: api::Cause) -> Cause {
    match cause {
        api::Cause::PERIODIC => Cause::Periodic,
        api::Cause::ANSWER => Cause::Answer,
        api::Cause::SNAPSHOT => Cause::Snapshot,
        api::Cause::LIVE => Cause::Live,
        _ => Cause::Change,
    }
}

pub fn report_body(body: &api::ReportBody) -> ReportBody {
    match body {
        api::ReportBody::Properties(properties) => ReportBody::Properties(values(properties)),
        api::ReportBody::Event { id, params } => ReportBody::Event { id: *id, params: values(params) },
        api::ReportBody::Raw(bytes) => ReportBody::Raw(bytes.to_vec()),
    }
}

pub fn abi_command(command: Command) -> api::Command {
    let body = match command.body {
        CommandBody::Set(values) => api::CommandBody::Set(abi_values(values)),
        CommandBody::Get(ids) => api::CommandBody::Get(ids.into()),
        CommandBody::Invoke { action, params } => api::CommandBody::Invoke { action, params: abi_values(params) },
        CommandBody::Raw(bytes) => api::CommandBody::Raw(bytes.into()),
    };
    api::Command {
        device: command.device,
        body,
        deadline_ms: command.deadline_ms,
        message_id: command.message_id.into(),
    }
}

pub fn outcome(outcome: &api::CommandOutcome) -> Outcome {
    let result = match outcome.kind {
        OutcomeKind::DONE => OutcomeResult::Done,
        OutcomeKind::UNREACHABLE => OutcomeResult::Unreachable,
        OutcomeKind::TIMED_OUT => OutcomeResult::TimedOut,
        OutcomeKind::SUPERSEDED => OutcomeResult::Superseded,
        _ => OutcomeResult::Refused(outcome.reason.to_string()),
    };
    let document = match &outcome.document {
        ROption::RSome(bytes) => Some(bytes.to_vec()),
        ROption::RNone => None,
    };
    Outcome { result, values: values(&outcome.values), document }
}

pub fn abi_status(status: Status) -> api::Status {
    let phase = match status.phase {
        Phase::Offline => StatusPhase::OFFLINE,
        Phase::Connecting => StatusPhase::CONNECTING,
        Phase::Online => StatusPhase::ONLINE,
        Phase::Attention => StatusPhase::ATTENTION,
    };
    let facts = status.facts.into_iter().map(|(name, text)| (name.into(), text.into()).into()).collect();
    api::Status { phase, text: status.text.into(), facts }
}

pub const fn abi_level(level: Level) -> LogLevel {
    match level {
        Level::Error => LogLevel::ERROR,
        Level::Warn => LogLevel::WARN,
        Level::Info => LogLevel::INFO,
        Level::Debug => LogLevel::DEBUG,
        Level::Trace => LogLevel::TRACE,
    }
}

pub fn failure(code: i64, text: &str) -> Failure {
    let reason = match code {
        HostRefusal::UNKNOWN_HANDLE => Reason::UnknownHandle,
        HostRefusal::QUOTA => Reason::Quota,
        HostRefusal::INVALID => Reason::Invalid,
        HostRefusal::RESOLVE => Reason::Resolve,
        HostRefusal::TIMEOUT => Reason::Timeout,
        HostRefusal::CONNECTION_REFUSED => Reason::ConnectionRefused,
        HostRefusal::CONNECTION_LOST => Reason::ConnectionLost,
        HostRefusal::TLS => Reason::Tls,
        HostRefusal::PROTOCOL => Reason::Protocol,
        HostRefusal::STORAGE => Reason::Storage,
        HostRefusal::CLOSED => Reason::Closed,
        _ => Reason::Other,
    };
    Failure { reason, text: text.to_owned() }
}

pub fn facts(facts: abi_module::Facts) -> module::Facts {
    module::Facts {
        product_key: facts.product_key.into(),
        serial: facts.serial.into(),
        module_hardware: facts.module_hardware.into(),
        module_software: facts.module_software.into(),
        mcu_hardware: facts.mcu_hardware.into(),
        mcu_software: facts.mcu_software.into(),
        mcu_online: facts.mcu_online,
        mcu_payload_version: facts.mcu_payload_version.into(),
        device_attributes: facts.device_attributes,
        bindable: facts.bindable,
        onboarding: facts.onboarding,
    }
}

pub fn interfaces(interfaces: RVec<abi_network::Interface>) -> Vec<network::Interface> {
    let interface = |found: abi_network::Interface| network::Interface {
        name: found.name.into(),
        mac: found.mac,
        ipv4: found.ipv4.into(),
        broadcast: found.broadcast.into(),
        ipv6: found.ipv6.into_iter().map(Into::into).collect(),
        wireless: found.wireless,
        signal_dbm: found.signal_dbm,
    };
    interfaces.into_iter().map(interface).collect()
}

pub fn subdevices(list: RVec<abi_subdevices::Subdevice>) -> Vec<subdevices::Subdevice> {
    let subdevice = |found: abi_subdevices::Subdevice| subdevices::Subdevice {
        index: found.index,
        product: found.product.into(),
        address: found.address.into(),
        radio: radio(found.radio),
        accepted: found.accepted,
        online: found.online,
        signal_percent: found.signal_percent.into_option(),
        version: found.version.into(),
    };
    list.into_iter().map(subdevice).collect()
}

const fn radio(radio: abi_subdevices::Radio) -> subdevices::Radio {
    match radio {
        abi_subdevices::Radio::WIFI => subdevices::Radio::Wifi,
        abi_subdevices::Radio::ZIGBEE => subdevices::Radio::Zigbee,
        abi_subdevices::Radio::BLUETOOTH => subdevices::Radio::Bluetooth,
        abi_subdevices::Radio::SUB_GHZ => subdevices::Radio::SubGhz,
        _ => subdevices::Radio::Other,
    }
}

pub fn updates(list: RVec<abi_ota::Update>) -> Vec<ota::Update> {
    list.into_iter().map(update).collect()
}

fn update(update: abi_ota::Update) -> ota::Update {
    use abi_ota::{Phase, Target};
    ota::Update {
        id: update.id.into(),
        target: match update.target {
            Target::MCU => ota::Target::Mcu,
            Target::SUBDEVICE => ota::Target::Subdevice(update.device),
            _ => ota::Target::Module,
        },
        version: update.version.into(),
        phase: match update.phase {
            Phase::WAITING => ota::Phase::Waiting,
            Phase::DOWNLOADING => ota::Phase::Downloading,
            Phase::FINISHED => ota::Phase::Finished,
            Phase::FAILED => ota::Phase::Failed(why(update.failure)),
            _ => ota::Phase::Installing,
        },
        percent: update.percent.min(100),
        reason: update.reason.into(),
    }
}

const fn why(failure: abi_ota::Failure) -> ota::Failure {
    use abi_ota::Failure;
    match failure {
        Failure::UNSUPPORTED => ota::Failure::Unsupported,
        Failure::POLICY => ota::Failure::Policy,
        Failure::DOWNLOAD => ota::Failure::Download,
        Failure::DIGEST => ota::Failure::Digest,
        Failure::SPACE => ota::Failure::Space,
        Failure::INSTALL => ota::Failure::Install,
        Failure::CANCELLED => ota::Failure::Cancelled,
        Failure::TOO_LATE => ota::Failure::TooLate,
        _ => ota::Failure::Other,
    }
}

pub fn abi_offer(offer: ota::Offer) -> abi_ota::Offer {
    let (target, device) = match offer.target {
        ota::Target::Module => (abi_ota::Target::MODULE, 0),
        ota::Target::Mcu => (abi_ota::Target::MCU, 0),
        ota::Target::Subdevice(index) => (abi_ota::Target::SUBDEVICE, index),
    };
    abi_ota::Offer {
        id: offer.id.into(),
        target,
        device,
        version: offer.version.into(),
        url: offer.url.into(),
        headers: offer.headers.into_iter().map(Into::into).collect(),
        size: offer.size,
        digests: offer.digests.into_iter().map(abi_digest).collect(),
        not_before_ms: offer.not_before_ms,
        spread_ms: offer.spread_ms,
        not_after_ms: offer.not_after_ms,
    }
}

fn abi_digest(digest: ota::Digest) -> abi_ota::Digest {
    use abi_ota::DigestKind;
    let (kind, value) = match digest {
        ota::Digest::Md5(value) => (DigestKind::MD5, value.to_vec()),
        ota::Digest::Sha256(value) => (DigestKind::SHA256, value.to_vec()),
        ota::Digest::Crc32(value) => (DigestKind::CRC32, value.to_be_bytes().to_vec()),
        ota::Digest::Crc32Plain(value) => (DigestKind::CRC32_PLAIN, value.to_be_bytes().to_vec()),
        ota::Digest::ByteSum(value) => (DigestKind::BYTE_SUM, value.to_be_bytes().to_vec()),
    };
    abi_ota::Digest { kind, value: value.into() }
}

pub fn abi_log_upload(upload: &logs::Upload) -> abi_logs::LogUpload {
    let (user, password) = match &upload.login {
        Some((user, password)) => (user.as_str(), password.expose().as_str()),
        None => ("", ""),
    };
    abi_logs::LogUpload {
        url: upload.url.as_str().into(),
        method: match upload.method {
            logs::Method::Put => abi_logs::Method::PUT,
            logs::Method::Post => abi_logs::Method::POST,
            logs::Method::Multipart => abi_logs::Method::MULTIPART,
        },
        headers: upload.headers.iter().map(|header| header.as_str().into()).collect(),
        fields: upload.fields.iter().map(|(name, text)| Tuple2(name.as_str().into(), text.as_str().into())).collect(),
        file_field: upload.file_field.as_str().into(),
        file_name: upload.file_name.as_str().into(),
        user: user.into(),
        password: password.into(),
        from_ms: upload.from_ms.unwrap_or(i64::MIN),
        to_ms: upload.to_ms.unwrap_or(i64::MAX),
    }
}

pub fn tls_options(tls: Option<&Tls>) -> TlsOptions<'_> {
    let text = |text: Option<&'static str>| text.unwrap_or_default().into();
    let mut options = TlsOptions {
        enabled: tls.is_some(),
        server_name: text(None),
        ca_pem: text(None),
        client_cert_pem: text(None),
        client_key_pem: text(None),
    };
    if let Some(tls) = tls {
        options.server_name = tls.server_name.as_deref().unwrap_or_default().into();
        options.ca_pem = tls.ca_pem.as_deref().unwrap_or_default().into();
        if let Some((chain, key)) = &tls.client {
            options.client_cert_pem = chain.as_str().into();
            options.client_key_pem = key.expose().as_str().into();
        }
    }
    options
}
