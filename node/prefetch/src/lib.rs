//! A hint to the processor that memory will be read soon, so that many reads wait for memory at the same time instead
//! of one after the other. It changes no result; on processors other than x86-64 it does nothing.
//!
//! Rust has the instruction behind an unsafe function alone, because it takes a pointer. Here it takes an element of
//! a slice, so there is nothing left that a caller could get wrong.

/// Asks for the cache line where `slice[index]` begins; past the end, for nothing.
#[inline(always)]
pub fn prefetch<T>(slice: &[T], index: usize) {
    if let Some(element) = slice.get(index) {
        line(element);
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn line<T>(element: &T) {
    use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: the instruction never faults and changes nothing but the cache; SSE is part of every x86-64.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(core::ptr::from_ref(element).cast()) }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn line<T>(_: &T) {}

#[cfg(test)]
mod tests {
    use super::prefetch;

    #[test]
    fn any_index_of_any_slice_is_accepted_and_nothing_changes() {
        let values: Vec<u64> = (0..100).collect();
        for index in [0, 1, 99, 100, usize::MAX] {
            prefetch(&values, index);
            prefetch::<u64>(&[], index);
            prefetch(&[(); 3], index);
        }
        assert!(values.iter().copied().eq(0..100));
    }
}
