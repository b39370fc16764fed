//! How requests end: given up, in time, too long, in pieces, elsewhere.

use super::*;

#[tokio::test]
async fn a_request_that_is_given_up_is_never_heard_of_again() {
    let mut plugin = Plugin::new("http-cancel", true);
    let (listener, port) = peer().await;
    let call = ask(&plugin, port, 0, 0);
    let (mut stream, _) = listener.accept().await.unwrap();
    (table::<Http>().cancel)(plugin.id, call);
    assert_eq!(plugin.usage().calls, 0);
    // The connection ends with the request; what the server says is for nobody.
    stream.read_to_end(&mut Vec::new()).await.unwrap();
    let next = ask(&plugin, port, 0, 0);
    answer(&listener, "HTTP/1.1 204 No Content\r\n\r\n").await;
    plugin.expect(Http::ID, http::RESPONSE, next, 204).await;
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up_in_time() {
    let mut plugin = Plugin::new("http-timeout", true);
    let (listener, port) = peer().await;
    let url = format!("http://127.0.0.1:{port}/?token=secret");
    let call = (table::<Http>().request)(plugin.id, http::HttpRequest { timeout_ms: 50, ..get(&url) });
    let _silent = listener.accept().await.unwrap();
    let event = plugin.expect(Http::ID, FAILED, call, HostRefusal::TIMEOUT).await;
    assert!(!event.text.contains("secret"), "{}", event.text);
}

#[tokio::test]
async fn an_answer_in_pieces_is_put_together_up_to_the_limit() {
    let mut plugin = Plugin::new("http-chunks", true);
    let (listener, port) = peer().await;
    let pieces = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n7\r\ndefghij\r\n0\r\n\r\n";
    let call = ask(&plugin, port, 10, 0);
    answer(&listener, pieces).await;
    assert_eq!(plugin.expect(Http::ID, http::RESPONSE, call, 200).await.body, b"abcdefghij");
    let call = ask(&plugin, port, 9, 0);
    answer(&listener, pieces).await;
    let event = plugin.expect(Http::ID, FAILED, call, HostRefusal::QUOTA).await;
    assert!(event.text.contains("longer than 9 bytes"), "{}", event.text);
}

#[tokio::test]
async fn redirects_beyond_the_number_are_the_answer() {
    let mut plugin = Plugin::new("http-redirects", true);
    let (listener, port) = peer().await;
    let moved = "HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let call = ask(&plugin, port, 0, 2);
    for _ in 0..3 {
        answer(&listener, moved).await;
    }
    plugin.expect(Http::ID, http::RESPONSE, call, 302).await;
}

#[tokio::test]
async fn what_is_no_request_is_refused_by_name() {
    let mut plugin = Plugin::new("http-nonsense", false);
    for (method, url, says) in [
        ("GET", "nonsense", "url"),
        ("GET", "ftp://127.0.0.1/", "accepted are http and https"),
        ("G E T", "https://127.0.0.1/", "no HTTP method"),
        ("GET", "http://127.0.0.1/?token=secret", "plain_text"),
    ] {
        let wish = http::HttpRequest { method: method.into(), ..get(url) };
        let call = (table::<Http>().request)(plugin.id, wish);
        let event = plugin.expect(Http::ID, FAILED, call, HostRefusal::INVALID).await;
        assert!(event.text.contains(says) && !event.text.contains("secret"), "{}", event.text);
    }
}
