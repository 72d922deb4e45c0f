//! Numbers by chance, the same for the same seed.

/// SplitMix64.
pub(in super::super) struct Dice(u64);

impl Dice {
    pub(in super::super) const fn new(seed: u64) -> Self {
        // Neighbouring seeds would give the same numbers, one place apart.
        Self(mixed(seed ^ 0x6a09_e667_f3bc_c908))
    }

    /// From 0 to below `end`.
    pub(in super::super) const fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed(self.0) % end
    }
}

const fn mixed(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
