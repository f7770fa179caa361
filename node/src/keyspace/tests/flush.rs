//! FLUSHALL, here and from elsewhere.

use super::*;

#[test]
fn a_flush_deletes_what_was_written_before_it_and_nothing_else() {
    let (a, b) = (keyspace(1), keyspace(2));
    set(&b, NOW, "before", "v", None);
    at(&a, LATER, |access| access.flush());
    add(&a, LATER, "after", 4);
    exchange(&a, &b, LATER);
    b.flush(a.flushed());
    assert_eq!(
        (get(&a, LATER, "before"), get(&b, LATER, "before")),
        (None, None)
    );
    assert_both(&a, &b, LATER, "after", "4");
}

#[test]
fn whoever_reads_the_record_of_a_flush_finds_its_version() {
    let space = keyspace(1);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..200 {
                at(&space, NOW, |access| access.flush());
            }
        });
        let mut cursor = Cursor::default();
        while cursor.seq < 200 {
            let mut newest = Stamp::ZERO;
            let read = space.log().read(0, &mut cursor, |record| {
                newest = record.stamp;
                true
            });
            assert_eq!(read, Ok(()));
            assert!(space.flushed().stamp >= newest);
        }
    });
}
