-- +goose Up
-- Text is compared byte by byte: BINARY is SQLite's default collation. Times are whole microseconds since 1970 UTC; the
-- driver turns them into times because their columns are declared TIMESTAMP, and the checks keep out anything that it
-- would read otherwise.
CREATE TABLE users (
    id              TEXT      NOT NULL PRIMARY KEY,
    email           TEXT      NOT NULL,
    canonical_email TEXT      NOT NULL,
    full_name       TEXT      NOT NULL,
    create_time     TIMESTAMP NOT NULL CHECK (typeof(create_time) = 'integer'),
    update_time     TIMESTAMP NOT NULL CHECK (typeof(update_time) = 'integer'),
    version         INTEGER   NOT NULL
);
CREATE UNIQUE INDEX users_canonical_email ON users (canonical_email);

CREATE TABLE credentials (
    user_id       TEXT NOT NULL PRIMARY KEY REFERENCES users (id),
    password_hash TEXT NOT NULL
);

-- +goose Down
DROP TABLE credentials;
DROP TABLE users;
