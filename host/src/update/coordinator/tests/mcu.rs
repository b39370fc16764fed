//! Updates of an MCU over its line, with the power of the module going between any two steps.

use super::*;

/// A module and its MCU, which keeps running while the module does not.
#[derive(Default)]
struct Line {
    record: Option<Vec<u8>>,
    has_file: bool,
    /// What the MCU runs.
    runs: &'static str,
    /// Transfers that were begun.
    transfers: usize,
    ended: Option<Outcome>,
    n_steps: usize,
    cuts: Vec<usize>,
}

impl Line {
    fn step(&mut self) -> Result<(), Gone> {
        self.n_steps += 1;
        if self.cuts.contains(&self.n_steps) { Err(Gone) } else { Ok(()) }
    }

    fn boot(&mut self) -> Result<(), Gone> {
        let settings = Settings { targets: vec![Target::Mcu], health_ms: 1000 };
        let mut coordinator = Coordinator::restore(settings, self.record.as_deref());
        coordinator.start(&MOMENT, "lamp");
        if self.ended.is_none() {
            let offer = Offer { target: Target::Mcu, ..offer("lierda", "7") };
            coordinator.offer(&MOMENT, offer, 0).expect("nothing else is listed");
        }
        self.settle(&mut coordinator)?;
        if let [Listed { progress: Progress::Ended(outcome), .. }] = &coordinator.list("lierda")[..] {
            self.ended = Some(outcome.clone());
            assert!(coordinator.acknowledge("lierda", "7"));
        }
        self.settle(&mut coordinator)
    }

    fn settle(&mut self, coordinator: &mut Coordinator) -> Result<(), Gone> {
        while let Some(output) = coordinator.poll() {
            self.step()?;
            match output {
                Output::Save(bytes) => self.record = Some(bytes),
                Output::Clean { keep } => self.has_file &= keep.is_some(),
                Output::Load { id, .. } => {
                    self.has_file = true;
                    coordinator.loaded(&MOMENT, id, Ok(()));
                }
                Output::Verify(Subject { id, target, .. }) => {
                    assert!(self.has_file, "the file is still there");
                    coordinator.verified(&MOMENT, id, verify(Image::Good, target, 0));
                }
                Output::Install { subject, .. } => {
                    self.transfers += 1;
                    for _ in 0..PIECES {
                        self.step()?;
                    }
                    self.runs = "new";
                    self.step()?;
                    coordinator.installed(&MOMENT, subject.id, Ok(Installed::Runs));
                }
                // As the backend of the line says: it knows of no trial.
                Output::Ask(Subject { id, .. }) => coordinator.standing(&MOMENT, id, Ok(Standing::Settled)),
                Output::Confirm { subject, on_trial, .. } => {
                    assert!(!on_trial);
                    coordinator.confirmed(&MOMENT, subject.id, Ok(()));
                }
                Output::Tell { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        Ok(())
    }
}

/// The module has no clock of its own.
const MOMENT: Moment = Moment { now: Timestamp(0), unix_s: None };

/// Pieces of the image.
const PIECES: usize = 4;

/// The number of steps that it took. Whatever the cuts, the update ends, and what the cloud hears is so.
#[track_caller]
fn check(cuts: Vec<usize>) -> usize {
    let mut line = Line { runs: "old", cuts: cuts.clone(), ..Line::default() };
    let boots = (0..50).take_while(|_| line.boot().is_err()).count();
    assert!(boots < 50, "cuts {cuts:?}: it restarts for ever");
    match line.ended.expect("it ended") {
        Outcome::Succeeded => assert_eq!(line.runs, "new", "cuts {cuts:?}"),
        Outcome::Failed { at: FailedAt::Installing, .. } => {
            assert!(cuts.len() >= INSTALLS_MAX as usize, "cuts {cuts:?}");
            assert!((1..=INSTALLS_MAX as usize).contains(&line.transfers), "cuts {cuts:?}");
        }
        other => panic!("cuts {cuts:?}: {other:?}"),
    }
    let record = Record::decode(&line.record.expect("saved")).expect("whole");
    assert_eq!((record.active, record.waiting, record.ended), (None, Vec::new(), Vec::new()));
    line.n_steps
}

#[test]
fn the_modules_power_may_go_at_any_two_steps_of_an_mcus_update() {
    let n_steps = check(Vec::new());
    assert!(n_steps > 12, "{n_steps}");
    for first in 1..=n_steps {
        let n_steps = check(vec![first]);
        for second in first + 1..=n_steps {
            check(vec![first, second]);
        }
    }
}

proptest! {
    #[test]
    fn a_module_that_loses_power_again_and_again_gives_an_mcus_update_up(
        cuts in proptest::collection::vec(1..60_usize, 0..10),
    ) {
        check(cuts);
    }
}
