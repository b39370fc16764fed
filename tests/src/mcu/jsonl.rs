//! A simulated microcontroller that speaks JSON lines over a unix socket, where it listens and the host connects.
//!
//! Written from `docs/protocols/mcu-jsonl.md`, and strict: what the host says beyond that text is a violation.
//! Invariant: news are said again with the same id until the host acknowledges them; each list in the log has a limit.

mod subdevices;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value as Json, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use subdevices::Subdevices;

use crate::changes;

/// A running MCU; dropping it ends it and removes its socket.
#[derive(Debug)]
pub struct JsonMcu {
    path: PathBuf,
    shared: Arc<Shared>,
    orders: mpsc::UnboundedSender<Order>,
    task: tokio::task::JoinHandle<()>,
}

/// What the MCU did and saw.
#[derive(Debug, Clone, Default)]
pub struct JsonLog {
    /// Connections of the host.
    pub connections: u64,
    /// Whether one is open now.
    pub connected: bool,
    /// Questions who it is, all answered unless it plays dead.
    pub greetings: u64,
    /// Ids of news that the host has acknowledged, in that order.
    pub acknowledged: Vec<u64>,
    /// News said again.
    pub repetitions: u64,
    /// Commands as they came, in that order.
    pub commands: Vec<Json>,
    /// Each `admit` as it came, in that order.
    pub admitted: Vec<Json>,
    /// Subdevices that were accepted, in that order.
    pub accepted: Vec<u64>,
    /// Subdevices that were removed, in that order.
    pub removed: Vec<u64>,
    /// The module's last word on how it stands.
    pub module: Option<Json>,
    /// What the host did against the protocol, in words.
    pub violations: Vec<String>,
}

/// How the MCU takes what the host wants.
#[derive(Debug, Clone, Default)]
pub struct Manners {
    /// Hears and says nothing.
    pub silent: bool,
    /// Commands are refused for this reason.
    pub refuses: Option<String>,
    /// What actions return, by their names; others are refused.
    pub actions: BTreeMap<String, Json>,
    /// What it says to bytes that it is sent, in hexadecimal digits.
    pub answers_bytes_with: Option<String>,
}

#[derive(Debug)]
struct Shared {
    product_key: String,
    state: Mutex<State>,
    turns: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    log: JsonLog,
    manners: Manners,
    values: Map<String, Json>,
    subdevices: Subdevices,
    last_id: u64,
    /// Commands that came while it was silent: the host gives them up at a deadline that only the host knows.
    ignored: BTreeSet<u64>,
    /// News not acknowledged yet, with the time to say them (again).
    news: BTreeMap<u64, (Json, Option<Instant>)>,
}

#[derive(Debug)]
enum Order {
    /// There are news.
    News,
    /// Says these bytes as they are.
    Say(Vec<u8>),
    /// Ends the connection; the host may make a new one.
    HangUp,
}

impl JsonMcu {
    /// Listens on a socket of its own; needs a running tokio runtime.
    pub fn start(product_key: &str) -> io::Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("polylink-mcu-{}-{number}.sock", std::process::id()));
        let listener = UnixListener::bind(&path)?;
        let product_key = product_key.to_owned();
        let shared = Arc::new(Shared { product_key, state: Mutex::default(), turns: watch::channel(0).0 });
        let (orders, inbox) = mpsc::unbounded_channel();
        let task = tokio::spawn(live(Arc::clone(&shared), listener, inbox));
        Ok(Self { path, shared, orders, task })
    }

    /// What the host's `mcu.port` has to be.
    pub fn port(&self) -> String {
        format!("unix:{}", self.path().display())
    }

    /// Where it listens.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Changes how it takes what the host wants.
    pub fn change(&self, change: impl FnOnce(&mut Manners)) {
        change(&mut self.shared.lock().manners);
        // What it kept to itself meanwhile may be due.
        let _ = self.orders.send(Order::News);
    }

    /// Reports values; the id of the news.
    pub fn report(&self, values: &Json) -> u64 {
        self.shared.lock().values.extend(values.as_object().cloned().unwrap_or_default());
        self.tell(json!({"report": values}))
    }

    /// Tells an event of the product; the id of the news.
    pub fn event(&self, name: &str, params: &Json) -> u64 {
        self.tell(json!({"event": name, "params": params}))
    }

    /// Tells anything that is acknowledged; the id it got.
    pub fn tell(&self, mut news: Json) -> u64 {
        let mut state = self.shared.lock();
        state.last_id += 1;
        let id = state.last_id;
        news["id"] = json!(id);
        state.news.insert(id, (news, None));
        drop(state);
        // Without an MCU there is nobody to tell, and waiting for the acknowledgement will say so.
        let _ = self.orders.send(Order::News);
        id
    }

    /// Says bytes as they are, right or wrong; nothing is added.
    pub fn say(&self, bytes: &[u8]) {
        let _ = self.orders.send(Order::Say(bytes.to_vec()));
    }

    /// Ends the connection.
    pub fn hang_up(&self) {
        let _ = self.orders.send(Order::HangUp);
    }

    /// What happened so far.
    pub fn log(&self) -> JsonLog {
        self.shared.lock().log.clone()
    }

    /// Waits until the log fulfils a condition.
    pub async fn until(&self, condition: impl Fn(&JsonLog) -> bool) {
        changes::until(&self.shared.turns, || condition(&self.shared.lock().log)).await;
    }
}

