//! The tables, and the statements over them.

use rsync_core::Result;
use rsync_core::error::Problem;
use rsync_postgres::Address;
use tokio_postgres::Client;

use crate::failure::{self, Phase};

/// What leads from one version of the tables to the next. Their number is the version that this library knows.
///
/// Values are hashes for the most part, so trying to compress them costs time and saves nothing.
const MIGRATIONS: [&str; 1] = ["
    CREATE TABLE {schema}.lease (
        sync text COLLATE \"C\" PRIMARY KEY,
        token bigint NOT NULL,
        holder text NOT NULL,
        expires_at timestamptz NOT NULL
    );
    CREATE TABLE {schema}.record (
        sync text COLLATE \"C\" NOT NULL,
        tab text COLLATE \"C\" NOT NULL,
        key bytea NOT NULL,
        value bytea NOT NULL,
        PRIMARY KEY (sync, tab, key)
    );
    ALTER TABLE {schema}.record ALTER COLUMN value SET STORAGE EXTERNAL;
"];

/// A schema by its name.
#[derive(Clone, Debug)]
pub(crate) struct Schema {
    pub(crate) name: String,
}

impl Schema {
    pub(crate) fn new(name: &str) -> Result<Self, Problem> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        let is_name = (1..=63).contains(&name.len())
            && name.bytes().all(plain)
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && !name.starts_with("pg_");
        if is_name {
            return Ok(Self { name: name.to_owned() });
        }
        let fix = "use 1 to 63 lower-case letters, digits or '_', no digit first, and not pg_ at the beginning";
        Err(Problem::new("schema", "is not a plain name", fix))
    }

    /// Puts the schema's name where it belongs.
    pub(crate) fn sql(&self, text: &str) -> String {
        text.replace("{schema}", &format!("\"{}\"", self.name))
    }

    /// Makes sure that the tables are there, in the version that this library knows.
    pub(crate) async fn prepare(&self, client: &Client, address: &Address) -> Result<()> {
        let failed = |e: tokio_postgres::Error| failure::classify(Phase::Prepare, &e, address);
        match self.version(client, address).await? {
            Some(version) if version as usize == MIGRATIONS.len() => return Ok(()),
            _ => {}
        }
        // Several workers may come here at the same time.
        client.batch_execute("BEGIN").await.map_err(failed)?;
        let lock = format!("rsync state schema {}", self.name);
        client.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", &[&lock]).await.map_err(failed)?;
        let version = self.version(client, address).await?;
        if version.is_none() {
            // Asking first, since IF NOT EXISTS needs the permission to create even where there is nothing to do.
            let exists = client.query("SELECT 1 FROM pg_namespace WHERE nspname = $1", &[&self.name]).await;
            if exists.map_err(failed)?.is_empty() {
                client.batch_execute(&self.sql("CREATE SCHEMA {schema}")).await.map_err(failed)?;
            }
            let first =
                "CREATE TABLE {schema}.format (version integer NOT NULL); INSERT INTO {schema}.format VALUES (0)";
            client.batch_execute(&self.sql(first)).await.map_err(failed)?;
        }
        for migration in MIGRATIONS.iter().skip(version.unwrap_or(0) as usize) {
            client.batch_execute(&self.sql(migration)).await.map_err(failed)?;
        }
        let last = MIGRATIONS.len();
        let done = self.sql(&format!("UPDATE {{schema}}.format SET version = {last}; COMMIT"));
        client.batch_execute(&done).await.map_err(failed)
    }

    /// The version of the tables, if there are any.
    async fn version(&self, client: &Client, address: &Address) -> Result<Option<i32>> {
        let failed = |e: tokio_postgres::Error| failure::classify(Phase::Prepare, &e, address);
        let find = "SELECT 1 FROM pg_tables WHERE schemaname = $1 AND tablename = 'format'";
        if client.query(find, &[&self.name]).await.map_err(failed)?.is_empty() {
            return Ok(None);
        }
        let rows = client.query(&self.sql("SELECT version FROM {schema}.format"), &[]).await.map_err(failed)?;
        let [row] = rows.as_slice() else { return Err(failure::damaged(address)) };
        let version: i32 = row.try_get(0).map_err(failed)?;
        match version {
            0.. if version as usize <= MIGRATIONS.len() => Ok(Some(version)),
            0.. => Err(failure::too_new(version, MIGRATIONS.len(), address)),
            _ => Err(failure::damaged(address)),
        }
    }
}

/// The key of the lock that a holder's connection keeps: as long as it is taken, the connection lives. It is another one
/// for each holder of a sync.
const LOCK_KEY: &str = "hashtextextended('rsync state {schema} ' || $1 || ' ' || l.token, 0)";

