-- +goose Up
-- generation is given, never counted by the database: of several stores that make the next key at once, the primary key
-- lets exactly one through.
CREATE TABLE IF NOT EXISTS signing_keys (
    generation         BIGINT                                               NOT NULL,
    key_id             VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin    NOT NULL,
    algorithm          VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin    NOT NULL,
    public_key         VARBINARY(1024)                                      NOT NULL,
    sealed_private_key VARBINARY(4096)                                      NOT NULL,
    create_time        DATETIME(6)                                          NOT NULL,
    PRIMARY KEY (generation),
    UNIQUE KEY signing_keys_key_id (key_id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- +goose Down
DROP TABLE IF EXISTS signing_keys;
