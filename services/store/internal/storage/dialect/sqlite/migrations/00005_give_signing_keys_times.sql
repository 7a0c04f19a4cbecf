-- +goose Up
-- activate_time is when the key begins to sign. It is NULL for the keys that a store of before this migration made:
-- these sign since they were made.
--
-- token_lifetime is that of the longest token which a store makes with the key, in seconds. How long those of before
-- this migration were is not known; a day is the most that they could be.
ALTER TABLE signing_keys ADD COLUMN activate_time TIMESTAMP
    CHECK (activate_time IS NULL OR typeof(activate_time) = 'integer');
ALTER TABLE signing_keys ADD COLUMN token_lifetime INTEGER NOT NULL DEFAULT 86400;

-- +goose Down
ALTER TABLE signing_keys DROP COLUMN token_lifetime;
ALTER TABLE signing_keys DROP COLUMN activate_time;
