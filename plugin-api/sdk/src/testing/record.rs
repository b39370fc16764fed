//! The types of the ABI as a host reads them, in the session's words: the way opposite to the driver's.

use polylink_plugin_api as api;
use polylink_plugin_api::abi_stable::std_types::ROption;
use polylink_plugin_api::services::http::HttpRequest;
use polylink_plugin_api::services::mqtt::{MqttConnect, MqttPublish};
use polylink_plugin_api::services::{
    TlsOptions, logs as abi_logs, module as abi_module, network as abi_network, ota as abi_ota,
    subdevices as abi_subdevices,
};
use polylink_plugin_api::{HostRefusal, LogLevel, OutcomeKind, StatusPhase};

use crate::driver::convert;
use crate::secret::Secret;
use crate::services::{Reason, Tls, http, logs, module, mqtt, network, ota, subdevices};
use crate::session::{Level, Phase, Status};
use crate::value::{Cause, Command, CommandBody, Outcome, OutcomeResult, ReportBody};

pub fn command(command: &api::Command) -> Command {
    let body = match &command.body {
        api::CommandBody::Set(values) => CommandBody::Set(convert::values(values)),
        api::CommandBody::Get(ids) => CommandBody::Get(ids.to_vec()),
        api::CommandBody::Invoke { action, params } => {
            CommandBody::Invoke { action: *action, params: convert::values(params) }
        }
        api::CommandBody::Raw(bytes) => CommandBody::Raw(bytes.to_vec()),
    };
    Command {
        device: command.device,
        body,
        deadline_ms: command.deadline_ms,
        message_id: command.message_id.to_string(),
    }
}

pub fn status(status: api::Status) -> Status {
    let phase = match status.phase {
        StatusPhase::OFFLINE => Phase::Offline,
        StatusPhase::ONLINE => Phase::Online,
        StatusPhase::ATTENTION => Phase::Attention,
        _ => Phase::Connecting,
    };
    let facts = status.facts.into_iter().map(|fact| (fact.0.into(), fact.1.into())).collect();
    Status { phase, text: status.text.into(), facts }
}

pub fn level(level: LogLevel) -> Level {
    match level {
        LogLevel::ERROR => Level::Error,
        LogLevel::WARN => Level::Warn,
        LogLevel::DEBUG => Level::Debug,
        LogLevel::TRACE => Level::Trace,
        _ => Level::Info,
    }
}

pub fn tls(options: &TlsOptions<'_>) -> Option<Tls> {
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let key = Secret::new(options.client_key_pem.to_string());
    options.enabled.then(|| Tls {
        server_name: text(options.server_name.as_str()),
        ca_pem: text(options.ca_pem.as_str()),
        client: text(options.client_cert_pem.as_str()).map(|chain| (chain, key)),
    })
}

pub fn connect(connect: &MqttConnect<'_>) -> mqtt::Connect {
    mqtt::Connect {
        host: connect.host.to_string(),
        port: connect.port,
        tls: tls(&connect.tls),
        protocol_level: connect.protocol_level,
        client_id: connect.client_id.to_string(),
        username: connect.has_username.then(|| connect.username.to_string()),
        password: connect.has_password.then(|| Secret::new(connect.password.to_vec())),
        clean_session: connect.clean_session,
        keepalive_s: connect.keepalive_s,
        ping_after_s: connect.ping_after_s,
        dead_after_s: connect.dead_after_s,
        timeout_ms: connect.timeout_ms,
        will: connect.has_will.then(|| message(&connect.will)),
    }
}

pub fn message(publish: &MqttPublish<'_>) -> mqtt::Message {
    mqtt::Message {
        topic: publish.topic.to_string(),
        payload: publish.payload.to_vec(),
        qos: publish.qos,
        retain: publish.retain,
    }
}

pub fn request(request: &HttpRequest<'_>) -> http::Request {
    http::Request {
        method: request.method.to_string(),
        url: request.url.to_string(),
        headers: request.headers.iter().map(|header| (header.0.to_string(), header.1.to_string())).collect(),
        body: request.body.to_vec(),
        tls: tls(&request.tls).unwrap_or_default(),
        timeout_ms: request.timeout_ms,
        max_body: request.max_body,
        redirects: request.redirects,
    }
}

