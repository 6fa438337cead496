//! Taking a call in: within the bounds, with its key, in one transaction.

use rusqlite::{Transaction, params};

use crate::model::units::format_bytes;
use crate::store::error::Error;

use super::keys::{self, Claimed};
use super::{Accepted, Bounds, Calls, Change, Count, KeptReply, Load, NewCall, origin_text, signed};

impl Calls {
    /// Keeps a call until it is run. On the disk when it returns.
    pub fn accept(&self, call: &NewCall) -> Result<Accepted, Error> {
        self.write(|transaction, count| {
            let id = call.ids.invocation_id;
            let claimed = match &call.claim {
                Some(claim) => keys::claim(transaction, count, claim, &call.plugin, &call.action, id, true)
                    .map_err(|error| error.into_store(self.engine()))?,
                None => Claimed::First,
            };
            if let Claimed::Replied(reply) = claimed {
                insert(transaction, count.now_ns, call, Some(&reply)).map_err(self.engine())?;
                count.kept.result(reply.output.get().len());
                return Ok(Accepted::Replayed(reply));
            }
            let input_bytes = call.input.get().len() as u64;
            count.have_room(&call.plugin, input_bytes)?;
            insert(transaction, count.now_ns, call, None).map_err(self.engine())?;
            let change = Change { waiting: 1, input_bytes: signed(input_bytes), ..Change::default() };
            count.changes.push((call.plugin.clone(), change));
            Ok(Accepted::Queued)
        })
    }
}

impl Count<'_> {
    fn have_room(&self, plugin: &str, input_bytes: u64) -> Result<(), Error> {
        let own = self.loads.get(plugin).copied().unwrap_or_default();
        let all = self.loads.values().fold(Load::default(), |sum, load| Load {
            waiting: sum.waiting + load.waiting,
            running: sum.running + load.running,
            input_bytes: sum.input_bytes + load.input_bytes,
        });
        let Bounds { calls_max, calls_per_plugin_max, input_bytes_max, input_bytes_per_plugin_max, .. } =
            self.bounds;
        let bounds = [
            (own, calls_per_plugin_max, input_bytes_per_plugin_max, format!("the queue of {plugin}")),
            (all, calls_max, input_bytes_max, "the queue of all plugins".to_owned()),
        ];
        for (load, calls_max, bytes_max, what) in bounds {
            if load.waiting + load.running >= calls_max {
                return Err(Error::Full { what, limit: format!("{calls_max} calls") });
            }
            if load.input_bytes + input_bytes > bytes_max {
                return Err(Error::Full { what, limit: format!("{} of inputs", format_bytes(bytes_max)) });
            }
        }
        Ok(())
    }
}

/// With a reply the call is done already, and its input is of no more use.
fn insert(
    transaction: &Transaction<'_>,
    now_ns: i64,
    call: &NewCall,
    reply: Option<&KeptReply>,
) -> rusqlite::Result<()> {
    let parent = call.parent.as_ref();
    let input = call.input.get();
    transaction
        .prepare_cached(
            "INSERT INTO calls (invocation_id, trace_id, root_span_id, parent_span_id, parent_flags, tracestate,
                 baggage, origin, plugin, version_asked, action, timeout_ns, accepted_at_ns, since_ns, input_bytes,
                 input, state, version, outcome, duration_ns, cold_start, output, output_bytes)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21,
                 ?22, ?23)",
        )?
        .execute(params![
            call.ids.invocation_id.as_bytes(),
            call.ids.trace_id.as_bytes(),
            call.ids.root_span_id.as_bytes(),
            parent.map(|parent| parent.span_id.as_bytes().to_vec()),
            parent.map(|parent| parent.flags),
            parent.and_then(|parent| parent.tracestate.as_deref()),
            parent.and_then(|parent| parent.baggage.as_deref()),
            origin_text(call.origin),
            &*call.plugin,
            call.version,
            &*call.action,
            call.timeout.map(|timeout| i64::try_from(timeout.as_nanos()).unwrap_or(i64::MAX)),
            signed(call.ids.accepted_at_unix_ns),
            now_ns,
            signed(input.len() as u64),
            if reply.is_some() { "null" } else { input },
            if reply.is_some() { "done" } else { "queued" },
            reply.and_then(|reply| reply.version.as_deref()),
            reply.map(|_| "replied"),
            reply.map(|_| 0),
            reply.map(|_| false),
            reply.map(|reply| reply.output.get()),
            reply.map_or(0, |reply| signed(reply.output.get().len() as u64)),
        ])
        .map(drop)
}
