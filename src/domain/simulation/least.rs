//! The least of many keys that change one at a time.

/// A tournament over keys: a change costs the logarithm of their number, and of equal keys the first one wins.
#[derive(Clone, Debug)]
pub(super) struct Least {
    /// Winner of each match, the final first; the keys are the last half.
    tree: Vec<f64>,
}

impl Least {
    /// Makes a tournament of infinite keys.
    pub fn new(count: usize) -> Self {
        Self {
            tree: vec![f64::INFINITY; 2 * count.next_power_of_two().max(1)],
        }
    }

    #[inline]
    fn leaves(&self) -> usize {
        self.tree.len() / 2
    }

    /// Returns the least key.
    #[inline]
    pub fn key(&self) -> f64 {
        // With a single key, the final is that key.
        self.tree[1]
    }

    /// Returns the index of the first least key.
    #[inline]
    pub fn index(&self) -> usize {
        let (least, leaves) = (self.tree[1], self.leaves());
        let mut at = 1;
        while at < leaves {
            at = 2 * at + usize::from(self.tree[2 * at] != least);
        }
        at - leaves
    }

    /// Changes a key; keys that were never set are infinite.
    #[inline]
    pub fn set(&mut self, index: usize, key: f64) {
        if index >= self.leaves() {
            self.grow(index);
        }
        let mut at = index + self.leaves();
        self.tree[at] = key;
        while at > 1 {
            at /= 2;
            let (left, right) = (self.tree[2 * at], self.tree[2 * at + 1]);
            self.tree[at] = if right < left { right } else { left };
        }
    }

    #[cold]
    fn grow(&mut self, index: usize) {
        let mut larger = Self::new(index + 1);
        for (index, key) in self.tree[self.leaves()..].iter().enumerate() {
            larger.set(index, *key);
        }
        *self = larger;
    }
}

#[cfg(test)]
mod tests {
    use super::Least;
    use crate::domain::random::{Purpose, Stream};

    #[test]
    fn it_agrees_with_a_scan() {
        let stream = Stream::new(1, 0, Purpose::Textbook);
        for count in [1, 2, 3, 7, 8, 9, 40] {
            let mut keys = vec![f64::INFINITY; count];
            let mut least = Least::new(1);
            for round in 0..500 {
                let index = (stream.uniform(2 * round) * count as f64) as usize;
                // Few different keys, so that many are equal.
                keys[index] = (stream.uniform(2 * round + 1) * 6.0).floor();
                least.set(index, keys[index]);
                let first = (0..count).fold(0, |best, i| if keys[i] < keys[best] { i } else { best });
                assert_eq!(least.key(), keys[first]);
                assert_eq!(least.index(), first);
            }
        }
    }
}
