//! An imported store equals the exported one, and behaves as the original would.

use super::*;
use crate::harness::Changes;

contract! {
    an_export_reads_the_same_elsewhere,
    any_history_survives_export_and_import,
    an_imported_store_continues,
    each_imported_record_changes_the_revision,
    importing_again_changes_nothing,
    an_interrupted_import_resumes,
}

/// MUST 11, 13 and 15.
async fn an_export_reads_the_same_elsewhere(place: &impl Archived) {
    let store = place.archive();
    assert_eq!(export(&*store).await, []);
    fill(&*store).await;
    let records = export(&*store).await;
    assert_eq!(through_a_file(&records), records);
    let other = place.another();
    let copy = other.archive();
    let new = import(&*copy, &through_a_file(&records)).await;
    assert_eq!(new, records.len());
    assert_same(&*store, &*copy).await;
    assert_eq!(export(&*copy).await, records);
    drop(copy);
    assert_same(&*store, &*other.archive()).await;
}

fn stories() -> impl proptest::strategy::Strategy<Value = Vec<(bool, bool, Option<Option<u64>>)>> {
    use proptest::prelude::*;
    // User, conversation, and either text or an edit: to other text, or a deletion.
    let step = (
        any::<bool>(),
        any::<bool>(),
        proptest::option::of(proptest::option::of(1..9_u64)),
    );
    proptest::collection::vec(step, 0..40)
}

async fn any_history_survives_export_and_import(place: &impl Archived) {
    for steps in samples(12, &stories()) {
        let (first, second) = (place.another(), place.another());
        let (store, copy) = (first.archive(), second.archive());
        for (n, (who, here, what)) in (0..).zip(&steps) {
            let who = if *who { "alice" } else { "bob" };
            let conversation = if *here {
                room("ops")
            } else {
                direct("alice", "bob")
            };
            let words = format!("flag {n}");
            let Some(target) = what else {
                let mut draft = said(&conversation, who, &words);
                draft.at = after(n);
                store.append(vec![draft]).await.unwrap();
                continue;
            };
            let words = (n % 2 == 0).then_some(words.as_str());
            let amendment = MessageEdit {
                conversation,
                ..amendment(*target, who, words)
            };
            // There may be nothing to edit.
            let _ = store.edit_message(amendment).await;
        }
        let records = export(&*store).await;
        import(&*copy, &through_a_file(&records)).await;
        assert_same(&*store, &*copy).await;
        assert_eq!(export(&*copy).await, records, "{steps:?}");
    }
}

/// MUST 15 and 16: the copy behaves as the original would.
async fn an_imported_store_continues(place: &impl Archived) {
    let store = place.archive();
    fill(&*store).await;
    let other = place.another();
    let copy = other.archive();
    let revision = copy.revision().await.unwrap();
    import(&*copy, &export(&*store).await).await;
    assert_ne!(
        copy.revision().await,
        Ok(revision),
        "a running server notices"
    );

    let ops = room("ops");
    let (alice, bob) = (account("alice").id, account("bob").id);
    let next = copy.append(vec![said(&ops, "bob", "next")]).await;
    assert_eq!(next, store.append(vec![said(&ops, "bob", "next")]).await);
    let amend = async |target, who, words| copy.edit_message(amendment(target, who, words)).await;
    assert_eq!(amend(Some(2), "bob", None).await, Err(EditError::Gone));
    assert_eq!(amend(Some(3), "bob", None).await, Err(EditError::NotFound));
    assert!(amend(Some(1), "alice", Some("hers")).await.is_ok());
    let found = copy.search(search("hers")).await.unwrap();
    assert_eq!(lines(&found.messages), ["1 hers*"]);

    let taken = Err(ChangeError::NameTaken);
    assert_eq!(
        copy.rename(bob, &name("a1lison")).await,
        taken,
        "hers for good"
    );
    assert_eq!(copy.rename(alice, &name("alice")).await, Ok(()));
    let taken = copy.create_account(&account("dave"), &key(3)).await;
    assert_eq!(taken, Err(ChangeError::KeyTaken));
    let audit = &audit("later");
    let target = BanTarget::Key(fingerprint(8));
    let number = copy.add_ban(&ban(target, None), audit).await.unwrap();
    assert!(number > 5, "{number} belonged to another ban");
    let demote = async |who| copy.set_role(account(who).id, Role::Member, audit).await;
    assert_eq!(demote("alice").await, Ok(()));
    let last = Err(ChangeError::LastOperator);
    assert_eq!(demote("carol").await, last, "ines isn't an operator yet");
    let proven = copy.prove(account("ines").id, audit).await;
    assert_eq!(proven, Ok(true));
    assert_eq!(demote("carol").await, Ok(()));
    let eve = account("eve");
    for (uses, who) in [(2, "eve"), (1, "frank")] {
        let invites = copy.invites(NOW).await.unwrap();
        assert_eq!(invites[0].left, uses);
        let key = key(20 + uses);
        let made = copy.redeem(&code(1), &account(who), &key, audit).await;
        assert_eq!(made.unwrap().role, Role::Operator);
    }
    assert_eq!(
        copy.account_by_name(&eve.name).await.unwrap().unwrap().id,
        eve.id
    );
    assert_eq!(copy.audits(1).await.unwrap()[0].action, "invite_redeem");
}

/// MUST 16.
async fn each_imported_record_changes_the_revision(place: &impl Archived) {
    let store = place.archive();
    fill(&*store).await;
    let copy = place.another();
    let copy = copy.archive();
    for record in export(&*store).await {
        let before = copy.revision().await.unwrap();
        assert_eq!(copy.import(vec![record.clone()]).await, Ok(1));
        let noticed = copy.revision().await != Ok(before);
        assert!(noticed, "{record:?}");
    }
}

/// MUST 14.
async fn importing_again_changes_nothing(place: &impl Archived) {
    let store = place.archive();
    fill(&*store).await;
    let records = export(&*store).await;
    let revision = store.revision().await.unwrap();
    assert_eq!(import(&*store, &records).await, 0, "into its own source");
    let other = place.another();
    let copy = other.archive();
    import(&*copy, &records).await;
    let revised = copy.revision().await.unwrap();
    assert_eq!(import(&*copy, &records).await, 0);
    assert_eq!(store.revision().await, Ok(revision));
    assert_eq!(copy.revision().await, Ok(revised));
    assert_same(&*store, &*copy).await;
}

async fn an_interrupted_import_resumes(place: &impl Archived) {
    let store = place.archive();
    fill(&*store).await;
    let records = export(&*store).await;
    for taken in [1, 2, 7, records.len() - 1] {
        let other = place.another();
        let copy = other.archive();
        import(&*copy, &records[..taken]).await;
        drop(copy);
        let copy = other.archive();
        // Callers may split batches as they like.
        let mut new = 0;
        for batch in records.chunks(3) {
            new += copy.import(batch.to_vec()).await.unwrap();
        }
        assert_eq!(new, records.len() - taken);
        assert_same(&*store, &*copy).await;
    }
}
