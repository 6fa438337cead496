//! How much more do counts vary than those of independent samples would? Calls often depend on those before them: then two
//! stretches of one stream that did not change differ more than tests expect. The baseline's own blocks tell how much.

use super::statistics::chi_square::pooled_table;

/// So many calls make one block.
pub const BLOCK_CALLS: usize = 50;
/// With fewer blocks nothing is known about how they differ.
const BLOCKS_MIN: usize = 4;

/// At least 1: the factor by which a chi-square statistic between two stretches is too large. `blocks` are the counts of
/// consecutive blocks of [`BLOCK_CALLS`] calls, in order, all in the same bins. Looked at on several scales (blocks, pairs of
/// blocks, ..), because what changes slowly is not seen among small blocks; the largest counts. 1 where blocks differ no more
/// than chance makes them.
pub fn dispersion(blocks: &[Vec<u32>]) -> f64 {
    let mut largest = 1.0f64;
    let mut width = 1;
    while blocks.len() / width >= BLOCKS_MIN {
        let sums: Vec<Vec<u32>> = blocks.chunks_exact(width).map(sum).collect();
        let (statistic, degrees) = pooled_table(&sums);
        if degrees > 0 {
            largest = largest.max(statistic / degrees as f64);
        }
        width *= 2;
    }
    largest
}

fn sum(blocks: &[Vec<u32>]) -> Vec<u32> {
    let bins = blocks.iter().map(Vec::len).max().unwrap_or(0);
    let at = |block: &Vec<u32>, bin: usize| block.get(bin).copied().unwrap_or(0);
    (0..bins).map(|bin| blocks.iter().fold(0u32, |sum, block| sum.saturating_add(at(block, bin)))).collect()
}
