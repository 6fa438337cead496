//! Which lines may hold a text: for each block of lines a Bloom filter of their 1, 2, 3 and 5 bytes long parts. A search
//! reads the filters, then only the blocks that may hold all parts of what is looked for: found are words, ids and
//! parts of both, with any punctuation.
//!
//! An index of words or trigrams (FTS5) finds the same rows, but writing a line into it takes longer than everything
//! else that the ledger does for the line (docs/data-folder.md has the numbers), and rows that go must be taken out of
//! it one by one. A filter may only say too much: lines that went do not make it wrong.

/// The largest filter, 2 to this power bits.
const BITS_LOG2: u32 = 17;
/// A filter is made smaller as long as at most one bit in so many is set.
const SPARSE: usize = 6;
const BYTES_MIN: usize = 64;
/// Lengths of parts. A text is looked for by the longest of them that fits.
const LENGTHS: [usize; 4] = [1, 2, 3, 5];

/// The parts of the texts of one block.
pub(super) struct Grams {
    words: Vec<u64>,
}

impl Default for Grams {
    fn default() -> Grams {
        Grams { words: vec![0; 1 << (BITS_LOG2 - 6)] }
    }
}

impl Grams {
    pub fn clear(&mut self) {
        self.words.fill(0);
    }

    pub fn add(&mut self, text: &str) {
        parts(text.as_bytes(), &LENGTHS, |hash| self.set(hash));
    }

    /// The plugin of a line: it is looked for as a whole.
    pub fn add_name(&mut self, name: &str) {
        self.set(name_hash(name));
    }

    fn set(&mut self, hash: u64) {
        let bit = (hash & ((1 << BITS_LOG2) - 1)) as usize;
        self.words[bit / 64] |= 1 << (bit % 64);
    }

    /// As it is kept: halves are laid over each other while that leaves it sparse.
    pub fn folded(&self) -> Vec<u8> {
        let mut words = self.words.clone();
        while words.len() * 8 > BYTES_MIN {
            let half = words.len() / 2;
            let folded: Vec<u64> = (0..half).map(|at| words[at] | words[at + half]).collect();
            let set: usize = folded.iter().map(|word| word.count_ones() as usize).sum();
            if set * SPARSE > half * 64 {
                break;
            }
            words = folded;
        }
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    /// Whether a filter knows everything that this does.
    pub fn is_part_of(&self, filter: &[u8]) -> bool {
        let bits = filter.len() * 8;
        let known = |bit: usize| filter[bit % bits / 8] & (1 << (bit % 8)) != 0;
        bits.is_power_of_two()
            && (0..1 << BITS_LOG2).filter(|bit| self.words[bit / 64] & (1 << (bit % 64)) != 0).all(known)
    }
}

/// What is looked for in filters.
pub(super) struct Needle {
    hashes: Vec<u64>,
}

impl Needle {
    /// Of a text and the name of a plugin; of nothing, which is everywhere.
    pub fn of(text: Option<&str>, plugin: Option<&str>) -> Needle {
        let mut hashes: Vec<u64> = plugin.map(name_hash).into_iter().collect();
        let text = text.unwrap_or_default();
        let length = LENGTHS.iter().rev().copied().find(|length| *length <= text.len()).unwrap_or(1);
        parts(text.as_bytes(), &[length], |hash| hashes.push(hash));
        Needle { hashes }
    }

    /// False: none of the block's texts holds it.
    pub fn may_be_in(&self, filter: &[u8]) -> bool {
        let bits = filter.len() as u64 * 8;
        if !bits.is_power_of_two() {
            return true;
        }
        self.hashes.iter().all(|hash| {
            let bit = hash & (bits - 1);
            filter[(bit / 8) as usize] & (1 << (bit % 8)) != 0
        })
    }
}

/// Hashes of all parts of these lengths. Letters A to Z count as small ones, as LIKE sees them.
fn parts(text: &[u8], lengths: &[usize], mut each: impl FnMut(u64)) {
    let mut window = 0_u64;
    for (at, byte) in text.iter().enumerate() {
        window = window << 8 | u64::from(byte.to_ascii_lowercase());
        for length in lengths {
            if at + 1 >= *length {
                let part = window & ((1 << (8 * length)) - 1) | (*length as u64) << 56;
                let mixed = mix(part);
                each(mixed);
                // The longest parts tell the most: a second bit makes a false one rare.
                if *length == LENGTHS[LENGTHS.len() - 1] {
                    each(mixed >> 20);
                }
            }
        }
    }
}

fn mix(part: u64) -> u64 {
    let mixed = part.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 24
}

fn name_hash(name: &str) -> u64 {
    name.bytes().fold(7 << 56, |hash, byte| mix(hash << 8 ^ hash ^ u64::from(byte)) | 7 << 56) & 0xff_ffff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_a_text_is_found_and_little_else() {
        let mut grams = Grams::default();
        let line = |n: u32| {
            format!("order {n:08} of user=Ünal/{:08x} took {} ms", n.wrapping_mul(2_654_435_761), n % 977)
        };
        for n in 0..256 {
            grams.add(&line(n));
        }
        let filter = grams.folded();
        assert!(filter.len() <= 16_384);
        for n in 0..256 {
            let text = line(n).to_ascii_uppercase();
            for (from, _) in text.char_indices() {
                for (to, _) in text.char_indices().filter(|(to, _)| *to > from).step_by(3) {
                    assert!(
                        Needle::of(Some(&text[from..to]), None).may_be_in(&filter),
                        "{}",
                        &text[from..to]
                    );
                }
            }
        }
        let absent = (0..1_000).filter(|n| {
            let id = format!("{:08x}", (n + 77_777_u32).wrapping_mul(2_246_822_519));
            Needle::of(Some(&id), None).may_be_in(&filter)
        });
        let found = absent.count();
        assert!(found < 50, "{found} of 1000");
        grams.add_name("echo");
        let filter = grams.folded();
        let named = |text: &str, plugin: &str| Needle::of(Some(text), Some(plugin)).may_be_in(&filter);
        assert!(named("order", "echo") && Needle::of(None, Some("echo")).may_be_in(&filter));
        let others = (0..1_000).filter(|n| named("order", &format!("plugin-{n}"))).count();
        assert!(others < 300, "{others} of 1000");
    }

    #[test]
    fn a_small_block_has_a_small_filter() {
        let mut grams = Grams::default();
        grams.add("hello");
        assert_eq!(grams.folded().len(), BYTES_MIN);
        grams.clear();
        assert!(!Needle::of(Some("hello"), None).may_be_in(&grams.folded()));
    }
}
