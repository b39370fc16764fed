//! Version numbers: `major.minor.revision.fix` of software, `major.minor` of hardware.

use std::cmp::Ordering;

/// Compares component by component as numbers; missing ones are 0, so `01` equals `1.0`. `None` if a component is no
/// number; such versions can only be equal or not.
#[must_use]
pub fn compare(a: &str, b: &str) -> Option<Ordering> {
    let is_number = |component: &str| !component.is_empty() && component.bytes().all(|digit| digit.is_ascii_digit());
    if !a.split('.').chain(b.split('.')).all(is_number) {
        return None;
    }
    // As digits and not as numbers of any type, so that no component is too large.
    let digits = |component: Option<&str>| component.unwrap_or_default().trim_start_matches('0').to_owned();
    let (mut a, mut b) = (a.split('.'), b.split('.'));
    loop {
        let (left, right) = (a.next(), b.next());
        if left.is_none() && right.is_none() {
            return Some(Ordering::Equal);
        }
        let (left, right) = (digits(left), digits(right));
        match left.len().cmp(&right.len()).then(left.cmp(&right)) {
            Ordering::Equal => {}
            different => return Some(different),
        }
    }
}

/// True if both are written alike or compare as equal.
#[must_use]
pub fn same(a: &str, b: &str) -> bool {
    a == b || compare(a, b) == Some(Ordering::Equal)
}

/// Increments one component, counted from 0. One that reaches 100 returns to 0 and the next higher one is incremented; the
/// first has no higher one and goes on. `None` if there is no such component, or a component up to it is no number.
#[must_use]
pub fn bump(version: &str, component: usize) -> Option<String> {
    let mut components: Vec<String> = version.split('.').map(str::to_owned).collect();
    for at in (0..components.len()).rev().skip_while(|at| *at > component) {
        let next = components[at].parse::<u32>().ok()?.checked_add(1)?;
        if next < LIMIT || at == 0 {
            components[at] = next.to_string();
            break;
        }
        components[at] = "0".to_owned();
    }
    (component < components.len()).then(|| components.join("."))
}

/// Where a component returns to 0 (Clife access document 5.1).
const LIMIT: u32 = 100;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(a: &str, b: &str, expected: Option<Ordering>) {
        assert_eq!(compare(a, b), expected, "{a} {b}");
        assert_eq!(compare(b, a), expected.map(Ordering::reverse), "{b} {a}");
    }

    #[test]
    fn components_of_any_size_are_compared_as_numbers() {
        check("1.0.10.0", "1.0.9.0", Some(Ordering::Greater));
        check(&format!("1.{}", "9".repeat(40)), &format!("1.1{}", "0".repeat(40)), Some(Ordering::Less));
        check("1", "1.0.0.0.0", Some(Ordering::Equal));
        check("1", "1.0.0.0.1", Some(Ordering::Less));
    }

    #[test]
    fn what_is_not_numeric_is_only_equal_to_itself() {
        for odd in ["", "v1", "1.x", "1..0", "1.", "-1", "+1", " 1", "１"] {
            check(odd, "1.0", None);
            check(odd, odd, None);
            assert!(same(odd, odd) && !same(odd, "1"), "{odd}");
        }
        assert!(same("01", "1.0"));
    }

    #[test]
    fn an_increment_carries_up_to_the_first_component_which_has_no_limit() {
        assert_eq!(bump("99.99", 1).as_deref(), Some("100.0"));
        assert_eq!(bump("100", 0).as_deref(), Some("101"));
        assert_eq!(bump("1.250.7", 1).as_deref(), Some("2.0.7"));
        for (version, component) in [("1.0", 2), ("x.99", 1), ("1.x", 1), ("4294967295", 0), ("", 0)] {
            assert_eq!(bump(version, component), None, "{version}");
        }
    }

    proptest! {
        #[test]
        fn no_text_can_panic_the_versions(a in "[0-9.x]{0,12}|\\PC{0,8}", b in "[0-9.]{0,12}", component: usize) {
            let _ = (compare(&a, &b), bump(&a, component), bump(&b, component % 4));
        }

        #[test]
        fn an_incremented_version_is_a_later_one(components in proptest::collection::vec(0..100_u32, 1..5), at in 0..4_usize) {
            let version = components.iter().map(u32::to_string).collect::<Vec<_>>().join(".");
            if let Some(later) = bump(&version, at) {
                prop_assert_eq!(compare(&later, &version), Some(Ordering::Greater));
            }
        }
    }
}
