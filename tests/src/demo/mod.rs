//! The demo: a simulated MCU and simulated clouds around the real host and the real plugins, and a judgement at the end.
//!
//! Invariant: a report counts as expected once the module has acknowledged it to the MCU, whatever happens afterwards.

pub mod arguments;
mod judgement;
pub mod product;
pub mod summary;
mod view;

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use crate::clouds::SimCloud;
use crate::clouds::gizwits::lan_addresses;
use crate::clouds::ledger::Entries;
use crate::lan::companion::Companion;
use crate::mcu::faults::Faults;
use crate::mcu::sim::{McuOptions, McuSim};
use crate::rig::binaries::{Binaries, Progress};
use crate::rig::stats::Stats;
use crate::rig::{LIMIT, Rig, RigError};
use arguments::{Fault, Options};
use judgement::Sent;
use summary::{Cloud, Host, Latency, Mcu, Summary};
use view::View;

/// Runs it from the build to the judgement.
pub async fn run(options: &Options) -> Result<Summary, RigError> {
    let mut view = View::new(options.json, options.clouds.len() + usize::from(options.lan_app));
    let mut packages: Vec<&str> = options.clouds.iter().map(|cloud| cloud.package).collect();
    if options.fault == Some(Fault::PluginPanic) {
        packages.push(PANICKING);
    }
    view.step(&format!("building polylink and {}; the first time takes some minutes", packages.join(", ")));
    let mut binaries = Binaries::of(&packages, Progress::Shown)?;
    if let Some(dir) = &options.plugins {
        binaries = binaries.with_plugins_of(dir)?;
    }
    let stage = Stage::set(options, &binaries, &packages).await?;
    stage.play(options, &binaries, view).await
}

/// Everything around the host.
struct Stage {
    rig: Rig,
    mcu: McuSim,
    clouds: Vec<(&'static str, Box<dyn SimCloud>)>,
    /// When the host was killed.
    killed: Option<Instant>,
}

/// Moments of the run that the judgement needs.
struct Moments {
    ready_ms: u64,
    before: Stats,
}

impl Stage {
    async fn set(options: &Options, binaries: &Binaries, packages: &[&str]) -> Result<Self, RigError> {
        let failed = |what: &str, error: std::io::Error| RigError::new(format!("{what}: {error}"));
        let mut clouds = Vec::new();
        let mut sections = String::new();
        for known in &options.clouds {
            let cloud = (known.start)(product::COUNTER).await.map_err(|error| failed(known.name, error))?;
            sections += &cloud.product_section();
            sections += "\n";
            clouds.push((known.name, cloud));
        }
        if options.fault == Some(Fault::PluginPanic) {
            sections += PANICKING_SECTION;
        }
        let mcu = McuOptions {
            schema: product::schema(),
            counter: product::COUNTER.to_owned(),
            rate: 0,
            baud: None,
            seed: SEED,
        };
        let mcu = McuSim::start(mcu).map_err(|error| failed("simulated MCU", error))?;
        let port = mcu.path().display().to_string();
        let plugins = packages.iter().map(|&package| package.to_owned()).collect();
        let rig = Rig::new(binaries, &product::files(&port, &sections, plugins))?;
        Ok(Self { rig, mcu, clouds, killed: None })
    }

    async fn play(mut self, options: &Options, binaries: &Binaries, mut view: View) -> Result<Summary, RigError> {
        let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
        view.step("starting the simulated MCU, the clouds and the real polylink");
        let moments = tokio::select! {
            moments = self.get_ready(options.lan_app) => moments?,
            _ = &mut interrupted => return Err(RigError::new("interrupted before anything flowed")),
        };
        view.step(&format!("ready after {} ms; reports and commands flow", moments.ready_ms));
        self.mcu.set_rate(options.rate);
        if options.fault == Some(Fault::McuNoise) {
            self.mcu.set_faults(Faults::noisy());
        }
        let mut sent = Vec::new();
        tokio::select! {
            flowed = self.flow(options, &mut view, &mut sent) => flowed?,
            _ = &mut interrupted => view.step("interrupted; what is under way still has to arrive"),
        }
        self.mcu.set_rate(0);
        self.mcu.set_faults(Faults::default());
        self.come_back()?;
        view.step("the MCU falls silent; everything under way has to arrive");
        let settled = tokio::time::timeout(LIMIT, self.everything_arrived()).await;
        view.tick(&self.mcu, &self.clouds);
        let after = self.rig.stats()?;
        let mut summary = self.judge(&moments, after, binaries, options)?;
        summary.problems.extend(self.mcu.with_log(|log| judgement::not_once(&sent, &log.commands, &product::schema())));
        if settled.is_err() {
            summary.problems.push(format!("gave up waiting after {} s\n{}", LIMIT.as_secs(), self.rig.log()));
        }
        summary.problems.extend(self.fault_missing(options.fault).await?);
        view.step("stopping polylink");
        let status = self.rig.stop().await?;
        if !status.success() {
            summary.problems.push(format!("polylink ended with {status}"));
        }
        summary.ok = summary.problems.is_empty();
        Ok(summary)
    }

