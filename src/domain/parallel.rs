//! The same pure function over many indices, on several threads; the result does not depend on how many.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Returns `run(scratch, 0..count)` in order; `scratch` is made once for each thread.
pub fn map<S, T: Send>(
    threads: usize,
    count: usize,
    scratch: impl Fn() -> S + Sync,
    run: impl Fn(&mut S, usize) -> T + Sync,
) -> Vec<T> {
    if threads <= 1 || count <= 1 {
        let mut scratch = scratch();
        return (0..count).map(|index| run(&mut scratch, index)).collect();
    }
    let next = AtomicUsize::new(0);
    let found = Mutex::new(Vec::with_capacity(count));
    let work = || {
        let mut scratch = scratch();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                break;
            }
            let result = run(&mut scratch, index);
            // A panic elsewhere poisons the lock and is passed on by the scope; the values are whole.
            found
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .push((index, result));
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.min(count) {
            scope.spawn(work);
        }
        work();
    });
    let mut found = found
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    found.sort_unstable_by_key(|(index, _)| *index);
    found.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn results_are_in_order_for_any_number_of_threads() {
        let squares: Vec<usize> = (0..100).map(|i| i * i).collect();
        for threads in [0, 1, 2, 7, 200] {
            assert_eq!(super::map(threads, 100, || (), |(), i| i * i), squares);
        }
        assert!(super::map(4, 0, || (), |(), i| i).is_empty());
    }
}
