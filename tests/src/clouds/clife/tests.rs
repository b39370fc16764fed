mod access;
mod commands;
mod device;
mod files;
mod registration;
mod reports;

use super::*;
use crate::clouds::ledger::Entries;

/// Runs a platform with this product.
fn run(product: Product, test: impl AsyncFnOnce(&Clife)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { test(&Clife::start_with("counter", product).unwrap()).await });
}

/// Waits for a breach, and finds it named.
async fn breach(clife: &Clife, fault: &str) {
    clife.ledger().until(|entries| !entries.violations.is_empty()).await;
    clife.ledger().with(|Entries { violations, .. }| {
        assert!(violations[0].contains(fault), "{violations:?} should name {fault:?}");
    });
}

fn no_breach(clife: &Clife) {
    clife.ledger().with(|entries| assert_eq!(entries.violations, Vec::<String>::new()));
}

fn arrivals(clife: &Clife) -> Vec<u32> {
    clife.ledger().with(|entries| entries.arrivals.iter().map(|arrival| arrival.counter).collect())
}

/// The answer to a command as the ledger has it.
async fn outcome(clife: &Clife, id: i64) -> Result<(), String> {
    let id = id.to_string();
    let answer = |entries: &Entries| entries.commands.get(&id).and_then(|command| command.answer.clone());
    clife.ledger().until(|entries| answer(entries).is_some()).await;
    clife.ledger().with(answer).map(|(outcome, _)| outcome).unwrap()
}

#[test]
fn the_product_section_has_what_is_required_and_what_is_not_default() {
    let check = |product: Product, expected: &[&str]| {
        let mut section = String::new();
        run(product, async |clife| {
            section = clife.product_section().replace(&clife.http().address().to_string(), "<here>");
        });
        let (head, rest) = section.split_once("[cloud.clife.settings]\n").unwrap();
        assert_eq!(head, "[cloud.clife]\nplugin = \"clife\"\nplain_text = true\n\n");
        assert_eq!(rest.lines().filter(|line| !line.is_empty()).collect::<Vec<_>>(), expected);
    };
    let points = vec![("switch".to_owned(), 1), ("overheat.temperature".to_owned(), 12)];
    let map =
        ["[cloud.clife.map.\"switch\"]", "name = \"1\"", "[cloud.clife.map.\"overheat.temperature\"]", "name = \"12\""];
    let common =
        ["scheme = \"http\"", "host = \"<here>\"", "product_code = \"C11FE001\"", "dev_mac = \"02005EC11FE0\""];
    let ordinary = [&common[..], &["dev_key = \"c1c6cfd4dde2ebf0f9fe878c959aa3a8\""], &map].concat();
    check(Product { points: points.clone(), ..Product::default() }, &ordinary);
    let special = Product {
        auth_level: 0,
        dev_key: product::DevKey::Text(24),
        secret_len: 32,
        iv: [0xA5; 16],
        timestamp_as_text: true,
        encrypted: false,
        clean_session: true,
        points,
        more_settings: "profile_ver = \"3\"\n".to_owned(),
    };
    let others = [
        "dev_key = \"abcdefghijklmnopqrstuvwx\"",
        "auth_level = 0",
        "dev_id = \"7001005\"",
        "cipher_iv_hex = \"a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5\"",
        "dev_key_encoding = \"utf8\"",
        "timestamp_type = \"string\"",
        "mqtt_encrypt_data = false",
        "clean_session = true",
        "profile_ver = \"3\"",
    ];
    check(special, &[&common[..], &others, &map].concat());
}

#[test]
fn every_data_point_of_the_demo_has_an_id() {
    run(Product::default(), async |clife| {
        let section = clife.product_section();
        for name in ["switch", "mode", "target", "counter", "temperature", "tag", "overheat"] {
            let id = clife.point(name).unwrap();
            assert!(section.contains(&format!("[cloud.clife.map.\"{name}\"]\nname = \"{id}\"\n")), "{section}");
        }
    });
}
