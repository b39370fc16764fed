//! A slow and obvious calendar: one second after the other, and what an expression says of each. It shares nothing with the
//! code that it checks.

/// Seconds that China is ahead of UTC.
pub const CHINA_S: i64 = 28_800;

/// A second of local time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Local {
    pub second: i64,
    pub minute: i64,
    pub hour: i64,
    pub day: i64,
    pub month: i64,
    /// 1 Monday to 7 Sunday.
    pub week: i64,
    pub year: i64,
}

impl Local {
    /// The first second of 1970, a Thursday.
    const FIRST: Self = Self { second: 0, minute: 0, hour: 0, day: 1, month: 1, week: 4, year: 1970 };

    /// The second of this Unix time, `offset_s` ahead of UTC.
    pub fn of(unix_s: i64, offset_s: i64) -> Self {
        let local = unix_s + offset_s;
        let mut now = Self::FIRST;
        for _ in 0..local / 86_400 {
            now.next_day();
        }
        let rest = local % 86_400;
        Self { hour: rest / 3600, minute: rest / 60 % 60, second: rest % 60, ..now }
    }

    pub fn tick(&mut self) {
        self.second += 1;
        if self.second == 60 {
            (self.second, self.minute) = (0, self.minute + 1);
        }
        if self.minute == 60 {
            (self.minute, self.hour) = (0, self.hour + 1);
        }
        if self.hour == 24 {
            self.hour = 0;
            self.next_day();
        }
    }

    fn next_day(&mut self) {
        self.week = self.week % 7 + 1;
        self.day += 1;
        if self.day > self.days_of_month() {
            (self.day, self.month) = (1, self.month + 1);
        }
        if self.month == 13 {
            (self.month, self.year) = (1, self.year + 1);
        }
    }

    fn days_of_month(&self) -> i64 {
        match self.month {
            2 if self.year % 4 == 0 && (self.year % 100 != 0 || self.year % 400 == 0) => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        }
    }

    fn columns(&self) -> [i64; 7] {
        [self.second, self.minute, self.hour, self.day, self.month, self.week, self.year]
    }
}

/// Every second after `from` up to `to`, in Unix time and as local time.
pub fn seconds(from: i64, to: i64) -> impl Iterator<Item = (i64, Local)> {
    let mut local = Local::of(from, CHINA_S);
    (from + 1..=to).map(move |unix_s| {
        local.tick();
        (unix_s, local)
    })
}

/// An expression without an interval, by its columns; none: `*`.
#[derive(Clone, Debug)]
pub struct Columns([Option<Vec<i64>>; 7]);

impl Columns {
    pub fn of(expression: &str) -> Self {
        let texts: Vec<&str> = expression.split('_').collect();
        assert_eq!(texts.len(), 7, "{expression}");
        let numbers = |text: &str| text.split(',').map(|number| number.parse().expect("a number")).collect();
        Self(std::array::from_fn(|column| (texts[column] != "*").then(|| numbers(texts[column]))))
    }

    /// Whether it means this second: all columns agree; `*` in second, minute and hour is 0 if a column behind it has
    /// numbers.
    pub fn mean(&self, now: &Local) -> bool {
        now.columns().into_iter().enumerate().all(|(column, value)| match &self.0[column] {
            Some(numbers) => numbers.contains(&value) || column == 5 && value == 7 && numbers.contains(&0),
            None => column >= 3 || value == 0 || self.0[column + 1..].iter().all(Option::is_none),
        })
    }

    /// Whether second, minute and hour are these, `*` as 0: what counts of it in a span that repeats.
    pub fn are_time(&self, now: &Local) -> bool {
        let says = |column: usize, value: i64| self.0[column].as_ref().map_or(value == 0, |list| list.contains(&value));
        says(0, now.second) && says(1, now.minute) && says(2, now.hour)
    }
}

#[test]
fn the_slow_calendar_knows_days_that_everybody_can_look_up() {
    // 29 February 2024 was a Thursday; 1_709_164_800 is its first second in UTC.
    let leap = Local { second: 0, minute: 0, hour: 8, day: 29, month: 2, week: 4, year: 2024 };
    assert_eq!(Local::of(1_709_164_800, CHINA_S), leap);
    let mut end = Local { second: 59, minute: 59, hour: 23, day: 31, month: 12, week: 2, year: 2024 };
    end.tick();
    assert_eq!(end, Local { second: 0, minute: 0, hour: 0, day: 1, month: 1, week: 3, year: 2025 });
    let columns = Columns::of("0_1_22_11,15_*_*_*");
    assert!(columns.mean(&Local { second: 0, minute: 1, hour: 22, day: 15, ..leap }));
    assert!(!columns.mean(&Local { second: 1, minute: 1, hour: 22, day: 15, ..leap }));
    let columns = Columns::of("*_*_*_29_2_*_*");
    assert!(columns.mean(&Local { hour: 0, ..leap }) && !columns.mean(&leap));
}
