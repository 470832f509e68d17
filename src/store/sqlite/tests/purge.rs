//! That purged words are nowhere in the files any more.

use super::*;
use crate::store::{PurgeAuthors, PurgeFilter};

/// Whether some bytes are in one of the files.
fn is_somewhere(folder: &Folder, bytes: &[u8]) -> bool {
    let files = fs::read_dir(folder.0.path()).unwrap();
    files
        .map(|file| fs::read(file.unwrap().path()).unwrap())
        .any(|file| file.windows(bytes.len()).any(|window| window == bytes))
}

#[tokio::test]
async fn nothing_is_left_of_purged_words() {
    let folder = Folder::new();
    let store = Sqlite::open(&folder.file()).unwrap();
    let guest = |words: String| {
        let draft = said(&words);
        Draft {
            author: Author {
                account: AccountId(77),
                name: Name::stored("guest-7f3a").unwrap(),
            },
            ..draft
        }
    };
    // So many that the index has several parts, which were merged; and long ones, which have pages
    // of their own.
    for n in 0..40 {
        let batch = (0..64).map(|m| guest(format!("secretword{n}x{m} zzflood")));
        let kept = std::iter::once(said(&format!("keptword{n}")));
        store.append(batch.chain(kept).collect()).await.unwrap();
    }
    store
        .append(vec![guest("longsecret ".repeat(150))])
        .await
        .unwrap();
    assert_eq!(found(&store, "secretword7x7").await.unwrap().len(), 1);
    assert!(is_somewhere(&folder, b"secretword7x7"));
    assert!(is_somewhere(&folder, b"longsecret"));

    let purge = PurgeFilter {
        authors: PurgeAuthors::Guests,
        since: Time(i64::MIN),
    };
    let mut before = None;
    loop {
        before = store.purge(&ops(), &purge, before).await.unwrap().before;
        if before.is_none() {
            break;
        }
    }
    while store.purged().await.unwrap() {}
    for words in ["secretword", "zzflood", "longsecret"] {
        assert!(!is_somewhere(&folder, words.as_bytes()), "{words}");
    }
    assert!(is_somewhere(&folder, b"keptword7"));
    assert_eq!(found(&store, "keptword7").await.unwrap().len(), 1);
    assert!(found(&store, "zzflood").await.unwrap().is_empty());
    // Words that are said again are found again.
    store.append(vec![said("zzflood")]).await.unwrap();
    assert_eq!(found(&store, "zzflood").await.unwrap().len(), 1);
}
