//! The stage of most scenarios: a host, an MCU, and the Deli cloud behind a network that can be bad.

use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};

use polylink_testbed::clouds::SimCloud;
use polylink_testbed::clouds::deli::Deli;
use polylink_testbed::clouds::ledger::{Entries, Verdict};
use polylink_testbed::demo::product;
use polylink_testbed::faulty_net::FaultyNet;
use polylink_testbed::rig::RigError;
use polylink_testbed::rig::files::Files;

use crate::set::{DELI, Set, failed};

/// The set of one scenario.
pub struct Stage {
    set: Set,
    pub deli: Deli,
    pub net: FaultyNet,
}

impl Stage {
    /// Sets the stage; nothing runs yet.
    pub async fn set() -> Result<Self, RigError> {
        Self::set_with(|_| ()).await
    }

    /// The same, with a change to the configuration.
    pub async fn set_with(change: impl FnOnce(&mut Files)) -> Result<Self, RigError> {
        let deli = Deli::start(product::COUNTER).map_err(|error| RigError::new(error.to_string()))?;
        Self::set_before(deli, |files, _| change(files)).await
    }

    /// The same around a cloud of the scenario's own; the change is also told the address that leads to its broker.
    pub async fn set_before(deli: Deli, change: impl FnOnce(&mut Files, SocketAddr)) -> Result<Self, RigError> {
        let net = FaultyNet::before(deli.broker().addr()).await.map_err(failed)?;
        let set = Set::new(&section(&deli, net.address()), DELI, |files| change(files, net.address()))?;
        Ok(Self { set, deli, net })
    }

    /// Sets the stage, starts the host, and waits until the cloud sees the device.
    pub async fn online() -> Result<Self, RigError> {
        Self::online_with(|_| ()).await
    }

    /// The same, with a change to the configuration.
    pub async fn online_with(change: impl FnOnce(&mut Files)) -> Result<Self, RigError> {
        let mut stage = Self::set_with(change).await?;
        stage.set.online(&stage.deli).await?;
        Ok(stage)
    }

    /// Waits until the cloud's ledger fulfils a condition.
    pub async fn cloud(&self, what: &str, condition: impl Fn(&Entries) -> bool) -> Result<(), RigError> {
        self.heard(self.deli.ledger(), what, condition).await
    }

    /// Waits until every report that the module acknowledged has arrived at the cloud.
    pub async fn all_arrived(&self) -> Result<(), RigError> {
        self.all_arrived_at(self.deli.ledger()).await
    }

    /// The cloud's arrivals held against every report that the module acknowledged.
    pub fn deli_verdict(&self) -> Verdict {
        self.verdict(self.deli.ledger())
    }

    /// Sends a command and waits for the answer.
    pub async fn command(&self, property: &str, value: serde_json::Value) -> Result<Result<(), String>, RigError> {
        let known: Vec<String> = self.deli.ledger().with(|entries| entries.commands.keys().cloned().collect());
        self.deli.send_command(property, &value).map_err(|error| self.rig.error(error))?;
        let answer = |entries: &Entries| {
            let mut new = entries.commands.iter().filter(|(id, _)| !known.contains(id));
            new.find_map(|(_, command)| command.answer.clone())
        };
        self.cloud(&format!("an answer to {property} = {value}"), |entries| answer(entries).is_some()).await?;
        let (result, _) =
            self.deli.ledger().with(answer).expect("it was there a moment ago, and the ledger only grows");
        Ok(result)
    }

    /// Ends the host in order. Nobody may have broken a protocol, and the end must be clean.
    pub async fn finish(mut self) -> Result<(), RigError> {
        self.set.finish(&self.deli, &[]).await
    }

    /// Neither the MCU nor the cloud saw a breach of protocol.
    #[track_caller]
    pub fn no_violations(&self) {
        self.set.no_violations(&[&self.deli]);
    }
}

impl Deref for Stage {
    type Target = Set;

    fn deref(&self) -> &Set {
        &self.set
    }
}

impl DerefMut for Stage {
    fn deref_mut(&mut self) -> &mut Set {
        &mut self.set
    }
}

/// The Deli section with another address in the place of the broker's.
pub fn section(deli: &Deli, address: SocketAddr) -> String {
    deli.product_section().replace(&deli.broker().addr().to_string(), &address.to_string())
}
