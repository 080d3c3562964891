-- The embedded run store, version 1. Times are microseconds since 1970.

CREATE TABLE runs (
    id          TEXT PRIMARY KEY,
    name        TEXT NOT NULL,
    -- Where it was sent: a URL, or `local` for the embedded local Modal.
    target      TEXT NOT NULL,
    status      TEXT NOT NULL,
    reason      TEXT,
    -- Goes up with every controller that takes the run over.
    epoch       INTEGER NOT NULL DEFAULT 0,
    stop_mode   TEXT,
    created_at  INTEGER NOT NULL,
    ended_at    INTEGER
) STRICT;

CREATE INDEX runs_by_time ON runs (created_at);

CREATE TABLE steps (
    run         TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    name        TEXT NOT NULL,
    -- In the order of declaration.
    position    INTEGER NOT NULL,
    status      TEXT NOT NULL,
    attempt     INTEGER NOT NULL DEFAULT 0,
    exit_code   INTEGER,
    reason      TEXT,
    started_at  INTEGER,
    ended_at    INTEGER,
    PRIMARY KEY (run, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE attempts (
    run             TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    step            TEXT NOT NULL,
    number          INTEGER NOT NULL,
    status          TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    sandbox         TEXT,
    PRIMARY KEY (run, step, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE metadata (
    run     TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    -- Empty: about the run.
    step    TEXT NOT NULL,
    key     TEXT NOT NULL,
    -- JSON.
    value   TEXT NOT NULL,
    PRIMARY KEY (run, step, key)
) STRICT, WITHOUT ROWID;
