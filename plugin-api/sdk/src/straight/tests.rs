use super::*;
use crate::services::{Reason, http, mqtt, script, tcp};
use crate::session::{Level, Phase};
use crate::testing::{Setup, VirtualHost};
use crate::value::{CommandBody, OutcomeResult};
use crate::{Command, DatapointId, RequestId, Value};

#[test]
fn a_task_connects_and_tries_again_after_its_sleep() {
    let mut host = host("connect");
    let (connection, _) = host.expect_mqtt_connect();
    host.mqtt_refused(connection, 5);
    assert_eq!(host.logs(), [(Level::Warn, "the broker refused with code 5".to_owned())]);
    assert_eq!(host.advance_to_next_timeout(), 3000);
    let (connection, _) = host.expect_mqtt_connect();
    host.mqtt_closed(connection, Reason::Resolve);
    host.advance(3000);
    let (connection, _) = host.expect_mqtt_connect();
    host.mqtt_connected(connection);
    assert_eq!(host.status().phase, Phase::Online);
}

#[test]
fn what_comes_while_a_task_awaits_something_else_waits_for_it_in_order() {
    let mut host = host("connect");
    let (connection, _) = host.expect_mqtt_connect();
    let first = host.report([(DatapointId(0), Value::Int(1))]);
    let second = host.report([(DatapointId(0), Value::Int(2))]);
    host.expect_silence();
    host.mqtt_connected(connection);
    let publish = host.expect_publish();
    assert_eq!(publish.text(), "1");
    host.expect_silence();
    host.published(publish.id);
    assert_eq!(host.expect_settle(), [first]);
    let publish = host.expect_publish();
    host.publish_failed(publish.id, Reason::ConnectionLost);
    host.expect_silence();
    host.mqtt_closed(connection, Reason::ConnectionLost);
    assert_eq!(host.advance_to_next_timeout(), 3000);
    host.expect_mqtt_connect();
    assert_eq!(second, 2);
}

#[test]
fn a_future_that_takes_too_long_is_dropped_and_its_request_given_up() {
    let mut host = host("impatient");
    let (request, _) = host.expect_http();
    host.advance(999);
    host.expect_silence();
    host.advance(1);
    assert_eq!(host.take_outputs(), [Output::CancelHttp(request)]);
    assert_eq!(host.logs(), [(Level::Info, "too slow".to_owned())]);
    assert_eq!(host.next_timeout(), None);
}

#[test]
fn a_connection_that_nobody_awaits_any_more_is_closed() {
    let mut host = host("hasty");
    let (connection, _) = host.expect_mqtt_connect();
    host.advance(1000);
    assert_eq!(host.expect_mqtt_disconnect(), connection);
}

#[test]
fn an_answer_in_time_takes_the_sleep_back() {
    let mut host = host("impatient");
    let (request, _) = host.expect_http();
    host.http_answer(request, 204, "");
    host.expect_silence();
    assert_eq!(host.logs(), [(Level::Info, "204".to_owned())]);
    assert_eq!(host.next_timeout(), None);
}

#[test]
fn a_commands_outcome_is_awaited() {
    let mut host = host("command");
    let (id, _) = host.expect_submit();
    host.command_ended(id, OutcomeResult::Unreachable);
    assert_eq!(host.logs(), [(Level::Info, "Unreachable".to_owned())]);
}

#[test]
fn a_script_is_loaded_called_and_unloaded() {
    let mut host = host("script");
    let (script, _, _) = host.expect_script_load();
    host.script_loaded(script);
    let call = host.expect_script_call();
    assert_eq!((call.script, &call.args[..]), (script, &[script::Value::Int(1)][..]));
    host.script_returned(call.id, [script::Value::Int(2)]);
    assert_eq!(host.logs(), [(Level::Info, "Ok([Int(2)])".to_owned())]);
    assert_eq!(host.expect_script_unload(), script);
}

#[test]
fn a_script_that_nobody_awaits_any_more_is_unloaded() {
    let mut host = host("script");
    let (script, _, _) = host.expect_script_load();
    host.advance(1000);
    assert_eq!(host.expect_script_unload(), script);
}

#[test]
fn a_task_that_has_ended_rests() {
    let mut host = host("command");
    let (id, _) = host.expect_submit();
    host.command_done(id);
    for value in 0..2 * shared::INBOX_MAX as i64 {
        host.report([(DatapointId(0), Value::Int(value))]);
    }
    host.expect_silence();
    assert_eq!(host.next_timeout(), None);
}

#[test]
fn a_task_that_does_not_take_its_inputs_faults_before_it_fills_the_memory() {
    let mut host = host("command");
    let report = |host: &mut VirtualHost| {
        host.try_deliver(Input::Module(crate::services::module::Event::Reset)).map_err(|fault| fault.code)
    };
    for _ in 0..shared::INBOX_MAX {
        assert_eq!(report(&mut host), Ok(()));
    }
    assert_eq!(report(&mut host), Err(FaultCode::OTHER));
}

