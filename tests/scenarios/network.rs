//! Onboarding: what the MCU asks for becomes a call of the product's program, and shows in what the MCU is told. The
//! program here says yes to everything and does nothing.

use polylink_testbed::mcu::jsonl::{JsonLog, JsonMcu};
use polylink_testbed::rig::files::Files;
use polylink_testbed::rig::{LIMIT, Rig, RigError};
use serde_json::{Value as Json, json};

use crate::set::{binaries, check};

struct Hall {
    rig: Rig,
    lamp: JsonMcu,
}

impl Hall {
    async fn open(overlay: &str) -> Result<Self, RigError> {
        let lamp = JsonMcu::start("lamp").map_err(|error| RigError::new(error.to_string()))?;
        let files = Files {
            link: "jsonl".to_owned(),
            port: lamp.port(),
            product_key: "lamp".to_owned(),
            product: PRODUCT.to_owned(),
            overlay: overlay.to_owned(),
            ..Files::default()
        };
        let mut rig = Rig::new(&binaries(&[])?, &files)?;
        rig.start()?;
        let hall = Self { rig, lamp };
        hall.told("how the module stands", |_| true).await?;
        Ok(hall)
    }

    /// Waits until the MCU has been told so.
    async fn told(&self, what: &str, condition: impl Fn(&Json) -> bool) -> Result<(), RigError> {
        let told = |log: &JsonLog| log.module.as_ref().is_some_and(&condition);
        self.rig.within(LIMIT, what, self.lamp.until(told)).await
    }
}

#[test]
fn a_user_opens_the_soft_ap_and_leaves_it_by_a_factory_reset_to_come_back_to_it() {
    check(async || {
        let hall = Hall::open("[network]\nhook = \"/bin/true\"\n").await?;
        hall.told("that it is at work", |module| module["onboarding"] == json!(false)).await?;
        hall.lamp.tell(json!({"user": "configure", "mode": 1}));
        let open = |module: &Json| module["onboarding"] == json!(true) && module["access_point"] == json!(true);
        hall.told("that onboarding is open", open).await?;
        let status = hall.rig.status().await?;
        assert_eq!(status["host"]["module"]["mode"], "onboarding by SoftAP");
        assert_eq!(status["host"]["module"]["bindable"], true);
        hall.lamp.tell(json!({"user": "production_test"}));
        let test = |module: &Json| module["production_test"] == json!(true) && module["onboarding"] == json!(false);
        hall.told("that a test network was joined", test).await?;
        hall.lamp.tell(json!({"user": "reset"}));
        hall.told("that it has no network any more", open).await
    });
}

#[test]
fn without_a_program_the_log_says_whose_task_the_network_is() {
    check(async || {
        let hall = Hall::open("").await?;
        hall.lamp.tell(json!({"user": "configure", "mode": 1}));
        hall.rig.said("the network is not this host's task").await?;
        let status = hall.rig.status().await?;
        assert_eq!(status["host"]["module"]["mode"], "work");
        Ok(())
    });
}

const PRODUCT: &str = "
[product]
key = 'lamp'
name = 'Lamp'
[[property]]
name = 'power'
type = 'bool'
writable = true
";
