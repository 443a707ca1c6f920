//! Chance that comes back with its seed.

/// Numbers that look random and come back with their seed (xorshift64).
pub struct Chance(u64);

impl Chance {
    /// From an environment variable, or the same in every run.
    pub fn from_variable(name: &str) -> Self {
        let seed: u64 = std::env::var(name).map_or(1, |seed| seed.parse().expect("a number"));
        println!("{name}={seed}");
        // Never zero, and other neighbours for each seed.
        Self((seed << 1 | 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(limit).expect("a small limit")).expect("a small number")
    }

    /// One of these.
    pub fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}
