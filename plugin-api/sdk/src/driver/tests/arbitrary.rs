//! Whatever a host says and whatever a session asks: no panic, and nothing grows without bound.

use polylink_plugin_api::abi_stable::sabi_trait::TD_Opaque;
use polylink_plugin_api::abi_stable::std_types::RSlice;
use polylink_plugin_api::event::WAKE;
use polylink_plugin_api::{Event, HostBox, Now, Plugin, PluginBox, PluginConfig};
use proptest::prelude::*;

use super::{ASK, Puppet, SEEN, connect, load, open, publish};
use crate::driver::handles::{ANSWERS_MAX, HANDLES_MAX};
use crate::driver::tickets::{AWAITED_MAX, ENDED_KEPT};
use crate::driver::{ANSWERS_WAITING_MAX, Driver, assemble, create};
use crate::services::{http, mqtt, script, store, subdevices, tcp, udp};
use crate::testing::tables::Registered;
use crate::testing::{ALL_SERVICES, record};
use crate::value::{CommandBody, Outcome, OutcomeResult};
use crate::{Command, Context, Output, RequestId, Session};

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn no_events_and_no_outputs_panic_the_driver_or_make_it_grow(
        calls in prop::collection::vec((any_event(), prop::collection::vec(any_output(), 0..40)), 0..80)
    ) {
        let host = Registered::new(&context());
        let mut driver = driver(&host);
        for (event, outputs) in calls {
            ASK.set(outputs);
            let called = driver.event(Now::default(), event.borrow());
            if let Err(fault) = called.into_result() {
                prop_assert!(!fault.message.contains("panicked"), "{}", fault.message);
            }
            SEEN.take();
            check_bounds(&driver)?;
        }
        host.close();
    }

    #[test]
    fn no_tickets_panic_the_driver_or_make_it_grow(tickets in prop::collection::vec(0_u64..2000, 0..2000)) {
        let host = Registered::new(&context());
        let mut driver = driver(&host);
        let get = |id| Output::Submit(RequestId(id), Command::new(CommandBody::Get(Vec::new())));
        for tickets in tickets.chunks(50) {
            ASK.set(tickets.iter().map(|id| get(*id)).collect());
            let outcome = |ticket: &u64| {
                let outcome = Outcome { result: OutcomeResult::Done, values: Vec::new(), document: None };
                record::abi_outcome(*ticket, outcome)
            };
            let outcomes: Vec<_> = tickets.iter().map(outcome).collect();
            prop_assert!(driver.outcomes(Now::default(), RSlice::from_slice(&outcomes)).is_ok());
            SEEN.take();
            check_bounds(&driver)?;
        }
        host.close();
    }
}

#[test]
fn a_host_that_never_answers_makes_nothing_grow() {
    let host = Registered::new(&context());
    let mut driver = driver(&host);
    for round in 0..100 {
        let ids = (0..100).map(|id| 100 * round + id);
        ASK.set(ids.flat_map(|id| [connect(id), publish(0, id), open(id)]).collect());
        assert!(driver.timeout(Now::default()).is_ok());
        check_bounds(&driver).expect("it is bounded");
    }
    SEEN.take();
    host.close();
}

/// A plugin with the given session behind the ABI.
pub fn plugin<S: Session>(host: &Registered) -> PluginBox {
    create::<S>(HostBox::from_value(host.clone(), TD_Opaque), config(host), &[]).expect("the session can be made")
}

fn driver(host: &Registered) -> Driver<Puppet> {
    assemble(HostBox::from_value(host.clone(), TD_Opaque), config(host), &[]).expect("the session can be made")
}

fn check_bounds(driver: &Driver<Puppet>) -> Result<(), TestCaseError> {
    prop_assert!(driver.port.handles.len() <= HANDLES_MAX + ANSWERS_MAX);
    prop_assert!(driver.port.tickets.len() <= AWAITED_MAX + ENDED_KEPT);
    prop_assert!(driver.port.answers.len() <= ANSWERS_WAITING_MAX);
    Ok(())
}

fn config(host: &Registered) -> PluginConfig {
    PluginConfig {
        instance: host.instance,
        name: "test".into(),
        settings: "{}".into(),
        product: "{}".into(),
        seed: [0; 32],
    }
}

fn context() -> Context {
    let services = ALL_SERVICES.to_vec();
    Context { services, ..Context::default() }
}

#[derive(Clone, Debug)]
struct Record {
    source: String,
    kind: u32,
    token: u64,
    code: i64,
    text: String,
    body: Vec<u8>,
}

impl Record {
    fn borrow(&self) -> Event<'_> {
        Event {
            source: self.source.as_str().into(),
            kind: self.kind,
            token: self.token,
            code: self.code,
            text: self.text.as_str().into(),
            body: RSlice::from_slice(&self.body),
        }
    }
}

fn any_event() -> impl Strategy<Value = Record> {
    let sources: Vec<_> = ALL_SERVICES.into_iter().chain([WAKE]).collect();
    let source = prop_oneof![8 => prop::sample::select(sources).prop_map(str::to_owned), 1 => any::<String>()];
    let kind = prop_oneof![9 => 0_u32..9, 1 => any::<u32>()];
    // Small tokens are those that the virtual host has given.
    let token = prop_oneof![9 => 0_u64..200, 1 => any::<u64>()];
    let code = prop_oneof![5 => 0_i64..200, 1 => any::<i64>()];
    (source, kind, token, code, any::<String>(), any::<Vec<u8>>())
        .prop_map(|(source, kind, token, code, text, body)| Record { source, kind, token, code, text, body })
}

fn any_output() -> impl Strategy<Value = Output> {
    let ids = prop_oneof![9 => 0_u64..6, 1 => any::<u64>()];
    (0..19, ids).prop_map(|(which, id)| match which {
        0 => connect(id),
        1 => publish(id % 3, id),
        2 => Output::Mqtt(mqtt::Request::Disconnect(RequestId(id))),
        3 => Output::Mqtt(mqtt::Request::Subscribe {
            connection: RequestId(id % 3),
            id: RequestId(id),
            filter: "#".to_owned(),
            qos: 9,
        }),
        4 => open(id),
        5 => Output::Tcp(tcp::Request::Send(RequestId(id), vec![0])),
        6 => Output::Tcp(tcp::Request::Close(RequestId(id))),
        7 => Output::Udp(udp::Request::Bind { id: RequestId(id), address: String::new(), port: 0, broadcast: false }),
        8 => Output::Udp(udp::Request::Close(RequestId(id))),
        9 => Output::Http(RequestId(id), http::Request::default()),
        10 => Output::CancelHttp(RequestId(id)),
        11 => Output::Store(RequestId(id), store::Request::Remove("key".to_owned())),
        12 => Output::Resolve(RequestId(id), String::new()),
        13 => load(id),
        14 => Output::Script(script::Request::Call {
            script: RequestId(id % 3),
            id: RequestId(id),
            function: "f".to_owned(),
            args: vec![script::Value::Int(id as i64)],
        }),
        15 => Output::Script(script::Request::Unload(RequestId(id))),
        16 => Output::Subdevices(subdevices::Request::Accept(id as u32)),
        17 => {
            let (product, address, seconds) = (String::new(), String::new(), id as u16);
            Output::Subdevices(subdevices::Request::Admit { product, address, seconds })
        }
        _ => Output::Submit(RequestId(id), Command::new(CommandBody::Raw(Vec::new()))),
    })
}
