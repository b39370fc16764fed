//! What a download of an image costs: bytes written for each byte of it, memory, checkpoints, and time against a plain copy of
//! the same bytes from a socket to a file.
//!
//! `cargo bench -p polylink --bench download`. The image is made while it is sent, so that only the download has it in
//! memory. Files are synced for real; they go to the system's temporary directory.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Instant;

use counted::Counted;
use polylink::disk::Directory;
use polylink::log::KeptLog;
use polylink::services::clock::{Clock, Zone};
use polylink::services::{ScriptLimits, ServiceOptions, Services};
use polylink::update::digest::{Digests, Expected};
use polylink::update::download::fetch::{Fetch, discard};
use polylink::update::download::{Limits, Wish};
use polylink::update::turns::Turns;

#[path = "../tests/downloads/counted.rs"]
mod counted;

fn main() {
    let path = std::env::temp_dir().join(format!("polylink-bench-download-{}", std::process::id()));
    fs::create_dir_all(&path).expect("the temporary directory takes files");
    let address = serve();
    // What is made once (threads, TLS settings, the allocator's reserves) is nobody's growth.
    load(&path, address, SMALL);
    let small = load(&path, address, SMALL);
    let large = load(&path, address, LARGE);
    let plain = copy(&path, address, LARGE);
    for (name, cost) in [("small", &small), ("large", &large)] {
        println!(
            "{name}: {} MiB; for each byte of the image {:.4} written to the disk, {} checkpoints; peak memory grew by {} KiB",
            cost.size >> 20,
            cost.written as f64 / cost.size as f64,
            cost.checkpoints,
            cost.grown_kb,
        );
    }
    println!(
        "the large one is {} times as long and took {:.2} times the memory, {:.2} times the time of a plain copy ({:.0} MiB/s)",
        LARGE / SMALL,
        large.grown_kb as f64 / small.grown_kb.max(1) as f64,
        large.seconds / plain,
        (LARGE >> 20) as f64 / plain,
    );
    let _ = fs::remove_dir_all(&path);
}

struct Cost {
    size: u64,
    written: u64,
    checkpoints: u64,
    grown_kb: u64,
    seconds: f64,
}

/// One download by the host's own client.
fn load(path: &Path, address: SocketAddr, size: u64) -> Cost {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let disk = Arc::new(Counted::new(Directory::new(path)));
    let mut digests = Digests::new(&[]);
    pieces(size, |piece| {
        digests.update(piece);
        Ok(())
    })
    .expect("nothing is written");
    let wish = Wish {
        url: format!("http://{address}/{size}"),
        headers: Vec::new(),
        size: Some(size),
        digests: vec![Expected::Sha256(digests.sha256())],
        limits: Limits { plain_text: true, attempts: 1, ..Limits::default() },
    };
    let clock = Clock::new(Zone::Fixed(0));
    let services = ServiceOptions {
        runtime: runtime.handle().clone(),
        clock: clock.clone(),
        scripts: ScriptLimits::default(),
        log: KeptLog::default(),
    };
    let web = Services::new(services).web("");
    let now = move || clock.now().monotonic;
    let turns = Turns::default();
    let fetch = Fetch { server: &web, disk: disk.clone(), name: "1", wish, random: 1, clock: &now, turns: &turns };
    forget_peak();
    let before = status_kb("VmRSS:");
    let began = Instant::now();
    runtime.block_on(fetch.run(&mut |_, _| {})).expect("it comes");
    let seconds = began.elapsed().as_secs_f64();
    let grown_kb = status_kb("VmHWM:").saturating_sub(before);
    discard(&*disk, "1").expect("the files can be removed");
    let counts = &disk.counts;
    Cost {
        size,
        written: counts.written.load(Ordering::Relaxed),
        checkpoints: counts.renames.load(Ordering::Relaxed),
        grown_kb,
        seconds,
    }
}

/// Seconds for the same from the same server without any of it: no digest, no checkpoint, one sync.
fn copy(path: &Path, address: SocketAddr, size: u64) -> f64 {
    let began = Instant::now();
    let mut stream = TcpStream::connect(address).expect("it listens");
    write!(stream, "GET /{size} HTTP/1.1\r\n\r\n").expect("it reads");
    let mut file = File::create(path.join("plain")).expect("a file can be made");
    let mut buffer = vec![0; PIECE];
    loop {
        match stream.read(&mut buffer).expect("it writes") {
            0 => break,
            n => file.write_all(&buffer[..n]).expect("there is room"),
        }
    }
    file.sync_data().expect("there is room");
    began.elapsed().as_secs_f64()
}

/// A server whose path is the size of the image.
fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Who has heard enough leaves.
            let _ = answer(stream);
        }
    });
    address
}

fn answer(mut stream: TcpStream) -> io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().ok_or(io::ErrorKind::UnexpectedEof)??;
    let size = first.split(['/', ' ']).nth(2).and_then(|size| size.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {size}\r\nETag: \"1\"\r\nConnection: close\r\n\r\n")?;
    pieces(size, |piece| stream.write_all(piece))
}

/// The image, piece by piece.
fn pieces(size: u64, mut each: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let piece: Vec<u8> = (0..PIECE).map(|i| (i % 251) as u8).collect();
    for at in (0..size).step_by(PIECE) {
        let n = usize::try_from(size - at).unwrap_or(PIECE).min(PIECE);
        each(&piece[..n])?;
    }
    Ok(())
}

/// From now on `VmHWM` is the peak since now; where the kernel does not do that, the peaks are those since the start.
fn forget_peak() {
    let _ = fs::write("/proc/self/clear_refs", "5");
}

fn status_kb(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

const SMALL: u64 = 1 << 20;
const LARGE: u64 = 64 << 20;
const PIECE: usize = 64 * 1024;
