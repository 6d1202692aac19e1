//! A source that can fail.

use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream;
use rsync_core::arrow::datatypes::SchemaRef;
use rsync_core::source::{BatchStream, Extracted, ReadRequest};
use rsync_core::{Error, Kind, Result, Source};

use super::fault::FaultKind;
use super::world::Shared;

#[derive(Debug)]
pub(super) struct SimulatedSource(pub(super) Shared);

#[async_trait]
impl Source for SimulatedSource {
    fn kind(&self) -> &'static str {
        "simulated"
    }

    async fn schema(&self) -> Result<SchemaRef> {
        let world = self.0.lock();
        world.version.batches.first().map(|batch| batch.schema()).ok_or_else(|| broken("the model has no batch"))
    }

    async fn read(&self, _request: ReadRequest) -> Result<BatchStream> {
        let (version, cut) = {
            let mut world = self.0.lock();
            if world.fires(FaultKind::SourceRefused, 25) {
                return Err(broken("the source cannot be reached"));
            }
            let version = Arc::clone(&world.version);
            let cut = world
                .fires(FaultKind::SourceCut, 25)
                .then(|| world.random(FaultKind::SourceCut).below(version.batches.len() as u64) as usize);
            (version, cut)
        };
        let shared = self.0.clone();
        let batches = (0..version.batches.len()).map(move |at| (at, shared.clone(), Arc::clone(&version)));
        Ok(stream::iter(batches)
            .then(move |(at, shared, version)| async move {
                shared.step().await;
                let mut world = shared.lock();
                if cut == Some(at) {
                    let mode = world.schedule.mode();
                    world.oracle.cut(mode);
                    return Err(broken("the connection was lost"));
                }
                world.read_complete = at + 1 == version.batches.len();
                Ok(Extracted::from(version.batches[at].clone()))
            })
            // A stream ends with its error.
            .scan(false, |failed, item| {
                let go_on = !*failed;
                *failed = item.is_err();
                futures::future::ready(go_on.then_some(item))
            })
            .boxed())
    }
}

fn broken(what: &'static str) -> Error {
    Error::new(Kind::SourceIncomplete, "read", what)
}
