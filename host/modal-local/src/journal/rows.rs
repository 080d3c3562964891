//! Records to rows, and back.

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use modal_proto::client as pb;
use prost::Message;
use rusqlite::{Connection, Row, params};

use super::{JournalError, sqlite};
use crate::{
    clock::Timestamp,
    executor::{Exit, Hash, Heads, Outputs},
    ids::{AppId, EnvironmentId, ImageId, SandboxId, SecretId, TaskId},
    names::{IdempotencyKey, Name, Tags},
    sandbox::{Ended, Identity, Phase, Sandbox},
    store::{App, Image, Secret, Snapshot},
};

/// One change to write down.
#[derive(Clone, Debug)]
pub(crate) enum Record {
    Meta(&'static str, Vec<u8>),
    Environment(Name, EnvironmentId),
    App(Arc<App>),
    ForgetApp(AppId),
    Secret(Arc<Secret>),
    ForgetSecret(SecretId),
    Image(Arc<Image>),
    ForgetImage(ImageId),
    Sandbox(Box<SandboxRow>),
    ForgetSandbox(SandboxId),
}

/// A sandbox as it stood when the row was taken.
#[derive(Clone, Debug)]
pub(crate) struct SandboxRow {
    id: SandboxId,
    task_id: TaskId,
    app_id: AppId,
    name: Option<Name>,
    created_at: Timestamp,
    key: Option<IdempotencyKey>,
    definition: Vec<u8>,
    tags: Vec<u8>,
    started_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
    result: Option<Vec<u8>>,
    heads: Heads,
}

/// Everything an earlier server left.
#[derive(Debug, Default)]
pub(crate) struct Recorded {
    pub(crate) token_key: Option<Vec<u8>>,
    pub(crate) environments: Vec<(Name, EnvironmentId)>,
    pub(crate) apps: Vec<App>,
    pub(crate) secrets: Vec<Secret>,
    pub(crate) images: Vec<Image>,
    /// Oldest first, with the beginning of their output. Those without an end
    /// are [`Phase::Starting`].
    pub(crate) sandboxes: Vec<(Sandbox, Heads)>,
}

impl Record {
    /// The key that signs tokens.
    pub(crate) fn token_key(key: [u8; 32]) -> Self {
        Self::Meta(TOKEN_KEY, key.to_vec())
    }

