//! Puts the host together and runs it: the one place that knows all parts.
//!
//! One I/O thread runs this module's tasks, the port, all sockets and the control socket. The order of a start: control
//! socket, line to the MCU, product file (when the MCU has named its product, or at once if the key is set), plugins.

mod control;
mod files;
mod module;
mod network;
mod product;
mod subdevices;
mod updates;
mod watch;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use polylink_plugin_api::Extension;
use polylink_plugin_api::services::Module;
use polylink_plugin_api::services::module::{BIND_WINDOW, CHANGED, RESET, UNBIND};
use polylink_plugin_api::{Now, Timestamp};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc};

pub use files::RealPluginFiles;

use crate::admin::server::ControlSocket;
use crate::bus::{ArbiterSettings, Bus, JournalLimits, LinkCommand, Policy};
use crate::config::{CommandPolicy, HostConfig, LinkKind, Zone};
use crate::disk::{Directory, Disk};
use crate::hub::Hub;
use crate::log::KeptLog;
use crate::mcu::gizwits_uart::GizwitsUart;
use crate::mcu::jsonl::JsonLines;
use crate::mcu::port::{self, McuHandler, PortMessage, PortSettings};
use crate::mcu::transfer::FirmwareOutput;
use crate::mcu::{Identity, Link, LinkOutput, UserEvent};
use crate::notify::Notifier;
use crate::services::clock::{self, Clock};
use crate::services::{LOOK_UPS_MAX, OwnedEvent, ServiceOptions, Services};
use crate::spool::Spool;
use control::{HostControl, Sides};
use module::ModuleSide;
use product::Clouds;
use subdevices::SubdeviceSide;
use updates::UpdateSide;

/// Runs the host until it is told to stop.
pub fn run(config: HostConfig) -> ExitCode {
    let log = KeptLog::new(config.log.keep_bytes);
    if let Err(error) = crate::log::start(config.log.level, config.log.format, &log, clock::monotonic) {
        eprintln!("polylink: logging does not start: {error}");
        return ExitCode::FAILURE;
    }
    // Blocking threads serve what would hold up the line and the sockets; they go away when there is nothing to do.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_keep_alive(Duration::from_secs(2))
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "the I/O thread does not start");
            return ExitCode::FAILURE;
        }
    };
    let exit = runtime.block_on(host(config, log));
    // A look-up that hangs must not hold up the end.
    runtime.shutdown_timeout(Duration::from_millis(100));
    exit
}

/// What the port's task passes on, because it takes longer than that task may wait.
enum News {
    Identified(Identity),
    Online(bool),
    User(UserEvent),
}