impl Drop for JsonMcu {
    fn drop(&mut self) {
        self.task.abort();
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turn(&self) {
        self.turns.send_modify(|turns| *turns += 1);
    }
}

/// From connection to connection.
async fn live(shared: Arc<Shared>, listener: UnixListener, mut orders: mpsc::UnboundedReceiver<Order>) {
    while let Ok((stream, _)) = listener.accept().await {
        {
            let mut state = shared.lock();
            state.log.connections += 1;
            state.log.connected = true;
            // What was under way is lost with the line.
            state.news.values_mut().for_each(|(_, due)| *due = None);
        }
        shared.turn();
        let _ = converse(&shared, stream, &mut orders).await;
        shared.lock().log.connected = false;
        shared.turn();
    }
}

async fn converse(shared: &Shared, stream: UnixStream, orders: &mut mpsc::UnboundedReceiver<Order>) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    let mut line = Vec::new();
    let mut open = BTreeSet::new();
    loop {
        let (answers, due) = {
            let mut state = shared.lock();
            (state.due_news(Instant::now()), state.next_due())
        };
        say(&mut write, answers).await?;
        let alarm = async {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        let mut rest = (&mut read).take(LONGEST_LINE - line.len() as u64);
        // A line that is read in parts stays in `line` when another branch comes first.
        tokio::select! {
            order = orders.recv() => match order {
                Some(Order::News) => {}
                Some(Order::Say(bytes)) => write.write_all(&bytes).await?,
                Some(Order::HangUp) | None => return Ok(()),
            },
            n = rest.read_until(b'\n', &mut line) => {
                if n? == 0 {
                    return Ok(());
                }
                if !line.ends_with(b"\n") {
                    if line.len() as u64 == LONGEST_LINE {
                        shared.lock().violation("a line longer than 64 KiB".to_owned());
                        return Ok(());
                    }
                    continue;
                }
                let answers = shared.lock().heard(&line, &shared.product_key, &mut open);
                line.clear();
                say(&mut write, answers).await?;
            }
            () = alarm => {}
        }
        shared.turn();
    }
}

async fn say(write: &mut tokio::net::unix::OwnedWriteHalf, lines: Vec<Json>) -> io::Result<()> {
    for line in lines {
        write.write_all(format!("{line}\n").as_bytes()).await?;
    }
    Ok(())
}

impl State {
    /// News that are to be said now.
    fn due_news(&mut self, now: Instant) -> Vec<Json> {
        if self.manners.silent {
            return Vec::new();
        }
        let mut lines = Vec::new();
        for (news, due) in self.news.values_mut() {
            if due.is_none_or(|due| due <= now) {
                self.log.repetitions += u64::from(due.is_some());
                *due = Some(now + REPEAT);
                lines.push(news.clone());
            }
        }
        lines
    }

    fn next_due(&self) -> Option<Instant> {
        self.news.values().filter_map(|(_, due)| *due).min().filter(|_| !self.manners.silent)
    }

