-- +goose Up
-- What a lineage of refresh tokens remembers beyond the current token and its parent, and the client before the last
-- one. The defaults are for sessions that a store of the version before opens meanwhile.
--
-- Only where the columns are missing, so that a migration that died can be run again.
SET @alter_sessions = IF(
    (SELECT COUNT(*) FROM information_schema.columns
     WHERE table_schema = DATABASE() AND table_name = 'sessions' AND column_name = 'first_token') = 0,
    'ALTER TABLE sessions
        ADD COLUMN first_token             BIGINT         NOT NULL DEFAULT 0,
        ADD COLUMN token_repeats           BIGINT         NOT NULL DEFAULT 0,
        ADD COLUMN token_refused           BOOLEAN        NOT NULL DEFAULT FALSE,
        ADD COLUMN recent_trades           VARBINARY(256) NOT NULL DEFAULT '''',
        ADD COLUMN previous_client_address VARCHAR(45) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '''',
        ADD COLUMN previous_user_agent     VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL DEFAULT ''''',
    'DO 0');
PREPARE alter_sessions FROM @alter_sessions;
EXECUTE alter_sessions;
DEALLOCATE PREPARE alter_sessions;

-- +goose Down
ALTER TABLE sessions
    DROP COLUMN first_token,
    DROP COLUMN token_repeats,
    DROP COLUMN token_refused,
    DROP COLUMN recent_trades,
    DROP COLUMN previous_client_address,
    DROP COLUMN previous_user_agent;