async fn host(config: HostConfig, log: KeptLog) -> ExitCode {
    let socket = match ControlSocket::bind(&config.control.socket) {
        Ok(socket) => socket,
        Err(error) => {
            tracing::error!(%error, "the host does not start");
            return ExitCode::FAILURE;
        }
    };
    let stop = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    let (Ok(mut terminate), Ok(mut interrupt)) = stop else {
        tracing::error!("signals cannot be caught");
        return ExitCode::FAILURE;
    };
    let notifier = Notifier::from_environment();
    let clock = Clock::new(match config.time.zone {
        Zone::System => clock::Zone::system(),
        Zone::Fixed(seconds) => clock::Zone::Fixed(seconds),
    });
    let services = Services::new(ServiceOptions {
        runtime: tokio::runtime::Handle::current(),
        clock: clock.clone(),
        scripts: config.script.limits(),
        log: log.clone(),
    });
    let network_changed = Arc::new(Notify::new());
    let watched = Arc::clone(&network_changed);
    services.watch_network(move || watched.notify_one());
    let (to_port, mailbox) = mpsc::channel(PORT_MAILBOX);
    let hub = make_hub(&config, &clock, to_port.clone());
    tokio::spawn(Arc::clone(&hub).keep_deadlines());
    let flash = keep_journal(&config, &hub).await;
    let module = Arc::new(ModuleSide::new(&config, clock.clone()));
    tokio::spawn(network::serve(Arc::clone(&module)));
    let (to_host, mut news) = mpsc::channel(NEWS_MAX);
    let link = link(&config);
    let subdevices = Arc::new(SubdeviceSide::new(link.has_subdevices(), to_port.clone()));
    let (announcer, announced) = (Arc::clone(&subdevices), services.clone());
    tokio::spawn(async move { announcer.announce_changes(announced).await });
    let (updates, firmware) = UpdateSide::open(&config, clock.clone(), &*link, to_port.clone(), services.clone());
    let updates = Arc::new(updates);
    let handler = Handler {
        hub: Arc::clone(&hub),
        module: Arc::clone(&module),
        subdevices: Arc::clone(&subdevices),
        firmware,
        news: to_host,
    };
    let settings = PortSettings { address: port_address(&config), baud: config.mcu.baud };
    let clock_of_port = clock.clone();
    let port = port::run(settings, link, move || clock_of_port.now(), mailbox, Arc::new(handler));
    tokio::spawn(port);

    let clouds = Clouds::new(
        config.clone(),
        Arc::clone(&hub),
        services.clone(),
        Arc::clone(&module),
        Arc::clone(&subdevices),
        Arc::clone(&updates),
        to_port,
    );
    tokio::spawn(Arc::clone(&updates).watch_health(Arc::clone(&module), Arc::clone(&clouds)));
    let sides =
        Sides { hub: Arc::clone(&hub), module: Arc::clone(&module), subdevices, updates: Arc::clone(&updates), log };
    let control = HostControl::new(&config, sides, Arc::clone(&clouds));
    tokio::spawn(async move { socket.serve(Arc::new(control)).await });
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "polylink runs");
    clouds.start_with_set_key().await;
    notifier.ready();

    // An interval, not a sleep in the loop: other news must not put the service manager's watchdog off.
    let mut beat = tokio::time::interval(notifier.watchdog_interval().unwrap_or(STATE_EVERY).min(STATE_EVERY));
    let exit = loop {
        tokio::select! {
            _ = terminate.recv() => break ExitCode::SUCCESS,
            _ = interrupt.recv() => break ExitCode::SUCCESS,
            Some(news) = news.recv() => match news {
                News::Identified(identity) => {
                    module.identified(identity.clone());
                    clouds.start(&identity.product_key).await;
                    services.announce(&module_event(CHANGED, 0));
                }
                News::Online(online) => {
                    notifier.status(if online { "the MCU answers" } else { "the MCU is silent" });
                    services.announce(&module_event(CHANGED, 0));
                }
                News::User(UserEvent::Restart) => {
                    tracing::info!("the MCU asks for a restart; the host ends with status {RESTART_STATUS}");
                    break ExitCode::from(RESTART_STATUS);
                }
                News::User(event) => {
                    announce_user(&services, &event);
                    module.user(event);
                }
            },
            () = clouds.changed.notified() => if !clouds.has_news() { continue },
            () = module.changed.notified() => {}
            () = updates.wants_restart.notified() => {
                tracing::info!("an update runs after a restart; the host ends with status {RESTART_STATUS}");
                break ExitCode::from(RESTART_STATUS);
            }
            () = network_changed.notified() => {}
            () = wait_until(&clock, module.next_timeout()) => module.timeout(),
            _ = beat.tick() => notifier.alive(),
        }
        // The MCU learns of everything at once, of a signal that grows or fades within `STATE_EVERY`.
        clouds.tell_state().await;
        let news = module.take_news();
        if news.restart {
            tracing::info!("a cloud asks for a restart; the host ends with status {RESTART_STATUS}");
            break ExitCode::from(RESTART_STATUS);
        }
        announce(&services, &news);
        if news.named {
            clouds.start_named();
        }
        if news.joined {
            clouds.announce_joined();
            tokio::spawn(network::forget_join(Arc::clone(&module)));
        }
    };
    notifier.stopping();
    tracing::info!("polylink stops");
    clouds.stop().await;
    hub.finish_spool(&flash).await;
    exit
}

fn make_hub(config: &HostConfig, clock: &Clock, to_port: mpsc::Sender<PortMessage>) -> Arc<Hub> {
    let limits = JournalLimits { max_reports: config.journal.max_reports, max_bytes: config.journal.max_bytes };
    let policy = match config.commands.policy {
        CommandPolicy::LastWriter => Policy::LastWriter,
        CommandPolicy::Priority => Policy::Priority,
        CommandPolicy::LocalFirst => Policy::LocalFirst,
        CommandPolicy::LockOut => Policy::LockOut,
        CommandPolicy::Lease => Policy::Lease,
    };
    let deadline_ms = u32::try_from(config.commands.deadline.as_millis()).unwrap_or(u32::MAX);
    let clock = clock.clone();
    let send = move |LinkCommand { ticket, device, body, idempotent, deadline }| {
        to_port.try_send(PortMessage::Command { ticket, device, body, idempotent, deadline }).is_ok()
    };
    Hub::new(Bus::new(limits, ArbiterSettings { policy, deadline_ms }), Arc::new(move || clock.now()), Box::new(send))
}

/// Reads what an earlier process left of the journal, and keeps it from now on: in memory beside the control socket, and on
/// flash, which is returned.
async fn keep_journal(config: &HostConfig, hub: &Arc<Hub>) -> Arc<dyn Disk> {
    let run_dir = config.control.socket.parent().unwrap_or(&config.host.state_dir);
    let memory: Arc<dyn Disk> = Arc::new(Directory::new(run_dir.join(JOURNAL_RUN_DIR)));
    let flash: Arc<dyn Disk> = Arc::new(Directory::new(config.host.state_dir.join(JOURNAL_DIR)));
    if memory.space().is_ok_and(|space| !space.in_memory) {
        let directory = memory.shown("");
        tracing::info!(directory, "the journal's part in memory is on a disk, which every report wears");
    }
    let (settings, now) = (config.journal.spool_settings(), hub.now().monotonic);
    let disk = Arc::clone(&flash);
    // The line to the MCU is not open yet, but a slow flash must not keep the control socket waiting.
    let opened = tokio::task::spawn_blocking(move || Spool::open(settings, memory, &*disk, now)).await;
    match opened {
        Ok(spool) => {
            hub.keep_in(spool);
            tokio::spawn(Arc::clone(hub).keep_spool(Arc::clone(&flash)));
        }
        Err(error) => tracing::error!(%error, "the host failed at reading the journal; it is kept in RAM alone"),
    }
    flash
}

