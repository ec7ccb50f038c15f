//! What the machine can do at best with a buffer: read it, and read and write it.
//!
//! A maximum needs every word and next to no arithmetic; an addition in place needs every word and
//! writes it back. Both treat the buffer as u32 words, whatever its elements are, in eight
//! independent vectors of the machine's widest registers, so that nothing but the memory is waited
//! for.

#![allow(unsafe_code, reason = "loads and stores of the widest registers, after their detection")]
#![allow(clippy::cast_ptr_alignment, reason = "the loads and stores are unaligned ones")]

/// Words of eight AVX-512 registers.
const STRIDE: usize = 128;

/// The elements as words; up to three bytes at either end are left out.
#[allow(clippy::multiple_unsafe_ops_per_block, reason = "one reinterpretation")]
pub fn words<E: dpo_kernel::Element>(elements: &[E]) -> &[u32] {
    // SAFETY: elements are f32, f16 or bf16, without padding, and every bit pattern is a u32.
    unsafe { elements.align_to::<u32>().1 }
}

/// As [`words`], to write. Callers write back what they read.
pub fn words_mut<E: dpo_kernel::Element>(elements: &mut [E]) -> &mut [u32] {
    // SAFETY: as above, and every bit pattern is an f32, f16 or bf16.
    unsafe { elements.align_to_mut::<u32>().1 }
}

/// The largest word.
pub fn read(words: &[u32]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    {
        if std::is_x86_feature_detected!("avx512f") {
            // SAFETY: the machine has AVX-512 F.
            return unsafe { x86::read_512(words) };
        }
        if std::is_x86_feature_detected!("avx2") {
            // SAFETY: the machine has AVX2.
            return unsafe { x86::read_256(words) };
        }
    }
    read_plain(words)
}

/// Adds `term` to every word.
pub fn update(words: &mut [u32], term: u32) {
    #[cfg(target_arch = "x86_64")]
    {
        if std::is_x86_feature_detected!("avx512f") {
            // SAFETY: the machine has AVX-512 F.
            return unsafe { x86::update_512(words, term) };
        }
        if std::is_x86_feature_detected!("avx2") {
            // SAFETY: the machine has AVX2.
            return unsafe { x86::update_256(words, term) };
        }
    }
    update_plain(words, term);
}

/// Lane by lane, so that compilers use what vectors there are.
fn read_plain(words: &[u32]) -> u32 {
    let mut top = [0; STRIDE];
    let (whole, rest) = words.as_chunks::<STRIDE>();
    for chunk in whole {
        for (top, &word) in top.iter_mut().zip(chunk) {
            *top = word.max(*top);
        }
    }
    top.iter().chain(rest).copied().max().unwrap_or(0)
}

fn update_plain(words: &mut [u32], term: u32) {
    for word in words {
        *word = word.wrapping_add(term);
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{STRIDE, read_plain, update_plain};
    use core::arch::x86_64::{
        __m256i, __m512i, _mm256_add_epi32, _mm256_loadu_si256, _mm256_max_epu32,
        _mm256_set1_epi32, _mm256_setzero_si256, _mm256_storeu_si256, _mm512_add_epi32,
        _mm512_loadu_si512, _mm512_max_epu32, _mm512_set1_epi32, _mm512_setzero_si512,
        _mm512_storeu_si512,
    };

    /// Both functions for one width: `$n` words of a register, `STRIDE / $n` registers at a time.
    macro_rules! width {
        ($feature:literal, $read:ident, $update:ident, $vector:ty, $n:literal, $count:literal,
         $zero:ident, $splat:ident, $load:ident, $store:ident, $max:ident, $add:ident) => {
            /// # Safety
            /// The machine has the feature.
            #[target_feature(enable = $feature)]
            pub(super) unsafe fn $read(words: &[u32]) -> u32 {
                let (whole, rest) = words.as_chunks::<STRIDE>();
                let mut top = [$zero(); $count];
                for chunk in whole {
                    let (vectors, _) = chunk.as_chunks::<$n>();
                    for (top, vector) in top.iter_mut().zip(vectors) {
                        // SAFETY: `vector` is as many words as are loaded.
                        *top = $max(*top, unsafe { $load(vector.as_ptr().cast::<$vector>()) });
                    }
                }
                let mut lanes = [0_u32; STRIDE];
                for (top, lanes) in top.iter().zip(lanes.as_chunks_mut::<$n>().0) {
                    // SAFETY: `lanes` is as many words as are stored.
                    unsafe { $store(lanes.as_mut_ptr().cast::<$vector>(), *top) };
                }
                read_plain(&lanes).max(read_plain(rest))
            }

            /// # Safety
            /// The machine has the feature.
            #[target_feature(enable = $feature)]
            pub(super) unsafe fn $update(words: &mut [u32], term: u32) {
                let (whole, rest) = words.as_chunks_mut::<STRIDE>();
                let terms = $splat(term.cast_signed());
                for chunk in whole {
                    for vector in chunk.as_chunks_mut::<$n>().0 {
                        let at = vector.as_mut_ptr().cast::<$vector>();
                        // SAFETY: `vector` is as many words as are loaded.
                        let sum = $add(unsafe { $load(at) }, terms);
                        // SAFETY: and as are stored.
                        unsafe { $store(at, sum) };
                    }
                }
                update_plain(rest, term);
            }
        };
    }

    width!(
        "avx512f",
        read_512,
        update_512,
        __m512i,
        16,
        8,
        _mm512_setzero_si512,
        _mm512_set1_epi32,
        _mm512_loadu_si512,
        _mm512_storeu_si512,
        _mm512_max_epu32,
        _mm512_add_epi32
    );
    width!(
        "avx2",
        read_256,
        update_256,
        __m256i,
        8,
        16,
        _mm256_setzero_si256,
        _mm256_set1_epi32,
        _mm256_loadu_si256,
        _mm256_storeu_si256,
        _mm256_max_epu32,
        _mm256_add_epi32
    );
}

/// That the limits do what they say: a limit that skips words would be too good.
pub fn check() {
    for length in [1, 15, 128, 200, 1000] {
        for at in [0, length / 2, length - 1] {
            let mut data = vec![7_u32; length];
            data[at] = u32::MAX - 1;
            assert_eq!(read(&data), u32::MAX - 1, "the largest of {length} words, at {at}");
            update(&mut data, 1);
            assert_eq!(data[at], u32::MAX, "word {at} of {length}");
            assert_eq!(
                data.iter().filter(|&&word| word == 8).count(),
                length - 1,
                "{length} words"
            );
        }
    }
}
