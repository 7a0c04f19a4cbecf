-- +goose Up
-- ALTER TABLE has no IF NOT EXISTS in MySQL. Each is made only where it is missing, so that a migration that died
-- half-way can be run again. The defaults are for sessions that a store of the version before opens meanwhile: they have
-- no refresh token, and no access token that outlives a day.
SET @alter_users = IF(
    (SELECT COUNT(*) FROM information_schema.columns
     WHERE table_schema = DATABASE() AND table_name = 'users' AND column_name = 'session_generation') = 0,
    'ALTER TABLE users ADD COLUMN session_generation BIGINT NOT NULL DEFAULT 0',
    'DO 0');
PREPARE alter_users FROM @alter_users;
EXECUTE alter_users;
DEALLOCATE PREPARE alter_users;

SET @alter_sessions = IF(
    (SELECT COUNT(*) FROM information_schema.columns
     WHERE table_schema = DATABASE() AND table_name = 'sessions' AND column_name = 'generation') = 0,
    'ALTER TABLE sessions
        ADD COLUMN generation     BIGINT      NOT NULL DEFAULT 0,
        ADD COLUMN version        BIGINT      NOT NULL DEFAULT 1,
        ADD COLUMN last_use_time  DATETIME(6) NOT NULL DEFAULT ''1970-01-01 00:00:00'',
        ADD COLUMN expire_time    DATETIME(6) NOT NULL DEFAULT ''2100-01-01 00:00:00'',
        ADD COLUMN end_time       DATETIME(6) NULL,
        ADD COLUMN end_reason     VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '''',
        ADD COLUMN user_agent     VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL DEFAULT '''',
        ADD COLUMN client_address VARCHAR(45) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '''',
        ADD COLUMN current_token  BIGINT      NOT NULL DEFAULT 0,
        ADD COLUMN parent_token   BIGINT      NOT NULL DEFAULT 0,
        ADD COLUMN rotate_time    DATETIME(6) NOT NULL DEFAULT ''1970-01-01 00:00:00'',
        ADD KEY sessions_expire_time (expire_time)',
    'DO 0');
PREPARE alter_sessions FROM @alter_sessions;
EXECUTE alter_sessions;
DEALLOCATE PREPARE alter_sessions;

UPDATE sessions
SET last_use_time = create_time, expire_time = create_time + INTERVAL 1 DAY
WHERE last_use_time = '1970-01-01 00:00:00';

-- +goose Down
ALTER TABLE sessions
    DROP KEY sessions_expire_time,
    DROP COLUMN generation,
    DROP COLUMN version,
    DROP COLUMN last_use_time,
    DROP COLUMN expire_time,
    DROP COLUMN end_time,
    DROP COLUMN end_reason,
    DROP COLUMN user_agent,
    DROP COLUMN client_address,
    DROP COLUMN current_token,
    DROP COLUMN parent_token,
    DROP COLUMN rotate_time;
ALTER TABLE users DROP COLUMN session_generation;