fn link(config: &HostConfig) -> Box<dyn Link> {
    match config.mcu.link {
        LinkKind::GizwitsUart => Box::new(GizwitsUart::new(config.mcu.baud)),
        LinkKind::Jsonl => Box::new(JsonLines::new()),
    }
}

fn port_address(config: &HostConfig) -> port::PortAddress {
    match &config.mcu.port {
        crate::config::Port::Tty(path) => port::PortAddress::Tty(path.clone()),
        crate::config::Port::Unix(path) => port::PortAddress::Unix(path.clone()),
        crate::config::Port::Tcp { host, port } => port::PortAddress::Tcp(format!("{host}:{port}")),
    }
}

/// On the I/O thread, inside the port's task: everything here returns at once.
struct Handler {
    hub: Arc<Hub>,
    module: Arc<ModuleSide>,
    subdevices: Arc<SubdeviceSide>,
    firmware: mpsc::Sender<FirmwareOutput>,
    news: mpsc::Sender<News>,
}

impl McuHandler for Handler {
    fn output(&self, now: Now, output: LinkOutput) {
        let news = match output {
            LinkOutput::Identified(identity) => News::Identified(identity),
            LinkOutput::User(event) => News::User(event),
            LinkOutput::Firmware(said) => {
                if self.firmware.try_send(said).is_err() {
                    self.module.count("news_dropped");
                }
                return;
            }
            LinkOutput::Subdevice(news) => return self.subdevices.told(news),
            LinkOutput::Fault { counter, .. } => return self.module.count(counter),
            LinkOutput::Online(online) => {
                let is_news = self.module.mcu_online(online);
                self.subdevices.mcu_online(online);
                self.hub.link_output(now, LinkOutput::Online(online));
                if !is_news {
                    return;
                }
                News::Online(online)
            }
            output => return self.hub.link_output(now, output),
        };
        if self.news.try_send(news).is_err() {
            self.module.count("news_dropped");
        }
    }
}

/// What plugins hear of a user's wish at once; the rest is in the module's news.
fn announce_user(services: &Services, event: &UserEvent) {
    match event {
        UserEvent::Reset => services.announce(&module_event(RESET, 0)),
        UserEvent::Unbind => services.announce(&module_event(UNBIND, 0)),
        _ => {}
    }
}

fn announce(services: &Services, news: &module::News) {
    if let Some(seconds) = news.bind_window {
        services.announce(&module_event(BIND_WINDOW, seconds.into()));
    }
    if news.changed {
        services.announce(&module_event(CHANGED, 0));
    }
}

/// Sleeps until then; for ever if there is no such time.
async fn wait_until(clock: &Clock, due: Option<Timestamp>) {
    match due {
        Some(due) => tokio::time::sleep(Duration::from_millis(due.since(clock.now().monotonic))).await,
        None => std::future::pending().await,
    }
}

fn module_event(kind: u32, code: i64) -> OwnedEvent {
    OwnedEvent { source: Module::ID, kind, code, ..OwnedEvent::default() }
}

/// Messages to the port that wait: the arbiter has 32 commands at the link at most, the rest is for the module's state.
/// A command beyond it ends as unreachable.
const PORT_MAILBOX: usize = 64;

/// News of the port that wait. Further ones are dropped and counted as `news_dropped`: an MCU that says so much means
/// none of it.
const NEWS_MAX: usize = 64;

/// How often the MCU is told how the network stands, at least. Chosen by us: the serial protocol repeats by itself.
const STATE_EVERY: Duration = Duration::from_secs(30);

/// Threads that may block: name look-ups, for each of five clouds a store on a slow disk, the journal and an update; one is left
/// for the start and the stop of plugins, which the host waits for. Chosen by us: none of them lives while it has nothing to do.
const BLOCKING_THREADS_MAX: usize = LOOK_UPS_MAX + 8;

/// Where the journal is, in the directory of the control socket. Another name than on flash, in case someone puts both into
/// one place.
const JOURNAL_RUN_DIR: &str = "journal-run";
/// Where the journal is, in `host.state_dir`.
const JOURNAL_DIR: &str = "journal";

/// Exit status that asks the service manager for a new start (`EX_TEMPFAIL` of sysexits.h).
const RESTART_STATUS: u8 = 75;
