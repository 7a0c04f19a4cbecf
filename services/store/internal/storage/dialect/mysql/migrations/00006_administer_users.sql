-- +goose Up
-- ALTER TABLE has no IF NOT EXISTS in MySQL: one statement adds all, or none if a migration that died has added them.
-- The defaults are for users whom a store of the version before makes meanwhile.
--
-- Users are listed by their addresses, whatever they are picked by.
SET @alter_users = IF(
    (SELECT COUNT(*) FROM information_schema.columns
     WHERE table_schema = DATABASE() AND table_name = 'users' AND column_name = 'state') = 0,
    'ALTER TABLE users
        ADD COLUMN state        VARCHAR(16)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT ''ACTIVE'',
        ADD COLUMN is_admin     BOOLEAN      NOT NULL DEFAULT FALSE,
        ADD COLUMN locale       VARCHAR(35)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '''',
        ADD COLUMN time_zone    VARCHAR(64)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '''',
        ADD COLUMN picture_uri  VARCHAR(2048) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '''',
        ADD COLUMN metadata     VARBINARY(16384) NOT NULL DEFAULT '''',
        ADD COLUMN app_metadata VARBINARY(16384) NOT NULL DEFAULT '''',
        ADD KEY users_state (state, canonical_email),
        ADD KEY users_admin (is_admin, canonical_email)',
    'DO 0');
PREPARE alter_users FROM @alter_users;
EXECUTE alter_users;
DEALLOCATE PREPARE alter_users;

-- What is left of a user who was deleted, so that nobody ever gets the id again.
CREATE TABLE IF NOT EXISTS user_tombstones (
    id          VARBINARY(36) NOT NULL,
    delete_time DATETIME(6)   NOT NULL,
    version     BIGINT        NOT NULL,
    PRIMARY KEY (id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- A row for each rule that is about several rows. Whoever could break the rule changes the row first, so that of two who
-- would break it together the second waits for the first; nodes of a cluster find the conflict at commit.
CREATE TABLE IF NOT EXISTS guards (
    name    VARBINARY(32) NOT NULL,
    changes BIGINT        NOT NULL,
    PRIMARY KEY (name)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
INSERT IGNORE INTO guards (name, changes) VALUES ('admins', 0);

-- Sign-ups that can be sent again. request_id is a digest of the one that was sent.
CREATE TABLE IF NOT EXISTS sign_up_requests (
    request_id    BINARY(32)    NOT NULL,
    fingerprint   BINARY(32)    NOT NULL,
    user_id       VARBINARY(36) NOT NULL,
    password_hash VARCHAR(512) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    create_time   DATETIME(6)   NOT NULL,
    PRIMARY KEY (request_id),
    KEY sign_up_requests_create_time (create_time),
    KEY sign_up_requests_user_id (user_id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Ids begin with the time. There are no foreign keys: an event outlives what it is about.
CREATE TABLE IF NOT EXISTS audit_events (
    id             VARBINARY(36)  NOT NULL,
    event_time     DATETIME(6)    NOT NULL,
    kind           VARBINARY(32)  NOT NULL,
    reason         VARCHAR(64)    CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    actor          VARBINARY(36)  NOT NULL,
    user_id        VARBINARY(36)  NOT NULL,
    session_id     VARBINARY(36)  NOT NULL,
    client_address VARCHAR(45)    CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    user_agent     VARCHAR(256)   CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    request_id     VARCHAR(128)   CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    details        VARBINARY(1024) NOT NULL,
    PRIMARY KEY (id),
    KEY audit_events_user_id (user_id, id),
    KEY audit_events_actor (actor, id),
    KEY audit_events_kind (kind, id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- +goose Down
DROP TABLE IF EXISTS audit_events;
DROP TABLE IF EXISTS sign_up_requests;
DROP TABLE IF EXISTS guards;
DROP TABLE IF EXISTS user_tombstones;
ALTER TABLE users
    DROP KEY users_admin,
    DROP KEY users_state,
    DROP COLUMN app_metadata,
    DROP COLUMN metadata,
    DROP COLUMN picture_uri,
    DROP COLUMN time_zone,
    DROP COLUMN locale,
    DROP COLUMN is_admin,
    DROP COLUMN state;
