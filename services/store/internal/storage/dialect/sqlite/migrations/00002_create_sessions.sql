-- +goose Up
CREATE TABLE sessions (
    id          TEXT      NOT NULL PRIMARY KEY,
    user_id     TEXT      NOT NULL REFERENCES users (id),
    create_time TIMESTAMP NOT NULL CHECK (typeof(create_time) = 'integer')
);
CREATE INDEX sessions_user_id ON sessions (user_id);

-- +goose Down
DROP TABLE sessions;