#[test]
fn large_messages_that_a_task_does_not_take_count_by_their_bytes() {
    let mut host = host("command");
    let large = tcp::Event::Received(RequestId(7), vec![0; 256 * 1024]);
    for _ in 0..shared::INBOX_BYTES_MAX / (256 * 1024) {
        assert_eq!(host.try_deliver(Input::Tcp(large.clone())), Ok(()));
    }
    let fault = host.try_deliver(Input::Tcp(large)).expect_err("there is no more room");
    assert_eq!(fault.code, FaultCode::OTHER);
}

#[test]
fn a_task_that_never_rests_gives_the_thread_back() {
    let mut host = VirtualHost::new::<Straight<Restless>>(Setup::default());
    host.start();
    assert_eq!(host.next_timeout(), Some(Timestamp(0)));
}

#[test]
fn a_fault_of_the_task_is_a_fault_of_the_session() {
    let fault = VirtualHost::new::<Straight<Player>>(Setup::new("fault", "")).try_start();
    assert_eq!(fault.map_err(|fault| fault.message.to_string()), Err("no further".to_owned()));
}

#[test]
fn a_task_says_good_bye_when_it_is_stopped_also_through_the_abi() {
    let mut host = VirtualHost::through_abi::<Straight<Player>>(Setup::new("connect", ""));
    host.start();
    let (connection, _) = host.expect_mqtt_connect();
    host.mqtt_connected(connection);
    host.stop();
    assert_eq!(host.expect_mqtt_disconnect(), connection);
}

fn host(play: &str) -> VirtualHost {
    let mut host = VirtualHost::new::<Straight<Player>>(Setup::new(play, ""));
    host.start();
    host
}

/// Plays what the settings say.
struct Player {
    play: String,
}

#[async_trait]
impl StraightLine for Player {
    fn new(context: Context) -> Result<Self, Fault> {
        Ok(Self { play: context.settings })
    }

    async fn run(self, cloud: Cloud) -> Result<(), Fault> {
        match self.play.as_str() {
            "connect" => loop {
                match cloud.mqtt_connect(mqtt::Connect::default()).await {
                    Ok(connection) => {
                        cloud.status(Phase::Online, "");
                        if serve(&cloud, connection).await {
                            return Ok(());
                        }
                    }
                    Err(error) => cloud.log(Level::Warn, error.to_string()),
                }
                cloud.sleep(3000).await;
            },
            "impatient" => {
                let answer = cloud.within(1000, cloud.http(http::Request::default())).await;
                let text = match answer {
                    Some(Ok(response)) => response.status.to_string(),
                    Some(Err(failure)) => failure.text,
                    None => "too slow".to_owned(),
                };
                cloud.log(Level::Info, text);
            }
            "hasty" => drop(cloud.within(1000, cloud.mqtt_connect(mqtt::Connect::default())).await),
            "script" => {
                if let Some(Ok(script)) = cloud.within(1000, cloud.load_script("product", "")).await {
                    let results = cloud.call_script(script, "f", [script::Value::Int(1)]).await;
                    cloud.log(Level::Info, format!("{results:?}"));
                    cloud.unload_script(script);
                }
            }
            "command" => {
                let outcome = cloud.submit(Command::new(CommandBody::Raw(vec![1]))).await;
                cloud.log(Level::Info, format!("{:?}", outcome.result));
            }
            _ => return Err(Fault::settings("no further")),
        }
        Ok(())
    }
}

/// Publishes reports until the connection ends; whether the plugin is to stop.
async fn serve(cloud: &Cloud, connection: crate::RequestId) -> bool {
    loop {
        match cloud.next().await {
            Input::Reports(reports) => {
                for report in reports {
                    let text = match report.body {
                        crate::ReportBody::Properties(values) => match &values[..] {
                            [(_, Value::Int(value))] => value.to_string(),
                            _ => String::new(),
                        },
                        _ => String::new(),
                    };
                    let message = mqtt::Message { topic: "t".to_owned(), payload: text.into(), qos: 1, retain: false };
                    if cloud.publish(connection, message).await.is_ok() {
                        cloud.settle([report.seq]);
                    }
                }
            }
            Input::Mqtt(mqtt::Event::Closed(..)) => return false,
            Input::Stop => {
                cloud.mqtt_disconnect(connection);
                return true;
            }
            _ => {}
        }
    }
}

struct Restless;

#[async_trait]
impl StraightLine for Restless {
    fn new(_context: Context) -> Result<Self, Fault> {
        Ok(Self)
    }

    async fn run(self, _cloud: Cloud) -> Result<(), Fault> {
        std::future::poll_fn(|context| {
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await
    }
}
