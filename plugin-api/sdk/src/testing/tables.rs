//! The host's side of the ABI for tests: tables that write down what they are asked, as [`Output`]s whose ids are the
//! tokens given.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use polylink_plugin_api::abi_stable::std_types::{ROption, RSlice, RStr, RString, RVec};
use polylink_plugin_api::services::http::HttpRequest;
use polylink_plugin_api::services::logs::LogUpload;
use polylink_plugin_api::services::module::Facts;
use polylink_plugin_api::services::mqtt::{MqttConnect, MqttPublish};
use polylink_plugin_api::services::network::Interface;
use polylink_plugin_api::services::ota::{Offer, Update};
use polylink_plugin_api::services::script::values;
use polylink_plugin_api::services::subdevices::Subdevice;
use polylink_plugin_api::services::tcp::{self as abi_tcp, TcpListen, TcpOpen};
use polylink_plugin_api::services::udp::UdpBind;
use polylink_plugin_api::services::{Http, Logs, Module, Mqtt, Network, Ota, Script, Store, Subdevices, Tcp, Udp};
use polylink_plugin_api::{Command, Extension, ExtensionRef, Host, InstanceId, LogLevel, Status};

use super::{limits, record};
use crate::secret::Secret;
use crate::services::{module, mqtt, network, ota, script, store, subdevices, tcp, udp};
use crate::{Context, Output, RequestId};

/// What one virtual instance sees of its host.
#[derive(Debug, Default)]
pub struct World {
    pub outputs: Vec<Output>,
    pub wakes: BTreeSet<u64>,
    pub full: BTreeSet<u64>,
    pub facts: module::Facts,
    pub interfaces: Vec<network::Interface>,
    pub subdevices: Vec<subdevices::Subdevice>,
    pub updates: Vec<ota::Update>,
    stored: BTreeMap<String, Vec<u8>>,
    services: Vec<&'static str>,
    next_token: u64,
}

/// A host for one instance.
#[derive(Clone, Debug)]
pub struct Registered {
    pub instance: InstanceId,
    world: Arc<Mutex<World>>,
}

impl Registered {
    /// A new instance in a world like this.
    pub fn new(context: &Context) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let instance = InstanceId(NEXT.fetch_add(1, Ordering::Relaxed));
        let world = Arc::new(Mutex::new(World {
            facts: context.facts.clone(),
            interfaces: context.interfaces.clone(),
            subdevices: context.subdevices.clone(),
            updates: context.updates.clone(),
            stored: context.stored.clone(),
            services: context.services.clone(),
            ..World::default()
        }));
        lock(&WORLDS).insert(instance, Arc::clone(&world));
        Self { instance, world }
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        lock(&self.world)
    }

    /// Ends the instance: later calls do nothing.
    pub fn close(&self) {
        lock(&WORLDS).remove(&self.instance);
    }
}

impl Host for Registered {
    fn log(&self, level: LogLevel, message: RStr<'_>) {
        self.world().outputs.push(Output::Log(record::level(level), message.to_string()));
    }

    fn submit(&self, commands: RSlice<'_, Command>) -> u64 {
        let mut world = self.world();
        let first = world.next_token + 1;
        for command in commands {
            let ticket = world.token();
            world.outputs.push(Output::Submit(RequestId(ticket), record::command(command)));
        }
        first
    }

    fn settle(&self, seqs: RSlice<'_, u64>) {
        self.world().outputs.push(Output::Settle(seqs.to_vec()));
    }

    fn status(&self, status: Status) {
        self.world().outputs.push(Output::Status(record::status(status)));
    }

    fn wake(&self, token: u64) {
        self.world().wakes.insert(token);
    }

    fn extension(&self, id: RStr<'_>) -> ROption<ExtensionRef> {
        let offered = self.world().services.contains(&id.as_str());
        let table = match id.as_str() {
            Mqtt::ID => ExtensionRef::new(&MQTT),
            Tcp::ID => ExtensionRef::new(&TCP),
            Udp::ID => ExtensionRef::new(&UDP),
            Http::ID => ExtensionRef::new(&HTTP),
            Store::ID => ExtensionRef::new(&STORE),
            Network::ID => ExtensionRef::new(&NETWORK),
            Module::ID => ExtensionRef::new(&MODULE),
            Script::ID => ExtensionRef::new(&SCRIPT),
            Subdevices::ID => ExtensionRef::new(&SUBDEVICES),
            Ota::ID => ExtensionRef::new(&OTA),
            Logs::ID => ExtensionRef::new(&LOGS),
            _ => return ROption::RNone,
        };
        if offered { ROption::RSome(table) } else { ROption::RNone }
    }
}

