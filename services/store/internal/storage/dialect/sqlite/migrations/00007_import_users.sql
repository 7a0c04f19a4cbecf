-- +goose Up
-- How far the import of a file is. file_digest is the SHA-256 of the file. A row is changed in the transaction that
-- imports what it tells of.
CREATE TABLE user_imports (
    file_digest  BLOB      NOT NULL PRIMARY KEY,
    bytes        INTEGER   NOT NULL,
    line_count   INTEGER   NOT NULL,
    imported     INTEGER   NOT NULL,
    refused      INTEGER   NOT NULL,
    report_path  TEXT      NOT NULL,
    report_bytes INTEGER   NOT NULL,
    finished     BOOLEAN   NOT NULL CHECK (finished IN (0, 1)),
    create_time  TIMESTAMP NOT NULL CHECK (typeof(create_time) = 'integer'),
    update_time  TIMESTAMP NOT NULL CHECK (typeof(update_time) = 'integer')
);

-- +goose Down
DROP TABLE user_imports;
