//! Sorting of indices by a key, in the caller's memory and without a panic.

/// Sorts indices by their keys; equal keys in the order of the indices.
///
/// Heapsort: in place, without recursion, and no worse than n·log n whatever the keys. The
/// tie-break makes the order total, so the result is that of a stable sort.
pub(crate) fn sort_by_key<K: PartialOrd>(order: &mut [usize], key: impl Fn(usize) -> K) {
    let is_less = |i: usize, j: usize| (key(i), i) < (key(j), j);
    for root in (0..order.len()).rev() {
        sift_down(order, root, &is_less);
    }
    for end in (1..order.len()).rev() {
        swap(order, 0, end);
        if let Some(heap) = order.get_mut(..end) {
            sift_down(heap, 0, &is_less);
        }
    }
}

/// Moves an element of a heap down until no child is greater.
fn sift_down(heap: &mut [usize], mut root: usize, is_less: &impl Fn(usize, usize) -> bool) {
    let below = |heap: &[usize], i: usize, j: usize| match (heap.get(i), heap.get(j)) {
        (Some(&i), Some(&j)) => is_less(i, j),
        _ => false,
    };
    loop {
        let left = 2 * root + 1;
        let child = if below(heap, left, left + 1) { left + 1 } else { left };
        if !below(heap, root, child) {
            return;
        }
        swap(heap, root, child);
        root = child;
    }
}

fn swap(x: &mut [usize], i: usize, j: usize) {
    if let Ok([a, b]) = x.get_disjoint_mut([i, j]) {
        core::mem::swap(a, b);
    }
}
