-- +goose Up
-- Changes of users and sessions, each written in the transaction that makes it.
CREATE TABLE changes (
    id          INTEGER   NOT NULL PRIMARY KEY,
    user_id     TEXT      NOT NULL,
    session_id  TEXT      NOT NULL,
    version     INTEGER   NOT NULL,
    ended       BOOLEAN   NOT NULL CHECK (ended IN (0, 1)),
    create_time TIMESTAMP NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000000 AS INTEGER))
        CHECK (typeof(create_time) = 'integer')
);

-- The same, once each has its place: sequences become visible in their order and without holes. The last one that was
-- given is in guards.
CREATE TABLE feed (
    sequence      INTEGER   NOT NULL PRIMARY KEY,
    user_id       TEXT      NOT NULL,
    session_id    TEXT      NOT NULL,
    version       INTEGER   NOT NULL,
    ended         BOOLEAN   NOT NULL CHECK (ended IN (0, 1)),
    create_time   TIMESTAMP NOT NULL CHECK (typeof(create_time) = 'integer'),
    sequence_time TIMESTAMP NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000000 AS INTEGER))
        CHECK (typeof(sequence_time) = 'integer')
);
CREATE INDEX feed_sequence_time ON feed (sequence_time);
INSERT INTO guards (name, changes) VALUES ('feed', 0);

-- What tells the life of the database from the one before it was restored to an earlier point.
CREATE TABLE epochs (
    name  TEXT NOT NULL PRIMARY KEY,
    epoch TEXT NOT NULL
);
INSERT INTO epochs (name, epoch) VALUES ('feed', lower(hex(randomblob(16))));

-- +goose Down
DROP TABLE epochs;
DELETE FROM guards WHERE name = 'feed';
DROP TABLE feed;
DROP TABLE changes;
