//! When words get into the index, which nobody who searches can tell.

use super::*;
use crate::store::sqlite::messages::INDEX_BACKLOG;

/// Up to which message the index has been made, as another process sees it.
fn indexed(folder: &Folder) -> i64 {
    let other = Connection::open(folder.file()).unwrap();
    other
        .query_row("SELECT last FROM indexed", [], |row| row.get(0))
        .unwrap()
}

/// The index is made for many at a time, and nobody who searches can tell.
#[tokio::test]
async fn what_the_index_lacks_is_found() {
    let folder = Folder::new();
    let store = Sqlite::open(&folder.file()).unwrap();
    store
        .append(vec![said("early"), said("late")])
        .await
        .unwrap();
    assert_eq!(indexed(&folder), 0);
    assert_eq!(found(&store, "early").await.unwrap(), ["1 early"]);
    assert_eq!(indexed(&folder), 2);

    // Whatever becomes of a message before its words are in the index.
    store
        .append(vec![said("wrong"), said("secret")])
        .await
        .unwrap();
    for (target, text) in [(3, Some("right")), (4, None)] {
        let amendment = MessageEdit {
            conversation: ops(),
            author: said("x").author,
            target: Some(Seq(target)),
            text: text.map(Text::stored),
            to: None,
            at: Time(9),
        };
        store.edit_message(amendment).await.unwrap();
    }
    for (words, expected) in [("wrong", &[][..]), ("secret", &[]), ("right", &["3 right"])] {
        assert_eq!(found(&store, words).await.unwrap(), expected, "{words}");
    }

    // Another process, which ended before it was time.
    store.append(vec![said("left")]).await.unwrap();
    drop(store);
    let store = Sqlite::open(&folder.file()).unwrap();
    assert_eq!(found(&store, "left").await.unwrap(), ["7 left"]);

    store
        .append(vec![said("many"); INDEX_BACKLOG])
        .await
        .unwrap();
    // Closing it does what was posted.
    drop(store);
    assert_eq!(indexed(&folder), 7 + i64::try_from(INDEX_BACKLOG).unwrap());
}