    /// A sandbox as it stands now, or with the end that is about to be
    /// announced.
    pub(crate) fn sandbox(sandbox: &Sandbox, ended: Option<&Ended>) -> Self {
        let phase = sandbox.phase();
        let ended = ended.or_else(|| phase.ended().map(Arc::as_ref));
        Self::Sandbox(Box::new(SandboxRow {
            id: sandbox.id.clone(),
            task_id: sandbox.task_id.clone(),
            app_id: sandbox.app_id.clone(),
            name: sandbox.name.clone(),
            created_at: sandbox.created_at,
            key: sandbox.idempotency_key.clone(),
            definition: sandbox.definition.encode_to_vec(),
            tags: pb::SandboxTagsGetResponse {
                tags: sandbox.tags().to_wire(),
            }
            .encode_to_vec(),
            started_at: ended.and_then(|ended| ended.started_at),
            finished_at: ended.map(|ended| ended.finished_at),
            result: ended.map(|ended| ended.exit.to_wire().encode_to_vec()),
            heads: ended
                .and_then(|ended| ended.outputs.as_ref())
                .map_or_else(Heads::default, Outputs::heads),
        }))
    }
}

const TOKEN_KEY: &str = "token_key";

pub(super) fn write(connection: &Connection, record: &Record) -> rusqlite::Result<()> {
    let execute = |sql: &str, params: &[&dyn rusqlite::ToSql]| {
        connection.prepare_cached(sql)?.execute(params).map(drop)
    };
    match record {
        Record::Meta(key, value) => {
            execute("REPLACE INTO meta VALUES (?1, ?2)", params![key, value])
        }
        Record::Environment(name, id) => execute(
            "REPLACE INTO environments VALUES (?1, ?2)",
            params![name.as_str(), id.as_str()],
        ),
        Record::App(app) => execute(
            "REPLACE INTO apps VALUES (?1, ?2, ?3, ?4, ?5)",
            params![
                app.id.as_str(),
                app.environment.as_str(),
                app.name.as_ref().map(Name::as_str),
                app.created_at.micros(),
                app.key.as_ref().map(IdempotencyKey::as_str),
            ],
        ),
        Record::Secret(secret) => execute(
            "REPLACE INTO secrets VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                secret.id.as_str(),
                secret.environment.as_str(),
                secret.name.as_ref().map(Name::as_str),
                secret.created_at.micros(),
                secret.key.as_ref().map(IdempotencyKey::as_str),
                secret.env.encode_to_vec(),
            ],
        ),
        Record::Image(image) => execute(
            "REPLACE INTO images VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                image.id.as_str(),
                image.created_at.micros(),
                image.builder_version,
                image.definition.encode_to_vec(),
                image
                    .snapshot
                    .map(|snapshot| snapshot.hash.as_bytes().to_vec()),
                image
                    .snapshot
                    .and_then(|snapshot| snapshot.expires_at)
                    .map(Timestamp::micros),
            ],
        ),
        Record::Sandbox(row) => execute(
            "REPLACE INTO sandboxes
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
            params![
                row.id.as_str(),
                row.task_id.as_str(),
                row.app_id.as_str(),
                row.name.as_ref().map(Name::as_str),
                row.created_at.micros(),
                row.key.as_ref().map(IdempotencyKey::as_str),
                row.definition,
                row.tags,
                row.started_at.map(Timestamp::micros),
                row.finished_at.map(Timestamp::micros),
                row.result,
                some(&row.heads.stdout),
                some(&row.heads.stderr),
            ],
        ),
        Record::ForgetApp(id) => execute("DELETE FROM apps WHERE id = ?1", params![id.as_str()]),
        Record::ForgetSecret(id) => {
            execute("DELETE FROM secrets WHERE id = ?1", params![id.as_str()])
        }
        Record::ForgetImage(id) => {
            execute("DELETE FROM images WHERE id = ?1", params![id.as_str()])
        }
        Record::ForgetSandbox(id) => {
            execute("DELETE FROM sandboxes WHERE id = ?1", params![id.as_str()])
        }
    }
}

pub(super) fn load(connection: &Connection, path: &Path) -> Result<Recorded, JournalError> {
    let reader = Reader { connection, path };
    Ok(Recorded {
        token_key: reader
            .all("SELECT value FROM meta WHERE key = 'token_key'", |row| {
                Ok(row.get::<_, Vec<u8>>(0)?)
            })?
            .pop(),
        environments: reader.all("SELECT name, id FROM environments", |row| {
            Ok((
                Name::recorded(row.get(0)?),
                EnvironmentId::from_text(row.get::<_, String>(1)?),
            ))
        })?,
        apps: reader.all(
            "SELECT id, environment, name, created_at, idempotency_key
             FROM apps ORDER BY created_at",
            |row| {
                Ok(App {
                    id: AppId::from_text(row.get::<_, String>(0)?),
                    environment: Name::recorded(row.get(1)?),
                    name: row.get::<_, Option<String>>(2)?.map(Name::recorded),
                    created_at: Timestamp::from_micros(row.get(3)?),
                    key: key(row, 4)?,
                })
            },
        )?,
        secrets: reader.all(
            "SELECT id, environment, name, created_at, idempotency_key, env_message
             FROM secrets ORDER BY created_at",
            |row| {
                Ok(Secret {
                    id: SecretId::from_text(row.get::<_, String>(0)?),
                    environment: Name::recorded(row.get(1)?),
                    name: row.get::<_, Option<String>>(2)?.map(Name::recorded),
                    created_at: Timestamp::from_micros(row.get(3)?),
                    key: key(row, 4)?,
                    env: message(row, 5)?,
                })
            },
        )?,
        images: reader.all(
            "SELECT id, created_at, builder_version, image_message, snapshot_hash, expires_at
             FROM images ORDER BY created_at",
            |row| {
                Ok(Image {
                    id: ImageId::from_text(row.get::<_, String>(0)?),
                    created_at: Timestamp::from_micros(row.get(1)?),
                    builder_version: row.get(2)?,
                    definition: message(row, 3)?,
                    snapshot: snapshot(row)?,
                })
            },
        )?,
        sandboxes: reader.all(
            "SELECT id, task_id, app_id, name, created_at, idempotency_key,
                    definition_message, tags_message, started_at, finished_at, result_message,
                    stdout_head, stderr_head
             FROM sandboxes ORDER BY created_at",
            sandbox,
        )?,
    })
}

