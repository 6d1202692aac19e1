//! Bringing a state of an older format up to the present one.

use futures::future::BoxFuture;

use super::codec::{DAMAGE_REMEDY, FORMAT, Reader, Writer};
use super::copy::{copy_state, is_same};
use super::store::{Mutation, StateRead, StateSession, StateStore, Table};
use crate::error::{Error, Kind, Result};
use crate::ids::SyncId;

/// Says what makes a state of one format one of the next. All of it comes into force in one commit.
type Step = for<'s> fn(&'s dyn StateRead) -> BoxFuture<'s, Result<Vec<Mutation>>>;

/// `STEPS[n]` leads from format `n + 1` to `n + 2`.
const STEPS: &[Step] = &[];

const _: () = assert!(STEPS.len() + 1 == FORMAT as usize, "a new format needs a step from the one before");

/// Migrates the state of `sync`, if its format is older than the present one. Before that, it is kept in the same store as
/// the state of another sync: `people-v1` for `people`.
///
/// # Errors
///
/// [`Kind::StateMismatch`] if the place of the copy is taken, [`Kind::StateCorrupt`], and errors of the store. The state is
/// then as it was before, or after one of the steps.
pub(crate) async fn bring_up(store: &dyn StateStore, sync: &SyncId, session: &dyn StateSession) -> Result<()> {
    bring_up_by(STEPS, store, sync, session).await
}

async fn bring_up_by(steps: &[Step], store: &dyn StateStore, sync: &SyncId, session: &dyn StateSession) -> Result<()> {
    let Some(record) = session.get(Table::Meta, b"format").await? else { return Ok(()) };
    let first = Reader::new("format", &record)?.u32()?;
    let done = first.checked_sub(1).ok_or_else(|| {
        Error::new(Kind::StateCorrupt, "read the state", "there is no format 0").with_remedy(DAMAGE_REMEDY)
    })?;
    // A newer format has no steps here; who reads the state refuses it.
    let steps = steps.get(done as usize..).unwrap_or_default();
    if steps.is_empty() {
        return Ok(());
    }
    keep(store, &SyncId::new(format!("{sync}-v{first}"))?, session).await?;
    for (next, step) in (first + 1..).zip(steps) {
        let mut mutations = step(session).await?;
        let mut format = Writer::default();
        format.u32(next);
        mutations.push(Mutation::Put { table: Table::Meta, key: b"format".to_vec(), value: format.finish() });
        session.commit(mutations).await?;
        tracing::info!(%sync, format = next, "the state was migrated");
    }
    Ok(())
}

/// Copies the state as it is, unless that was done by a migration that was then cut short.
async fn keep(store: &dyn StateStore, name: &SyncId, session: &dyn StateSession) -> Result<()> {
    let copy = store.acquire(name).await?;
    if is_same(session, &*copy).await? {
        return Ok(());
    }
    copy_state(session, &*copy).await.map(drop).map_err(|e| e.with_context("copy", name))
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;
    use crate::state::{EmbeddedStore, MemoryStore};

    /// A format in which runs have another prefix, as a migration would be written.
    fn to_second(state: &dyn StateRead) -> BoxFuture<'_, Result<Vec<Mutation>>> {
        async move {
            let runs = state.scan(Table::Runs, &[], usize::MAX).await?;
            Ok(runs
                .into_iter()
                .flat_map(|(key, value)| {
                    let moved = [b"second/".as_slice(), &key].concat();
                    [Mutation::Delete { table: Table::Runs, key }, put(Table::Runs, &moved, value)]
                })
                .collect())
        }
        .boxed()
    }

    fn to_third(_: &dyn StateRead) -> BoxFuture<'_, Result<Vec<Mutation>>> {
        async { Ok(vec![put(Table::Meta, b"third", Vec::new())]) }.boxed()
    }

    fn fails(_: &dyn StateRead) -> BoxFuture<'_, Result<Vec<Mutation>>> {
        async { Err(Error::new(Kind::StateStore, "migrate", "cut short")) }.boxed()
    }

    fn put(table: Table, key: &[u8], value: Vec<u8>) -> Mutation {
        Mutation::Put { table, key: key.to_vec(), value }
    }

    fn format(number: u32) -> Mutation {
        let mut writer = Writer::default();
        writer.u32(number);
        put(Table::Meta, b"format", writer.finish())
    }

    async fn runs(session: &dyn StateSession) -> Vec<Vec<u8>> {
        session.scan(Table::Runs, &[], 10).await.unwrap().into_iter().map(|(key, _)| key).collect()
    }

    async fn format_of(session: &dyn StateSession) -> u32 {
        let record = session.get(Table::Meta, b"format").await.unwrap().unwrap();
        Reader::new("format", &record).unwrap().u32().unwrap()
    }

    async fn check(store: &dyn StateStore) {
        let (sync, name) = (SyncId::new("people").unwrap(), SyncId::new("people-v1").unwrap());
        let session = store.acquire(&sync).await.unwrap();
        // A sync that was never seen has nothing to migrate, and nothing to keep.
        bring_up_by(&[to_second], store, &sync, &*session).await.unwrap();
        assert!(is_same(&*session, &*store.acquire(&name).await.unwrap()).await.unwrap());
        let records = vec![format(1), put(Table::Runs, b"1", vec![1]), put(Table::Runs, b"2", vec![2])];
        session.commit(records).await.unwrap();
        // The present format, and a newer one, are left alone.
        for number in [2, 3] {
            session.commit(vec![format(number)]).await.unwrap();
            bring_up_by(&[to_second], store, &sync, &*session).await.unwrap();
            assert_eq!(
                (format_of(&*session).await, runs(&*session).await),
                (number, vec![b"1".to_vec(), b"2".to_vec()])
            );
        }
        session.commit(vec![format(1)]).await.unwrap();
        // Cut short before the first step: the old state stands, and its copy is made.
        assert!(bring_up_by(&[fails], store, &sync, &*session).await.is_err());
        assert_eq!((format_of(&*session).await, runs(&*session).await.len()), (1, 2));
        let copy = store.acquire(&name).await.unwrap();
        assert!(is_same(&*session, &*copy).await.unwrap());
        drop(copy);
        // The next attempt goes through all formats.
        bring_up_by(&[to_second, to_third], store, &sync, &*session).await.unwrap();
        assert_eq!(format_of(&*session).await, 3);
        assert_eq!(runs(&*session).await, [b"second/1".to_vec(), b"second/2".to_vec()]);
        let copy = store.acquire(&name).await.unwrap();
        assert_eq!((format_of(&*copy).await, runs(&*copy).await), (1, vec![b"1".to_vec(), b"2".to_vec()]));
        drop(copy);
        // A place that holds something else is not written over.
        session.commit(vec![format(1)]).await.unwrap();
        let error = bring_up_by(&[to_second], store, &sync, &*session).await.unwrap_err();
        assert_eq!((error.kind(), error.context("copy")), (Kind::StateMismatch, Some("people-v1")));
        assert_eq!(format_of(&*session).await, 1);
        session.commit(vec![format(0)]).await.unwrap();
        let error = bring_up_by(&[to_second], store, &sync, &*session).await.unwrap_err();
        assert_eq!(error.kind(), Kind::StateCorrupt);
    }

    #[tokio::test]
    async fn f10_an_older_state_is_migrated_step_by_step_and_kept_as_it_was() {
        check(&MemoryStore::new()).await;
        let folder = tempfile::tempdir().unwrap();
        check(&EmbeddedStore::new(folder.path()).unwrap()).await;
    }
}
