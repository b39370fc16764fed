//! The local network and the module: applications, onboarding, binding, reset, versions.

use polylink_plugin_sdk::secret::Secret;
use polylink_plugin_sdk::services::{module, mqtt, tcp, udp};
use polylink_plugin_sdk::{Now, Output};

use super::GizwitsSession;
use super::forwarding::Asker;
use crate::lan::{About, LanOutput};

impl GizwitsSession {
    pub(super) fn take_tcp(&mut self, now: Now, event: tcp::Event) {
        let about = self.about();
        self.lan.tcp(now.monotonic, event, &about);
    }

    pub(super) fn take_udp(&mut self, now: Now, event: udp::Event) {
        let about = self.about();
        self.lan.udp(now.monotonic, event, &about);
    }

    /// What the device says of itself on the local network.
    pub(super) fn about(&self) -> About {
        About {
            did: self.identity.did.as_ref().map(ToString::to_string).unwrap_or_default(),
            mac: self.identity.mac.map(|mac| mac.0).unwrap_or_default(),
            server: self.settings.told_server.clone().map(|server| (server, PROTOCOL_VERSION.to_owned())),
            firmware_version: self.identity.firmware_version.clone().unwrap_or_default(),
            product_key: self.model.product_key.clone(),
            device_attributes: self.facts.device_attributes,
            module_hardware: self.facts.module_hardware.clone(),
            module_software: self.facts.module_software.clone(),
            mcu_hardware: self.facts.mcu_hardware.clone(),
            mcu_software: self.facts.mcu_software.clone(),
            payload_version: self.facts.mcu_payload_version.clone(),
            passcode: Secret::new(self.identity.passcode.expose().to_owned()),
            bindable: self.facts.bindable,
            onboarding: self.facts.onboarding,
        }
    }

    /// Carries out what the local network wants.
    pub(super) fn serve_lan(&mut self, now: Now) {
        loop {
            let wanted = self.lan.take_outputs();
            if wanted.is_empty() {
                return;
            }
            for output in wanted {
                match output {
                    LanOutput::Tcp(request) => self.outputs.push(Output::Tcp(request)),
                    LanOutput::Udp(request) => self.outputs.push(Output::Udp(request)),
                    LanOutput::Log(level, text) => self.outputs.push(Output::Log(level, text)),
                    LanOutput::Request(client, request) => self.take_request(Asker::Lan(client), request),
                    LanOutput::JoinNetwork { ssid, password } => {
                        self.info("an application told a network to join".to_owned());
                        self.outputs.push(Output::Module(module::Request::JoinNetwork { ssid, password }));
                    }
                    LanOutput::EndProductionTest => {
                        self.outputs.push(Output::Module(module::Request::EndProductionTest));
                    }
                    LanOutput::LoggedIn(count) => {
                        self.n_logged_in = count;
                        self.status_changed(now);
                    }
                    LanOutput::StatusChanged => self.status_changed(now),
                }
            }
        }
    }

    /// Tells the module how many applications watch the device, for the MCU's status.
    pub(super) fn count_applications(&mut self) {
        let local = u32::try_from(self.n_logged_in).unwrap_or(u32::MAX);
        let count = local.saturating_add(self.cloud_applications);
        if self.told_applications != Some(count) && !(self.told_applications.is_none() && count == 0) {
            self.told_applications = Some(count);
            self.outputs.push(Output::Module(module::Request::Applications(count)));
        }
    }

    pub(super) fn take_module(&mut self, now: Now, event: module::Event) {
        match event {
            module::Event::Changed(facts) => self.take_facts(facts),
            module::Event::Reset => self.reset(now),
            module::Event::NetworkJoined => self.lan.network_joined(now.monotonic),
            // The host keeps the window, and says in its facts whether it is open.
            module::Event::BindWindow(_) | module::Event::Unbind => {}
        }
    }

    /// Factory reset (GAgent product specification 7.7): the old DID is given back, the device begins as a new one.
    fn reset(&mut self, now: Now) {
        let passcode = self.next_passcode();
        if let Some(former) = self.identity.reset(passcode) {
            self.unregister(&former);
        }
        self.save_identity();
        self.addresses.clear();
        self.leave_cloud();
        self.lan.close_clients();
        self.info("reset: the device has a new identity".to_owned());
        self.begin(now);
    }

    /// The MCU names another product than the one this identity belongs to (GAgent product specification 7.8).
    pub(super) fn change_product_key(&mut self) {
        self.info(format!(
            "the product key is another one now ({}); the old identity is given back",
            self.model.product_key
        ));
        let passcode = self.next_passcode();
        if let Some(former) = self.identity.product_key_changed(&self.model.product_key, passcode) {
            self.unregister(&former);
        }
        self.upgrades.clear();
        self.save_upgrades();
        self.withdraw_all();
    }

    /// Ends what is under way towards the cloud.
    fn leave_cloud(&mut self) {
        if let Some(connection) = self.phase.connection() {
            let request = mqtt::Request::Disconnect(connection);
            self.outputs.push(Output::Mqtt(request));
        }
        if let Some(request) = self.phase.http_request() {
            self.outputs.push(Output::CancelHttp(request));
        }
        self.pushed_check = None;
        self.upgrades.silent();
        self.end_connection();
    }
}

/// The version that newer devices tell beside their API server (a published capture of a discovery answer).
const PROTOCOL_VERSION: &str = "4.0.8";
