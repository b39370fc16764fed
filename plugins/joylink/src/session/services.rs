//! What the cloud offers beside control: recipes (16), the weather and the like (15), where a video goes
//! (200, 201).

use polylink_plugin_sdk::secret::Secret;
use polylink_plugin_sdk::session::Level;
use polylink_plugin_sdk::thing_model::Kind as Type;
use polylink_plugin_sdk::value::Values;
use polylink_plugin_sdk::{CommandBody, Now, Timestamp, Value};

use super::JoylinkSession;
use super::converter::Purpose;
use super::jobs::ReplyTo;
use crate::config::Form;
use crate::datapoints;
use crate::packet::Kind;
use crate::wire::recipe::Recipe;
use crate::wire::video::{VideoAnswer, VideoRequest};
use crate::wire::{Answer, Code, Information, Script, SerialAnswer, biz};

impl JoylinkSession {
    /// A recipe (11), already as JSON. It is answered at once, and its progress is told later (16).
    pub(super) fn take_recipe(&mut self, now: Now, content: &[u8], to: ReplyTo) {
        let unix_ms = self.clock.unix_ms(now).unwrap_or_default();
        let code = match Recipe::decode(content) {
            Ok(recipe) => self.recipes.begin(recipe, unix_ms).err().unwrap_or(Code::SUCCESS),
            Err(why) => {
                self.log(Level::Debug, format!("a recipe cannot be read: {why}"));
                Code::LINKAGE_FAILED
            }
        };
        if !code.is_success() {
            return self.refuse(now, 0, biz::RECIPE, to, code);
        }
        let json = Answer::of(code).encode();
        if self.settings.form() == Form::Script {
            self.encode(biz::RECIPE_TAKEN, json, Purpose::RecipeTaken(to));
        } else {
            self.send_bytes(now, biz::RECIPE, &to, json);
        }
    }

    /// A step of a recipe is over.
    pub(super) fn recipe_step_done(&mut self, now: Now, code: Code) {
        let unix_ms = self.clock.unix_ms(now).unwrap_or_default();
        self.is_cooking = false;
        self.recipes.step_done(code.is_success(), now.monotonic, unix_ms);
    }

    /// An answer to the progress of a recipe (16).
    pub(super) fn take_progress_answer(&mut self, body: &[u8]) {
        match SerialAnswer::decode(body) {
            Ok(answer) if self.recipes.answered(&answer) => {}
            Ok(_) => self.told.counters.unmatched += 1,
            Err(why) => self.drop_input(&format!("an answer about a recipe: {why}")),
        }
    }

    /// The weather and the like (15): it goes to the MCU as it came.
    pub(super) fn take_information(&mut self, now: Now, body: &[u8]) {
        let answer = match Information::decode(body) {
            Ok(answer) => answer,
            Err(why) => return self.drop_input(&format!("an answer about the weather: {why}")),
        };
        let told = self.information.answered(now.monotonic, &answer);
        let property = self.settings.information.as_ref().map(|information| information.property);
        let (Some(text), Some(id)) = (told, property) else { return };
        let is_json = self.model.property(id).is_some_and(|property| matches!(property.field.kind, Type::Json { .. }));
        let value = if is_json { Value::Json(text) } else { Value::Text(text) };
        self.submit(now, 0, biz::UNKNOWN, ReplyTo::Nobody, CommandBody::Set(vec![(id, value)]), Values::new());
    }

    /// Where a video goes (200).
    pub(super) fn take_video(&mut self, now: Now, body: &[u8]) {
        let request = match Script::decode(body) {
            Ok(request) => request,
            Err(why) => return self.drop_input(&format!("a video address: {why}")),
        };
        let serial = request.serial;
        let video = match VideoRequest::decode(&request.content) {
            Ok(video) => video,
            Err(why) => return self.drop_input(&format!("a video address: {why}")),
        };
        self.told.counters.commands += 1;
        let to = ReplyTo::Video(serial, Box::new(video.clone()));
        if self.settings.form() == Form::Raw {
            return self.refuse(now, 0, biz::CONTROL, to, Code::PROPERTY_FAILED);
        }
        if let Some(code) = self.cannot_begin(0) {
            return self.refuse(now, 0, biz::CONTROL, to, code);
        }
        self.control(now, 0, biz::CONTROL, &video.control, to);
    }

    pub(super) fn answer_video(&mut self, now: Now, serial: u32, request: &VideoRequest, code: Code) {
        let Some(bond) = self.bond() else { return };
        let streams = code.is_success().then(|| datapoints::streams(&self.model, &self.present.of(0).values));
        let answer = VideoAnswer {
            result: datapoints::video_result(code),
            control_resp: code.text().to_owned(),
            resolution: RESOLUTIONS.to_vec(),
            attribute: request.attribute.clone(),
            feed_id: bond.feedid,
            access_key: Secret::new(bond.accesskey.expose_text().unwrap_or_default().to_owned()),
            streams,
        };
        let content = answer.encode().expose().clone();
        let body = Script { biz_code: biz::CONTROLLED, serial, content }.encode();
        self.tell_cloud(now, Kind::VideoAnswer, &body);
    }

    /// What is due of all that.
    pub(super) fn work_services(&mut self, now: Now) {
        self.go_on_with_recipe(now);
        if !self.cloud.is_working() || !self.snapshot_sent {
            return;
        }
        while self.cloud.has_room()
            && let Some(status) = self.upgrades.poll(now.monotonic)
        {
            self.tell_cloud(now, Kind::OtaStatus, &status.encode());
        }
        while self.cloud.has_room()
            && let Some(report) = self.recipes.poll(now.monotonic)
        {
            self.tell_cloud(now, Kind::RecipeProgress, &report.encode());
        }
        if let Some(request) = self.information.poll(now.monotonic) {
            self.tell_cloud(now, Kind::Information, &request.encode());
        }
    }

    /// Steps that cannot even begin are over at once, so this may take several.
    fn go_on_with_recipe(&mut self, now: Now) {
        while !self.is_cooking
            && let Some(step) = self.recipes.next_step()
        {
            self.is_cooking = true;
            let streams = step.streams.clone();
            self.control(now, 0, biz::CONTROL, &streams, ReplyTo::Recipe);
        }
    }

    /// When [`Self::work_services`] has something to do.
    pub(super) fn services_due(&self) -> Option<Timestamp> {
        // A connection without room says when it has some.
        let told = [self.upgrades.next_timeout(), self.recipes.next_timeout()].into_iter().flatten().min();
        let told = told.filter(|_| self.cloud.has_room());
        let due = [told, self.information.next_timeout()].into_iter().flatten().min();
        due.filter(|_| self.cloud.is_working() && self.snapshot_sent)
    }
}

/// Heights of pictures in the document (JoyLink V1.79, video); which of them a product has, nobody tells us.
const RESOLUTIONS: [u32; 3] = [240, 360, 480];
