//! Services for examples: HTTP is answered from the manifest, what is kept is forgotten with each example, and
//! other plugins are not there.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::http::{Answered, Checked, answer_of, end_span};
use super::key_value::KeyValues;
use crate::model::guest::{GuestAnswer, GuestCall, GuestCallError, HttpRequest};
use crate::model::text::truncate;
use crate::package::manifest::HttpStub;
use crate::pipeline::{GuestContext, GuestServices};
use crate::runtimes::BoxFuture;

/// What the plugin is told of a question that its example has no answer for.
const NO_STUB: &str = "no_stub";

#[derive(Default)]
pub struct StubServices {
    example: Mutex<ExampleServices>,
}

/// Of the example that runs.
#[derive(Default)]
struct ExampleServices {
    stubs: Vec<HttpStub>,
    key_values: KeyValues,
}

impl StubServices {
    /// The stubs of the example that runs next. It finds nothing kept.
    pub fn set(&self, stubs: Vec<HttpStub>) {
        *self.example() = ExampleServices { stubs, key_values: KeyValues::default() };
    }

    fn find(&self, request: &HttpRequest) -> Option<HttpStub> {
        let fits = |stub: &&HttpStub| {
            let method = stub.method.as_deref().unwrap_or(&request.method);
            stub.url == request.url && method.eq_ignore_ascii_case(&request.method)
        };
        self.example().stubs.iter().find(fits).cloned()
    }

    fn example(&self) -> MutexGuard<'_, ExampleServices> {
        self.example.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl GuestServices for StubServices {
    fn answer(&self, call: GuestCall, context: GuestContext) -> BoxFuture<'static, GuestAnswer> {
        match call {
            GuestCall::Http(request) => {
                let stub = self.find(&request);
                Box::pin(answer_http(request, stub, context))
            }
            GuestCall::KeyValue(request) => self.example().key_values.answer(request, context),
            GuestCall::Plugin(call) => {
                let plugin = truncate(&call.plugin, 64);
                let message = format!("an example has no other plugins: {plugin:?} cannot be called");
                Box::pin(std::future::ready(Err(GuestCallError::new(NO_STUB, message))))
            }
        }
    }
}

async fn answer_http(request: HttpRequest, stub: Option<HttpStub>, context: GuestContext) -> GuestAnswer {
    let stub = stub.ok_or_else(|| {
        let message = format!("no stub answers {} {}", request.method, truncate(&request.url, 200));
        GuestCallError::new(NO_STUB, message)
    })?;
    let span = Checked::new(&request)?.open_span(&request, &context, 0);
    tokio::time::sleep(stub.delay.unwrap_or_default().min(context.left)).await;
    let answer = Answered {
        status: stub.status,
        headers: stub.headers,
        body: stub.body.into_bytes(),
        retry_after: None,
    };
    let tried = Ok(answer);
    end_span(span, &tried);
    answer_of(tried)
}
