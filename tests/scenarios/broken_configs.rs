//! `polylink check` on configurations that are wrong: what, where, and what would be right.

use polylink_testbed::demo::product;
use polylink_testbed::rig::Rig;
use polylink_testbed::rig::files::Files;

use crate::set::{DELI, binaries};

/// Checks a configuration after a change, and looks for each of these in what is said.
#[track_caller]
fn check(change: impl FnOnce(&mut Files), expected: &[&str]) {
    let section = "[cloud.deli]\nplugin = \"deli\"\nplain_text = true\n\n[cloud.deli.settings]\nproduct_type = \"KQ\"\n\
                   product_model = \"M\"\nserial = \"1\"\nproduct_secret = { file = \"secret\" }\n";
    let mut files = product::files("/dev/null", section, vec![DELI.to_owned()]);
    files.others.push(("products/secret".to_owned(), "s3cret".to_owned()));
    files.others.push(("secret".to_owned(), "s3cret".to_owned()));
    change(&mut files);
    let rig = Rig::new(&binaries(&[]).unwrap(), &files).unwrap();
    let output = rig.run("check").unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    for part in expected {
        assert!(said.contains(part), "{part:?} is not in:\n{said}");
    }
    assert!(!said.contains("s3cret"), "a secret is shown:\n{said}");
    let right = expected.contains(&"0 errors");
    assert_eq!(output.status.success(), right, "{}:\n{said}", output.status);
}

#[test]
fn a_right_configuration_has_no_errors() {
    check(|_| (), &["0 errors"]);
}

#[test]
fn an_unknown_key_is_named_with_file_line_and_the_nearest_known_one() {
    check(|files| files.overlay = "[mcu]\nbuad = 9600\n".to_owned(), &["50-overlay.toml", "2", "buad", "baud"]);
}

#[test]
fn a_wrong_type_is_named_with_what_was_found_and_what_would_be_accepted() {
    check(
        |files| files.overlay = "[journal]\nmax_reports = \"many\"\n".to_owned(),
        &["50-overlay.toml", "journal.max_reports", "many"],
    );
}

#[test]
fn a_missing_secret_file_is_named() {
    check(|files| files.product = files.product.replace("\"secret\"", "\"gone\""), &["gone", "product_secret"]);
}

#[test]
fn a_file_that_is_no_toml_is_named_with_the_line() {
    check(|files| files.overlay = "[mcu]\nport = \n".to_owned(), &["50-overlay.toml", "2"]);
}

#[test]
fn a_setting_that_the_plugin_does_not_know_is_named() {
    check(|files| files.product += "serail = \"2\"\n", &["serail", "serial"]);
}

#[test]
fn a_missing_setting_is_named() {
    check(
        |files| files.product = files.product.replace("product_model = \"M\"\n", ""),
        &["cloud.deli.settings.product_model"],
    );
}

#[test]
fn a_plugin_that_is_not_there_is_named_with_those_that_are() {
    check(|files| files.product = files.product.replace("plugin = \"deli\"", "plugin = \"delly\""), &["delly", "deli"]);
}

#[test]
fn a_plugin_that_is_no_library_is_refused_with_a_reason() {
    check(
        |files| files.others.push(("plugins/libnonsense.so".to_owned(), "not a library".to_owned())),
        &["libnonsense.so"],
    );
}
