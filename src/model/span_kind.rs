//! What a span is to others: OpenTelemetry's `SpanKind`.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    Internal,
    /// It answers somebody.
    Server,
    /// It waits for somebody's answer.
    Client,
    /// It leaves something for somebody.
    Producer,
    /// It takes what somebody has left.
    Consumer,
}

impl SpanKind {
    pub const ALL: &'static [SpanKind] =
        &[SpanKind::Internal, SpanKind::Server, SpanKind::Client, SpanKind::Producer, SpanKind::Consumer];

    pub const fn as_str(self) -> &'static str {
        match self {
            SpanKind::Internal => "internal",
            SpanKind::Server => "server",
            SpanKind::Client => "client",
            SpanKind::Producer => "producer",
            SpanKind::Consumer => "consumer",
        }
    }

    pub fn parse(text: &str) -> Option<SpanKind> {
        SpanKind::ALL.iter().copied().find(|kind| kind.as_str() == text)
    }
}
