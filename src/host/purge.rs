//! Deletes what is kept of calls.

use std::time::Duration;

use super::Host;
use super::register::RegisterError;
use crate::store::{PurgeFilter, Purged};
use crate::telemetry::{Operation, OperationKind};

/// Calls that have ended are gone as well, if telemetry keeps up.
const SETTLE_MAX: Duration = Duration::from_secs(5);

impl Host {
    /// Of calls that have ended, from the files' bytes too. What waits for the collector, and what plugins keep, stays.
    /// Blocks on the disk.
    pub fn purge(&self, filter: &PurgeFilter) -> Result<Purged, RegisterError> {
        let mut operation = Operation::start(&self.telemetry, OperationKind::Storage, None);
        self.settle(SETTLE_MAX);
        let purged = self.purge_files(filter);
        if let Some(series) = self.series() {
            series.forget(filter);
        }
        purged.inspect_err(|error| operation.fail(error.kind(), &error.to_string()))
    }

    fn purge_files(&self, filter: &PurgeFilter) -> Result<Purged, RegisterError> {
        match (self.store()?, &self.ledger) {
            (store, Some(ledger)) => Ok(store.purge(ledger, filter)?),
            (_, None) => Ok(Purged::default()),
        }
    }
}
