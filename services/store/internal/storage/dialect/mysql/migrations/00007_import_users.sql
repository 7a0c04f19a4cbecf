-- +goose Up
-- How far the import of a file is. file_digest is the SHA-256 of the file. A row is changed in the transaction that
-- imports what it tells of.
CREATE TABLE IF NOT EXISTS user_imports (
    file_digest  BINARY(32)  NOT NULL,
    bytes        BIGINT      NOT NULL,
    line_count   BIGINT      NOT NULL,
    imported     BIGINT      NOT NULL,
    refused      BIGINT      NOT NULL,
    report_path  TEXT        NOT NULL,
    report_bytes BIGINT      NOT NULL,
    finished     BOOLEAN     NOT NULL,
    create_time  DATETIME(6) NOT NULL,
    update_time  DATETIME(6) NOT NULL,
    PRIMARY KEY (file_digest)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- +goose Down
DROP TABLE IF EXISTS user_imports;
