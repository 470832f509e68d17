//! The table itself: created by `ssh-chat store init`, and checked before a server starts.

use std::time::Duration;

use aws_sdk_dynamodb::error::{BuildError, ProvideErrorMetadata as _};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, PointInTimeRecoverySpecification,
    ScalarAttributeType, TableDescription, TableStatus, TimeToLiveSpecification, TimeToLiveStatus,
};
use tokio::time::{Instant, sleep};

use super::Dynamo;
use super::item::EXPIRES;
use super::key::{PARTITION_KEY, SORT_KEY};
use crate::aws::{AwsError, Backoff, without_sdk_logs};

/// How long to wait for a new table to become active.
const CREATION: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(200);

/// Why the table can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// It doesn't exist.
    #[error(
        "the table doesn't exist; create it with Terraform or `ssh-chat store init`, or correct \
         aws.table or aws.region"
    )]
    Missing,
    /// It belongs to another application.
    #[error(
        "the table isn't one of ssh-chat: {0}. Set aws.table to another name; `ssh-chat store init` \
         creates the table"
    )]
    Wrong(String),
    /// It isn't active yet, or not any more.
    #[error("the table is {0}; wait until it is ACTIVE")]
    NotReady(String),
    /// A call to AWS failed.
    #[error(transparent)]
    Aws(#[from] AwsError),
}

impl TableError {
    fn is_transient(&self) -> bool {
        match self {
            TableError::NotReady(_) => true,
            TableError::Aws(error) => error.is_transient(),
            TableError::Missing | TableError::Wrong(_) => false,
        }
    }
}

impl From<BuildError> for TableError {
    fn from(error: BuildError) -> TableError {
        TableError::Aws(AwsError::Refused {
            code: "invalid request".to_owned(),
            message: error.to_string(),
        })
    }
}

impl Dynamo {
    /// The table's name.
    pub fn table_name(&self) -> &str {
        self.table.name()
    }

    /// Checks that the table exists, belongs to ssh-chat and is active.
    pub async fn check_table(&self) -> Result<(), TableError> {
        let client = self.table.client().await?;
        let response =
            without_sdk_logs(client.describe_table().table_name(self.table.name()).send()).await;
        match response {
            Ok(response) => match &response.table {
                Some(table) => check(table),
                None => Err(TableError::NotReady("in an unknown state".to_owned())),
            },
            Err(error) if error.code() == Some("ResourceNotFoundException") => {
                Err(TableError::Missing)
            }
            Err(error) => Err(AwsError::of(&error).into()),
        }
    }

    /// Waits until the table can be used. Transient failures are retried for `patience`.
    pub async fn wait_for_table(&self, patience: Duration) -> Result<(), TableError> {
        let mut backoff = Backoff::new(patience);
        loop {
            let error = match self.check_table().await {
                Err(error) if error.is_transient() => error,
                done => return done,
            };
            let Some(wait) = backoff.wait() else {
                return Err(error);
            };
            tracing::warn!(
                event = "store_waiting",
                table = self.table.name(),
                %error,
                again_in = ?wait,
                "waiting for the table; the server doesn't accept connections yet"
            );
            sleep(wait).await;
        }
    }

    /// Creates the table if it doesn't exist, and returns whether it did: on-demand capacity,
    /// point-in-time recovery, deletion protection, and items that expire.
    pub async fn create_table(&self) -> Result<bool, TableError> {
        let created = match self.check_table().await {
            Ok(()) | Err(TableError::NotReady(_)) => false,
            Err(TableError::Missing) => {
                self.request_table().await?;
                true
            }
            Err(error) => return Err(error),
        };
        let begin = Instant::now();
        while let Err(error) = self.check_table().await {
            // A new table takes a while to appear.
            let soon = matches!(error, TableError::NotReady(_) | TableError::Missing);
            if !soon || begin.elapsed() > CREATION {
                return Err(error);
            }
            sleep(POLL).await;
        }
        self.enable_time_to_live().await?;
        if created {
            self.enable_point_in_time_recovery().await?;
        }
        Ok(created)
    }

    async fn request_table(&self) -> Result<(), TableError> {
        let client = self.table.client().await?;
        let mut call = client
            .create_table()
            .table_name(self.table.name())
            .billing_mode(BillingMode::PayPerRequest)
            .deletion_protection_enabled(true);
        for (name, kind) in [(PARTITION_KEY, KeyType::Hash), (SORT_KEY, KeyType::Range)] {
            let attribute = AttributeDefinition::builder()
                .attribute_name(name)
                .attribute_type(ScalarAttributeType::S);
            let element = KeySchemaElement::builder()
                .attribute_name(name)
                .key_type(kind);
            call = call
                .attribute_definitions(attribute.build()?)
                .key_schema(element.build()?);
        }
        match without_sdk_logs(call.send()).await {
            Ok(_) => Ok(()),
            // Another process creates it at the same time.
            Err(error) if error.code() == Some("ResourceInUseException") => Ok(()),
            Err(error) => Err(AwsError::of(&error).into()),
        }
    }

    async fn enable_time_to_live(&self) -> Result<(), TableError> {
        let (client, name) = (self.table.client().await?, self.table.name());
        let response =
            without_sdk_logs(client.describe_time_to_live().table_name(name).send()).await;
        let response = response.map_err(|error| AwsError::of(&error))?;
        let status = response
            .time_to_live_description
            .and_then(|ttl| ttl.time_to_live_status);
        if matches!(
            status,
            Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling)
        ) {
            return Ok(());
        }
        let ttl = TimeToLiveSpecification::builder()
            .enabled(true)
            .attribute_name(EXPIRES);
        let call = client
            .update_time_to_live()
            .table_name(name)
            .time_to_live_specification(ttl.build()?);
        let updated = without_sdk_logs(call.send()).await;
        updated.map_err(|error| AwsError::of(&error))?;
        Ok(())
    }

    async fn enable_point_in_time_recovery(&self) -> Result<(), TableError> {
        let (client, name) = (self.table.client().await?, self.table.name());
        let recovery =
            PointInTimeRecoverySpecification::builder().point_in_time_recovery_enabled(true);
        let call = client
            .update_continuous_backups()
            .table_name(name)
            .point_in_time_recovery_specification(recovery.build()?);
        let updated = without_sdk_logs(call.send()).await;
        updated.map_err(|error| AwsError::of(&error))?;
        Ok(())
    }
}

fn check(table: &TableDescription) -> Result<(), TableError> {
    let element = |kind: &KeyType| {
        let found = table
            .key_schema()
            .iter()
            .find(|element| element.key_type() == kind);
        found.map_or("", KeySchemaElement::attribute_name)
    };
    let keys = [element(&KeyType::Hash), element(&KeyType::Range)];
    if keys != [PARTITION_KEY, SORT_KEY] {
        return Err(TableError::Wrong(format!(
            "its key is {:?} and {:?}, but must be {PARTITION_KEY:?} and {SORT_KEY:?}",
            keys[0], keys[1]
        )));
    }
    let bad = table.attribute_definitions().iter().find(|attribute| {
        keys.contains(&attribute.attribute_name())
            && *attribute.attribute_type() != ScalarAttributeType::S
    });
    if let Some(bad) = bad {
        let name = bad.attribute_name();
        return Err(TableError::Wrong(format!("its key {name} isn't a string")));
    }
    match table.table_status() {
        // A table is usable while its capacity or indexes change.
        Some(TableStatus::Active | TableStatus::Updating) => Ok(()),
        Some(other) => Err(TableError::NotReady(other.as_str().to_owned())),
        None => Err(TableError::NotReady("in an unknown state".to_owned())),
    }
}
