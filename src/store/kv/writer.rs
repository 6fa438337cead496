//! The thread: takes what waits, does it in one transaction, and answers when that is on the disk.

use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;

use rusqlite::{Connection, TransactionBehavior};

use super::table::Table;
use super::{Answered, KeyValueError, Question};
use crate::model::guest::KeyValueOperation;
use crate::store::clock::Clock;
use crate::store::error::Error;

/// Operations that share one sync of the disk.
const BATCH_MAX: usize = 64;

pub(super) struct Writer {
    path: PathBuf,
    connection: Connection,
    clock: Clock,
}

impl Writer {
    pub(super) fn new(path: &Path, connection: Connection) -> Result<Writer, Error> {
        let clock = Clock::of(&connection).map_err(Error::engine(path))?;
        Ok(Writer { path: path.to_path_buf(), connection, clock })
    }

    /// Returns when nobody can ask any more and all is answered.
    pub(super) fn run(mut self, asked: &Receiver<Question>) {
        while let Ok(first) = asked.recv() {
            let mut batch = vec![first];
            batch.extend(asked.try_iter().take(BATCH_MAX - 1));
            // Nobody waits for these any more.
            batch.retain(|question| !question.answer.is_closed());
            self.answer(batch);
        }
    }

    fn answer(&mut self, batch: Vec<Question>) {
        let answers = match self.work(&batch) {
            Ok(answers) => answers,
            // One of them may be too much for the disk: it must not take the others along.
            Err(_) if batch.len() > 1 => {
                return batch.into_iter().for_each(|question| self.answer(vec![question]));
            }
            Err(error) => vec![Err(KeyValueError::Store(error))],
        };
        for (question, answer) in batch.into_iter().zip(answers) {
            // Who has left meanwhile needs no answer.
            let _ = question.answer.send(answer);
        }
    }

    /// Does all of them, or none. What a plugin did wrong is an answer; what the engine says is an error.
    fn work(&mut self, batch: &[Question]) -> Result<Vec<Answered>, Error> {
        let engine = Error::engine(&self.path);
        let now_ns = self.clock.now();
        let changes = batch.iter().any(|question| is_change(&question.operation));
        let behavior = if changes { TransactionBehavior::Immediate } else { TransactionBehavior::Deferred };
        let transaction = self.connection.transaction_with_behavior(behavior).map_err(&engine)?;
        let table = Table { connection: &transaction, now_ns, engine: &engine };
        if changes {
            table.begin_changes()?;
        }
        let mut answers = Vec::with_capacity(batch.len());
        for question in batch {
            match table.answer(&question.plugin, &question.operation) {
                Err(KeyValueError::Store(error)) => return Err(error),
                answer => answers.push(answer),
            }
        }
        transaction.commit().map_err(&engine)?;
        Ok(answers)
    }
}

fn is_change(operation: &KeyValueOperation) -> bool {
    match operation {
        KeyValueOperation::Get { .. } | KeyValueOperation::Keys { .. } => false,
        KeyValueOperation::Set { .. }
        | KeyValueOperation::Delete { .. }
        | KeyValueOperation::Increment { .. } => true,
    }
}
