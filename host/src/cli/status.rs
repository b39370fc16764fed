//! The status page.

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::table::{Table, duration, printable};
use crate::admin::{
    CloudStatus, DatapointReport, JournalReport, ModuleReport, StatusReport, SubdeviceReport, UpdateReport,
};

/// Writes it for people.
///
/// # Errors
/// The writer's.
pub fn write(status: &StatusReport, out: &mut dyn Write) -> io::Result<()> {
    let host = &status.host;
    let state = printable(&host.state);
    writeln!(out, "polylink {}  {state}, up {}, pid {}", printable(&host.version), duration(host.uptime_ms), host.pid)?;
    let product = if host.product.is_empty() { "(not known yet)" } else { &host.product };
    writeln!(out, "product   {}", printable(product))?;
    let mcu = &host.mcu;
    let online = if mcu.online { "online" } else { "silent" };
    writeln!(out, "mcu       {online}, {} on {}", printable(&mcu.link), printable(&mcu.port))?;
    write_pairs("          ", &mcu.identity, out)?;
    write_counters("          ", &mcu.counters, out)?;
    write_module(&host.module, out)?;
    write_journal(&status.journal, out)?;
    write_counters("counters  ", &status.counters, out)?;
    if !status.clouds.is_empty() {
        writeln!(out)?;
        write_clouds(&status.clouds, out)?;
    }
    if !status.subdevices.is_empty() {
        writeln!(out)?;
        write_subdevices(&status.subdevices, out)?;
    }
    if !status.updates.is_empty() {
        writeln!(out)?;
        write_updates(&status.updates, out)?;
    }
    if !status.datapoints.is_empty() {
        writeln!(out)?;
        write_datapoints(&status.datapoints, out)?;
    }
    Ok(())
}

/// Writes datapoints as a table.
///
/// # Errors
/// The writer's.
pub fn write_datapoints(datapoints: &[DatapointReport], out: &mut dyn Write) -> io::Result<()> {
    let mut table = Table::new(&["DATAPOINT", "VALUE", "UNIT", "TYPE", "SET", "AT"]);
    for datapoint in datapoints {
        table.row([
            datapoint.name.clone(),
            datapoint.value.clone().unwrap_or_else(|| "(unknown)".to_owned()),
            datapoint.unit.clone(),
            datapoint.kind.clone(),
            if datapoint.writable { "yes" } else { "no" }.to_owned(),
            datapoint.at_unix_ms.map_or(String::new(), clock),
        ]);
    }
    table.write(out)
}

