//! Medians, percentiles, the rank test, and a shuffle that can be repeated.

/// A count as a real number; above 2^32 it no longer matters here.
pub fn real(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// The `percent`-th percentile by the nearest rank; 0 for no values. `values` is sorted afterwards.
pub fn percentile(values: &mut [u32], percent: usize) -> u32 {
    values.sort_unstable();
    let rank = (values.len() * percent).div_ceil(100);
    values.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

/// The middle value, or the mean of the two in the middle; 0 for no values.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    let upper = sorted.get(half).copied().unwrap_or_default();
    if sorted.len() % 2 == 1 { upper } else { f64::midpoint(upper, sorted.get(half.saturating_sub(1)).copied().unwrap_or_default()) }
}

/// The chance that a value of `first` is above one of `second`, ties counting half: 0.5 when the two cannot be told apart.
pub fn auc(first: &[u64], second: &[u64]) -> f64 {
    if first.is_empty() || second.is_empty() {
        return 0.5;
    }
    let mut all: Vec<(u64, bool)> = first.iter().map(|value| (*value, true)).chain(second.iter().map(|value| (*value, false))).collect();
    all.sort_unstable();
    let (mut twice_above, mut below) = (0, 0);
    for tied in all.chunk_by(|left, right| left.0 == right.0) {
        let of_first = tied.iter().filter(|(_, is_first)| *is_first).count();
        let of_second = tied.len() - of_first;
        twice_above += of_first * (2 * below + of_second);
        below += of_second;
    }
    real(twice_above) / (2.0 * real(first.len()) * real(second.len()))
}

/// Fisher-Yates over xorshift64*. Not fit for secrets: the point is that the same seed gives the same order.
pub fn shuffle<T>(items: &mut [T], seed: u64) {
    let mut state = seed.max(1);
    for last in (1..items.len()).rev() {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        let drawn = usize::try_from(state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33).unwrap_or_default();
        items.swap(last, drawn % (last + 1));
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these results are exact")]
mod tests {
    use super::*;

    #[test]
    fn percentiles_take_the_nearest_rank() {
        let mut values: Vec<u32> = (1..=200).rev().collect();
        assert_eq!((percentile(&mut values, 50), percentile(&mut values, 99), percentile(&mut values, 100)), (100, 198, 200));
        assert_eq!(percentile(&mut [7], 99), 7);
        assert_eq!(percentile(&mut [], 50), 0);
    }

    #[test]
    fn medians_of_odd_even_and_no_counts() {
        assert_eq!(median(&[5.0, 1.0, 3.0]), 3.0);
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), 2.5);
        assert_eq!(median(&[]), 0.0);
    }

    #[test]
    fn auc_of_apart_equal_tied_and_mixed() {
        assert_eq!(auc(&[4, 5, 6], &[1, 2, 3]), 1.0);
        assert_eq!(auc(&[1, 2, 3], &[4, 5, 6]), 0.0);
        assert_eq!(auc(&[7, 7], &[7, 7, 7]), 0.5);
        assert_eq!(auc(&[1, 2, 3], &[2, 2, 9]), 2.0 / 9.0 + 2.0 * 0.5 / 9.0);
        assert_eq!(auc(&[], &[1]), 0.5);
    }

    #[test]
    fn a_shuffle_keeps_every_item_and_repeats_by_seed() {
        let shuffled = |seed| {
            let mut items: Vec<u32> = (0..1000).collect();
            shuffle(&mut items, seed);
            items
        };
        assert_eq!(shuffled(1), shuffled(1));
        assert_ne!(shuffled(1), shuffled(2));
        let mut sorted = shuffled(1);
        let early = sorted[..500].iter().filter(|item| **item < 500).count();
        assert!((200..300).contains(&early), "{early} of the first half stayed in it");
        sorted.sort_unstable();
        assert_eq!(sorted, (0..1000).collect::<Vec<u32>>());
    }
}