pub fn facts(facts: &module::Facts) -> abi_module::Facts {
    abi_module::Facts {
        product_key: facts.product_key.as_str().into(),
        serial: facts.serial.as_str().into(),
        module_hardware: facts.module_hardware.as_str().into(),
        module_software: facts.module_software.as_str().into(),
        mcu_hardware: facts.mcu_hardware.as_str().into(),
        mcu_software: facts.mcu_software.as_str().into(),
        mcu_online: facts.mcu_online,
        mcu_payload_version: facts.mcu_payload_version.as_str().into(),
        device_attributes: facts.device_attributes,
        bindable: facts.bindable,
        onboarding: facts.onboarding,
    }
}

pub fn interface(interface: &network::Interface) -> abi_network::Interface {
    abi_network::Interface {
        name: interface.name.as_str().into(),
        mac: interface.mac,
        ipv4: interface.ipv4.as_str().into(),
        broadcast: interface.broadcast.as_str().into(),
        ipv6: interface.ipv6.iter().map(|address| address.as_str().into()).collect(),
        wireless: interface.wireless,
        signal_dbm: interface.signal_dbm,
    }
}

pub fn subdevice(subdevice: &subdevices::Subdevice) -> abi_subdevices::Subdevice {
    let radio = match subdevice.radio {
        subdevices::Radio::Other => abi_subdevices::Radio::OTHER,
        subdevices::Radio::Wifi => abi_subdevices::Radio::WIFI,
        subdevices::Radio::Zigbee => abi_subdevices::Radio::ZIGBEE,
        subdevices::Radio::Bluetooth => abi_subdevices::Radio::BLUETOOTH,
        subdevices::Radio::SubGhz => abi_subdevices::Radio::SUB_GHZ,
    };
    abi_subdevices::Subdevice {
        index: subdevice.index,
        product: subdevice.product.as_str().into(),
        address: subdevice.address.as_str().into(),
        radio,
        accepted: subdevice.accepted,
        online: subdevice.online,
        signal_percent: subdevice.signal_percent.into(),
        version: subdevice.version.as_str().into(),
    }
}

pub fn update(update: &ota::Update) -> abi_ota::Update {
    use abi_ota::{Failure, Phase, Target};
    let (target, device) = match update.target {
        ota::Target::Module => (Target::MODULE, 0),
        ota::Target::Mcu => (Target::MCU, 0),
        ota::Target::Subdevice(index) => (Target::SUBDEVICE, index),
    };
    let (phase, failure) = match update.phase {
        ota::Phase::Waiting => (Phase::WAITING, Failure::NONE),
        ota::Phase::Downloading => (Phase::DOWNLOADING, Failure::NONE),
        ota::Phase::Installing => (Phase::INSTALLING, Failure::NONE),
        ota::Phase::Finished => (Phase::FINISHED, Failure::NONE),
        ota::Phase::Failed(failure) => (
            Phase::FAILED,
            match failure {
                ota::Failure::Other => Failure::OTHER,
                ota::Failure::Unsupported => Failure::UNSUPPORTED,
                ota::Failure::Policy => Failure::POLICY,
                ota::Failure::Download => Failure::DOWNLOAD,
                ota::Failure::Digest => Failure::DIGEST,
                ota::Failure::Space => Failure::SPACE,
                ota::Failure::Install => Failure::INSTALL,
                ota::Failure::Cancelled => Failure::CANCELLED,
                ota::Failure::TooLate => Failure::TOO_LATE,
            },
        ),
    };
    let (id, version, reason) =
        (update.id.as_str().into(), update.version.as_str().into(), update.reason.as_str().into());
    abi_ota::Update { id, target, device, version, phase, percent: update.percent, failure, reason }
}

