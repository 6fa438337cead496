//! `ctx.services.call`: one plugin calls another. The call goes through the front door like any other, with
//! an id and a row in the ledger of its own; its root span stands under a span of the caller's trace.

use serde_json::Map;

use crate::model::guest::{GuestAnswer, GuestCallError, PluginCall};
use crate::model::invocation::{Invocation, Origin};
use crate::model::kind::ErrorKind;
use crate::model::name::PluginName;
use crate::model::text::truncate;
use crate::model::trace_context::TraceContext;
use crate::package::manifest::Manifest;
use crate::pipeline::GuestContext;
use crate::runtimes::BoxFuture;
use crate::telemetry::names::{attribute, span};

pub(super) fn answer(call: PluginCall, context: GuestContext) -> BoxFuture<'static, GuestAnswer> {
    Box::pin(async move {
        let caller = &context.plugin.manifest;
        if !caller.dependencies.iter().any(|declared| declared.name.as_str() == call.plugin) {
            return Err(undeclared(caller, &call.plugin));
        }
        let range = context.door.dependency_range(caller, &call.plugin);
        let range = range.ok_or_else(|| absent(caller, &call.plugin))?;
        let lineage = context.lineage.descend();
        let lineage = lineage.map_err(|error| GuestCallError::new("refused", error.to_string()))?;
        let parent_id = call.parent_id.unwrap_or(context.execute_id);
        let name = format!("{}{}", span::CALL_PREFIX, call.plugin);
        let mut span = context.spans.open(name, parent_id, Map::new());
        let parent = TraceContext {
            trace_id: context.trace_id,
            span_id: span.id(),
            flags: context.trace_flags,
            tracestate: context.tracestate,
            baggage: context.baggage,
        };
        let mut invocation = Invocation {
            version: Some(range),
            timeout: Some(call.timeout.map_or(context.left, |asked| asked.min(context.left))),
            parent: Some(parent),
            lineage,
            ..Invocation::new(call.plugin.as_str(), call.input, Origin::Local)
        };
        if let Some(action) = call.action {
            invocation.action = action.into();
        }
        span.set(attribute::CALLEE_NAME, call.plugin);
        span.set(attribute::CALLEE_ACTION, &*invocation.action);
        let (invocation_id, completed) = context.door.enter(invocation);
        span.set(attribute::CALLEE_INVOCATION_ID, invocation_id.to_string());
        let completed = completed.await;
        if let Some(version) = &completed.meta.version {
            span.set(attribute::CALLEE_VERSION, &**version);
        }
        match completed.result {
            Ok(output) => {
                span.end();
                Ok(output.unwrap_or_else(|| super::json(&())))
            }
            Err(error) => {
                span.fail(error.kind.as_str(), &error.message);
                let failed = GuestCallError::new(error.kind.as_str(), error.message);
                Err(GuestCallError { invocation_id: Some(invocation_id), ..failed })
            }
        }
    })
}

fn undeclared(caller: &Manifest, asked: &str) -> GuestCallError {
    let asked = truncate(asked, PluginName::LENGTH_MAX);
    let (name, version) = (&caller.name, &caller.version);
    let message = format!(
        "{name} {version} may not call {asked:?}, which it does not declare; add {{name: {asked}, version: \"*\"}} to \
         dependencies in its manifest"
    );
    GuestCallError::new(ErrorKind::Forbidden.as_str(), message)
}

fn absent(caller: &Manifest, asked: &str) -> GuestCallError {
    let (name, version) = (&caller.name, &caller.version);
    let message = format!("{name} {version} has no version of {asked} to call: none fits what it declares");
    GuestCallError::new(ErrorKind::NotFound.as_str(), message)
}
