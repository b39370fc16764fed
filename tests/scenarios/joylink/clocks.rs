//! A cloud whose clock is not that of the host: its own is the one that counts.

use std::time::{SystemTime, UNIX_EPOCH};

use polylink_testbed::clouds::joylink::product::Product;
use polylink_testbed::demo::product;
use polylink_testbed::mcu::p0::Raw;

use super::Site;
use crate::set::check;

#[test]
fn packets_and_results_have_the_time_of_the_cloud() {
    check(async || {
        let settings = "heartbeat_s = 1\nreconnect_min_s = 1\n";
        let mut site = Site::build(Product::default(), settings)?;
        for (n, ahead_s) in [(1, 3600), (2, -86_400), (3, 400 * 86_400)] {
            // The cloud itself judges the time in each packet.
            site.joylink.change(|behaviour| behaviour.clock_ahead_s = ahead_s);
            if n == 1 {
                site.rig.start()?;
            } else {
                site.joylink.reset();
            }
            site.cloud("the device", |entries| entries.online && entries.sessions >= n).await?;
            let (beats, results) = (site.joylink.seen().heartbeats.len(), site.joylink.seen().results.len());
            site.seen("two heartbeats", |seen| seen.heartbeats.len() >= beats + 2).await?;
            site.mcu.set("switch", Raw::Number(n % 2), &product::schema());
            site.seen("a result", |seen| seen.results.len() > results).await?;
            let happened = i64::from(site.joylink.seen().results[results].happened);
            let by_the_cloud = unix_s() + ahead_s;
            assert!((happened - by_the_cloud).abs() < 60, "it happened at {happened}, not at {by_the_cloud}");
        }
        site.finish().await
    });
}

fn unix_s() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    i64::try_from(now).unwrap_or_default()
}