/// A moment as UTC, `2026-08-01 12:34:56.789Z`.
#[must_use]
pub fn clock(unix_ms: i64) -> String {
    let (days, in_day) = (unix_ms.div_euclid(86_400_000), unix_ms.rem_euclid(86_400_000));
    let (year, month, day) = civil(days);
    let (hour, minute, second, ms) = (in_day / 3_600_000, in_day / 60_000 % 60, in_day / 1000 % 60, in_day % 1000);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

fn write_clouds(clouds: &[CloudStatus], out: &mut dyn Write) -> io::Result<()> {
    let mut table = Table::new(&["CLOUD", "PLUGIN", "SESSION", "LIFE", "PENDING", "SETTLED", "LOST", "FAULTS"]);
    for cloud in clouds {
        let life = match cloud.retry_in_ms {
            Some(ms) => format!("{}, again in {}", cloud.lifecycle, duration(ms)),
            None => cloud.lifecycle.clone(),
        };
        table.row([
            cloud.name.clone(),
            format!("{} {}", cloud.plugin, cloud.version),
            cloud.session.clone(),
            life,
            cloud.journal.pending.to_string(),
            cloud.journal.settled.to_string(),
            cloud.journal.lost.to_string(),
            cloud.faults.count.to_string(),
        ]);
    }
    table.write(out)?;
    for cloud in clouds {
        let mut notes = Vec::new();
        if !cloud.text.is_empty() {
            notes.push(cloud.text.clone());
        }
        if let Some(fault) = &cloud.faults.last {
            let at = cloud.faults.at_unix_ms.map_or(String::new(), |at| format!(" at {}", clock(at)));
            notes.push(format!("last fault{at}: {fault}"));
        }
        if let Some(ms) = cloud.journal.oldest_ms {
            notes.push(format!("oldest waiting report: {}", duration(ms)));
        }
        if cloud.inbox.dropped > 0 {
            notes.push(format!("dropped for want of room: {}", cloud.inbox.dropped));
        }
        notes.extend(cloud.facts.iter().map(|(name, value)| format!("{name}: {value}")));
        let usage: Vec<String> = cloud.usage.iter().map(|(name, number)| format!("{name} {number}")).collect();
        if !usage.is_empty() {
            notes.push(usage.join(", "));
        }
        for note in notes {
            writeln!(out, "  {}: {}", printable(&cloud.name), printable(&note))?;
        }
    }
    Ok(())
}

fn write_subdevices(subdevices: &[SubdeviceReport], out: &mut dyn Write) -> io::Result<()> {
    let yes = |is: bool| if is { "yes" } else { "no" }.to_owned();
    let mut table =
        Table::new(&["SUBDEVICE", "PRODUCT", "ADDRESS", "RADIO", "ACCEPTED", "ONLINE", "SIGNAL", "VERSION"]);
    for subdevice in subdevices {
        table.row([
            subdevice.index.to_string(),
            subdevice.product.clone(),
            subdevice.address.clone(),
            subdevice.radio.clone(),
            yes(subdevice.accepted),
            yes(subdevice.online),
            subdevice.signal_percent.map_or(String::new(), |percent| format!("{percent} %")),
            subdevice.version.clone(),
        ]);
    }
    table.write(out)
}

fn write_updates(updates: &[UpdateReport], out: &mut dyn Write) -> io::Result<()> {
    let mut table = Table::new(&["UPDATE", "CLOUD", "TARGET", "VERSION", "STATE"]);
    for update in updates {
        let target = match update.device {
            0 => update.target.clone(),
            device => format!("{} {device}", update.target),
        };
        let state = match &*update.state {
            "loading" | "installing" => format!("{}, {} %", update.state, update.percent),
            "failed" => format!("failed: {}", update.why),
            state => state.to_owned(),
        };
        table.row([update.id.to_string(), update.cloud.clone(), target, update.version.clone(), state]);
    }
    table.write(out)
}

/// Nothing for a host that tells nothing of it.
fn write_module(module: &ModuleReport, out: &mut dyn Write) -> io::Result<()> {
    if module.mode.is_empty() {
        return Ok(());
    }
    let bindable = match (module.bindable, module.bindable_ms) {
        (false, _) => "not bindable".to_owned(),
        (true, None) => "bindable".to_owned(),
        (true, Some(ms)) => format!("bindable for {}", duration(ms)),
    };
    writeln!(out, "module    {}, {bindable}", printable(&module.mode))?;
    for (name, cloud) in &module.named_clouds {
        let said = format!("`{}` names the cloud `{name}` {}", cloud.by, cloud.parameters);
        writeln!(out, "          {}", printable(said.trim_end()))?;
    }
    Ok(())
}

/// Nothing for a host that tells nothing of it.
fn write_journal(journal: &JournalReport, out: &mut dyn Write) -> io::Result<()> {
    if journal.tier.is_empty() {
        return Ok(());
    }
    let tier = match journal.tier.as_str() {
        "none" => "in RAM alone, no disk takes it",
        tier => tier,
    };
    let JournalReport { memory_bytes, flash_bytes, report_bytes, memory_written, flash_written, flash_syncs, .. } =
        journal;
    writeln!(out, "journal   {}, {memory_bytes} bytes in memory, {flash_bytes} on flash", printable(tier))?;
    let numbers = [
        ("report_bytes", *report_bytes),
        ("memory_written", *memory_written),
        ("flash_written", *flash_written),
        ("flash_syncs", *flash_syncs),
        ("errors", journal.errors),
        ("restored", journal.restored),
        ("dropped", journal.dropped),
        ("broken", journal.broken),
    ];
    write_counters("          ", &numbers.map(|(name, number)| (name.to_owned(), number)).into(), out)
}

fn write_pairs(lead: &str, pairs: &BTreeMap<String, String>, out: &mut dyn Write) -> io::Result<()> {
    let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{name} {value}")).collect();
    if pairs.is_empty() { Ok(()) } else { writeln!(out, "{lead}{}", printable(&pairs.join(", "))) }
}

fn write_counters(lead: &str, counters: &BTreeMap<String, u64>, out: &mut dyn Write) -> io::Result<()> {
    let shown = counters.iter().filter(|(_, number)| **number > 0);
    write_pairs(lead, &shown.map(|(name, number)| (name.clone(), number.to_string())).collect(), out)
}

/// Year, month and day of a day since 1970-01-01 (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
const fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year_of_era + era * 400 + (month <= 2) as i64, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::{FaultCount, HostStatus, JournalStatus, McuStatus, NamedCloud};

    #[test]
    fn the_page_says_who_is_where() {
        let status = StatusReport {
            host: HostStatus {
                version: "0.1.0".into(),
                uptime_ms: 61_000,
                pid: 7,
                state: "running".into(),
                product: "lamp-1".into(),
                mcu: McuStatus {
                    link: "jsonl".into(),
                    port: "/dev/ttyS1".into(),
                    online: true,
                    counters: [("checksum".to_owned(), 3), ("noise".to_owned(), 0)].into(),
                    ..McuStatus::default()
                },
                module: ModuleReport {
                    mode: "work".into(),
                    bindable: true,
                    bindable_ms: Some(58_000),
                    named_clouds: [("jd".into(), NamedCloud { by: "deli".into(), parameters: "id=1".into() })].into(),
                },
            },
            clouds: vec![CloudStatus {
                name: "deli".into(),
                plugin: "deli".into(),
                version: "0.1.0".into(),
                text: "waiting for the network".into(),
                lifecycle: "faulted".into(),
                session: "offline".into(),
                journal: JournalStatus { pending: 2, settled: 40, ..JournalStatus::default() },
                faults: FaultCount { count: 1, last: Some("it\u{1b} broke".into()), at_unix_ms: Some(0) },
                retry_in_ms: Some(2000),
                ..CloudStatus::default()
            }],
            subdevices: vec![SubdeviceReport {
                index: 3,
                product: "ABCDEF".into(),
                address: "001122334455".into(),
                radio: "zigbee".into(),
                online: true,
                signal_percent: Some(80),
                ..SubdeviceReport::default()
            }],
            updates: vec![
                UpdateReport {
                    id: 7,
                    cloud: "deli".into(),
                    target: "module".into(),
                    version: "1.2".into(),
                    state: "loading".into(),
                    percent: 40,
                    ..UpdateReport::default()
                },
                UpdateReport {
                    id: 8,
                    cloud: "jd".into(),
                    target: "subdevice".into(),
                    device: 3,
                    state: "failed".into(),
                    why: "the server refuses with status 404".into(),
                    ..UpdateReport::default()
                },
            ],
            datapoints: vec![DatapointReport {
                name: "power".into(),
                kind: "bool".into(),
                ..DatapointReport::default()
            }],
            journal: JournalReport {
                tier: "flash".into(),
                memory_bytes: 300,
                flash_bytes: 70_000,
                flash_written: 90_000,
                ..JournalReport::default()
            },
            ..StatusReport::default()
        };
        let mut page = Vec::new();
        write(&status, &mut page).expect("memory takes everything");
        let expected = "polylink 0.1.0  running, up 1 min 1 s, pid 7
product   lamp-1
mcu       online, jsonl on /dev/ttyS1
          checksum 3
module    work, bindable for 58 s
          `deli` names the cloud `jd` id=1
journal   flash, 300 bytes in memory, 70000 on flash
          flash_written 90000

CLOUD  PLUGIN      SESSION  LIFE                PENDING  SETTLED  LOST  FAULTS
deli   deli 0.1.0  offline  faulted, again in 2 s  2        40       0     1
  deli: waiting for the network
  deli: last fault at 1970-01-01 00:00:00.000Z: it\\u{1b} broke

SUBDEVICE  PRODUCT  ADDRESS       RADIO   ACCEPTED  ONLINE  SIGNAL  VERSION
3          ABCDEF   001122334455  zigbee  no        yes     80 %

UPDATE  CLOUD  TARGET       VERSION  STATE
7       deli   module       1.2      loading, 40 %
8       jd     subdevice 3           failed: the server refuses with status 404

DATAPOINT  VALUE      UNIT  TYPE  SET  AT
power      (unknown)        bool  no
";
        let squeeze = |text: &str| {
            text.split_inclusive('\n')
                .map(|line| {
                    line.split("  ").filter(|cell| !cell.is_empty()).map(str::trim).collect::<Vec<_>>().join("|")
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(squeeze(&String::from_utf8(page).expect("text")), squeeze(expected));
    }

    #[test]
    fn moments_are_dates() {
        assert_eq!(clock(951_782_400_001), "2000-02-29 00:00:00.001Z");
        assert_eq!(clock(-1), "1969-12-31 23:59:59.999Z");
        assert_eq!(clock(1_785_587_696_000), "2026-08-01 12:34:56.000Z");
        let _ = (clock(i64::MIN), clock(i64::MAX));
    }
}
