//! Who holds a sync, and what becomes of those who no longer do.

use std::sync::Arc;
use std::time::Duration;

use rsync_core::Kind;
use rsync_core::clock::{Clock, Randomness, SystemClock};
use rsync_core::memory::{ManualClock, SeededRandomness};
use rsync_core::state::{StateSession, StateStore};
use tokio::runtime::Handle;

use crate::{builder, database, put, store, sync, value};

/// Another connection, on which time is made to pass for a lease.
async fn admin(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

const EXPIRE: &str = "UPDATE rsync_state.lease SET expires_at = clock_timestamp() WHERE sync = $1";

/// `RSYNC_SEEDS` schedules, or as many as take some seconds; or the one that `RSYNC_SEED` names.
fn seeds() -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    match number("RSYNC_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("RSYNC_SEEDS").unwrap_or(10)).collect(),
    }
}

#[tokio::test]
async fn f12_in_random_schedules_only_the_holder_commits() {
    let database = database();
    let store = store(&database);
    let admin = admin(database.url()).await;
    for seed in seeds() {
        let name = sync(&format!("s{seed}"));
        let random = SeededRandomness::new(seed);
        let draw = |n: u64| (random.next_u64() % n) as usize;
        let mut sessions: Vec<(u64, Arc<dyn StateSession>)> = Vec::new();
        let (mut holder, mut next, mut truth): (Option<u64>, u64, Option<Vec<u8>>) = (None, 0, None);
        for step in 0..16_u8 {
            let at = format!("RSYNC_SEED={seed}, step {step}");
            match draw(6) {
                0 | 1 => match store.acquire(&name).await {
                    Ok(session) => {
                        assert_eq!(holder, None, "{at}: two holders");
                        assert_eq!(value(&*session).await, truth, "{at}: other records");
                        next += 1;
                        holder = Some(next);
                        sessions.push((next, Arc::from(session)));
                    }
                    Err(e) => {
                        assert_eq!(e.kind(), Kind::AlreadyRunning, "{at}: {e}");
                        assert!(holder.is_some(), "{at}: a free sync was refused");
                    }
                },
                2 => {
                    admin.execute(EXPIRE, &[&name.as_str()]).await.unwrap();
                    holder = None;
                }
                3 if !sessions.is_empty() => {
                    let (id, session) = sessions.swap_remove(draw(sessions.len() as u64));
                    drop(session);
                    holder = holder.filter(|holder| *holder != id);
                }
                _ if !sessions.is_empty() => {
                    let (id, session) = &sessions[draw(sessions.len() as u64)];
                    let result = session.commit(put(&[step])).await;
                    match result {
                        Ok(()) => {
                            assert_eq!(holder, Some(*id), "{at}: a session committed that had lost its hold");
                            truth = Some(vec![step]);
                        }
                        Err(e) => {
                            assert_eq!(e.kind(), Kind::StateStore, "{at}: {e}");
                            assert_ne!(holder, Some(*id), "{at}: the holder was refused: {e}");
                        }
                    }
                }
                _ => {}
            }
        }
        admin.execute(EXPIRE, &[&name.as_str()]).await.unwrap();
        assert_eq!(value(&*store.acquire(&name).await.unwrap()).await, truth, "RSYNC_SEED={seed}: other records");
    }
}

#[tokio::test]
async fn f12_a_frozen_holder_loses_the_sync_and_changes_nothing_when_it_wakes() {
    let database = database();
    let lease = Duration::from_secs(1);
    // Time stands still for it: it neither renews its lease nor knows that it has ended.
    let frozen = builder(&database).lease(lease).clock(ManualClock::new()).build().unwrap();
    let (other, name) = (store(&database), sync("frozen"));
    let stale = frozen.acquire(&name).await.unwrap();
    stale.commit(put(b"first")).await.unwrap();
    let error = other.acquire(&name).await.unwrap_err();
    assert_eq!(error.kind(), Kind::AlreadyRunning);
    assert!(error.context("holder").is_some_and(|holder| holder.contains("rsync 127.0.0.1 backend")), "{error}");

    SystemClock::new().sleep(lease).await;
    let successor = other.acquire(&name).await.unwrap();
    successor.commit(put(b"second")).await.unwrap();
    for _ in 0..2 {
        assert_eq!(stale.commit(put(b"stale")).await.unwrap_err().kind(), Kind::StateStore);
    }
    // It does not read its successor's records for its own either.
    assert_eq!(stale.get(rsync_core::state::Table::Meta, b"k").await.unwrap_err().kind(), Kind::StateStore);
    assert_eq!(value(&*successor).await.as_deref(), Some(&b"second"[..]));
}

#[tokio::test]
async fn f12_a_holder_whose_own_clock_says_so_does_not_even_ask() {
    let database = database();
    let clock = ManualClock::new();
    let store = builder(&database).clock(clock.clone()).build().unwrap();
    let session = store.acquire(&sync("late")).await.unwrap();
    session.commit(put(b"first")).await.unwrap();
    clock.advance(Duration::from_secs(51));
    let error = session.commit(put(b"second")).await.unwrap_err();
    assert!(error.to_string().contains("the lease on the sync has ended"), "{error}");
    drop(session);
    let session = store.acquire(&sync("late")).await.unwrap();
    assert_eq!(value(&*session).await.as_deref(), Some(&b"first"[..]));
}

#[tokio::test]
async fn a_lease_is_renewed_for_as_long_as_the_session_lives_and_no_longer() {
    let database = database();
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let (before, name, clock) = (tasks(), sync("long"), SystemClock::new());
    let short = builder(&database).lease(Duration::from_secs(1)).build().unwrap();
    let session = short.acquire(&name).await.unwrap();
    for _ in 0..8 {
        clock.sleep(Duration::from_millis(300)).await;
        assert_eq!(store(&database).acquire(&name).await.unwrap_err().kind(), Kind::AlreadyRunning);
    }
    session.commit(put(b"late")).await.unwrap();
    drop(session);
    for _ in 0..200 {
        if tasks() == before {
            return;
        }
        clock.sleep(Duration::from_millis(10)).await;
    }
    panic!("{} tasks are left of {before}", tasks());
}

#[tokio::test]
async fn a_session_may_outlive_nothing_but_itself() {
    let database = database();
    let name = sync("runtime");
    let first = store(&database);
    // The runtime ends while the session is open: nobody is left to say goodbye.
    let session = std::thread::spawn({
        let (first, name) = (first.clone(), name.clone());
        move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async { first.acquire(&name).await.unwrap() })
        }
    })
    .join()
    .unwrap();
    drop(session);
    let clock = SystemClock::new();
    for _ in 0..100 {
        if store(&database).acquire(&name).await.is_ok() {
            return;
        }
        clock.sleep(Duration::from_millis(20)).await;
    }
    panic!("the end of the connection does not free the sync");
}
