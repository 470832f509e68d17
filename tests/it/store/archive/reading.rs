//! Exporting while others write.

use super::*;
use ssh_chat::store::archive::{ArchivedBody, ArchivedMessage};

contract! {
    writers_continue_during_an_export,
    a_long_log_is_read_in_pages,
}

/// MUST 12: users send and delete messages during the export.
async fn writers_continue_during_an_export(place: &impl Archived) {
    let store = place.archive();
    let ops = room("ops");
    let words = |n: u32| said(&ops, "alice", &format!("number {n}"));
    // As many at a time as every adapter accepts.
    for batch in 0..10 {
        let batch = batch * 200 + 1..=(batch + 1) * 200;
        store.append(batch.map(words).collect()).await.unwrap();
    }
    let mut pages = store.export().await.unwrap();
    let mut records = Vec::new();
    for n in 0.. {
        let page = pages.next().await.unwrap();
        if page.is_empty() {
            break;
        }
        records.extend(page);
        store.append(vec![words(3000 + n)]).await.unwrap();
        for target in [1000 + u64::from(n), 2000 - u64::from(n)] {
            let amendment = amendment(Some(target), "alice", None);
            store.edit_message(amendment).await.unwrap();
        }
    }
    let entries: Vec<&ArchivedMessage> = records
        .iter()
        .filter_map(|record| match record {
            ArchiveRecord::Message(entry) => Some(entry),
            _ => None,
        })
        .collect();
    assert!(entries.len() >= 2000, "everything from before the export");
    for (n, entry) in entries.iter().enumerate() {
        assert_eq!(entry.seq, Seq(n as u64 + 1), "a gap");
        if let ArchivedBody::Deleted { target } = entry.body {
            let gone = entries[usize::try_from(target.0).unwrap() - 1];
            assert_eq!(gone.body, ArchivedBody::Gone, "{target} was deleted");
        }
    }
    let other = place.another();
    import(&*other.archive(), &records).await;
}

async fn a_long_log_is_read_in_pages(place: &impl Archived) {
    let store = place.archive();
    let ops = room("ops");
    for batch in 0..10 {
        let words = (0..200).map(|n| said(&ops, "bob", &format!("{batch} {n}")));
        store.append(words.collect()).await.unwrap();
    }
    let mut pages = store.export().await.unwrap();
    let first = pages.next().await.unwrap();
    assert!(!first.is_empty() && first.len() < 2000, "{}", first.len());
    // An export can be dropped before its end.
    drop(pages);
    assert_eq!(export(&*store).await.len(), 2000);
    assert_eq!(history(&*store, None, 1).await, ["2000 9 199"]);
}
