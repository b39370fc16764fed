//! Subdevices: how they come, how they are bound and unbound. Who they are is in [`crate::gateway`].

use polylink_plugin_sdk::services::subdevices::{Event, Request};
use polylink_plugin_sdk::{Now, Output};

use super::JoylinkSession;
use super::storage::Storing;
use crate::lan::Asker;
use crate::packet::Kind;
use crate::wire::{AddSubDevice, Authorization, Code, SubAnswer, Unbind, biz};

impl JoylinkSession {
    pub(super) fn take_subdevices(&mut self, now: Now, event: Event) {
        let Event::Changed(list) = event;
        if !self.is_gateway() {
            return;
        }
        let gone: Vec<u32> = self.gateway.records().filter_map(crate::gateway::Record::device).collect();
        let requests = self.gateway.seen(now.monotonic, &list);
        for device in gone {
            if self.gateway.by_device(device).is_none() {
                self.present.forget(device);
                self.uploaded.forget(device);
            }
        }
        self.ask_host(requests);
        self.shows = true;
    }

    /// An app announces a subdevice (105).
    pub(super) fn add_subdevice(&mut self, now: Now, asker: &Asker, order: &AddSubDevice) {
        let (answer, requests) = self.gateway.add(now.monotonic, order);
        self.ask_host(requests);
        self.answer_app(now, asker, &answer.encode());
    }

    /// An app binds a subdevice (102). It is answered when the bond is on the disk.
    pub(super) fn authorize_subdevice(&mut self, now: Now, asker: Asker, order: Authorization) {
        if self.bond().is_some_and(|bond| bond.feedid == order.feedid) {
            let code = Code::ALREADY_BOUND;
            let (productuuid, mac) = (order.productuuid.unwrap_or_default(), order.mac.unwrap_or_default());
            let answer = SubAnswer { code, msg: code.text().to_owned(), productuuid, mac };
            return self.answer_app(now, &asker, &answer.encode());
        }
        let (answer, requests) = self.gateway.authorize(now.monotonic, order);
        self.ask_host(requests);
        if !answer.code.is_success() {
            self.told.counters.bindings_refused += 1;
            return self.answer_app(now, &asker, &answer.encode());
        }
        self.info(format!("a subdevice was bound: {}", answer.mac));
        let _ = self.gateway.take_changed();
        let id = self.store_gateway();
        self.storing.insert(id, Storing::SubBond(asker, answer));
        self.shows = true;
    }

    /// The bond of a subdevice is on the disk, or could not be written.
    pub(super) fn subdevice_stored(&mut self, now: Now, asker: &Asker, answer: SubAnswer, stored: bool) {
        let code = if stored { answer.code } else { Code::WRITING_FAILED };
        let answer = SubAnswer { code, msg: code.text().to_owned(), ..answer };
        self.answer_app(now, asker, &answer.encode());
        if !stored {
            return;
        }
        let bound = self
            .gateway
            .records()
            .find(|record| record.productuuid() == answer.productuuid && record.mac() == answer.mac);
        if let Some(device) = bound.and_then(crate::gateway::Record::device) {
            self.show(device);
        }
    }

    /// The cloud unbinds subdevices (113).
    pub(super) fn take_unbinding(&mut self, now: Now, request: &Unbind) {
        if request.biz_code != biz::UNBIND {
            return self.drop_input(&format!("an unbinding with the code {}", request.biz_code));
        }
        let before: Vec<u32> = self.gateway.records().filter_map(crate::gateway::Record::device).collect();
        let (answer, requests) = self.gateway.unbind(request);
        for sub in &request.subs {
            self.upgrades.forget(sub.feedid);
        }
        self.ask_host(requests);
        for device in before {
            if self.gateway.by_device(device).is_none() {
                self.present.forget(device);
                self.uploaded.forget(device);
            }
        }
        self.info(format!("the cloud unbound {} subdevices", request.subs.len()));
        self.tell_cloud(now, Kind::SubUnbind, &answer.encode());
        self.shows = true;
    }

    pub(super) fn ask_host(&mut self, requests: Vec<Request>) {
        self.outputs.extend(requests.into_iter().map(Output::Subdevices));
    }
}
