//! Subdevices: how they come, how they are bound and unbound. Who they are is in [`crate::gateway`].

use polylink_plugin_sdk::services::subdevices::{Event, Request, Subdevice};
use polylink_plugin_sdk::{Now, Output};

use super::JoylinkSession;
use super::converter::Purpose;
use super::storage::Storing;
use crate::gateway::Record;
use crate::lan::Asker;
use crate::packet::Kind;
use crate::wire::{AddSubDevice, Authorization, Code, FeedId, SubAnswer, Unbind, biz};

impl JoylinkSession {
    pub(super) fn take_subdevices(&mut self, now: Now, event: Event) {
        let Event::Changed(list) = event;
        if !self.is_gateway() {
            return;
        }
        let is_same = |old: &Subdevice, new: &Subdevice| {
            (old.index, &old.product, &old.address) == (new.index, &new.product, &new.address)
        };
        let is_gone = |old: &&Subdevice| !list.iter().any(|new| is_same(old, new));
        let gone: Vec<u32> = self.subdevices.iter().filter(is_gone).map(|old| old.index).collect();
        let requests = self.gateway.seen(now.monotonic, &list);
        self.subdevices = list;
        self.forget_devices(&gone);
        self.end_jobs_of(now, &gone);
        self.ask_host(requests);
        self.shows = true;
    }

    /// Nothing is known of these indices any more; others may have them now.
    fn forget_devices(&mut self, devices: &[u32]) {
        for device in devices {
            self.present.forget(*device);
            self.uploaded.forget(*device);
            if self.uploads.current().is_some_and(|entry| entry.device == *device) {
                self.script.forget(|purpose| matches!(purpose, Purpose::Upload));
            }
            for seq in self.uploads.forget(*device) {
                self.told.counters.reports_without_owner += 1;
                self.settle(seq);
            }
        }
    }

    /// A factory reset, or another owner: nobody is bound.
    pub(super) fn forget_subdevices(&mut self) {
        let feedids: Vec<FeedId> = self.gateway.records().map(Record::feedid).collect();
        let devices: Vec<u32> = self.gateway.records().filter_map(Record::device).collect();
        let requests = self.gateway.forget_all();
        for feedid in feedids {
            self.forget_upgrade(feedid);
        }
        self.forget_devices(&devices);
        self.ask_host(requests);
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
        let name = (order.productuuid.clone().unwrap_or_default(), order.mac.clone().unwrap_or_default());
        let before = self.gateway.by_name(&name.0, &name.1).cloned();
        let (answer, requests) = self.gateway.authorize(now.monotonic, order);
        self.ask_host(requests);
        if !answer.code.is_success() {
            self.told.counters.bindings_refused += 1;
            return self.answer_app(now, &asker, &answer.encode());
        }
        self.info(format!("a subdevice was bound: {}", answer.mac));
        let _ = self.gateway.take_changed();
        let id = self.store_gateway();
        self.storing.insert(id, Storing::SubBond(asker, answer, before.map(Box::new)));
        self.shows = true;
    }

    /// The bond of a subdevice is on the disk, or could not be written.
    pub(super) fn subdevice_stored(
        &mut self,
        now: Now,
        asker: &Asker,
        answer: SubAnswer,
        before: Option<Record>,
        stored: bool,
    ) {
        let code = if stored { answer.code } else { Code::WRITING_FAILED };
        let answer = SubAnswer { code, msg: code.text().to_owned(), ..answer };
        self.answer_app(now, asker, &answer.encode());
        if !stored {
            self.gateway.take_back(&answer.productuuid, &answer.mac, before);
            self.shows = true;
        }
    }

    /// The cloud unbinds subdevices (113).
    pub(super) fn take_unbinding(&mut self, now: Now, request: &Unbind) {
        if request.biz_code != biz::UNBIND {
            return self.drop_input(&format!("an unbinding with the code {}", request.biz_code));
        }
        let mut devices: Vec<u32> = self.gateway.records().filter_map(Record::device).collect();
        let (answer, requests) = self.gateway.unbind(request);
        for sub in &request.subs {
            self.forget_upgrade(sub.feedid);
        }
        devices.retain(|device| self.gateway.by_device(*device).is_none());
        self.forget_devices(&devices);
        self.ask_host(requests);
        self.info(format!("the cloud unbound {} subdevices", request.subs.len()));
        self.tell_cloud(now, Kind::SubUnbind, &answer.encode());
        self.shows = true;
    }

    pub(super) fn ask_host(&mut self, requests: Vec<Request>) {
        self.outputs.extend(requests.into_iter().map(Output::Subdevices));
    }
}