    /// A run in which the fault never struck proves nothing, so that is a problem too.
    async fn fault_missing(&self, fault: Option<Fault>) -> Result<Option<String>, RigError> {
        let missing = match fault {
            None => return Ok(None),
            Some(Fault::McuNoise) => {
                self.mcu.with_log(|log| log.repetitions == 0).then_some("the line spoiled nothing")
            }
            Some(Fault::CloudAway) => {
                let stayed =
                    |cloud: &dyn SimCloud| cloud.has_servers() && cloud.ledger().with(|entries| entries.sessions < 2);
                self.clouds.iter().any(|(_, cloud)| stayed(cloud.as_ref())).then_some("a cloud never was away")
            }
            Some(Fault::KillHost) => {
                self.sessions().iter().any(|sessions| *sessions < 2).then_some("a cloud never missed the host")
            }
            Some(Fault::PluginPanic) => {
                let status = self.rig.status().await?;
                let faults = |cloud: &serde_json::Value| cloud["faults"]["count"].as_u64().unwrap_or(0);
                let panicked = |cloud: &serde_json::Value| cloud["name"] == PANICKING_NAME && faults(cloud) > 0;
                let clouds = status["clouds"].as_array();
                let none = !clouds.is_some_and(|clouds| clouds.iter().any(panicked));
                return Ok(none.then(|| {
                    format!("fault: no plugin panicked; the clouds as the host sees them: {}", status["clouds"])
                }));
            }
        };
        Ok(missing.map(|text| format!("fault: {text}")))
    }

    async fn get_ready(&mut self, lan_app: bool) -> Result<Moments, RigError> {
        let started = Instant::now();
        self.rig.start()?;
        let first = self.rig.within(LIMIT, "the first cloud to see the device", self.first_online());
        tokio::select! {
            first = first => first?,
            text = self.host_ended() => return Err(self.rig.error(text)),
        }
        let ready_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        for (name, cloud) in &self.clouds {
            let online = cloud.ledger().until(|entries| entries.online);
            self.rig.within(LIMIT, &format!("{name} to see the device"), online).await?;
        }
        if lan_app {
            self.let_app_in().await?;
        }
        Ok(Moments { ready_ms, before: self.rig.stats()? })
    }

    /// An app on the LAN joins before the first report, so that it is judged by all of them.
    async fn let_app_in(&mut self) -> Result<(), RigError> {
        let listens = |status: &serde_json::Value| lan_addresses(status).is_some();
        let status = self.rig.until("the module to listen on the LAN", listens).await?;
        let (tcp, _) = lan_addresses(&status).ok_or_else(|| RigError::new("the LAN is gone again"))?;
        let app = Companion::enter(tcp, product::schema(), product::COUNTER);
        let app = self.rig.within(LIMIT, "the app to log in", app).await?;
        self.clouds.push(("lan", Box::new(app.map_err(|error| self.rig.error(format!("the app: {error}")))?)));
        Ok(())
    }

    /// No cloud is known to the host before the MCU has named its product, so this includes the handshake.
    async fn first_online(&self) {
        let mut waits: Vec<_> =
            self.clouds.iter().map(|(_, cloud)| Box::pin(cloud.ledger().until(|entries| entries.online))).collect();
        std::future::poll_fn(|context| {
            if waits.iter_mut().any(|wait| wait.as_mut().poll(context).is_ready()) {
                std::task::Poll::Ready(())
            } else {
                std::task::Poll::Pending
            }
        })
        .await;
    }

    async fn host_ended(&self) -> String {
        self.rig.gone().await;
        "polylink ended by itself".to_owned()
    }

