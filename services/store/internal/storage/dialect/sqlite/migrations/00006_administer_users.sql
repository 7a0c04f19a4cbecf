-- +goose Up
-- The defaults are for users whom a store of the version before makes meanwhile.
ALTER TABLE users ADD COLUMN state TEXT NOT NULL DEFAULT 'ACTIVE';
ALTER TABLE users ADD COLUMN is_admin BOOLEAN NOT NULL DEFAULT FALSE CHECK (is_admin IN (0, 1));
ALTER TABLE users ADD COLUMN locale TEXT NOT NULL DEFAULT '';
ALTER TABLE users ADD COLUMN time_zone TEXT NOT NULL DEFAULT '';
ALTER TABLE users ADD COLUMN picture_uri TEXT NOT NULL DEFAULT '';
ALTER TABLE users ADD COLUMN metadata TEXT NOT NULL DEFAULT '';
ALTER TABLE users ADD COLUMN app_metadata TEXT NOT NULL DEFAULT '';

-- Users are listed by their addresses, whatever they are picked by.
CREATE INDEX users_state ON users (state, canonical_email);
CREATE INDEX users_admin ON users (is_admin, canonical_email);

-- What is left of a user who was deleted, so that nobody ever gets the id again.
CREATE TABLE user_tombstones (
    id          TEXT      NOT NULL PRIMARY KEY,
    delete_time TIMESTAMP NOT NULL CHECK (typeof(delete_time) = 'integer'),
    version     INTEGER   NOT NULL
);

-- A row for each rule that is about several rows. Whoever could break the rule changes the row first, so that of two who
-- would break it together the second waits for the first; nodes of a cluster find the conflict at commit.
CREATE TABLE guards (
    name    TEXT    NOT NULL PRIMARY KEY,
    changes INTEGER NOT NULL
);
INSERT INTO guards (name, changes) VALUES ('admins', 0);

-- Sign-ups that can be sent again. request_id is a digest of the one that was sent.
CREATE TABLE sign_up_requests (
    request_id    BLOB      NOT NULL PRIMARY KEY,
    fingerprint   BLOB      NOT NULL,
    user_id       TEXT      NOT NULL,
    password_hash TEXT      NOT NULL,
    create_time   TIMESTAMP NOT NULL CHECK (typeof(create_time) = 'integer')
);
CREATE INDEX sign_up_requests_create_time ON sign_up_requests (create_time);
CREATE INDEX sign_up_requests_user_id ON sign_up_requests (user_id);

-- Ids begin with the time. There are no foreign keys: an event outlives what it is about.
CREATE TABLE audit_events (
    id             TEXT      NOT NULL PRIMARY KEY,
    event_time     TIMESTAMP NOT NULL CHECK (typeof(event_time) = 'integer'),
    kind           TEXT      NOT NULL,
    reason         TEXT      NOT NULL,
    actor          TEXT      NOT NULL,
    user_id        TEXT      NOT NULL,
    session_id     TEXT      NOT NULL,
    client_address TEXT      NOT NULL,
    user_agent     TEXT      NOT NULL,
    request_id     TEXT      NOT NULL,
    details        TEXT      NOT NULL
);
CREATE INDEX audit_events_user_id ON audit_events (user_id, id);
CREATE INDEX audit_events_actor ON audit_events (actor, id);
CREATE INDEX audit_events_kind ON audit_events (kind, id);

-- +goose StatementBegin
CREATE TRIGGER audit_events_are_not_changed BEFORE UPDATE ON audit_events
BEGIN
    SELECT RAISE(ABORT, 'audit events are never changed');
END;
-- +goose StatementEnd

-- +goose Down
DROP TABLE audit_events;
DROP TABLE sign_up_requests;
DROP TABLE guards;
DROP TABLE user_tombstones;
DROP INDEX users_admin;
DROP INDEX users_state;
ALTER TABLE users DROP COLUMN app_metadata;
ALTER TABLE users DROP COLUMN metadata;
ALTER TABLE users DROP COLUMN picture_uri;
ALTER TABLE users DROP COLUMN time_zone;
ALTER TABLE users DROP COLUMN locale;
ALTER TABLE users DROP COLUMN is_admin;
ALTER TABLE users DROP COLUMN state;
