-- +goose Up
-- generation is given, never counted by the database: of several stores that make the next key at once, the primary key
-- lets exactly one through.
CREATE TABLE signing_keys (
    generation         INTEGER   NOT NULL PRIMARY KEY,
    key_id             TEXT      NOT NULL,
    algorithm          TEXT      NOT NULL,
    public_key         BLOB      NOT NULL,
    sealed_private_key BLOB      NOT NULL,
    create_time        TIMESTAMP NOT NULL CHECK (typeof(create_time) = 'integer')
);
CREATE UNIQUE INDEX signing_keys_key_id ON signing_keys (key_id);

-- +goose Down
DROP TABLE signing_keys;
