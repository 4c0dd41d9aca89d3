//! From values to places on an axis, and which values to name there.

/// Ticks on an axis at most.
const TICKS: usize = 8;
/// How far the greatest value may be beyond the end, in ticks: it is drawn there.
const LEEWAY: f64 = 0.02;

/// One axis: from the least to the greatest value.
#[derive(Debug, Clone)]
pub struct Scale {
    /// Where it begins and ends: logarithms, if it is logarithmic.
    ends: (f64, f64),
    /// Equal ratios have equal distances.
    logarithmic: bool,
    /// The values to name.
    pub ticks: Vec<f64>,
}

impl Scale {
    /// From 0 to a round number that is not below any value.
    pub fn linear(values: impl Iterator<Item = f64>) -> Self {
        let greatest = values.filter(|value| value.is_finite()).fold(0.0, f64::max);
        let greatest = if greatest > 0.0 { greatest } else { 1.0 };
        // 1, 2 or 5 times a power of ten, five to ten of them or a little less.
        let raw = greatest / 5.0;
        let power = 10f64.powf(raw.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .map(|n| n * power)
            .into_iter()
            .find(|step| *step >= raw)
            .unwrap_or(raw);
        // A run of three seconds and a bit does not need a fourth.
        let count = (greatest / step - LEEWAY).ceil().max(1.0) as usize;
        let ticks = (0..=count.min(2 * TICKS)).map(|n| n as f64 * step).collect();
        Self { ends: (0.0, count as f64 * step), logarithmic: false, ticks }
    }

    /// From one round number to another: 1, 2 or 5 times a power of ten. Values are above 0.
    pub fn logarithmic(values: impl Iterator<Item = f64>) -> Self {
        let (mut least, mut greatest) = (f64::INFINITY, 0.0f64);
        for value in values.filter(|value| value.is_finite() && *value > 0.0) {
            (least, greatest) = (least.min(value), greatest.max(value));
        }
        if greatest == 0.0 {
            (least, greatest) = (1.0, 10.0);
        }
        let decades = (least.log10().floor() as i32, greatest.log10().ceil() as i32);
        let all: Vec<f64> = (decades.0..=decades.1)
            .flat_map(|n| [1.0, 2.0, 5.0].map(|m| m * 10f64.powi(n)))
            .collect();
        let low = all.iter().copied().rev().find(|value| *value <= least).unwrap_or(least);
        let mut high = all.iter().copied().find(|value| *value >= greatest).unwrap_or(greatest);
        if high <= low {
            high = low * 2.0;
        }
        let within = |value: &f64| *value >= low && *value <= high;
        let mut ticks: Vec<f64> = all.into_iter().filter(within).collect();
        if ticks.len() > TICKS {
            ticks = decades_of((low, high));
        }
        Self { ends: (low.log10(), high.log10()), logarithmic: true, ticks }
    }

    /// The same with powers of ten only, and with 2 if that is the least: where percentiles are meant, that is the median.
    pub fn at_decades(mut self) -> Self {
        self.ticks = decades_of((10f64.powf(self.ends.0), 10f64.powf(self.ends.1)));
        if let Some(first) = self.ticks.first().copied()
            && self.ticks.len() < TICKS
        {
            self.ticks.insert(1, first * 2.0);
        }
        self
    }

    /// Where a value stands: 0 is the beginning and 1 the end. `None` if it cannot be shown.
    pub fn place(&self, value: f64) -> Option<f64> {
        let value = if self.logarithmic { value.log10() } else { value };
        let place = (value - self.ends.0) / (self.ends.1 - self.ends.0);
        place.is_finite().then_some(place.clamp(0.0, 1.0))
    }
}

/// The powers of ten between two numbers, or every second or third if there are many.
fn decades_of((low, high): (f64, f64)) -> Vec<f64> {
    let (first, last) = ((low.log10() - 1e-9).ceil() as i32, (high.log10() + 1e-9).floor() as i32);
    let count = usize::try_from(last - first + 1).unwrap_or(0);
    (first..=last).step_by(count.div_ceil(TICKS).max(1)).map(|n| 10f64.powi(n)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linear_scale_begins_at_zero_and_ends_at_a_round_number() {
        let scale = Scale::linear([3.0, 271_033.0].into_iter());
        assert_eq!(scale.ticks, [0.0, 1e5, 2e5, 3e5]);
        assert_eq!(scale.place(150_000.0), Some(0.5));
        assert_eq!(Scale::linear([3.001].into_iter()).ticks, [0.0, 1.0, 2.0, 3.0]);
        assert_eq!(Scale::linear([f64::NAN, 0.0].into_iter()).ticks.len(), 6);
        assert!(Scale::linear([f64::MAX].into_iter()).ticks.len() < 20);
    }

    #[test]
    fn a_logarithmic_scale_has_few_round_ticks() {
        let scale = Scale::logarithmic([83.0, 450.0].into_iter());
        assert_eq!(scale.ticks, [50.0, 100.0, 200.0, 500.0]);
        assert_eq!(
            Scale::logarithmic([1.0, 1e6].into_iter()).ticks,
            [1.0, 10.0, 1e2, 1e3, 1e4, 1e5, 1e6]
        );
        for values in [vec![], vec![7.0], vec![1e-300, 1e300], vec![0.0, -1.0]] {
            let ticks = Scale::logarithmic(values.iter().copied()).ticks;
            assert!(!ticks.is_empty() && ticks.len() <= TICKS, "{values:?}: {ticks:?}");
        }
        assert_eq!(
            Scale::logarithmic([1.0, 5e4].into_iter()).at_decades().ticks,
            [1.0, 2.0, 10.0, 1e2, 1e3, 1e4]
        );
    }
}
