//! The table: created, checked, refused.

use serde_json::Value;
use ssh_chat::store::dynamo::TableError;

use super::*;

/// A table that was created for another purpose.
fn other(name: &str, keys: &Value, attributes: &Value) {
    let table = json!({
        "TableName": name,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": attributes,
        "KeySchema": keys,
    });
    Moto::shared().call("DynamoDB_20120810.CreateTable", &table);
}

fn named(name: &str) -> OwnTable {
    OwnTable {
        name: name.to_owned(),
    }
}

#[tokio::test]
async fn a_table_is_created_once_with_the_right_schema() {
    let table = named("made-here");
    let store = table.dynamo();
    assert_eq!(store.check_table().await, Err(TableError::Missing));
    assert_eq!(store.create_table().await, Ok(true));
    assert_eq!(store.create_table().await, Ok(false));
    assert_eq!(store.check_table().await, Ok(()));
    assert_eq!(store.ping().await, Ok(()));
    let described = |operation: &str| {
        let operation = format!("DynamoDB_20120810.{operation}");
        Moto::shared().call(&operation, &json!({ "TableName": table.name }))
    };
    let made = described("DescribeTable");
    assert_eq!(made["Table"]["DeletionProtectionEnabled"], true, "{made}");
    let made = described("DescribeTimeToLive");
    let expected = json!({"TimeToLiveStatus": "ENABLED", "AttributeName": "expires_at"});
    assert_eq!(made["TimeToLiveDescription"], expected);
    let made = described("DescribeContinuousBackups");
    let made = &made["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"];
    assert_eq!(made["PointInTimeRecoveryStatus"], "ENABLED", "{made}");
}

#[tokio::test]
async fn a_foreign_table_is_not_modified() {
    let key = |name, kind| json!({"AttributeName": name, "KeyType": kind});
    let attribute = |name, kind| json!({"AttributeName": name, "AttributeType": kind});
    other(
        "others",
        &json!([key("id", "HASH")]),
        &json!([attribute("id", "S")]),
    );
    other(
        "numbers",
        &json!([key("pk", "HASH"), key("sk", "RANGE")]),
        &json!([attribute("pk", "S"), attribute("sk", "N")]),
    );
    for (name, says) in [
        ("others", "its key is \"id\" and \"\""),
        ("numbers", "its key sk isn't a string"),
    ] {
        let store = named(name).dynamo();
        for refused in [
            store.check_table().await,
            store.create_table().await.map(|_| ()),
        ] {
            let Err(TableError::Wrong(why)) = &refused else {
                panic!("{name}: {refused:?}");
            };
            assert!(why.starts_with(says), "{why}");
        }
    }
}

/// A missing table is reported as such, and missing data isn't taken for "no".
#[tokio::test]
async fn a_missing_table_is_not_an_empty_table() {
    let store = named("never-there").dynamo();
    let missing = Err(StoreError::Unavailable(
        "the table doesn't exist".to_owned(),
    ));
    assert_eq!(
        store.account_by_key(&fingerprint(1)).await.map(|_| ()),
        missing
    );
    assert_eq!(store.bans(Time(0)).await.map(|_| ()), missing);
    assert_eq!(store.revision().await.map(|_| ()), missing);
    let said = store.append(vec![said(&room("ops"), "alice", "x")]).await;
    assert_eq!(said.map(|_| ()), missing);
}