/// Most streams are empty, and most columns NULL.
fn some(head: &[u8]) -> Option<&[u8]> {
    (!head.is_empty()).then_some(head)
}

fn snapshot(row: &Row<'_>) -> Result<Option<Snapshot>, RowError> {
    let hash: Option<Vec<u8>> = row.get(4)?;
    let expires_at: Option<i64> = row.get(5)?;
    Ok(hash
        .and_then(|hash| Hash::from_slice(&hash))
        .map(|hash| Snapshot {
            hash,
            expires_at: expires_at.map(Timestamp::from_micros),
        }))
}

fn sandbox(row: &Row<'_>) -> Result<(Sandbox, Heads), RowError> {
    let finished_at: Option<i64> = row.get(9)?;
    let phase = match finished_at {
        None => Phase::Starting,
        Some(finished_at) => {
            let result: pb::GenericResult = message(row, 10)?;
            Phase::Ended(Arc::new(Ended {
                exit: Exit {
                    status: result.status(),
                    code: result.exitcode,
                    reason: result.exception,
                },
                started_at: row.get::<_, Option<i64>>(8)?.map(Timestamp::from_micros),
                finished_at: Timestamp::from_micros(finished_at),
                outputs: None,
            }))
        }
    };
    let tags: pb::SandboxTagsGetResponse = message(row, 7)?;
    let identity = Identity {
        id: SandboxId::from_text(row.get::<_, String>(0)?),
        task_id: TaskId::from_text(row.get::<_, String>(1)?),
        app_id: AppId::from_text(row.get::<_, String>(2)?),
        name: row.get::<_, Option<String>>(3)?.map(Name::recorded),
        created_at: Timestamp::from_micros(row.get(4)?),
        idempotency_key: key(row, 5)?,
        definition: message(row, 6)?,
        tags: Tags::recorded(tags.tags),
    };
    let head = |column: usize| -> Result<Bytes, RowError> {
        let head: Option<Vec<u8>> = row.get(column)?;
        Ok(Bytes::from(head.unwrap_or_default()))
    };
    let heads = Heads {
        stdout: head(11)?,
        stderr: head(12)?,
    };
    Ok((Sandbox::new(identity, phase), heads))
}

struct Reader<'a> {
    connection: &'a Connection,
    path: &'a Path,
}

enum RowError {
    Sqlite(rusqlite::Error),
    Damaged(prost::DecodeError),
}

impl From<rusqlite::Error> for RowError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl Reader<'_> {
    fn all<T>(
        &self,
        sql: &str,
        mut item: impl FnMut(&Row<'_>) -> Result<T, RowError>,
    ) -> Result<Vec<T>, JournalError> {
        let failed = sqlite(self.path);
        let mut statement = self.connection.prepare(sql).map_err(&failed)?;
        let mut rows = statement.query([]).map_err(&failed)?;
        let mut items = Vec::new();
        while let Some(row) = rows.next().map_err(&failed)? {
            items.push(item(row).map_err(|error| match error {
                RowError::Sqlite(source) => failed(source),
                RowError::Damaged(source) => JournalError::Damaged {
                    path: self.path.to_owned(),
                    source,
                },
            })?);
        }
        Ok(items)
    }
}

fn key(row: &Row<'_>, column: usize) -> Result<Option<IdempotencyKey>, RowError> {
    Ok(row
        .get::<_, Option<String>>(column)?
        .map(IdempotencyKey::recorded))
}

fn message<M: Message + Default>(row: &Row<'_>, column: usize) -> Result<M, RowError> {
    let bytes: Vec<u8> = row.get(column)?;
    M::decode(bytes.as_slice()).map_err(RowError::Damaged)
}