/// $1 sync, $2 seconds. One row if the sync was free, if its lease has ended, or if its holder's connection has.
pub(crate) fn acquire(schema: &Schema) -> String {
    let text = "
        INSERT INTO {schema}.lease AS l (sync, token, holder, expires_at)
        VALUES ($1, 1,
                concat_ws(' ', current_setting('application_name'), host(inet_client_addr()), 'backend', pg_backend_pid()),
                clock_timestamp() + make_interval(secs => $2))
        ON CONFLICT (sync) DO UPDATE
            SET token = l.token + 1, holder = excluded.holder, expires_at = excluded.expires_at
            WHERE l.expires_at <= clock_timestamp() OR pg_try_advisory_xact_lock(LOCK_KEY)
        RETURNING l.token, pg_try_advisory_lock(LOCK_KEY)";
    schema.sql(&text.replace("LOCK_KEY", LOCK_KEY))
}

/// $1 sync.
pub(crate) fn holder(schema: &Schema) -> String {
    schema.sql("SELECT holder FROM {schema}.lease WHERE sync = $1")
}

/// $1 sync, $2 token, $3 seconds. One row changes if the session still holds the sync.
pub(crate) fn renew(schema: &Schema) -> String {
    schema.sql(
        "UPDATE {schema}.lease SET expires_at = clock_timestamp() + make_interval(secs => $3)
         WHERE sync = $1 AND token = $2 AND expires_at > clock_timestamp()",
    )
}

/// $1 sync, $2 token.
pub(crate) fn release(schema: &Schema) -> String {
    schema.sql("UPDATE {schema}.lease SET expires_at = '-infinity' WHERE sync = $1 AND token = $2")
}

/// $1 sync, $2 token, $3 seconds; tables and keys to delete, $4 and $5; tables, keys and values to put, $6, $7 and $8. No
/// key is in both lists. One row if the session still holds the sync, and nothing is changed if not: the lease's row,
/// which every other holder must change first, stays locked until all is written.
pub(crate) fn commit(schema: &Schema) -> String {
    schema.sql(
        "WITH held AS MATERIALIZED (
             UPDATE {schema}.lease SET expires_at = clock_timestamp() + make_interval(secs => $3)
             WHERE sync = $1 AND token = $2 AND expires_at > clock_timestamp()
             RETURNING sync
         ), deleted AS (
             DELETE FROM {schema}.record r
             USING held, unnest($4::text[], $5::bytea[]) AS gone(tab, key)
             WHERE r.sync = held.sync AND r.tab = gone.tab AND r.key = gone.key
         ), written AS (
             INSERT INTO {schema}.record (sync, tab, key, value)
             SELECT held.sync, new.tab, new.key, new.value
             FROM held, unnest($6::text[], $7::bytea[], $8::bytea[]) AS new(tab, key, value)
             ON CONFLICT (sync, tab, key) DO UPDATE SET value = excluded.value
         )
         SELECT sync FROM held",
    )
}

/// $1 sync, $2 token, $3 table, $4 key. One row: whether the session still holds the sync, and the value.
pub(crate) fn get(schema: &Schema) -> String {
    schema.sql(
        "SELECT l.token = $2, r.value
         FROM {schema}.lease l LEFT JOIN {schema}.record r ON r.sync = l.sync AND r.tab = $3 AND r.key = $4
         WHERE l.sync = $1",
    )
}

/// $1 sync, $2 token, $3 table, $4 first key, $5 limit. One row or more: whether the session still holds the sync, key and
/// value; both null if there is no record.
pub(crate) fn scan(schema: &Schema) -> String {
    schema.sql(
        "SELECT l.token = $2, r.key, r.value
         FROM {schema}.lease l LEFT JOIN LATERAL (
             SELECT key, value FROM {schema}.record WHERE sync = $1 AND tab = $3 AND key >= $4 ORDER BY key LIMIT $5
         ) r ON true
         WHERE l.sync = $1
         ORDER BY r.key",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_are_schemas() {
        for (name, ok) in [
            ("rsync_state", true),
            ("_x1", true),
            ("", false),
            ("1x", false),
            ("State", false),
            ("a b", false),
            ("a\"; DROP SCHEMA public; --", false),
            ("pg_state", false),
            (&"x".repeat(64), false),
        ] {
            assert_eq!(Schema::new(name).is_ok(), ok, "{name}");
        }
        assert!(acquire(&Schema::new("s").unwrap()).contains("INSERT INTO \"s\".lease"));
    }
}
