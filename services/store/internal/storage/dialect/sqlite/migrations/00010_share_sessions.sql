-- +goose Up
-- What a lineage of refresh tokens remembers beyond the current token and its parent, and the client before the last
-- one. The defaults are for sessions that a store of the version before opens meanwhile.
ALTER TABLE sessions ADD COLUMN first_token INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN token_repeats INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN token_refused BOOLEAN NOT NULL DEFAULT FALSE CHECK (token_refused IN (0, 1));
ALTER TABLE sessions ADD COLUMN recent_trades BLOB NOT NULL DEFAULT x'';
ALTER TABLE sessions ADD COLUMN previous_client_address TEXT NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN previous_user_agent TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE sessions DROP COLUMN previous_user_agent;
ALTER TABLE sessions DROP COLUMN previous_client_address;
ALTER TABLE sessions DROP COLUMN recent_trades;
ALTER TABLE sessions DROP COLUMN token_refused;
ALTER TABLE sessions DROP COLUMN token_repeats;
ALTER TABLE sessions DROP COLUMN first_token;
