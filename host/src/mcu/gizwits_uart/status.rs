//! The module's status word (command 0x0D) and the Wi-Fi signal levels in it.

use crate::mcu::ModuleState;

/// Remembers the signal strength that was last put into a level, so that a signal that flickers around a border does
/// not make a message each time.
#[derive(Debug, Default)]
pub(super) struct SignalLevel {
    classified: Option<u8>,
}

impl SignalLevel {
    /// The level to transmit, 0 to 6, for a signal of 0 to 100 percent. It moves only if the signal moved by 10 or more
    /// since it last did (GAgent product specification 4.3).
    pub(super) fn update(&mut self, percent: u8) -> u16 {
        let percent = percent.min(100);
        let classified = match self.classified {
            Some(last) if last.abs_diff(percent) < HYSTERESIS => last,
            _ => percent,
        };
        self.classified = Some(classified);
        CLASS_ENDS.iter().filter(|end| classified > **end).count() as u16
    }

    /// The network is gone; the next signal counts from anew.
    pub(super) fn forget(&mut self) {
        self.classified = None;
    }
}

/// The word for a state (GAgent product specification 4.2; bits as the vendor's module sends them).
pub(super) fn word(state: &ModuleState, signal: &mut SignalLevel) -> u16 {
    let bits = [
        (state.access_point, 0),
        (state.station, 1),
        (state.onboarding, 2),
        (state.bindable, 3),
        (state.network, 4),
        (state.cloud, 5),
        (state.applications, 11),
        (state.production_test, 12),
    ];
    let flags = bits.iter().fold(0, |word, (set, bit)| word | u16::from(*set) << bit);
    if state.network {
        flags | signal.update(state.signal_percent) << 8
    } else {
        signal.forget();
        flags
    }
}

/// Upper ends, inclusive, of the signal classes but the last (GAgent product specification 4.3).
const CLASS_ENDS: [u8; 6] = [0, 20, 40, 50, 60, 70];

/// Least move of the signal that is looked at (GAgent product specification 4.3).
const HYSTERESIS: u8 = 10;

#[cfg(test)]
mod tests {
    use super::super::vectors;
    use super::*;

    #[track_caller]
    fn check(state: ModuleState, expected: u16) {
        assert_eq!(word(&state, &mut SignalLevel::default()), expected, "{state:?}");
    }

    #[test]
    fn each_signal_strength_has_the_level_of_its_class() {
        let cases = vectors::named("rule-001").cases;
        assert_eq!(cases.len(), 13);
        for case in cases {
            assert_eq!(SignalLevel::default().update(case.percent), u16::from(case.level), "{} percent", case.percent);
        }
    }

    #[test]
    fn the_level_moves_only_when_the_signal_moved_by_ten() {
        let mut level = SignalLevel::default();
        assert_eq!([50, 51, 59, 41, 60, 51, 50].map(|percent| level.update(percent)), [3, 3, 3, 3, 4, 4, 3]);
    }

    #[test]
    fn the_bits_stand_where_the_vendors_module_puts_them() {
        let station = ModuleState { station: true, bindable: true, ..ModuleState::default() };
        let up = ModuleState { network: true, signal_percent: 100, ..station.clone() };
        let online = ModuleState { cloud: true, ..up.clone() };
        check(station, 0x000A);
        // The vendor's module transmits level 7 for the strongest signal; the specification's classes end at 6.
        check(up.clone(), 0x061A);
        check(online.clone(), 0x063A);
        check(ModuleState { applications: true, ..online }, 0x0E3A);
        check(ModuleState { access_point: true, onboarding: true, station: false, ..up }, 0x061D);
    }

    /// The word that the vendor's module was recorded to send, in this state of ours.
    #[track_caller]
    fn recorded(id: &str, state: &ModuleState) {
        let vector = vectors::named(id);
        let word_hex = vector.payload_hex.unwrap();
        let theirs = u16::from_str_radix(&word_hex, 16).unwrap();
        let ours = word(state, &mut SignalLevel::default());
        // It transmits level 7 for the strongest signal; the specification's classes end at 6.
        assert_eq!((theirs >> 8 & 7, ours >> 8 & 7), (7, 6), "{id}");
        assert_eq!(ours & !0x0700, theirs & !0x0700, "{id}: {ours:04x}, recorded {word_hex}");
    }

    #[test]
    fn but_for_the_level_the_recorded_words_are_ours() {
        let up = ModuleState { network: true, station: true, signal_percent: 100, ..ModuleState::default() };
        let bindable = ModuleState { bindable: true, ..up.clone() };
        let online = ModuleState { cloud: true, ..bindable.clone() };
        recorded("ser-007", &bindable);
        recorded("ser-008", &online);
        recorded("ser-009", &ModuleState { applications: true, ..online.clone() });
        recorded("ser-010", &ModuleState { cloud: true, ..up });
        recorded("ser-011", &ModuleState { production_test: true, ..online });
    }

    #[test]
    fn without_network_there_is_no_level() {
        check(ModuleState { signal_percent: 100, ..ModuleState::default() }, 0);
    }
}
