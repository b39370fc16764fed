use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

/// What a client hears that says these lines after the greeting. It opens each data connection that it is offered, at the
/// address that is named; `<` sends what follows there and ends it.
async fn talk(server: &FtpServer, lines: &[&str]) -> String {
    let mut control = TcpStream::connect(server.address()).await.unwrap();
    for _ in 0..GREETING {
        hear(&mut control).await;
    }
    let (mut heard, mut data) = (String::new(), None);
    for line in lines {
        match (line.strip_prefix('<'), data.take()) {
            (Some(file), Some(mut stream)) => {
                let stream: &mut TcpStream = &mut stream;
                // Who is cut off hears so on the control connection.
                let _ = stream.write_all(file.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
            (_, before) => {
                data = before;
                control.write_all(line.as_bytes()).await.unwrap();
                if !line.ends_with('\n') {
                    control.write_all(b"\r\n").await.unwrap();
                }
            }
        }
        let answer = hear(&mut control).await;
        let numbers: Vec<u16> = answer.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect();
        let offered = match numbers[..] {
            [227, a, b, c, d, high, low] => Some((format!("{a}.{b}.{c}.{d}"), high * 256 + low)),
            [229, port] => Some(("127.0.0.1".to_owned(), port)),
            _ => None,
        };
        if let Some((host, port)) = offered {
            data = Some(TcpStream::connect((host.as_str(), port)).await.unwrap());
        }
        heard += &answer;
    }
    heard
}

async fn hear(control: &mut TcpStream) -> String {
    let mut line = String::new();
    while !line.ends_with('\n') {
        match control.read_u8().await {
            Ok(byte) => line.push(char::from(byte)),
            Err(_) => return "cut\n".to_owned(),
        }
    }
    line
}

/// The codes that a client hears, the files that are there afterwards, and what each violation names.
#[track_caller]
fn check(behaviour: Behaviour, lines: &[&str], codes: &str, files: &[(&str, &str)], violations: &[&str]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let server = FtpServer::start(&[("dev", "pw")], &["in", "in/logs"]).await.unwrap();
        server.change(|now| *now = behaviour);
        let heard = talk(&server, lines).await;
        let found: Vec<_> = heard.lines().map(|line| &line[..3]).collect();
        assert_eq!(found.join(" "), codes, "{heard}");
        let seen = server.seen();
        let stored: Vec<_> = seen.files.iter().map(|file| (file.path.as_str(), &file.body[..])).collect();
        assert_eq!(stored, files.iter().map(|(path, body)| (*path, body.as_bytes())).collect::<Vec<_>>());
        assert_eq!(seen.violations.len(), violations.len(), "{:?}", seen.violations);
        for (found, expected) in seen.violations.iter().zip(violations) {
            assert!(found.contains(expected), "{found:?} should name {expected:?}");
        }
        assert!(!seen.commands.iter().any(|command| command.contains("pw")), "passwords are not remembered");
    });
}

/// The same after a login and a change into `in/logs`.
#[track_caller]
fn check_inside(behaviour: Behaviour, lines: &[&str], codes: &str, files: &[(&str, &str)], violations: &[&str]) {
    let lines = [&["USER dev", "PASS pw", "TYPE I", "CWD in", "CWD logs"], lines].concat();
    check(behaviour, &lines, &format!("331 230 200 250 250 {codes}"), files, violations);
}

const FILE: &[(&str, &str)] = &[("in/logs/a.log", "one\r\ntwo")];

#[test]
fn a_file_is_stored_in_both_passive_modes() {
    let lines = |passive| [passive, "STOR a.log", "<one\r\ntwo", "QUIT"];
    check_inside(Behaviour::default(), &lines("EPSV"), "229 150 226 221", FILE, &[]);
    check_inside(Behaviour::default(), &lines("PASV"), "227 150 226 221", FILE, &[]);
}

#[test]
fn a_wrong_login_opens_nothing() {
    check(Behaviour::default(), &["USER dev", "PASS no", "TYPE I"], "331 530 530", &[], &["TYPE before the login"]);
    check(Behaviour::default(), &["USER x", "PASS pw"], "331 530", &[], &[]);
    check(Behaviour::default(), &["PASS pw"], "503", &[], &["PASS before USER"]);
}

#[test]
fn only_directories_that_are_there_are_entered() {
    check_inside(Behaviour::default(), &["CWD ..", "CWD /in", "CWD x", "MKD x"], "250 250 550 502", &[], &["MKD"]);
}

#[test]
fn it_refuses_as_it_is_told() {
    let without = Behaviour { without_epsv: true, ..Behaviour::default() };
    check_inside(without, &["EPSV"], "502", &[], &[]);
    let refusing = Behaviour { refuse_file: Some(553), ..Behaviour::default() };
    check_inside(refusing, &["EPSV", "STOR a.log"], "229 553", &[], &[]);
    let cutting = Behaviour { cut: Some((1, 3)), ..Behaviour::default() };
    check_inside(cutting, &["EPSV", "STOR a.log", "<one\r\ntwo"], "229 150 cut", &[], &[]);
}

#[test]
fn who_goes_where_pasv_points_is_found_out() {
    let elsewhere = Behaviour { pasv_elsewhere: true, ..Behaviour::default() };
    check_inside(elsewhere, &["PASV", "STOR a.log"], "227 425", &[], &["an address that the answer to PASV named"]);
}

#[test]
fn breaches_of_the_rules_are_written_down() {
    let usual = Behaviour::default;
    check_inside(usual(), &["STOR a.log"], "425", &[], &["without a passive connection"]);
    check_inside(
        usual(),
        &["TYPE A", "EPSV", "STOR a.log", "<x"],
        "200 229 150 226",
        &[("in/logs/a.log", "x")],
        &["TYPE I"],
    );
    check_inside(usual(), &["EPSV", "STOR a/b", "<x"], "229 150 226", &[("in/logs/a/b", "x")], &["a plain name"]);
    check_inside(usual(), &["CWD x\r\nDELE y"], "550", &[], &["did not wait"]);
    check_inside(usual(), &["CWD x\n"], "500", &[], &["CR LF"]);
    check_inside(usual(), &["TYPE"], "501", &[], &["TYPE with None"]);
}

/// Lines of the greeting.
const GREETING: usize = 3;
