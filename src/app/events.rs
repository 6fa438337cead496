//! Server-sent events as they come out of a response (HTML standard, section 9.2.6, as far as servers of
//! spanglass write them: fields `event` and `data`, comments, blank lines).

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;

use super::failure::Failure;

/// One event with its data lines joined.
#[derive(Debug, PartialEq, Eq)]
pub struct StreamEvent {
    pub name: String,
    pub data: String,
}

pub struct EventReader {
    body: BoxStream<'static, Result<Bytes, Failure>>,
    buffer: Vec<u8>,
    name: String,
    data: Vec<String>,
}

impl EventReader {
    pub fn new(body: BoxStream<'static, Result<Bytes, Failure>>) -> EventReader {
        EventReader { body, buffer: Vec::new(), name: String::new(), data: Vec::new() }
    }

    /// `None` at the end of the stream.
    pub async fn next(&mut self) -> Result<Option<StreamEvent>, Failure> {
        loop {
            while let Some(line) = self.take_line() {
                if let Some(event) = self.take(&line) {
                    return Ok(Some(event));
                }
            }
            match self.body.next().await {
                Some(part) => self.buffer.extend_from_slice(&part?),
                None => return Ok(None),
            }
        }
    }

    fn take_line(&mut self) -> Option<String> {
        let end = self.buffer.iter().position(|byte| *byte == b'\n')?;
        let line: Vec<u8> = self.buffer.drain(..=end).collect();
        Some(String::from_utf8_lossy(&line[..end]).trim_end_matches('\r').to_owned())
    }

    fn take(&mut self, line: &str) -> Option<StreamEvent> {
        if line.is_empty() {
            let (name, data) = (std::mem::take(&mut self.name), std::mem::take(&mut self.data));
            return (!data.is_empty()).then(|| StreamEvent { name, data: data.join("\n") });
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => self.name = value.to_owned(),
            "data" => self.data.push(value.to_owned()),
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    #[tokio::test]
    async fn events_come_out_whole_however_they_are_cut() {
        let text = ": hello\n\nevent: chunk\ndata: {\"a\":\ndata: 1}\n\nevent: end\r\ndata: {}\r\n\r\n";
        for size in 1..text.len() {
            let parts: Vec<_> =
                text.as_bytes().chunks(size).map(|part| Ok(Bytes::copy_from_slice(part))).collect();
            let mut events = EventReader::new(stream::iter(parts).boxed());
            let mut seen = Vec::new();
            while let Some(event) = events.next().await.unwrap() {
                seen.push((event.name, event.data));
            }
            let expected =
                [("chunk".to_owned(), "{\"a\":\n1}".to_owned()), ("end".to_owned(), "{}".to_owned())];
            assert_eq!(seen, expected);
        }
    }
}
