//! The table itself: made for those who do not use Terraform, and looked at before a server starts.

use std::time::Duration;

use aws_sdk_dynamodb::error::{BuildError, ProvideErrorMetadata as _};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, PointInTimeRecoverySpecification,
    ScalarAttributeType, TableDescription, TableStatus, TimeToLiveSpecification, TimeToLiveStatus,
};
use tokio::time::{Instant, sleep};

use super::Dynamo;
use super::item::EXPIRES;
use super::key::{PARTITION, SORT};
use crate::aws::{AwsError, Backoff, quietly};

/// How long a new table may take until it can be used.
const NEW: Duration = Duration::from_secs(120);
/// How often to look whether it can.
const LOOK: Duration = Duration::from_millis(200);

/// Why a table can't be the store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// There is none.
    #[error(
        "there is no such table; make it with Terraform or with `ssh-chat store init`, or correct \
         aws.table or aws.region"
    )]
    Missing,
    /// It is made for something else.
    #[error(
        "it is no table of ssh-chat's: {0}. Name another in aws.table; `ssh-chat store init` makes \
         a new one"
    )]
    Wrong(String),
    /// It can't be used at this moment.
    #[error("it is {0}; wait until it is ACTIVE")]
    NotReady(String),
    /// AWS does not let it be looked at or made.
    #[error(transparent)]
    Aws(#[from] AwsError),
}

impl TableError {
    fn may_pass(&self) -> bool {
        match self {
            TableError::NotReady(_) => true,
            TableError::Aws(error) => error.may_pass(),
            TableError::Missing | TableError::Wrong(_) => false,
        }
    }
}

impl From<BuildError> for TableError {
    fn from(error: BuildError) -> TableError {
        TableError::Aws(AwsError::Refused {
            code: "the request can't be made".to_owned(),
            message: error.to_string(),
        })
    }
}

/// What became of [`Dynamo::make_table`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// There was none; now there is.
    New,
    /// There was one already.
    There,
}

impl Dynamo {
    /// The name of the table.
    pub fn table_name(&self) -> &str {
        self.table.name()
    }

    /// Looks whether the table is there and is one of ours.
    pub async fn check_table(&self) -> Result<(), TableError> {
        let client = self.table.client().await?;
        let found = quietly(client.describe_table().table_name(self.table.name()).send()).await;
        match found {
            Ok(found) => match &found.table {
                Some(table) => judge(table),
                None => Err(TableError::NotReady("not described".to_owned())),
            },
            Err(error) if error.code() == Some("ResourceNotFoundException") => {
                Err(TableError::Missing)
            }
            Err(error) => Err(AwsError::of(&error).into()),
        }
    }

    /// Waits until the table can be used, for as long as `patience` lasts if that may help.
    pub async fn wait_for_table(&self, patience: Duration) -> Result<(), TableError> {
        let mut backoff = Backoff::new(patience);
        loop {
            let error = match self.check_table().await {
                Err(error) if error.may_pass() => error,
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
                "no table yet; nobody can connect before it is there"
            );
            sleep(wait).await;
        }
    }

    /// Makes the table if there is none: paid by use, with point-in-time recovery, protected
    /// against deletion, and with items that end by themselves.
    pub async fn make_table(&self) -> Result<Made, TableError> {
        let made = match self.check_table().await {
            Ok(()) | Err(TableError::NotReady(_)) => Made::There,
            Err(TableError::Missing) => {
                self.create_table().await?;
                Made::New
            }
            Err(error) => return Err(error),
        };
        let begin = Instant::now();
        while let Err(error) = self.check_table().await {
            // A new one is not there at once.
            let soon = matches!(error, TableError::NotReady(_) | TableError::Missing);
            if !soon || begin.elapsed() > NEW {
                return Err(error);
            }
            sleep(LOOK).await;
        }
        self.let_items_end().await?;
        if made == Made::New {
            self.recover_to_any_moment().await?;
        }
        Ok(made)
    }

    async fn create_table(&self) -> Result<(), TableError> {
        let client = self.table.client().await?;
        let mut call = client
            .create_table()
            .table_name(self.table.name())
            .billing_mode(BillingMode::PayPerRequest)
            .deletion_protection_enabled(true);
        for (name, kind) in [(PARTITION, KeyType::Hash), (SORT, KeyType::Range)] {
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
        match quietly(call.send()).await {
            Ok(_) => Ok(()),
            // Somebody else makes it at the same moment.
            Err(error) if error.code() == Some("ResourceInUseException") => Ok(()),
            Err(error) => Err(AwsError::of(&error).into()),
        }
    }

    async fn let_items_end(&self) -> Result<(), TableError> {
        let (client, name) = (self.table.client().await?, self.table.name());
        let found = quietly(client.describe_time_to_live().table_name(name).send()).await;
        let found = found.map_err(|error| AwsError::of(&error))?;
        let status = found
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
        let done = quietly(call.send()).await;
        done.map(|_| ())
            .map_err(|error| AwsError::of(&error).into())
    }

    async fn recover_to_any_moment(&self) -> Result<(), TableError> {
        let (client, name) = (self.table.client().await?, self.table.name());
        let recovery =
            PointInTimeRecoverySpecification::builder().point_in_time_recovery_enabled(true);
        let call = client
            .update_continuous_backups()
            .table_name(name)
            .point_in_time_recovery_specification(recovery.build()?);
        let done = quietly(call.send()).await;
        done.map(|_| ())
            .map_err(|error| AwsError::of(&error).into())
    }
}

/// Whether a table is one of ours, and can be used.
fn judge(table: &TableDescription) -> Result<(), TableError> {
    let element = |kind: &KeyType| {
        let found = table
            .key_schema()
            .iter()
            .find(|element| element.key_type() == kind);
        found.map_or("", KeySchemaElement::attribute_name)
    };
    let keys = [element(&KeyType::Hash), element(&KeyType::Range)];
    if keys != [PARTITION, SORT] {
        return Err(TableError::Wrong(format!(
            "its key is {:?} and {:?}, and must be {PARTITION:?} and {SORT:?}",
            keys[0], keys[1]
        )));
    }
    let bad = table.attribute_definitions().iter().find(|attribute| {
        keys.contains(&attribute.attribute_name())
            && *attribute.attribute_type() != ScalarAttributeType::S
    });
    if let Some(bad) = bad {
        let name = bad.attribute_name();
        return Err(TableError::Wrong(format!("{name} is no string")));
    }
    match table.table_status() {
        // Changing its capacity or its indexes, it can be used.
        Some(TableStatus::Active | TableStatus::Updating) => Ok(()),
        Some(other) => Err(TableError::NotReady(other.as_str().to_owned())),
        None => Err(TableError::NotReady("in no known state".to_owned())),
    }
}