    /// Takes a line of the host; what there is to answer. `open`: commands without an answer.
    fn heard(&mut self, line: &[u8], product_key: &str, open: &mut BTreeSet<u64>) -> Vec<Json> {
        let taken = match serde_json::from_slice(line) {
            Ok(Json::Object(message)) => self.message(&message, product_key, open),
            Ok(_) => Err("no object".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        taken.unwrap_or_else(|breach| {
            self.violation(format!("{breach}: {}", String::from_utf8_lossy(line).trim_end()));
            Vec::new()
        })
    }

    fn message(
        &mut self,
        message: &Map<String, Json>,
        product_key: &str,
        open: &mut BTreeSet<u64>,
    ) -> Result<Vec<Json>, String> {
        let kinds: Vec<&str> = KINDS.iter().copied().filter(|&kind| message.contains_key(kind)).collect();
        let [kind] = kinds[..] else { return Err(format!("{} of the known members instead of one", kinds.len())) };
        let answers = match kind {
            "who" => {
                self.log.greetings += 1;
                let hello = json!({"hello": {"product_key": product_key, "hardware": "sim", "software": "1.0"}});
                [vec![hello], self.subdevices.all()].concat()
            }
            "ping" => vec![json!({"pong": 1})],
            "pong" | "restart" => Vec::new(),
            "ack" => {
                let id = message["ack"].as_u64().ok_or("ack is no number")?;
                // Said twice, acknowledged twice: only what was never said cannot be acknowledged.
                if id == 0 || id > self.last_id {
                    return Err("acknowledges what was never said".to_owned());
                }
                if self.news.remove(&id).is_some() {
                    note(&mut self.log.acknowledged, id);
                }
                Vec::new()
            }
            "module" => {
                let module = &message["module"];
                for (member, fits) in
                    [("network", module["network"].is_boolean()), ("cloud", module["cloud"].is_boolean())]
                {
                    if !fits {
                        return Err(format!("module.{member} is no true or false"));
                    }
                }
                self.log.module = Some(module.clone());
                Vec::new()
            }
            _ => return self.command(kind, message, open),
        };
        Ok(if self.manners.silent { Vec::new() } else { answers })
    }

    fn command(
        &mut self,
        kind: &str,
        message: &Map<String, Json>,
        open: &mut BTreeSet<u64>,
    ) -> Result<Vec<Json>, String> {
        let id = message.get("id").and_then(Json::as_u64).filter(|id| (1..=LAST_ID).contains(id));
        let id = id.ok_or("a command has an id from 1 to 2147483647")?;
        if !open.insert(id) && !REPEATED.contains(&kind) {
            return Err("the same command again".to_owned());
        }
        if self.manners.silent {
            self.ignored.insert(id);
        }
        let under_way = open.difference(&self.ignored).count();
        if under_way > UNDER_WAY {
            return Err(format!("{under_way} commands at a time"));
        }
        let is_wish = WISHES.contains(&kind);
        if !is_wish {
            note(&mut self.log.commands, Json::Object(message.clone()));
        }
        if self.manners.silent {
            return Ok(Vec::new());
        }
        open.remove(&id);
        self.ignored.remove(&id);
        if let Some(reason) = &self.manners.refuses {
            return Ok(vec![json!({"refused": id, "reason": reason})]);
        }
        if is_wish {
            return self.subdevices.wish((kind, id), message, &mut self.log);
        }
        let device = message.get("device");
        let values = self.subdevices.values(&mut self.values, device)?;
        let wanted = &message[kind];
        Ok(match kind {
            "set" => {
                let set = wanted.as_object().ok_or("set is no object")?;
                values.extend(set.clone());
                let mut report = json!({"report": set, "command": id});
                if let Some(device) = device {
                    report["device"] = device.clone();
                }
                vec![json!({"done": id}), report]
            }
            "get" => {
                let names = wanted.as_array().ok_or("get is no list")?;
                let mut values = values.clone();
                values.retain(|name, _| names.is_empty() || names.iter().any(|wanted| wanted == name));
                vec![json!({"done": id, "values": values})]
            }
            "invoke" => {
                let action = wanted.as_str().ok_or("invoke is no name")?;
                match self.manners.actions.get(action) {
                    Some(values) => vec![json!({"done": id, "values": values})],
                    None => vec![json!({"refused": id, "reason": "no such action"})],
                }
            }
            _ => {
                let hex = wanted.as_str().ok_or("raw is no text")?;
                if hex.len() % 2 != 0 || !hex.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                    return Err("raw is no hex".to_owned());
                }
                let said = self.manners.answers_bytes_with.as_ref().map(|said| json!({"raw": said, "command": id}));
                [json!({"done": id})].into_iter().chain(said).collect()
            }
        })
    }

    fn violation(&mut self, text: String) {
        note(&mut self.log.violations, text);
    }
}

fn note<T>(list: &mut Vec<T>, entry: T) {
    if list.len() < MAX_ENTRIES {
        list.push(entry);
    }
}

/// What the host says (JSON lines, "What the host says").
const KINDS: &[&str] =
    &["who", "set", "get", "invoke", "raw", "admit", "accept", "remove", "ack", "ping", "pong", "module", "restart"];
/// Those about subdevices (JSON lines, "Subdevices").
const WISHES: &[&str] = &["admit", "accept", "remove"];
/// Commands that may come again with the same id (JSON lines, "Rules").
const REPEATED: &[&str] = &["set", "get", "invoke", "admit", "accept", "remove"];
/// Commands under way at most, and the last id (JSON lines, "Rules").
const UNDER_WAY: usize = 4;
const LAST_ID: u64 = 2_147_483_647;
/// News that are not acknowledged are said again after this time (JSON lines, "What the MCU says").
const REPEAT: Duration = Duration::from_secs(2);
/// Longest line.
const LONGEST_LINE: u64 = 64 * 1024;
/// Not documented; chosen by us: entries of each list in the log; later ones are not kept.
const MAX_ENTRIES: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, breach: Option<&str>, answers: &[Json]) {
        let mut state = State { last_id: 1, ..State::default() };
        state.values.insert("power".to_owned(), json!(true));
        state.subdevices = test_subdevices();
        let said = state.heard(line.as_bytes(), "oven", &mut BTreeSet::from([9]));
        assert_eq!(said, answers, "{line}");
        match (breach, &state.log.violations[..]) {
            (None, []) => {}
            (Some(breach), [found]) => assert!(found.contains(breach), "{line}: {found}"),
            (_, found) => panic!("{line}: {found:?}"),
        }
    }

