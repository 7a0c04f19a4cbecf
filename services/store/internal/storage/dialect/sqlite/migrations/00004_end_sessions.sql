-- +goose Up
-- The defaults are for sessions that a store of the version before opens meanwhile: they have no refresh token, and no
-- access token that outlives a day. 4102444800000000 is the year 2100 in microseconds.
ALTER TABLE users ADD COLUMN session_generation INTEGER NOT NULL DEFAULT 0;

ALTER TABLE sessions ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN version INTEGER NOT NULL DEFAULT 1;
ALTER TABLE sessions ADD COLUMN last_use_time TIMESTAMP NOT NULL DEFAULT 0 CHECK (typeof(last_use_time) = 'integer');
ALTER TABLE sessions ADD COLUMN expire_time TIMESTAMP NOT NULL DEFAULT 4102444800000000
    CHECK (typeof(expire_time) = 'integer');
ALTER TABLE sessions ADD COLUMN end_time TIMESTAMP NULL CHECK (typeof(end_time) IN ('integer', 'null'));
ALTER TABLE sessions ADD COLUMN end_reason TEXT NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN user_agent TEXT NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN client_address TEXT NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN current_token INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN parent_token INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN rotate_time TIMESTAMP NOT NULL DEFAULT 0 CHECK (typeof(rotate_time) = 'integer');

UPDATE sessions SET last_use_time = create_time, expire_time = create_time + 86400000000 WHERE last_use_time = 0;

-- With the id, so that a page of the list is read in its order.
DROP INDEX sessions_user_id;
CREATE INDEX sessions_user_id ON sessions (user_id, id);
CREATE INDEX sessions_expire_time ON sessions (expire_time);

-- +goose Down
DROP INDEX sessions_expire_time;
DROP INDEX sessions_user_id;
CREATE INDEX sessions_user_id ON sessions (user_id);
ALTER TABLE sessions DROP COLUMN rotate_time;
ALTER TABLE sessions DROP COLUMN parent_token;
ALTER TABLE sessions DROP COLUMN current_token;
ALTER TABLE sessions DROP COLUMN client_address;
ALTER TABLE sessions DROP COLUMN user_agent;
ALTER TABLE sessions DROP COLUMN end_reason;
ALTER TABLE sessions DROP COLUMN end_time;
ALTER TABLE sessions DROP COLUMN expire_time;
ALTER TABLE sessions DROP COLUMN last_use_time;
ALTER TABLE sessions DROP COLUMN version;
ALTER TABLE sessions DROP COLUMN generation;
ALTER TABLE users DROP COLUMN session_generation;
