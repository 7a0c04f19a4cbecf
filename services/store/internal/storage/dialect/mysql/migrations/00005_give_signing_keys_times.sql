-- +goose Up
-- activate_time is when the key begins to sign. It is NULL for the keys that a store of before this migration made:
-- these sign since they were made.
--
-- token_lifetime is that of the longest token which a store makes with the key, in seconds. How long those of before
-- this migration were is not known; a day is the most that they could be.
--
-- One statement adds both columns, or none if a migration that died has added them: MySQL has no ADD COLUMN IF NOT
-- EXISTS.
SET @add_times = IF(
    (SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = DATABASE()
        AND table_name = 'signing_keys' AND column_name = 'activate_time') = 0,
    'ALTER TABLE signing_keys ADD COLUMN activate_time DATETIME(6) NULL, ADD COLUMN token_lifetime BIGINT NOT NULL DEFAULT 86400',
    'DO 0');
PREPARE add_times FROM @add_times;
EXECUTE add_times;
DEALLOCATE PREPARE add_times;

-- +goose Down
ALTER TABLE signing_keys DROP COLUMN token_lifetime, DROP COLUMN activate_time;