    /// One that is online, with the number 3.
    fn test_subdevices() -> Subdevices {
        let mut subdevices = Subdevices::default();
        subdevices.say(3, &json!({"online": true}));
        subdevices
    }

    #[test]
    fn what_the_document_says_is_answered_as_it_says() {
        check(
            r#"{"who":1}"#,
            None,
            &[
                json!({"hello": {"product_key": "oven", "hardware": "sim", "software": "1.0"}}),
                json!({"subdevice": 3, "online": true}),
            ],
        );
        check(r#"{"ping":1}"#, None, &[json!({"pong": 1})]);
        check(
            r#"{"set":{"power":false},"id":1}"#,
            None,
            &[json!({"done": 1}), json!({"report": {"power": false}, "command": 1})],
        );
        check(r#"{"get":[],"id":2}"#, None, &[json!({"done": 2, "values": {"power": true}})]);
        check(r#"{"invoke":"fly","id":3}"#, None, &[json!({"refused": 3, "reason": "no such action"})]);
        check(r#"{"ack":1}"#, None, &[]);
        check(
            r#"{"set":{"power":false},"device":3,"id":1}"#,
            None,
            &[json!({"done": 1}), json!({"report": {"power": false}, "command": 1, "device": 3})],
        );
        check(r#"{"get":[],"device":3,"id":2}"#, None, &[json!({"done": 2, "values": {}})]);
        check(r#"{"admit":{"product":"A","address":""},"seconds":60,"id":1}"#, None, &[json!({"done": 1})]);
        let accepted = json!({"subdevice": 3, "accepted": true});
        check(r#"{"accept":3,"id":1}"#, None, &[json!({"done": 1}), accepted]);
        check(r#"{"remove":3,"id":1}"#, None, &[json!({"done": 1}), json!({"subdevice": 3, "gone": true})]);
        check(r#"{"remove":4,"id":1}"#, None, &[json!({"refused": 1, "reason": "no such subdevice"})]);
    }

    #[test]
    fn commands_that_came_in_silence_are_not_under_way_for_ever() {
        let (mut state, mut open) = (State::default(), BTreeSet::new());
        for silent in [true, false] {
            state.manners.silent = silent;
            for id in 1..=20 {
                state.heard(format!(r#"{{"get":[],"id":{id}}}"#).as_bytes(), "oven", &mut open);
            }
        }
        assert_eq!((&state.log.violations[..], &open, &state.ignored), (&[][..], &BTreeSet::new(), &BTreeSet::new()));
        open.extend(1..=5);
        state.heard(br#"{"get":[],"id":6}"#, "oven", &mut open);
        assert_eq!(state.log.violations.len(), 1);
    }

    #[test]
    fn what_the_document_does_not_say_is_a_violation() {
        for (line, breach) in [
            ("no json", "expected"),
            ("[1]", "no object"),
            (r#"{"hello":1}"#, "0 of the known members"),
            (r#"{"who":1,"ping":1}"#, "2 of the known members"),
            (r#"{"set":{"power":true}}"#, "has an id"),
            (r#"{"set":{"power":true},"id":0}"#, "has an id"),
            (r#"{"raw":"00","id":9}"#, "again"),
            (r#"{"ack":7}"#, "never said"),
            (r#"{"raw":"abc","id":1}"#, "no hex"),
            (r#"{"module":{"network":1}}"#, "module.network"),
            (r#"{"accept":3}"#, "has an id"),
            (r#"{"accept":65,"id":1}"#, "no number"),
            (r#"{"admit":{"product":"","address":""},"seconds":60,"id":1}"#, "bounds"),
            (r#"{"admit":{"product":"A"},"seconds":60,"id":1}"#, "lacks a text"),
            (r#"{"admit":{"product":"A","address":""},"seconds":601,"id":1}"#, "bounds"),
            (r#"{"get":[],"device":0,"id":1}"#, "left out"),
            (r#"{"get":[],"device":4,"id":1}"#, "not told of"),
        ] {
            check(line, Some(breach), &[]);
        }
    }
}