pub fn offer(offer: abi_ota::Offer) -> ota::Offer {
    use abi_ota::{DigestKind, Target};
    let digest = |digest: abi_ota::Digest| {
        let value = digest.value.as_slice();
        let word = || u32::from_be_bytes(value.try_into().expect("four bytes"));
        match digest.kind {
            DigestKind::MD5 => ota::Digest::Md5(value.try_into().expect("sixteen bytes")),
            DigestKind::SHA256 => ota::Digest::Sha256(value.try_into().expect("32 bytes")),
            DigestKind::CRC32 => ota::Digest::Crc32(word()),
            DigestKind::CRC32_PLAIN => ota::Digest::Crc32Plain(word()),
            _ => ota::Digest::ByteSum(word()),
        }
    };
    ota::Offer {
        id: offer.id.into(),
        target: match offer.target {
            Target::MCU => ota::Target::Mcu,
            Target::SUBDEVICE => ota::Target::Subdevice(offer.device),
            _ => ota::Target::Module,
        },
        version: offer.version.into(),
        url: offer.url.into(),
        headers: offer.headers.into_iter().map(Into::into).collect(),
        size: offer.size,
        digests: offer.digests.into_iter().map(digest).collect(),
        not_before_ms: offer.not_before_ms,
        spread_ms: offer.spread_ms,
        not_after_ms: offer.not_after_ms,
    }
}

pub fn log_upload(upload: abi_logs::LogUpload) -> logs::Upload {
    let user = upload.user.to_string();
    logs::Upload {
        url: upload.url.into(),
        method: match upload.method {
            abi_logs::Method::POST => logs::Method::Post,
            abi_logs::Method::MULTIPART => logs::Method::Multipart,
            _ => logs::Method::Put,
        },
        headers: upload.headers.into_iter().map(Into::into).collect(),
        fields: upload.fields.into_iter().map(|pair| (pair.0.into(), pair.1.into())).collect(),
        file_field: upload.file_field.into(),
        file_name: upload.file_name.into(),
        login: (!user.is_empty()).then(|| (user, Secret::new(upload.password.into()))),
        from_ms: Some(upload.from_ms).filter(|ms| *ms != i64::MIN),
        to_ms: Some(upload.to_ms).filter(|ms| *ms != i64::MAX),
    }
}

pub const fn abi_cause(cause: Cause) -> api::Cause {
    match cause {
        Cause::Change => api::Cause::CHANGE,
        Cause::Periodic => api::Cause::PERIODIC,
        Cause::Answer => api::Cause::ANSWER,
        Cause::Snapshot => api::Cause::SNAPSHOT,
        Cause::Live => api::Cause::LIVE,
    }
}

pub fn abi_report_body(body: ReportBody) -> api::ReportBody {
    match body {
        ReportBody::Properties(values) => api::ReportBody::Properties(convert::abi_values(values)),
        ReportBody::Event { id, params } => api::ReportBody::Event { id, params: convert::abi_values(params) },
        ReportBody::Raw(bytes) => api::ReportBody::Raw(bytes.into()),
    }
}

pub fn abi_outcome(ticket: u64, outcome: Outcome) -> api::CommandOutcome {
    let (kind, reason) = match outcome.result {
        OutcomeResult::Done => (OutcomeKind::DONE, String::new()),
        OutcomeResult::Refused(reason) => (OutcomeKind::REFUSED, reason),
        OutcomeResult::Unreachable => (OutcomeKind::UNREACHABLE, String::new()),
        OutcomeResult::TimedOut => (OutcomeKind::TIMED_OUT, String::new()),
        OutcomeResult::Superseded => (OutcomeKind::SUPERSEDED, String::new()),
    };
    let document = match outcome.document {
        Some(bytes) => ROption::RSome(bytes.into()),
        None => ROption::RNone,
    };
    api::CommandOutcome { ticket, kind, reason: reason.into(), values: convert::abi_values(outcome.values), document }
}

pub const fn abi_reason(reason: Reason) -> i64 {
    match reason {
        Reason::Other => HostRefusal::OTHER,
        Reason::UnknownHandle => HostRefusal::UNKNOWN_HANDLE,
        Reason::Quota => HostRefusal::QUOTA,
        Reason::Invalid => HostRefusal::INVALID,
        Reason::Resolve => HostRefusal::RESOLVE,
        Reason::Timeout => HostRefusal::TIMEOUT,
        Reason::ConnectionRefused => HostRefusal::CONNECTION_REFUSED,
        Reason::ConnectionLost => HostRefusal::CONNECTION_LOST,
        Reason::Tls => HostRefusal::TLS,
        Reason::Protocol => HostRefusal::PROTOCOL,
        Reason::Storage => HostRefusal::STORAGE,
        Reason::Closed => HostRefusal::CLOSED,
    }
}
