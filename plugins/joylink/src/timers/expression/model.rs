//! Compares the search for the next instant with a slow and obvious reading of the rules: ask every second, or every day.

use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::sample::subsequence;

use super::TimeExpression;

/// Second, minute, hour, day, month, week (1 to 7), year.
type Fields = [i64; 7];

#[derive(Clone, Debug)]
enum Cell {
    Any,
    Values(Vec<i64>),
    Every(i64),
}

const YEAR: usize = 6;
const WEEK: usize = 5;
const DAY_S: i64 = 86_400;

/// Year, month, day and weekday of each day from 1970 on, counted from one to the next; some years more than an expression
/// can name, as `*` goes on there.
static DAYS: LazyLock<Vec<[i64; 4]>> = LazyLock::new(|| {
    let mut days = Vec::new();
    let mut weekday = 4;
    for year in 1970..2210 {
        let leap = year % 400 == 0 || year % 4 == 0 && year % 100 != 0;
        for (month, n_days) in (1..).zip([31, 28 + i64::from(leap), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]) {
            for day in 1..=n_days {
                days.push([year, month, day, weekday]);
                weekday = weekday % 7 + 1;
            }
        }
    }
    days
});

fn fields(local: i64) -> Option<Fields> {
    let [year, month, day, week] = *DAYS.get(usize::try_from(local.div_euclid(DAY_S)).ok()?)?;
    let second = local.rem_euclid(DAY_S);
    Some([second % 60, second / 60 % 60, second / 3600, day, month, week, year])
}

fn fires(cells: &[Cell; 7], anchor: i64, local: i64) -> bool {
    let (Some(now), Some(then)) = (fields(local), fields(anchor)) else { return false };
    if let Some(unit) = cells.iter().position(|cell| matches!(cell, Cell::Every(_))) {
        let Cell::Every(n) = cells[unit] else { unreachable!() };
        let passed = match unit {
            0 => local - anchor,
            1 => local.div_euclid(60) - anchor.div_euclid(60),
            2 => local.div_euclid(3600) - anchor.div_euclid(3600),
            3 => local.div_euclid(DAY_S) - anchor.div_euclid(DAY_S),
            4 => 12 * now[YEAR] + now[4] - 12 * then[YEAR] - then[4],
            _ => now[YEAR] - then[YEAR],
        };
        let finer = (0..unit).filter(|column| *column != WEEK).all(|column| match &cells[column] {
            Cell::Values(values) => values.contains(&now[column]),
            _ => now[column] == then[column],
        });
        return local > anchor && passed % n == 0 && finer;
    }
    (0..7).all(|column| match &cells[column] {
        Cell::Values(values) => {
            values.contains(&now[column]) || column == WEEK && now[WEEK] == 7 && values.contains(&0)
        }
        _ if column > 2 => true,
        _ => now[column] == 0 || cells[column + 1..].iter().all(|cell| matches!(cell, Cell::Any)),
    })
}

fn text(cells: &[Cell; 7]) -> String {
    let cell = |cell: &Cell| match cell {
        Cell::Any => "*".to_owned(),
        Cell::Values(values) => values.iter().map(i64::to_string).collect::<Vec<_>>().join(","),
        Cell::Every(n) => format!("/{n}"),
    };
    cells.iter().map(cell).collect::<Vec<_>>().join("_")
}

fn values(least: i64, most: i64) -> impl Strategy<Value = Cell> {
    let few = subsequence((least..=most).collect::<Vec<_>>(), 1..4);
    prop_oneof![Just(Cell::Any), few.prop_map(Cell::Values)]
}

fn matching() -> impl Strategy<Value = [Cell; 7]> {
    let date = (values(1, 31), values(1, 12), values(0, 7), values(1970, 2199));
    let time = (values(0, 59), values(0, 59), values(0, 23));
    (time, date)
        .prop_map(|((second, minute, hour), (day, month, week, year))| [second, minute, hour, day, month, week, year])
}

fn interval() -> impl Strategy<Value = [Cell; 7]> {
    let unit = proptest::sample::select(vec![0, 1, 2, 3, 4, 6]);
    (matching(), unit, 1_i64..9).prop_map(|(mut cells, unit, n)| {
        cells[unit..].fill(Cell::Any);
        cells[WEEK] = Cell::Any;
        cells[unit] = Cell::Every(n);
        cells
    })
}

/// Seconds of 1970 to 2198.
fn any_second() -> impl Strategy<Value = i64> {
    prop_oneof![0..7_226_582_400_i64, (1_i64..83_000).prop_map(|day| day * DAY_S - 30)]
}

/// Walks over `candidates`, which hold every instant up to the last of them.
fn check(
    cells: &[Cell; 7],
    anchor: i64,
    offset_s: i32,
    mut now: i64,
    candidates: impl Iterator<Item = i64>,
) -> Result<(), TestCaseError> {
    let Ok(expression) = text(cells).parse::<TimeExpression>() else { return Ok(()) };
    let offset = i64::from(offset_s);
    let next = |now: i64| expression.next_after(anchor - offset, now - offset, offset_s).map(|next| next + offset);
    let mut last = now;
    let mut n_left = 500;
    for candidate in candidates {
        last = candidate;
        if candidate > now && n_left > 0 && fires(cells, anchor, candidate) {
            n_left -= 1;
            prop_assert_eq!(next(now), Some(candidate), "{} after {}", expression, now);
            now = candidate;
        }
    }
    if n_left > 0 {
        prop_assert!(next(now).is_none_or(|next| next > last), "{} after {}", expression, now);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn asking_every_second_of_a_day_and_a_half_finds_the_same_instants(
        cells in prop_oneof![matching(), interval()],
        anchor in any_second(),
        later in prop_oneof![-1000_i64..1000, 0..100_000_000_i64],
        offset_s in -43_200..50_400_i32,
    ) {
        let now = anchor + later;
        check(&cells, anchor, offset_s, now, now + 1..now + 130_000)?;
    }

    #[test]
    fn asking_every_day_of_two_centuries_finds_the_same_instants(
        mut cells in prop_oneof![matching(), interval()],
        (hour, minute, second) in (0_i64..24, 0_i64..60, 0_i64..60),
        anchor in 0..2_000_000_000_i64,
        offset_s in -43_200..50_400_i32,
    ) {
        for (column, value) in [second, minute, hour].into_iter().enumerate() {
            if cells[3..].iter().any(|cell| matches!(cell, Cell::Every(_))) || !matches!(cells[column], Cell::Every(_)) {
                cells[column] = Cell::Values(vec![value]);
            }
        }
        if !cells[..3].iter().any(|cell| matches!(cell, Cell::Every(_))) {
            let of_day = hour * 3600 + minute * 60 + second;
            // Later instants may be further away than the search goes.
            let last_day = (anchor + super::next::HORIZON_S) / DAY_S - 1;
            check(&cells, anchor, offset_s, anchor, (anchor / DAY_S..last_day).map(|day| day * DAY_S + of_day))?;
        }
    }

    #[test]
    fn no_time_overflows_and_the_next_instant_is_always_later(
        cells in prop_oneof![matching(), interval()],
        anchor: i64,
        now: i64,
        offset_s: i32,
    ) {
        let Ok(expression) = text(&cells).parse::<TimeExpression>() else { return Ok(()) };
        for (anchor, now) in [(anchor, now), (anchor % 200_000_000_000, now % 200_000_000_000)] {
            prop_assert!(expression.next_after(anchor, now, offset_s).is_none_or(|next| next > now));
        }
    }
}
