//! `polylink product import`: a product file for a Gizwits datapoint file.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::Path;

use super::Exit;
use super::table::printable;
use crate::config::ProductKey;
use crate::config::source::{MAX_FILE_BYTES, read_text};
use crate::product::gizwits_import::{self, Imported};
use crate::product::{Class, History};

pub(super) fn run(file: &Path, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<Exit> {
    let imported = read_text(file, MAX_FILE_BYTES)
        .and_then(|json| gizwits_import::import(&json).map_err(|error| error.to_string()))
        .and_then(|imported| match ProductKey::parse(&imported.product.key) {
            Some(_) => Ok(imported),
            None => Err(format!("its product_key is {:?}, expected {}", imported.product.key, ProductKey::EXPECTED)),
        });
    match imported {
        Ok(imported) => {
            let name = file.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
            out.write_all(product_file(&imported, &name).as_bytes())?;
            Ok(Exit::Done)
        }
        Err(reason) => {
            writeln!(err, "{}: {}", file.display(), printable(&reason))?;
            Ok(Exit::Failed)
        }
    }
}

fn product_file(imported: &Imported, datapoints: &str) -> String {
    let product = &imported.product;
    let mut text = format!(
        "# Save as products/{key}.toml, with {datapoints} beside it.\n\
         # Types, limits and access come from there; the entries here add what it does not know.\n\n\
         [product]\nkey = {key_text}\nname = {name}\ngizwits_datapoints = {file}\n",
        key = product.key,
        datapoints = printable(datapoints),
        key_text = literal(&product.key),
        name = literal(&product.name),
        file = literal(datapoints),
    );
    for property in &product.properties {
        let field = &property.field;
        let history = match property.history {
            History::Latest => "latest",
            History::All => "all",
        };
        let class = match property.class {
            Class::Value => "value",
            Class::Alarm => "alarm",
            Class::Fault => "fault",
        };
        let access = if property.writable { "may be set" } else { "read only" };
        let shown = format!("{}, {}, {access}", field.kind.name(), field.kind);
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "\n[[property]] # {}\nname = {}\ntitle = {}\nunit = {}\nhistory = {history:?}\nclass = {class:?}\n",
            printable(&shown),
            literal(&field.name),
            literal(&field.title),
            literal(&field.unit),
        );
    }
    text.push_str("\n# [cloud.<name>]\n# plugin = \"deli\"\n# [cloud.<name>.settings]\n");
    text
}

/// A text as TOML writes it.
fn literal(text: &str) -> String {
    let mut literal = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => literal.extend(['\\', character]),
            c if c.is_control() => {
                let _ = write!(literal, "\\u{:04X}", u32::from(c));
            }
            c => literal.push(c),
        }
    }
    literal.push('"');
    literal
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{HostConfig, Overrides};

    #[test]
    fn the_imported_file_loads_beside_its_datapoints() {
        let datapoints = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/products/smart-light.datapoints.json");
        let (mut out, mut err) = (Vec::new(), Vec::new());
        assert_eq!(run(Path::new(datapoints), &mut out, &mut err).expect("memory takes everything"), Exit::Done);
        let dir = std::env::temp_dir().join(format!("polylink-import-{}", std::process::id()));
        let key = "ede16da98b4d496b92312d75da74bf16";
        std::fs::create_dir_all(dir.join("products")).expect("writable");
        std::fs::copy(datapoints, dir.join("products/smart-light.datapoints.json")).expect("writable");
        std::fs::write(dir.join(format!("products/{key}.toml")), out).expect("writable");
        let host = HostConfig { dir: dir.clone(), overrides: Overrides::default(), ..HostConfig::default() };
        let loaded = host.load_product(key).expect("it is right");
        let json = std::fs::read_to_string(datapoints).expect("there");
        let imported = gizwits_import::import(&json).expect("it is right");
        assert_eq!((*loaded.product).clone(), imported.product);
        assert_eq!(loaded.layout, Some(imported.layout));
        let _ = std::fs::remove_dir_all(dir);
    }

    #[test]
    fn a_file_that_is_none_is_refused_by_name() {
        let mut err = Vec::new();
        let exit = run(Path::new("/nowhere/x.json"), &mut Vec::new(), &mut err).expect("memory takes everything");
        assert_eq!((exit, String::from_utf8_lossy(&err).as_ref()), (Exit::Failed, "/nowhere/x.json: no such file\n"));
    }

    #[test]
    fn foreign_texts_stay_texts() {
        assert_eq!(literal("a\"b\\\n\u{7f}温"), "\"a\\\"b\\\\\\u000A\\u007F温\"");
    }
}
