//! What was measured: a histogram per operation, and the counts that keep it honest.

use std::{collections::BTreeMap, time::Duration};

use hdrhistogram::Histogram;

use serde::{Deserialize, Serialize};

use super::{connection::Answer, mix::Operation};

/// Latencies are kept in microseconds up to this, with three digits.
const LATENCY_MAX: Duration = Duration::from_secs(600);

/// A histogram of latencies.
#[must_use]
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_MAX.as_nanos() as u64, 3).expect("the bounds are valid")
}

/// One operation's record.
#[derive(Clone, Debug)]
pub struct OperationRecord {
    /// From the intended start to the last reply, in nanoseconds.
    pub latency: Histogram<u64>,
    /// Replies that were errors.
    pub errors: u64,
}

/// What was intended within one second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Second {
    /// Requests that were answered, whenever.
    pub answered: u64,
    /// Of them, those that were answered with an error.
    pub errors: u64,
    /// The slowest answer, in milliseconds.
    pub slowest_ms: f64,
}

/// What a run showed.
#[derive(Clone, Debug)]
pub struct Record {
    /// Per operation.
    pub operations: BTreeMap<Operation, OperationRecord>,
    /// Per second since the start, warm-up included as zeros.
    pub seconds: Vec<Second>,
    /// From the intended start until the request was handed to the kernel, in nanoseconds: the generator's own part of
    /// the latency. A slot that found all connections full counts from when the generator saw room: what it waited
    /// before is the server's part.
    pub lateness: Histogram<u64>,
    /// Slots of the schedule that were never sent, because all connections were full until the end.
    pub missed: u64,
    /// Requests that had no reply when the run was given up.
    pub unanswered: u64,
    /// Requests within the measured time that were answered, whenever.
    pub answered: u64,
    /// When the last of them was answered, since the start. A server that is behind at the end of the load answers for
    /// a while longer, so its throughput is `answered` over the time from the end of the warm-up to the end of the load
    /// or to this, whichever is later.
    pub last_at: Duration,
    /// What one of the errors said, those of the warm-up included.
    pub an_error: Option<String>,
}

impl Default for Record {
    fn default() -> Self {
        Self {
            operations: BTreeMap::new(),
            seconds: Vec::new(),
            lateness: histogram(),
            missed: 0,
            unanswered: 0,
            answered: 0,
            last_at: Duration::ZERO,
            an_error: None,
        }
    }
}

impl Record {
    /// Counts one answered request.
    pub fn answer(&mut self, answer: Answer, latency: Duration) {
        let record = self.operation(answer.operation);
        record.latency.saturating_record(nanos(latency));
        record.errors += u64::from(answer.is_error);
        self.answered += 1;
        self.last_at = self.last_at.max(answer.intended + latency);
        let second = self.second(answer.intended.as_secs() as usize);
        second.answered += 1;
        second.errors += u64::from(answer.is_error);
        second.slowest_ms = second.slowest_ms.max(latency.as_secs_f64() * 1e3);
    }

    fn operation(&mut self, operation: Operation) -> &mut OperationRecord {
        self.operations
            .entry(operation)
            .or_insert_with(|| OperationRecord {
                latency: histogram(),
                errors: 0,
            })
    }

    fn second(&mut self, second: usize) -> &mut Second {
        if self.seconds.len() <= second {
            self.seconds.resize(second + 1, Second::default());
        }
        &mut self.seconds[second]
    }

    /// Counts how late the generator itself sent a request.
    pub fn send(&mut self, lateness: Duration) {
        self.lateness.saturating_record(nanos(lateness));
    }

    /// Adds what another thread recorded.
    pub fn add(&mut self, other: &Self) {
        for (&operation, theirs) in &other.operations {
            let ours = self.operation(operation);
            ours.latency
                .add(&theirs.latency)
                .expect("all histograms have the same bounds");
            ours.errors += theirs.errors;
        }
        for (index, theirs) in other.seconds.iter().enumerate() {
            let ours = self.second(index);
            ours.answered += theirs.answered;
            ours.errors += theirs.errors;
            ours.slowest_ms = ours.slowest_ms.max(theirs.slowest_ms);
        }
        self.lateness
            .add(&other.lateness)
            .expect("all histograms have the same bounds");
        self.missed += other.missed;
        self.unanswered += other.unanswered;
        self.answered += other.answered;
        self.last_at = self.last_at.max(other.last_at);
        self.an_error = self.an_error.take().or_else(|| other.an_error.clone());
    }

    /// All operations together.
    #[must_use]
    pub fn total(&self) -> Histogram<u64> {
        let mut total = histogram();
        for record in self.operations.values() {
            total
                .add(&record.latency)
                .expect("all histograms have the same bounds");
        }
        total
    }

    /// Replies that were errors.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.operations.values().map(|record| record.errors).sum()
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_answer_is_the_latest_of_all_threads() {
        let answered = |answers: &[(u64, u64)]| {
            let mut record = Record::default();
            for &(intended, latency) in answers {
                let answer = Answer {
                    intended: Duration::from_secs(intended),
                    operation: Operation::Read,
                    is_error: false,
                };
                record.answer(answer, Duration::from_secs(latency));
            }
            record
        };
        let mut all = Record::default();
        for answers in [&[(3, 1), (1, 8), (5, 2)][..], &[(6, 1)], &[]] {
            all.add(&answered(answers));
        }
        assert_eq!((all.answered, all.last_at), (4, Duration::from_secs(9)));
    }
}
