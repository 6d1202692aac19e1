//! What a server can be like: new, newer, closed, forgetful.

use futures::future::join_all;
use rsync_core::state::StateStore;
use rsync_core::{Kind, Secret};
use rsync_postgres_state::PostgresStore;

use crate::{builder, database, put, store, sync, value};

#[tokio::test]
async fn many_workers_may_be_the_first() {
    let database = database();
    let stores: Vec<_> = (0..6).map(|_| store(&database)).collect();
    let syncs: Vec<_> = (0..6).map(|n| sync(&format!("s{n}"))).collect();
    for session in join_all(stores.iter().zip(&syncs).map(|(store, sync)| store.acquire(sync))).await {
        session.unwrap().commit(put(b"v")).await.unwrap();
    }
    let version = database.run("SELECT version FROM rsync_state.format").unwrap();
    assert_eq!(version.trim(), "1");
}

#[tokio::test]
async fn f10_newer_and_damaged_tables_are_refused() {
    let database = database();
    drop(store(&database).acquire(&sync("s")).await.unwrap());
    for (sql, kind) in [
        ("UPDATE rsync_state.format SET version = 2", Kind::StateTooNew),
        ("UPDATE rsync_state.format SET version = -1", Kind::StateCorrupt),
        (
            "UPDATE rsync_state.format SET version = 1; ALTER TABLE rsync_state.record RENAME TO gone",
            Kind::StateCorrupt,
        ),
        ("ALTER TABLE rsync_state.gone RENAME TO record; DELETE FROM rsync_state.format", Kind::StateCorrupt),
    ] {
        database.run(sql).unwrap();
        let error = store(&database).acquire(&sync("s")).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{sql}: {error}");
        assert!(error.remedy().is_some(), "{sql}: {error}");
    }
    database.run("INSERT INTO rsync_state.format VALUES (1)").unwrap();
    assert!(store(&database).acquire(&sync("s")).await.is_ok());
}

#[tokio::test]
async fn a_role_needs_little_and_is_told_what_it_lacks() {
    let database = database();
    let role = format!("worker_{}", database.name());
    database.run(&format!("CREATE ROLE {role} LOGIN PASSWORD 'canary-worker'")).unwrap();
    let url = database.url().replacen("rsync:", &format!("{role}:"), 1).replace("canary-password", "canary-worker");
    let worker = || PostgresStore::builder().connection(Secret::new(format!("{url}?sslmode=disable"))).build().unwrap();
    let refused = async |fix: &str| {
        let error = worker().acquire(&sync("s")).await.unwrap_err();
        assert_eq!((error.kind(), error.context("user")), (Kind::StateStore, Some(role.as_str())), "{error}");
        assert!(error.remedy().is_some_and(|remedy| remedy.contains(fix)), "{error}");
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    };
    refused("GRANT CREATE ON DATABASE").await;
    drop(store(&database).acquire(&sync("s")).await.unwrap());
    refused("GRANT USAGE on the schema").await;
    database.run(&format!("GRANT USAGE ON SCHEMA rsync_state TO {role}")).unwrap();
    refused("SELECT, INSERT, UPDATE, DELETE").await;
    database.run(&format!("GRANT SELECT ON ALL TABLES IN SCHEMA rsync_state TO {role}")).unwrap();
    refused("SELECT, INSERT, UPDATE, DELETE").await;
    let grant = format!("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA rsync_state TO {role}");
    database.run(&grant).unwrap();
    let session = worker().acquire(&sync("s")).await.unwrap();
    session.commit(put(b"v")).await.unwrap();
    drop(session);
    // A password that is wrong is not repeated.
    database.run(&format!("ALTER ROLE {role} PASSWORD 'other'")).unwrap();
    refused("check user, password").await;
    database.run(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).unwrap();
}

#[tokio::test]
async fn commits_are_durable_even_where_that_is_not_the_default() {
    let database = database();
    database.run(&format!("ALTER DATABASE {} SET synchronous_commit = off", database.name())).unwrap();
    drop(store(&database).acquire(&sync("s")).await.unwrap());
    database
        .run(
            "CREATE TABLE seen (setting text);
             CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN INSERT INTO seen VALUES (current_setting('synchronous_commit')); RETURN NEW; END $$;
             CREATE TRIGGER see BEFORE INSERT ON rsync_state.record FOR EACH ROW EXECUTE FUNCTION see()",
        )
        .unwrap();
    let session = store(&database).acquire(&sync("s")).await.unwrap();
    session.commit(put(b"v")).await.unwrap();
    assert_eq!(database.run("SELECT setting FROM seen").unwrap().trim(), "on");
    assert_eq!(database.run("SHOW synchronous_commit").unwrap().trim(), "off");
}

#[tokio::test]
async fn schemas_are_apart() {
    let database = database();
    let (ours, theirs) = (store(&database), builder(&database).schema("other").build().unwrap());
    let (one, two) = (ours.acquire(&sync("s")).await.unwrap(), theirs.acquire(&sync("s")).await.unwrap());
    one.commit(put(b"one")).await.unwrap();
    assert_eq!(value(&*two).await, None);
}

#[tokio::test]
async fn encrypted_connections_are_verified() {
    let database = database();
    let Some(ca) = database.cluster().ca_pem() else { return };
    let url = |host: &str| Secret::new(database.url().replace("127.0.0.1", host));
    let verified = |host: &str| PostgresStore::builder().connection(url(host)).root_ca_pem(ca);
    let session = verified("localhost").build().unwrap().acquire(&sync("s")).await.unwrap();
    session.commit(put(b"v")).await.unwrap();
    let error = verified("127.0.0.1").build().unwrap().acquire(&sync("t")).await.unwrap_err();
    assert!(error.to_string().contains("the server's certificate is for another host"), "{error}");
    let system = PostgresStore::builder().connection(url("localhost")).build().unwrap();
    let error = system.acquire(&sync("t")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::StateStore);
    assert!(error.to_string().contains("certificate"), "{error}");
}
