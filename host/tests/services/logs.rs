//! The log goes to servers that take it, refuse it, or go away.

use polylink_plugin_api::services::Logs;
use polylink_plugin_api::services::logs::{LogUpload, Method, SENT};

use super::*;

fn upload(url: String) -> LogUpload {
    let (file_field, file_name) = ("file".into(), "a.log".into());
    LogUpload {
        url: url.into(),
        file_field,
        file_name,
        from_ms: i64::MIN,
        to_ms: i64::MAX,
        user: "dev".into(),
        password: "hunter2".into(),
        ..LogUpload::default()
    }
}

fn send(plugin: &Plugin, upload: LogUpload) -> u64 {
    (table::<Logs>().send)(plugin.id, upload)
}

/// One request, whole; then this is said.
async fn serve(listener: &TcpListener, says: &str) -> String {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut request = Vec::new();
    let length = loop {
        request.push(stream.read_u8().await.unwrap());
        if request.ends_with(b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&request).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            break length.expect("a body with a length");
        }
    };
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    stream.write_all(says.as_bytes()).await.unwrap();
    String::from_utf8([request, body].concat()).unwrap()
}

#[tokio::test]
async fn the_lines_are_put_and_their_bytes_are_told() {
    let mut plugin = Plugin::new("logs-put", true);
    let (listener, port) = peer().await;
    let call = send(&plugin, upload(format!("http://127.0.0.1:{port}/a?sig=hunter2")));
    let request = serve(&listener, "HTTP/1.1 204 No Content\r\n\r\n").await;
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("PUT /a?sig=hunter2 HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("content-type: text/plain; charset=utf-8"), "{head}");
    let lines: Vec<_> = body.lines().map(|line| line.split_once("Z ").unwrap().1).collect();
    assert_eq!(lines, ["INFO  polylink: one", "WARN  plugin: two"]);
    plugin.expect(Logs::ID, SENT, call, i64::try_from(body.len()).unwrap()).await;
    assert_eq!(plugin.usage().calls, 0);
}

#[tokio::test]
async fn a_form_goes_up_by_post_with_its_boundary() {
    let mut plugin = Plugin::new("logs-form", true);
    let (listener, port) = peer().await;
    let call = send(&plugin, LogUpload { method: Method::MULTIPART, ..upload(format!("http://127.0.0.1:{port}/a")) });
    let request = serve(&listener, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let boundary = request.split_once("boundary=").unwrap().1.split_once("\r\n").unwrap().0;
    assert!(request.starts_with("POST /a ") && request.ends_with(&format!("\r\n--{boundary}--\r\n")), "{request}");
    assert_eq!(plugin.expect_kind(Logs::ID, SENT, call).await.text, "");
}

#[tokio::test]
async fn a_time_without_lines_is_no_upload() {
    let mut plugin = Plugin::new("logs-empty", true);
    let (_listener, port) = peer().await;
    let long_ago = LogUpload { to_ms: 1, ..upload(format!("http://127.0.0.1:{port}/")) };
    let call = send(&plugin, long_ago);
    plugin.expect(Logs::ID, SENT, call, 0).await;
}

#[tokio::test]
async fn a_refusal_is_told_at_once_without_what_is_secret() {
    let mut plugin = Plugin::new("logs-refused", true);
    let (listener, port) = peer().await;
    for says in ["HTTP/1.1 403 hunter2\r\n", "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/hunter2\r\n"] {
        let call = send(&plugin, upload(format!("http://127.0.0.1:{port}/?sig=hunter2")));
        serve(&listener, &format!("{says}Content-Length: 0\r\n\r\n")).await;
        let event = plugin.expect(Logs::ID, FAILED, call, HostRefusal::INVALID).await;
        assert!(
            event.text.starts_with("the server refused the log with HTTP status ") && !event.text.contains("hunter2")
        );
    }
}

#[tokio::test]
async fn a_server_in_trouble_is_tried_again() {
    let mut plugin = Plugin::new("logs-again", true);
    let (listener, port) = peer().await;
    let call = send(&plugin, upload(format!("http://127.0.0.1:{port}/")));
    let first = serve(&listener, "HTTP/1.1 503 Later\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
    assert_eq!(serve(&listener, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await, first);
    plugin.expect_kind(Logs::ID, SENT, call).await;
}

#[tokio::test]
async fn one_upload_at_a_time_and_none_in_plain_text_unless_it_is_allowed() {
    let mut plugin = Plugin::new("logs-one", true);
    let (listener, port) = peer().await;
    let ftp = || upload(format!("ftp://127.0.0.1:{port}/in"));
    send(&plugin, ftp());
    let (_silent, _) = listener.accept().await.unwrap();
    let second = send(&plugin, ftp());
    plugin.expect(Logs::ID, FAILED, second, HostRefusal::QUOTA).await;
    plugin.services.drain(plugin.id, PATIENCE).await;
    assert_eq!(plugin.usage(), Usage::default());
    let mut careful = Plugin::new("logs-careful", false);
    for url in [format!("ftp://127.0.0.1:{port}/"), format!("http://127.0.0.1:{port}/")] {
        let call = send(&careful, upload(url));
        let event = careful.expect(Logs::ID, FAILED, call, HostRefusal::INVALID).await;
        assert!(event.text.contains("plain_text"), "{}", event.text);
    }
}

/// A server of FTP in these words: what it says, and what it must hear after each.
async fn converse(control: &mut TcpStream, script: &[(&str, &str)]) {
    for (says, hears) in script {
        control.write_all(format!("{says}\r\n").as_bytes()).await.unwrap();
        let mut heard = Vec::new();
        while !hears.is_empty() && !heard.ends_with(b"\r\n") {
            heard.push(control.read_u8().await.unwrap());
        }
        assert_eq!(String::from_utf8_lossy(&heard).trim_end(), *hears, "after {says}");
    }
}

const IN: [(&str, &str); 5] = [
    ("220-Welcome\r\n220 here", "USER dev"),
    ("331 and?", "PASS hunter2"),
    ("230 in", "TYPE I"),
    ("200 ok", "CWD in"),
    ("250 ok", "EPSV"),
];

#[tokio::test]
async fn by_ftp_the_file_is_stored_on_the_server_itself_whatever_address_it_names() {
    let mut plugin = Plugin::new("logs-ftp", true);
    let (listener, port) = peer().await;
    let call = send(&plugin, upload(format!("ftp://127.0.0.1:{port}/in")));
    let (mut control, _) = listener.accept().await.unwrap();
    converse(&mut control, &IN).await;
    let (data, data_port) = peer().await;
    let (high, low) = (data_port / 256, data_port % 256);
    // 192.0.2.1 is nobody's (RFC 5737).
    let named = format!("227 Entering Passive Mode (192,0,2,1,{high},{low})");
    converse(&mut control, &[("502 what?", "PASV"), (&named, "STOR a.log"), ("150 go on", "")]).await;
    let (mut data, _) = data.accept().await.unwrap();
    let mut stored = String::new();
    data.read_to_string(&mut stored).await.unwrap();
    assert!(stored.ends_with(": two\n"), "{stored}");
    converse(&mut control, &[("226 stored", "QUIT"), ("221 bye", "")]).await;
    plugin.expect(Logs::ID, SENT, call, i64::try_from(stored.len()).unwrap()).await;
}

#[tokio::test]
async fn a_line_that_needs_longer_than_one_step_for_the_file_is_waited_for() {
    let mut plugin = Plugin::new("logs-slow", true);
    let (listener, port) = peer().await;
    let call = send(&plugin, upload(format!("ftp://127.0.0.1:{port}/in")));
    let (mut control, _) = listener.accept().await.unwrap();
    converse(&mut control, &IN).await;
    let (data, data_port) = peer().await;
    let named = format!("229 Entering Extended Passive Mode (|||{data_port}|)");
    converse(&mut control, &[(&named, "STOR a.log"), ("150 go on", "")]).await;
    let (mut data, _) = data.accept().await.unwrap();
    let mut stored = Vec::new();
    data.read_to_end(&mut stored).await.unwrap();
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(100)).await;
    tokio::time::resume();
    converse(&mut control, &[("226 stored", "QUIT"), ("221 bye", "")]).await;
    plugin.expect(Logs::ID, SENT, call, i64::try_from(stored.len()).unwrap()).await;
}

#[tokio::test]
async fn a_full_disk_is_heard_although_the_server_reads_no_more() {
    let mut plugin = Plugin::new("logs-full", true);
    let (listener, port) = peer().await;
    let call = send(&plugin, upload(format!("ftp://127.0.0.1:{port}/in")));
    let (mut control, _) = listener.accept().await.unwrap();
    converse(&mut control, &IN).await;
    let (data, data_port) = peer().await;
    let named = format!("229 Entering Extended Passive Mode (|||{data_port}|)");
    converse(&mut control, &[(&named, "STOR a.log"), ("150 go on", "")]).await;
    let (data, _) = data.accept().await.unwrap();
    data.set_zero_linger().unwrap();
    drop(data);
    converse(&mut control, &[("552 dev hunter2 has no room", "")]).await;
    let event = plugin.expect(Logs::ID, FAILED, call, HostRefusal::INVALID).await;
    assert_eq!(event.text, "the FTP server refused the transfer (552)");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_after_three_attempts() {
    let mut plugin = Plugin::new("logs-away", true);
    let (listener, port) = peer().await;
    let call = send(&plugin, upload(format!("ftp://127.0.0.1:{port}/")));
    // What other protocols say, then nothing, then nobody.
    let (mut control, _) = listener.accept().await.unwrap();
    converse(&mut control, &[("HTTP/1.1 400 Bad Request", "")]).await;
    drop(listener.accept().await.unwrap());
    drop(listener);
    plugin.expect(Logs::ID, FAILED, call, HostRefusal::CONNECTION_REFUSED).await;
}

/// Time passes as soon as everybody waits.
#[tokio::test(start_paused = true)]
async fn a_server_that_says_nothing_is_given_up_in_time() {
    for scheme in ["ftp", "http"] {
        let mut plugin = Plugin::new("logs-silent", true);
        let (_silent, port) = peer().await;
        let begun = tokio::time::Instant::now();
        let call = send(&plugin, upload(format!("{scheme}://127.0.0.1:{port}/")));
        let event = plugin.events.recv().await.expect("the inbox lives as long as the instance");
        assert_eq!((event.kind, event.token, event.code), (FAILED, call, HostRefusal::TIMEOUT), "{}", event.text);
        assert!(begun.elapsed() <= Duration::from_secs(3 * 120 + 5), "{scheme}: {:?}", begun.elapsed());
    }
}
