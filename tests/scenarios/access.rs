//! The ways to a cloud: endpoints that are looked up, and connections that are protected.

use polylink_testbed::authority::Authority;
use polylink_testbed::clouds::SimCloud;
use polylink_testbed::clouds::deli::Deli;
use polylink_testbed::demo::product;
use polylink_testbed::http::{Answer, HttpServer};
use polylink_testbed::rig::RigError;
use polylink_testbed::rig::files::Files;
use serde_json::{Value as Json, json};

use crate::set::check;
use crate::stage::Stage;

/// Puts other lines in the place of the address of the broker.
fn reach(files: &mut Files, lines: &str) {
    let is_address = |line: &&str| line.starts_with("broker_url");
    let before = files.product.lines().find(is_address).expect("the cloud names its broker").to_owned();
    files.product = files.product.replace(&before, lines);
}

fn failed(error: std::io::Error) -> RigError {
    RigError::new(error.to_string())
}

fn deli(status: &Json) -> &Json {
    &status["clouds"][0]
}

#[test]
fn endpoints_are_looked_up_and_a_dead_one_is_left_for_the_next() {
    check(async || {
        let http = HttpServer::start().await.map_err(failed)?;
        let cloud = Deli::start(product::COUNTER).map_err(failed)?;
        // A port that was open a moment ago and that nobody has taken since.
        let dead = std::net::TcpListener::bind(("127.0.0.1", 0)).and_then(|port| port.local_addr()).map_err(failed)?;
        let url = http.url("/access_list");
        let mut list = String::new();
        let mut stage = Stage::set_before(cloud, |files, address| {
            list = json!({"MQTT": [format!("tcp://{dead}"), "nonsense", 7, format!("tcp://{address}")]}).to_string();
            reach(files, &format!("discovery_url = \"{url}\""));
        })
        .await?;
        http.script("/access_list", Answer::ok(list));
        stage.rig.start()?;
        stage.cloud("the device", |entries| entries.online).await?;
        stage.report(10).await?;
        stage.all_arrived().await?;
        assert_eq!(stage.command("switch", json!(true)).await?, Ok(()));
        let requests = http.requests();
        assert_eq!(requests.len(), 1, "the list was asked for more than once: {requests:?}");
        assert_eq!((requests[0].method.as_str(), requests[0].target.as_str()), ("GET", "/access_list"));
        assert_eq!(http.violations(), Vec::<String>::new());
        stage.finish().await
    });
}

#[test]
fn a_look_up_that_fails_is_named_and_the_fallback_is_used() {
    for (answer, why) in [
        (Answer::status(500, "later"), "HTTP status 500"),
        (Answer::ok("<html>"), "no JSON object"),
        (Answer::ok(r#"{"MQTT":[]}"#), "no usable entry"),
    ] {
        check(async || {
            let http = HttpServer::start().await.map_err(failed)?;
            http.script("/access_list", answer);
            let url = http.url("/access_list");
            let cloud = Deli::start(product::COUNTER).map_err(failed)?;
            let mut stage = Stage::set_before(cloud, |files, address| {
                reach(files, &format!("discovery_url = \"{url}\"\nfallback_url = \"tcp://{address}\""));
            })
            .await?;
            stage.rig.start()?;
            let line = stage.rig.said("discovery failed").await?;
            assert!(line.contains(why), "{why:?} is not in: {line}");
            stage.report(5).await?;
            stage.all_arrived().await?;
            stage.finish().await
        });
    }
}

/// A stage whose broker has a certificate of one authority, and whose device trusts another one, or the same.
async fn protected(theirs: &Authority, ours: &Authority, name: &str) -> Result<Stage, RigError> {
    let cloud = Deli::start_on(product::COUNTER, Some(theirs.server(name).map_err(failed)?)).map_err(failed)?;
    let mut stage = Stage::set_before(cloud, |files, address| {
        let ca = "tls_ca = { file = \"ca.pem\", public = true }";
        reach(files, &format!("broker_url = \"ssl://localhost:{}\"\n{ca}", address.port()));
        files.product = files.product.replace("plain_text = true\n", "");
        files.others.push(("products/ca.pem".to_owned(), ours.pem()));
    })
    .await?;
    stage.rig.start()?;
    Ok(stage)
}

#[test]
fn reports_and_commands_pass_under_the_certificate_of_an_own_authority() {
    check(async || {
        let authority = Authority::new("Factory").map_err(failed)?;
        let stage = protected(&authority, &authority, "localhost").await?;
        stage.cloud("the device", |entries| entries.online).await?;
        stage.report(50).await?;
        stage.all_arrived().await?;
        assert_eq!(stage.command("target", json!(21.5)).await?, Ok(()));
        // What was resumed must be as good as what was begun.
        let sessions = stage.deli.ledger().with(|entries| entries.sessions);
        stage.net.reset_all();
        stage.cloud("the device to be back", |entries| entries.online && entries.sessions > sessions).await?;
        stage.report(60).await?;
        stage.all_arrived().await?;
        stage.finish().await
    });
}

/// The device must not let itself be fooled, say why, and go on with everything else.
fn refuses(theirs: &Authority, ours: &Authority, name: &str, why: &str) {
    check(async || {
        let mut stage = protected(theirs, ours, name).await?;
        let said = |status: &Json| deli(status)["text"].as_str().is_some_and(|text| text.contains(why));
        let status = stage.rig.until(&format!("the status to say {why:?}"), said).await?;
        let text = deli(&status)["text"].as_str().unwrap_or_default();
        assert!(text.contains("localhost"), "where is not said: {text}");
        assert_ne!(deli(&status)["session"], json!("online"));
        assert_eq!(deli(&status)["faults"]["count"], json!(0), "{status:#}");
        stage.report(5).await?;
        assert_eq!(stage.deli.broker().log().connects.len(), 0, "the device told a stranger who it is");
        let status = stage.rig.stop().await?;
        assert!(status.success(), "polylink ended with {status}");
        Ok(())
    });
}

#[test]
fn a_certificate_of_another_authority_is_refused_with_a_reason_before_anything_is_told() {
    let [theirs, ours] = ["Somebody", "Factory"].map(|name| Authority::new(name).unwrap());
    refuses(&theirs, &ours, "localhost", "UnknownIssuer");
}

#[test]
fn a_certificate_of_another_name_is_refused_with_a_reason_before_anything_is_told() {
    let authority = Authority::new("Factory").unwrap();
    refuses(&authority, &authority, "elsewhere", "elsewhere");
}