    /// Lets time pass: commands every second, the view ten times a second, and the fault where it belongs.
    async fn flow(&mut self, options: &Options, view: &mut View, sent: &mut Vec<Sent>) -> Result<(), RigError> {
        let started = Instant::now();
        let away = (options.fault == Some(Fault::CloudAway)).then(|| (options.length / 3, options.length * 2 / 3));
        let mut killing = (options.fault == Some(Fault::KillHost)).then_some(options.length / 2);
        // Sessions that each cloud had seen when the host was killed.
        let mut sessions: Vec<u64> = Vec::new();
        let schema = product::schema();
        let mut ticks = tokio::time::interval(TICK);
        let mut next_command = COMMAND_EVERY / 2;
        let mut gone = false;
        loop {
            ticks.tick().await;
            let now = started.elapsed();
            if now >= options.length {
                return Ok(());
            }
            if let Some((from, until)) = away {
                if !gone && (from..until).contains(&now) {
                    gone = true;
                    view.step("the clouds' servers go away");
                    self.clouds.iter().for_each(|(_, cloud)| cloud.go_away());
                } else if gone && now >= until {
                    gone = false;
                    view.step("the clouds' servers come back");
                    self.come_back()?;
                }
            }
            if killing.is_some_and(|at| now >= at) {
                killing = None;
                view.step("polylink is killed without warning, and started again");
                sessions = self.sessions();
                self.killed = Some(Instant::now());
                self.rig.kill().await?;
                self.rig.start()?;
            }
            // Nobody presses a button that would have to work while its cloud, or the host, goes away.
            let waits = sessions.iter().zip(self.sessions()).any(|(before, now)| now <= *before);
            let quiet = away.is_some_and(|(from, until)| now + COMMAND_EVERY >= from && now < until)
                || killing.is_some_and(|at| now + COMMAND_EVERY >= at)
                || waits;
            if now >= next_command && !quiet {
                next_command = now + COMMAND_EVERY;
                // The clouds take turns, so that no command overtakes another one's.
                let (name, cloud) = &self.clouds[sent.len() % self.clouds.len()];
                if cloud.ledger().with(|entries| entries.online) {
                    let (property, value) = product::command(sent.len() / self.clouds.len());
                    view.step(&format!("{name} commands {property} = {value}"));
                    cloud.send_command(property, &value).map_err(|error| self.rig.error(error))?;
                    sent.push(Sent { property: property.to_owned(), value });
                }
            }
            self.mcu.drift(product::SENSOR, product::sensor(now), &schema);
            view.tick(&self.mcu, &self.clouds);
        }
    }

    /// How often each cloud has seen the device come.
    fn sessions(&self) -> Vec<u64> {
        self.clouds.iter().map(|(_, cloud)| cloud.ledger().with(|entries| entries.sessions)).collect()
    }

    fn come_back(&self) -> Result<(), RigError> {
        self.clouds.iter().try_for_each(|(name, cloud)| {
            cloud.come_back().map_err(|error| RigError::new(format!("{name} cannot come back: {error}")))
        })
    }

    async fn everything_arrived(&self) {
        // A command that is done makes the MCU report once more, so the answers come first.
        for (_, cloud) in &self.clouds {
            cloud.ledger().until(|entries| entries.commands.values().all(|command| command.answer.is_some())).await;
        }
        self.mcu.at_rest().await;
        for (_, cloud) in &self.clouds {
            let expected: HashSet<u32> =
                self.expected_at(cloud.as_ref()).into_iter().map(|(counter, _)| counter).collect();
            // Counted first: comparing sets on every arrival would cost more than the run itself.
            let all = |entries: &Entries| entries.arrivals.len() >= expected.len() && entries.has_all(&expected);
            cloud.ledger().until(all).await;
        }
    }

    /// Reports that this cloud must have at the end, and when they were sent.
    fn expected_at(&self, cloud: &dyn SimCloud) -> Vec<(u32, Instant)> {
        let on_its_way = |sent: Instant| {
            let killed = self.killed.filter(|_| !cloud.acknowledges());
            killed.is_some_and(|killed| sent <= killed && killed.duration_since(sent) < ON_ITS_WAY)
        };
        let all = self
            .mcu
            .with_log(|log| log.acknowledged.iter().map(|report| (report.counter, report.sent)).collect::<Vec<_>>());
        all.into_iter().filter(|(_, sent)| !on_its_way(*sent)).collect()
    }