impl World {
    fn token(&mut self) -> u64 {
        self.next_token += 1;
        self.next_token
    }

    fn ask(&mut self, output: impl FnOnce(RequestId) -> Output) -> u64 {
        let token = self.token();
        self.outputs.push(output(RequestId(token)));
        token
    }

    fn note(&mut self, output: Output) {
        self.outputs.push(output);
    }

    /// Whether there is such an update.
    fn note_update(&mut self, id: &str, request: ota::Request) -> bool {
        self.note(Output::Ota(request));
        self.updates.iter().any(|update| update.id == id)
    }

    /// Whether there is such a subdevice.
    fn note_subdevice(&mut self, index: u32, request: subdevices::Request) -> bool {
        self.note(Output::Subdevices(request));
        self.subdevices.iter().any(|subdevice| subdevice.index == index)
    }
}

fn with<R: Default>(instance: InstanceId, body: impl FnOnce(&mut World) -> R) -> R {
    let world = lock(&WORLDS).get(&instance).cloned();
    world.map(|world| body(&mut lock(&world))).unwrap_or_default()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

static WORLDS: Mutex<BTreeMap<InstanceId, Arc<Mutex<World>>>> = Mutex::new(BTreeMap::new());

static MQTT: Mqtt = {
    extern "C" fn connect(instance: InstanceId, connect: MqttConnect<'_>) -> u64 {
        let connect = Box::new(record::connect(&connect));
        with(instance, |world| world.ask(|id| Output::Mqtt(mqtt::Request::Connect(id, connect))))
    }
    extern "C" fn publish(instance: InstanceId, connection: u64, publish: MqttPublish<'_>) -> u64 {
        let (connection, message) = (RequestId(connection), record::message(&publish));
        with(instance, |world| world.ask(|id| Output::Mqtt(mqtt::Request::Publish { connection, id, message })))
    }
    extern "C" fn subscribe(instance: InstanceId, connection: u64, filter: RStr<'_>, qos: u8) -> u64 {
        let (connection, filter) = (RequestId(connection), filter.to_string());
        with(instance, |world| world.ask(|id| Output::Mqtt(mqtt::Request::Subscribe { connection, id, filter, qos })))
    }
    extern "C" fn unsubscribe(instance: InstanceId, connection: u64, filter: RStr<'_>) -> u64 {
        let (connection, filter) = (RequestId(connection), filter.to_string());
        with(instance, |world| world.ask(|_| Output::Mqtt(mqtt::Request::Unsubscribe { connection, filter })))
    }
    extern "C" fn disconnect(instance: InstanceId, connection: u64) {
        with(instance, |world| world.note(Output::Mqtt(mqtt::Request::Disconnect(RequestId(connection)))));
    }
    Mqtt { connect, publish, subscribe, unsubscribe, disconnect }
};

static TCP: Tcp = {
    extern "C" fn open(instance: InstanceId, open: TcpOpen<'_>) -> u64 {
        let (host, port, timeout_ms) = (open.host.to_string(), open.port, open.timeout_ms);
        let tls = record::tls(&open.tls);
        with(instance, |world| world.ask(|id| Output::Tcp(tcp::Request::Open { id, host, port, tls, timeout_ms })))
    }
    extern "C" fn listen(instance: InstanceId, listen: TcpListen<'_>) -> u64 {
        let (address, port, max_streams) = (listen.address.to_string(), listen.port, listen.max_streams);
        with(instance, |world| world.ask(|id| Output::Tcp(tcp::Request::Listen { id, address, port, max_streams })))
    }
    extern "C" fn send(instance: InstanceId, stream: u64, bytes: RSlice<'_, u8>) -> u8 {
        with(instance, |world| {
            if world.full.contains(&stream) {
                return abi_tcp::FULL;
            }
            world.note(Output::Tcp(tcp::Request::Send(RequestId(stream), bytes.to_vec())));
            abi_tcp::TAKEN
        })
    }
    extern "C" fn close(instance: InstanceId, handle: u64) {
        with(instance, |world| world.note(Output::Tcp(tcp::Request::Close(RequestId(handle)))));
    }
    Tcp { open, listen, send, close }
};

static UDP: Udp = {
    extern "C" fn bind(instance: InstanceId, bind: UdpBind<'_>) -> u64 {
        let (address, port, broadcast) = (bind.address.to_string(), bind.port, bind.broadcast);
        with(instance, |world| world.ask(|id| Output::Udp(udp::Request::Bind { id, address, port, broadcast })))
    }
    extern "C" fn send_to(instance: InstanceId, socket: u64, to: RStr<'_>, bytes: RSlice<'_, u8>) -> bool {
        let request = udp::Request::SendTo(RequestId(socket), to.to_string(), bytes.to_vec());
        with(instance, |world| world.note(Output::Udp(request)));
        true
    }
    extern "C" fn broadcast(instance: InstanceId, socket: u64, port: u16, bytes: RSlice<'_, u8>) -> u32 {
        let request = udp::Request::Broadcast(RequestId(socket), port, bytes.to_vec());
        with(instance, |world| world.note(Output::Udp(request)));
        1
    }
    extern "C" fn close(instance: InstanceId, socket: u64) {
        with(instance, |world| world.note(Output::Udp(udp::Request::Close(RequestId(socket)))));
    }
    Udp { bind, send_to, broadcast, close }
};

static HTTP: Http = {
    extern "C" fn request(instance: InstanceId, request: HttpRequest<'_>) -> u64 {
        let request = record::request(&request);
        with(instance, |world| world.ask(|id| Output::Http(id, request)))
    }
    extern "C" fn cancel(instance: InstanceId, request: u64) {
        with(instance, |world| world.note(Output::CancelHttp(RequestId(request))));
    }
    Http { request, cancel }
};

static STORE: Store = {
    extern "C" fn get(instance: InstanceId, key: RStr<'_>) -> ROption<RVec<u8>> {
        let value = with(instance, |world| world.stored.get(key.as_str()).cloned());
        value.map(RVec::from).into()
    }
    extern "C" fn keys(instance: InstanceId) -> RVec<RString> {
        with(instance, |world| world.stored.keys().map(|key| key.as_str().into()).collect())
    }
    extern "C" fn put(instance: InstanceId, key: RStr<'_>, value: RSlice<'_, u8>) -> u64 {
        with(instance, |world| {
            world.stored.insert(key.to_string(), value.to_vec());
            world.ask(|id| Output::Store(id, store::Request::Put(key.to_string(), value.to_vec())))
        })
    }
    extern "C" fn remove(instance: InstanceId, key: RStr<'_>) -> u64 {
        with(instance, |world| {
            world.stored.remove(key.as_str());
            world.ask(|id| Output::Store(id, store::Request::Remove(key.to_string())))
        })
    }
    Store { get, keys, put, remove }
};

static NETWORK: Network = {
    extern "C" fn interfaces(instance: InstanceId) -> RVec<Interface> {
        with(instance, |world| world.interfaces.iter().map(record::interface).collect())
    }
    extern "C" fn resolve(instance: InstanceId, host: RStr<'_>) -> u64 {
        with(instance, |world| world.ask(|id| Output::Resolve(id, host.to_string())))
    }
    Network { interfaces, resolve }
};

static SCRIPT: Script = {
    extern "C" fn load(instance: InstanceId, name: RStr<'_>, source: RStr<'_>) -> u64 {
        let (name, source) = (name.to_string(), source.to_string());
        with(instance, |world| world.ask(|script| Output::Script(script::Request::Load { script, name, source })))
    }
    extern "C" fn call(instance: InstanceId, script: u64, function: RStr<'_>, arguments: RSlice<'_, u8>) -> u64 {
        let (script, function) = (RequestId(script), function.to_string());
        // The driver encodes them, so what cannot be read would be a mistake of the driver's.
        let args = values::decode(&arguments).unwrap_or_default();
        with(instance, |world| world.ask(|id| Output::Script(script::Request::Call { script, id, function, args })))
    }
    extern "C" fn unload(instance: InstanceId, script: u64) {
        with(instance, |world| world.note(Output::Script(script::Request::Unload(RequestId(script)))));
    }
    Script { load, call, unload }
};

static SUBDEVICES: Subdevices = {
    extern "C" fn list(instance: InstanceId) -> RVec<Subdevice> {
        with(instance, |world| world.subdevices.iter().map(record::subdevice).collect())
    }
    extern "C" fn admit(instance: InstanceId, product: RStr<'_>, address: RStr<'_>, seconds: u16) -> bool {
        let (product, address) = (product.to_string(), address.to_string());
        let acceptable = limits::admit(&product, &address, seconds);
        let request = subdevices::Request::Admit { product, address, seconds };
        with(instance, |world| world.note(Output::Subdevices(request)));
        acceptable
    }
    extern "C" fn accept(instance: InstanceId, index: u32) -> bool {
        with(instance, |world| world.note_subdevice(index, subdevices::Request::Accept(index)))
    }
    extern "C" fn remove(instance: InstanceId, index: u32) -> bool {
        with(instance, |world| world.note_subdevice(index, subdevices::Request::Remove(index)))
    }
    Subdevices { list, admit, accept, remove }
};

static OTA: Ota = {
    extern "C" fn offer(instance: InstanceId, offer: Offer) -> bool {
        let offer = record::offer(offer);
        let acceptable = limits::offer(&offer);
        with(instance, |world| world.note(Output::Ota(ota::Request::Offer(Box::new(offer)))));
        acceptable
    }
    extern "C" fn cancel(instance: InstanceId, id: RStr<'_>) -> bool {
        with(instance, |world| world.note_update(id.as_str(), ota::Request::Cancel(id.to_string())))
    }
    extern "C" fn acknowledge(instance: InstanceId, id: RStr<'_>) -> bool {
        with(instance, |world| world.note_update(id.as_str(), ota::Request::Acknowledge(id.to_string())))
    }
    extern "C" fn list(instance: InstanceId) -> RVec<Update> {
        with(instance, |world| world.updates.iter().map(record::update).collect())
    }
    Ota { offer, cancel, acknowledge, list }
};

static LOGS: Logs = {
    extern "C" fn send(instance: InstanceId, upload: LogUpload) -> u64 {
        let upload = Box::new(record::log_upload(upload));
        with(instance, |world| world.ask(|id| Output::SendLogs(id, upload)))
    }
    Logs { send }
};

static MODULE: Module = {
    extern "C" fn facts(instance: InstanceId) -> Facts {
        with(instance, |world| record::facts(&world.facts))
    }
    extern "C" fn request_restart(instance: InstanceId, reason: RStr<'_>) -> bool {
        with(instance, |world| world.note(Output::Module(module::Request::Restart(reason.to_string()))));
        true
    }
    extern "C" fn offer_time(instance: InstanceId, unix_ms: i64) {
        with(instance, |world| world.note(Output::Module(module::Request::OfferTime(unix_ms))));
    }
    extern "C" fn applications(instance: InstanceId, count: u32) {
        with(instance, |world| world.note(Output::Module(module::Request::Applications(count))));
    }
    extern "C" fn join_network(instance: InstanceId, ssid: RStr<'_>, password: RStr<'_>) -> bool {
        let password = Secret::new(password.to_string());
        let request = module::Request::JoinNetwork { ssid: ssid.to_string(), password };
        with(instance, |world| {
            world.note(Output::Module(request));
            world.facts.onboarding
        })
    }
    extern "C" fn end_production_test(instance: InstanceId) -> bool {
        with(instance, |world| world.note(Output::Module(module::Request::EndProductionTest)));
        true
    }
    extern "C" fn third_party_cloud(instance: InstanceId, name: RStr<'_>, parameters: RStr<'_>) {
        let (name, parameters) = (name.to_string(), parameters.to_string());
        with(instance, |world| world.note(Output::Module(module::Request::ThirdPartyCloud { name, parameters })));
    }
    Module { facts, request_restart, offer_time, applications, join_network, end_production_test, third_party_cloud }
};
