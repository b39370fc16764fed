//! The binary interface, written down: sizes, fields and entries of everything that crosses. A change here is a change of
//! the ABI and a decision, never an accident.
//!
//! Sizes are those of a 64-bit machine. `POLYLINK_BLESS=1 cargo test -p polylink-plugin-api --test layout` writes the
//! listing anew.

#![cfg(target_pointer_width = "64")]

use std::collections::{BTreeSet, HashSet};
use std::fmt::Write;

use abi_stable::StableAbi;
use abi_stable::type_layout::{TLData, TypeLayout};
use polylink_plugin_api::services::{Http, Logs, Module, Mqtt, Network, Ota, Script, Store, Subdevices, Tcp, Udp};
use polylink_plugin_api::{ABI_MARK_SYMBOL, ABI_VERSION, AbiMark, Extension, PluginRootRef};

#[test]
fn the_interface_is_the_one_written_down() {
    let found = listing();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/layout.txt");
    if std::env::var_os("POLYLINK_BLESS").is_some() {
        std::fs::write(file, &found).expect("the listing is writable");
    }
    let written = std::fs::read_to_string(file).unwrap_or_default();
    let lines = || written.lines().zip(found.lines());
    let first = lines().find(|(written, found)| written != found);
    assert_eq!(first, None, "the interface differs from {file} (left: written down, right: found)");
    assert_eq!(written.lines().count(), found.lines().count(), "{file} is shorter or longer than the interface");
}

#[test]
fn the_mark_is_sixteen_plain_bytes() {
    assert_eq!((size_of::<AbiMark>(), align_of::<AbiMark>(), ABI_MARK_SYMBOL), (16, 4, "POLYLINK_PLUGIN_ABI"));
    assert_eq!(AbiMark::CURRENT, AbiMark { magic: *b"POLYLINK", abi_version: ABI_VERSION, pointer_width: 8 });
}

fn listing() -> String {
    let mut types = Types::default();
    types.collect(PluginRootRef::LAYOUT);
    let mut listing = format!("ABI {ABI_VERSION}\n");
    let mut table = |id: &str, layout: &'static TypeLayout| {
        types.collect(layout);
        writeln!(listing, "{id}: {}", layout.full_type()).expect("a string takes everything");
    };
    table(Mqtt::ID, Mqtt::LAYOUT);
    table(Tcp::ID, Tcp::LAYOUT);
    table(Udp::ID, Udp::LAYOUT);
    table(Http::ID, Http::LAYOUT);
    table(Store::ID, Store::LAYOUT);
    table(Network::ID, Network::LAYOUT);
    table(Module::ID, Module::LAYOUT);
    table(Script::ID, Script::LAYOUT);
    table(Subdevices::ID, Subdevices::LAYOUT);
    table(Ota::ID, Ota::LAYOUT);
    table(Logs::ID, Logs::LAYOUT);
    listing.extend(types.ours);
    listing
}

#[derive(Default)]
struct Types {
    seen: HashSet<*const TypeLayout>,
    ours: BTreeSet<String>,
}

impl Types {
    /// Takes this type, if it is of this crate, and all of this crate that it is made of.
    fn collect(&mut self, layout: &'static TypeLayout) {
        if !self.seen.insert(layout) {
            return;
        }
        let fields = || layout.get_fields().into_iter().flat_map(|fields| fields.iter());
        if layout.item_info().package() == "polylink-plugin-api" {
            let (path, name) = (layout.mod_path(), layout.full_type());
            let mut text = format!("\n{path}::{name}: {} bytes, aligned to {}\n", layout.size(), layout.alignment());
            if let TLData::Enum(variants) = layout.data() {
                writeln!(text, "    variants: {}", variants.variant_names.as_str()).expect("as above");
            }
            for field in fields() {
                write!(text, "    {}: {}", field.name(), field.full_type()).expect("as above");
                for function in field.function_range().iter() {
                    // The second line of this is about lifetimes, in numbers.
                    let signature = function.to_string();
                    write!(text, " {}", signature.lines().next().unwrap_or_default()).expect("as above");
                }
                // What a container holds: its own parts that are of this crate.
                for inner in field.layout().get_fields().into_iter().flat_map(|fields| fields.iter()) {
                    for part in inner.layout().shared_vars().type_layouts().iter().map(|part| part()) {
                        if inner.layout().item_info().package() != "polylink-plugin-api" {
                            write!(text, " of {}", part.full_type()).expect("as above");
                        }
                    }
                }
                text.push('\n');
            }
            self.ours.insert(text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n") + "\n");
        }
        fields().for_each(|field| self.collect(field.layout()));
        layout.shared_vars().type_layouts().iter().for_each(|part| self.collect(part()));
        layout.phantom_fields().iter().for_each(|part| self.collect(part.layout()));
    }
}
