//! Users of different sizes, and the shards that they are placed on.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

/// The shares of all conversations that users have, by Zipf's law, the largest first.
#[must_use]
pub fn shares(users: usize, skew: f64) -> Vec<f64> {
    let mut shares: Vec<f64> = (1..=users).map(|rank| (rank as f64).powf(-skew)).collect();
    let sum: f64 = shares.iter().sum();
    for share in &mut shares {
        *share /= sum;
    }
    shares
}

/// The shard of each user, the largest user first, each on the shard that has least until then: as
/// after users beyond the average were given shards of their own, and shards were rebalanced.
#[must_use]
pub fn place(shares: &[f64], shards: usize) -> Vec<usize> {
    // Shares in units of 2^-60: integers have a total order.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 2^60")]
    let units = |share: f64| (share * (1_u64 << 60) as f64) as u64;
    let mut loads: BinaryHeap<Reverse<(u64, usize)>> =
        (0..shards).map(|shard| Reverse((0, shard))).collect();
    shares
        .iter()
        .map(|share| {
            let Reverse((load, shard)) = loads.pop().unwrap_or(Reverse((0, 0)));
            loads.push(Reverse((load + units(*share), shard)));
            shard
        })
        .collect()
}

/// The shard of each user by a hash of the user, as users are placed without further action.
#[must_use]
pub fn place_by_hash(shares: &[f64], shards: usize, seed: u64) -> Vec<usize> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    shares.iter().map(|_| random.random_range(0..shards)).collect()
}

/// The share of each shard.
#[must_use]
pub fn loads(shares: &[f64], places: &[usize], shards: usize) -> Vec<f64> {
    let mut loads = vec![0.0; shards];
    for (share, place) in shares.iter().zip(places) {
        loads[*place] += share;
    }
    loads
}

/// The greatest load to the average one.
#[must_use]
pub fn imbalance(loads: &[f64]) -> f64 {
    let sum: f64 = loads.iter().sum();
    loads.iter().copied().fold(0.0, f64::max) * loads.len() as f64 / sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_follow_zipfs_law() {
        let shares = shares(1_000, 0.9);
        assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        assert!((shares[0] / shares[99] - 100_f64.powf(0.9)).abs() < 1e-6);
        // The largest user of the generated dataset has about a tenth.
        assert!((0.08..0.12).contains(&shares[0]), "{}", shares[0]);
    }

    #[test]
    fn placing_by_size_balances_unless_one_user_is_too_large() {
        let shares = shares(10_000, 0.9);
        let hottest = |places: &[usize], shards| imbalance(&loads(&shares, places, shards));
        assert!(hottest(&place(&shares, 8), 8) < 1.001);
        // On 64 shards the largest user has more than the average.
        let alone = hottest(&place(&shares, 64), 64);
        assert!((alone / (shares[0] * 64.0) - 1.0).abs() < 0.01 && alone > 1.5, "{alone}");
        assert!(hottest(&place_by_hash(&shares, 8, 1), 8) > 1.01);
    }

    #[test]
    fn placing_by_hash_repeats_with_its_seed() {
        let shares = shares(1_000, 0.9);
        assert_eq!(place_by_hash(&shares, 8, 1), place_by_hash(&shares, 8, 1));
        assert_ne!(place_by_hash(&shares, 8, 1), place_by_hash(&shares, 8, 2));
    }
}
