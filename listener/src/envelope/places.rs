//! Bytes looked at in blocks: where one of them stands, as the bits of a mask. What is done
//! at those places is the callers': `unescape.rs` and `scan.rs`.

/// One byte for each bit of a mask.
pub(super) const BLOCK: usize = 64;

/// A bit for each place where the byte stands.
#[inline]
pub(super) fn places(block: &[u8; BLOCK], byte: u8) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    const LOW: u64 = ONES * 0x7f;
    const HIGH: u64 = ONES * 0x80;
    let (words, _) = block.as_chunks::<8>();
    words.iter().enumerate().fold(0, |places, (at, word)| {
        let differs = u64::from_le_bytes(*word) ^ (ONES * u64::from(byte));
        // The highest bit of each byte that does not differ, and no other bit.
        let same = !(((differs & LOW) + LOW) | differs) & HIGH;
        // All of them to the highest byte, in their order.
        let bits = same.wrapping_mul(0x0002_0408_1020_4081) >> 56;
        places | bits << (8 * at)
    })
}

/// Whether there is a byte below the space.
#[inline]
pub(super) fn has_control(block: &[u8; BLOCK]) -> bool {
    block.iter().fold(false, |found, byte| found | (*byte < b' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_has_its_bit() {
        let mut rng = fastrand::Rng::with_seed(7);
        for _ in 0..10_000 {
            // Neighbours of the byte, and its like with the highest bit.
            let block = [(); BLOCK].map(|()| b"\"!#\xa2\xff\x00"[rng.usize(..6)]);
            let bits = (0..BLOCK).filter(|at| block[*at] == b'"');
            assert_eq!(places(&block, b'"'), bits.fold(0, |places, at| places | 1 << at));
        }
    }

    #[test]
    fn a_control_character_is_found_at_every_place() {
        for at in 0..BLOCK {
            let mut block = [b' '; BLOCK];
            assert!(!has_control(&block));
            block[at] = 0x1f;
            assert!(has_control(&block));
        }
    }
}
