mod access;
mod commands;
mod device;
mod encryption;
mod reports;
mod upgrades;

use super::*;
use crate::clouds::ledger::Entries;

/// Runs a platform with this product.
fn run(product: Product, test: impl AsyncFnOnce(&Lierda)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { test(&Lierda::start_with("counter", product).unwrap()).await });
}

/// Waits for a breach, and finds it named.
async fn breach(lierda: &Lierda, fault: &str) {
    lierda.ledger().until(|entries| !entries.violations.is_empty()).await;
    lierda.ledger().with(|Entries { violations, .. }| {
        assert!(violations[0].contains(fault), "{violations:?} should name {fault:?}");
    });
}

fn no_breach(lierda: &Lierda) {
    lierda.ledger().with(|entries| assert_eq!(entries.violations, Vec::<String>::new()));
}

fn arrivals(lierda: &Lierda) -> Vec<u32> {
    lierda.ledger().with(|entries| entries.arrivals.iter().map(|arrival| arrival.counter).collect())
}

/// The answer to a command as the ledger has it.
async fn outcome(lierda: &Lierda, id: &str) -> Result<(), String> {
    let answer = |entries: &Entries| entries.commands.get(id).and_then(|command| command.answer.clone());
    lierda.ledger().until(|entries| answer(entries).is_some()).await;
    lierda.ledger().with(answer).map(|(outcome, _)| outcome).unwrap()
}

#[test]
fn the_product_section_has_what_is_required_and_what_is_not_default() {
    let section = |product: Product| {
        let mut section = String::new();
        run(product, async |lierda| section = lierda.product_section());
        let (head, settings) = section.split_once("[cloud.lierda.settings]\n").unwrap();
        assert_eq!(head, "[cloud.lierda]\nplugin = \"lierda\"\nplain_text = true\n\n");
        let lines = settings.lines().filter(|line| !line.starts_with("broker_url = \"tcp://127.0.0.1:"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let required = [
        "open_id = \"51A0C1D0\"",
        "product_id = \"51A0C1D1\"",
        "product_key = \"51A0517051A0517051A0517051A05170\"",
        "node_eui = \"SIMULATED0001\"",
    ];
    assert_eq!(section(Product::default()), required);
    let special = Product {
        encrypted: true,
        auth_type: 2,
        timestamp_checked: true,
        full_hex: Some(product::FullHex::Binary),
        events: vec!["overheat".to_owned()],
        ..Product::new(Kind::Hex)
    };
    let others = [
        "device_secret = \"0051A0517051A0517051A05170000001\"",
        "auth_type = 2",
        "encrypted = true",
        "product_kind = \"hex\"",
        "connect_type = 1",
        "full_hex_format = \"binary\"",
        "events = [\"overheat\"]",
    ];
    assert_eq!(section(special), [&required[..], &others].concat());
}
