//! Whether a cloud that asks for a restart of the module gets it.

/// Says why not; `others_online` are the names of the other clouds that are online.
///
/// # Errors
/// The reason, for the log.
pub fn decide(is_allowed: bool, uptime_ms: u64, others_online: &[&str]) -> Result<(), String> {
    if !is_allowed {
        return Err("`module.restart_on_request` is false".to_owned());
    }
    if !others_online.is_empty() {
        return Err(format!("other clouds are online: {}", others_online.join(", ")));
    }
    if uptime_ms < LEAST_UPTIME_MS {
        return Err(format!("the module runs for {} min only", uptime_ms / 60_000));
    }
    Ok(())
}

/// A restart that did not help will not help the sooner it is tried again. Not documented; chosen by us: clouds ask for
/// one after hours (two in the GAgent product specification 8.8).
const LEAST_UPTIME_MS: u64 = 3_600_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(is_allowed: bool, uptime_ms: u64, others: &[&str], refusal: Option<&str>) {
        assert_eq!(decide(is_allowed, uptime_ms, others).err().as_deref(), refusal);
    }

    #[test]
    fn a_cloud_that_is_alone_in_the_dark_for_an_hour_gets_its_restart() {
        check(true, 3_600_000, &[], None);
    }

    #[test]
    fn it_is_refused_where_it_is_switched_off_hurts_others_or_comes_too_often() {
        check(false, 3_600_000, &[], Some("`module.restart_on_request` is false"));
        check(true, 3_600_000, &["deli", "home"], Some("other clouds are online: deli, home"));
        check(true, 3_599_999, &[], Some("the module runs for 59 min only"));
    }
}