    fn judge(
        &self,
        moments: &Moments,
        after: Stats,
        binaries: &Binaries,
        options: &Options,
    ) -> Result<Summary, RigError> {
        let log = self.mcu.log();
        let mut problems: Vec<String> = log.violations.iter().map(|text| format!("mcu: {text}")).collect();
        let mut clouds = BTreeMap::new();
        let mut done = 0;
        for (name, cloud) in &self.clouds {
            let expected = self.expected_at(cloud.as_ref());
            let cloud = cloud.ledger().with(|entries| {
                let verdict = entries.judge(expected);
                problems.extend(entries.violations.iter().map(|text| format!("{name}: {text}")));
                for (id, command) in &entries.commands {
                    if let Some((Err(why), _)) = &command.answer {
                        problems.push(format!("{name}: command {id} was answered: {why}"));
                    }
                }
                Cloud {
                    online: entries.online,
                    expected: verdict.expected,
                    arrived: verdict.arrived,
                    lost: verdict.lost,
                    duplicates: verdict.duplicates,
                    out_of_order: verdict.out_of_order,
                    commands_sent: entries.commands_sent(),
                    commands_done: entries.commands_done(),
                    results_seen: judgement::results_seen(entries, &log.commands),
                    latency_ms: Latency {
                        p50: verdict.latency_ms(50),
                        p99: verdict.latency_ms(99),
                        max: verdict.latency_ms(100),
                    },
                }
            });
            problems.extend(shortfalls(name, &cloud));
            if cloud.results_seen < log.commands.len() {
                let unseen = log.commands.len() - cloud.results_seen;
                problems.push(format!("{name}: the results of {unseen} commands never came"));
            }
            done += cloud.commands_done;
            clouds.insert((*name).to_owned(), cloud);
        }
        if log.commands.len() != done {
            problems.push(format!("mcu: obeyed {} commands, the clouds know of {done} done", log.commands.len()));
        }
        let reports = log.acknowledged.len() as u64;
        // A host that was killed took its account along.
        let known = options.fault != Some(Fault::KillHost);
        let cpu = after.cpu.saturating_sub(moments.before.cpu).as_micros();
        let packages: Vec<&str> = options.clouds.iter().map(|cloud| cloud.package).collect();
        Ok(Summary {
            ok: false,
            mcu: Mcu { reports_sent: log.reports_sent, commands_received: log.commands.len() },
            clouds,
            host: Host {
                ready_ms: moments.ready_ms,
                pss_kb: after.pss_kb,
                threads: after.threads,
                cpu_us_per_report: u64::try_from(cpu).unwrap_or(u64::MAX).checked_div(reports).filter(|_| known),
                installed_bytes: binaries.bytes(&packages)?,
            },
            problems,
        })
    }
}

/// Why a cloud's side of the run is not good.
fn shortfalls(name: &str, cloud: &Cloud) -> Vec<String> {
    let mut problems = Vec::new();
    if !cloud.online {
        problems.push(format!("{name}: the device is not online at the end"));
    }
    if cloud.expected == 0 || cloud.lost > 0 {
        problems.push(format!("{name}: {} of {} reports are lost", cloud.lost, cloud.expected));
    }
    if cloud.commands_done < cloud.commands_sent {
        let open = cloud.commands_sent - cloud.commands_done;
        problems.push(format!("{name}: {open} of {} commands were not done", cloud.commands_sent));
    }
    problems
}

/// How often the view is drawn.
const TICK: Duration = Duration::from_millis(100);
/// How often somebody presses a button.
const COMMAND_EVERY: Duration = Duration::from_secs(1);
/// How long a report may be on its way to a cloud that does not acknowledge it. Chosen by us: far more than loopback takes.
const ON_ITS_WAY: Duration = Duration::from_secs(1);
/// The same noise in each run.
const SEED: u64 = 2;
/// A plugin that panics on request: here with every batch of reports, so after each restart again.
const PANICKING: &str = "polylink-fixture-misbehaving";
const PANICKING_NAME: &str = "panicking";
const PANICKING_SECTION: &str =
    "[cloud.panicking]\nplugin = \"fixture-misbehaving\"\nsettings = { do = \"panic\", in = \"reports\" }\n";
