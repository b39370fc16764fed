//! [`Numbers`]: numbers for the messages that a device sends, by which it knows the answers.

/// Numbers from 1 to 2147483647, upwards, then again from 1.
///
/// After a restart they go on behind every number that may have been given: there is a mark to store a thousand numbers
/// ahead, and they begin behind the stored mark. Store a mark before what was numbered is sent.
#[derive(Debug)]
pub struct Numbers {
    last: u32,
    mark: u32,
}

impl Numbers {
    /// Begins behind the stored mark; `None`, or one that was never given out, begins at 1.
    #[must_use]
    pub fn new(stored_mark: Option<u32>) -> Self {
        let mark = stored_mark.filter(|&mark| mark <= LAST).unwrap_or(0);
        Self { last: mark, mark }
    }

    /// The next number, and the mark to store if there is a new one.
    #[expect(clippy::should_implement_trait, reason = "an endless source; nobody goes through all of it")]
    pub fn next(&mut self) -> (u32, Option<u32>) {
        let wrapped = self.last >= LAST;
        self.last = if wrapped { 1 } else { self.last + 1 };
        if !wrapped && self.last <= self.mark {
            return (self.last, None);
        }
        self.mark = self.last.saturating_add(STEP - 1).min(LAST);
        (self.last, Some(self.mark))
    }
}

/// Numbers that one stored mark is good for (not documented; chosen by us): flash is written once in so many messages,
/// and a restart skips no more than these.
const STEP: u32 = 1000;
/// Largest number (not documented; chosen by us): fits a signed 32-bit number on the other side.
const LAST: u32 = 2_147_483_647;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_mark_is_stored_once_in_a_thousand_numbers() {
        let mut numbers = Numbers::new(None);
        assert_eq!(numbers.next(), (1, Some(1000)));
        for expected in 2..=1000 {
            assert_eq!(numbers.next(), (expected, None));
        }
        assert_eq!(numbers.next(), (1001, Some(2000)));
    }

    #[test]
    fn after_the_last_number_comes_the_first() {
        let mut numbers = Numbers::new(Some(LAST - 1));
        assert_eq!(numbers.next(), (LAST, Some(LAST)));
        assert_eq!(numbers.next(), (1, Some(1000)));
        assert_eq!(numbers.next(), (2, None));
        assert_eq!(Numbers::new(Some(LAST)).next(), (1, Some(1000)));
        assert_eq!(Numbers::new(Some(u32::MAX)).next(), (1, Some(1000)));
    }

    proptest! {
        #[test]
        fn a_restart_at_any_moment_repeats_no_number(
            stored in 0..3_000_u32, runs in proptest::collection::vec(0..2_500_usize, 1..5),
        ) {
            let (mut mark, mut highest) = (Some(stored), stored);
            for given in runs {
                let mut numbers = Numbers::new(mark);
                for _ in 0..given {
                    let (number, new_mark) = numbers.next();
                    prop_assert!(number > highest);
                    highest = number;
                    mark = new_mark.or(mark);
                    prop_assert!(mark >= Some(number));
                }
            }
        }
    }
}
