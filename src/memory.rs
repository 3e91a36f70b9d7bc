//! How the process asks the system for memory.

/// Lets the C library keep what is freed instead of returning it at once: activations of a training step are freed and asked
/// for again thousands of times, and the system would hand out zeroed pages one fault at a time.
pub fn keep_freed() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: sets two numbers of the allocator; called before there are threads.
    unsafe {
        libc::mallopt(libc::M_MMAP_MAX, 0);
        libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
    }
}

/// Gives what is freed back to the system: after a stage that needed much, before one that needs other things.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: takes a number of bytes to keep; any thread may call it at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}
