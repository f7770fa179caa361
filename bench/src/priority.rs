//! Threads that measure, or stand for the network: what they wait for a processor would be part of what they measure.

use rustix::process::setpriority_process;

/// The most that the system gives to a thread that is not of real time.
const NICENESS: i32 = -20;

/// Lets this thread run before servers and loads, where it may: without privileges it waits like all others, and what it
/// reports as its error says so.
pub(crate) fn prefer_this_thread() {
    let _refused = setpriority_process(None, NICENESS);
}
