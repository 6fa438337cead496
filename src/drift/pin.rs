//! Baselines that somebody pins: from a file, from the last calls, or one of before.

use std::io::BufRead;
use std::sync::Arc;

use super::baseline::Baseline;
use super::lines::LinesError;
use super::picture::{BaselineHead, Origin};
use super::saving::new_baseline;
use super::watch::{Pinned, Watch};
use super::{Drift, batch, unix_ms};
use crate::store;
use crate::store::drift::StoredBaseline;

/// Lines of a file that is to be a baseline.
pub const BASELINE_LINES_MAX: usize = 100_000;

/// Why a baseline was not pinned.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    #[error("{plugin} {version} is not watched: its manifest has no `observe`, or it is disabled")]
    NotWatched { plugin: String, version: String },
    #[error("{0}")]
    Lines(#[from] LinesError),
    #[error("{found} calls are too few: a baseline needs {wanted}")]
    TooFew { found: u64, wanted: u64 },
    #[error("there is no baseline yet, and only by its bins the last calls could be counted")]
    NoBins,
    #[error("none of the watched fields has a value in it")]
    Nothing,
    #[error("there is no baseline `{0}`")]
    Unknown(String),
    #[error("the baseline is of other fields than the version's")]
    OtherFields,
    #[error("{0}")]
    Store(#[from] store::Error),
}

impl Drift {
    /// Pins what a file of calls says.
    pub fn pin_lines(
        &self,
        plugin: &str,
        version: &str,
        lines: impl BufRead,
    ) -> Result<BaselineHead, PinError> {
        let watch = self.watched(plugin, version)?;
        let fields: Vec<_> = watch.paths.all().iter().cloned().zip(watch.hints()).collect();
        let baseline = batch::baseline_from(lines, &fields, BASELINE_LINES_MAX)?;
        self.pin(&watch, baseline, Origin::File)
    }

    /// Pins what the last calls showed: from now on that is how it should be.
    pub fn pin_window(&self, plugin: &str, version: &str) -> Result<BaselineHead, PinError> {
        let watch = self.watched(plugin, version)?;
        self.judge(&watch);
        if watch.open().pinned.is_none() {
            return Err(PinError::NoBins);
        }
        let baseline = watch.recent_as_baseline().unwrap_or(Baseline { calls: 0, fields: Vec::new() });
        self.pin(&watch, baseline, Origin::Window)
    }

    /// Pins one that was pinned before.
    pub fn pin_earlier(&self, plugin: &str, version: &str, id: &str) -> Result<BaselineHead, PinError> {
        let watch = self.watched(plugin, version)?;
        let stored = self.baseline(plugin, id)?.ok_or_else(|| PinError::Unknown(id.to_owned()))?;
        let pinned = watch.pinned_from(&stored).ok_or(PinError::OtherFields)?;
        self.use_pinned(&watch, pinned)
    }

    fn pin(&self, watch: &Arc<Watch>, baseline: Baseline, origin: Origin) -> Result<BaselineHead, PinError> {
        let wanted = watch.observe.min_samples.into();
        if baseline.calls < wanted {
            return Err(PinError::TooFew { found: baseline.calls, wanted });
        }
        if baseline.fields.iter().all(|field| field.counts.iter().all(|count| *count == 0)) {
            return Err(PinError::Nothing);
        }
        self.use_pinned(watch, Pinned::new(baseline, origin, unix_ms()))
    }

    /// On the disk first: whoever was told that it is pinned finds it again.
    fn use_pinned(&self, watch: &Arc<Watch>, pinned: Pinned) -> Result<BaselineHead, PinError> {
        let pinned = Arc::new(pinned);
        {
            let _writing = self.writing();
            // Whoever waits to be written was pinned before.
            self.saving().baselines.retain(|(of, _)| !Arc::ptr_eq(of, watch));
            if let Some(store) = &self.store {
                store.save_all(&[new_baseline(watch, &pinned)], &[], &[])?;
            }
            watch.pin(&mut watch.open(), pinned.clone(), unix_ms());
        }
        self.judge(watch);
        self.flush();
        Ok(pinned.head())
    }

    fn watched(&self, plugin: &str, version: &str) -> Result<Arc<Watch>, PinError> {
        let named = || PinError::NotWatched { plugin: plugin.to_owned(), version: version.to_owned() };
        self.find(plugin, version).ok_or_else(named)
    }
}

impl Watch {
    /// A stored baseline, if it is of this version's fields.
    pub(super) fn pinned_from(&self, stored: &StoredBaseline) -> Option<Pinned> {
        let baseline = Baseline::parse(&stored.row.id, &stored.document)?;
        let names = baseline.fields.iter().map(|field| &field.field);
        let same = names.eq(&self.field_names().collect::<Vec<_>>());
        let origin = Origin::parse(&stored.row.source)?;
        same.then(|| Pinned::new(baseline, origin, stored.row.created_unix_ms))
    }
}
