//! Idempotency keys: the first call under a key runs, and only its reply is kept. A call that fails or is
//! dropped frees its key.

use std::sync::Arc;

use rusqlite::{OptionalExtension, Transaction, params};
use serde_json::value::RawValue;

use crate::model::ids::InvocationId;
use crate::model::units::format_bytes;
use crate::store::error::Error;

use super::{Bounds, Calls, Count, KEPT_MAX, read_id, signed};

/// There are no tenants yet; their column is there so that keys need not move then.
const TENANT: &str = "";

/// A key, and what is asked under it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    pub key: Arc<str>,
    /// SHA-256 of the request in canonical form.
    pub request: [u8; 32],
}

#[derive(Debug)]
pub enum Claimed {
    /// The call is the first, and must be ended by [`Calls::keep_reply`] or [`Calls::free_key`].
    First,
    Replied(KeptReply),
}

/// What the first call under a key replied.
#[derive(Clone, Debug)]
pub struct KeptReply {
    pub invocation_id: InvocationId,
    pub version: Option<String>,
    pub output: Arc<RawValue>,
}

/// Why a key cannot be had.
pub(super) enum ClaimError {
    Refused(Error),
    Engine(rusqlite::Error),
}

impl From<rusqlite::Error> for ClaimError {
    fn from(error: rusqlite::Error) -> ClaimError {
        ClaimError::Engine(error)
    }
}

impl ClaimError {
    pub fn into_store(self, engine: impl Fn(rusqlite::Error) -> Error) -> Error {
        match self {
            ClaimError::Refused(error) => error,
            ClaimError::Engine(error) => engine(error),
        }
    }
}

impl Calls {
    /// Claims the key for a synchronous call. On the disk when it returns.
    pub fn claim_key(
        &self,
        claim: &Claim,
        plugin: &str,
        action: &str,
        id: InvocationId,
    ) -> Result<Claimed, Error> {
        self.write(|transaction, count| {
            self::claim(transaction, count, claim, plugin, action, id, false)
                .map_err(|error| error.into_store(self.engine()))
        })
    }

    /// The call has replied: from now on this is what its key gets.
    pub fn keep_reply(&self, id: InvocationId, version: &str, output: &RawValue) -> Result<(), Error> {
        self.write(|transaction, count| {
            keep(transaction, count, id, Some(version), output).map_err(self.engine())
        })
    }

    /// The call has not replied: the next one under its key is the first again.
    pub fn free_key(&self, id: InvocationId) -> Result<(), Error> {
        self.write(|transaction, count| free(transaction, count, id).map_err(self.engine()))
    }
}

pub(super) fn claim(
    transaction: &Transaction<'_>,
    count: &mut Count<'_>,
    claim: &Claim,
    plugin: &str,
    action: &str,
    id: InvocationId,
    asynchronous: bool,
) -> Result<Claimed, ClaimError> {
    let found = transaction
        .prepare_cached(
            "SELECT invocation_id, request, since_ns, version, output, output_bytes FROM keys
             WHERE tenant = ?1 AND plugin = ?2 AND action = ?3 AND key = ?4",
        )?
        .query_row(params![TENANT, plugin, action, &*claim.key], |row| {
            let request: [u8; 32] = row.get(1)?;
            let output: Option<String> = row.get(4)?;
            Ok((read_id(row, 0)?, request, row.get::<_, i64>(2)?, row.get(3)?, output))
        })
        .optional()?;
    let Some((first, request, since_ns, version, output)) = found else {
        insert(transaction, count, claim, plugin, action, id, asynchronous)?;
        return Ok(Claimed::First);
    };
    let kept_ns = signed(u64::try_from(KEPT_MAX.as_nanos()).unwrap_or(u64::MAX));
    let Some(output) = output else {
        let key = claim.key.to_string();
        let refused = if request == claim.request {
            Error::KeyInFlight { key, invocation_id: first }
        } else {
            Error::KeyReused { key }
        };
        return Err(ClaimError::Refused(refused));
    };
    if count.now_ns.saturating_sub(since_ns) >= kept_ns {
        transaction.execute("DELETE FROM keys WHERE invocation_id = ?1", [first.as_bytes()])?;
        count.kept.key_gone(output.len());
        insert(transaction, count, claim, plugin, action, id, asynchronous)?;
        return Ok(Claimed::First);
    }
    if request != claim.request {
        return Err(ClaimError::Refused(Error::KeyReused { key: claim.key.to_string() }));
    }
    let output = RawValue::from_string(output).map_err(|_| {
        let what = "a kept reply is no JSON".into();
        ClaimError::Engine(rusqlite::Error::FromSqlConversionFailure(4, rusqlite::types::Type::Text, what))
    })?;
    Ok(Claimed::Replied(KeptReply { invocation_id: first, version, output: output.into() }))
}

fn insert(
    transaction: &Transaction<'_>,
    count: &mut Count<'_>,
    claim: &Claim,
    plugin: &str,
    action: &str,
    id: InvocationId,
    asynchronous: bool,
) -> Result<(), ClaimError> {
    let Bounds { keys_max, key_bytes_max, .. } = count.bounds;
    if count.kept.keys >= keys_max || count.kept.key_bytes >= key_bytes_max {
        let limit = format!("{keys_max} keys or {} of replies", format_bytes(key_bytes_max));
        return Err(ClaimError::Refused(Error::Full { what: "the store of idempotency keys".into(), limit }));
    }
    transaction
        .prepare_cached(
            "INSERT INTO keys (tenant, plugin, action, key, request, invocation_id, asynchronous, since_ns)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            TENANT,
            plugin,
            action,
            &*claim.key,
            &claim.request[..],
            id.as_bytes(),
            asynchronous,
            count.now_ns,
        ])?;
    count.kept.keys += 1;
    Ok(())
}

/// Nothing, if the call has no key.
pub(super) fn keep(
    transaction: &Transaction<'_>,
    count: &mut Count<'_>,
    id: InvocationId,
    version: Option<&str>,
    output: &RawValue,
) -> rusqlite::Result<()> {
    let changed = transaction
        .prepare_cached(
            "UPDATE keys SET output = ?2, output_bytes = ?3, version = ?4, since_ns = ?5
             WHERE invocation_id = ?1 AND output IS NULL",
        )?
        .execute(params![
            id.as_bytes(),
            output.get(),
            signed(output.get().len() as u64),
            version,
            count.now_ns
        ])?;
    if changed > 0 {
        count.kept.key_bytes += output.get().len() as u64;
    }
    Ok(())
}

/// Nothing, if the call has no key.
pub(super) fn free(
    transaction: &Transaction<'_>,
    count: &mut Count<'_>,
    id: InvocationId,
) -> rusqlite::Result<()> {
    let freed = transaction
        .prepare_cached("DELETE FROM keys WHERE invocation_id = ?1 AND output IS NULL")?
        .execute([id.as_bytes()])?;
    if freed > 0 {
        count.kept.key_gone(0);
    }
    Ok(())
}
