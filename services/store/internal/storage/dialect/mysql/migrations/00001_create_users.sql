-- +goose Up
-- MySQL and MariaDB commit each statement of DDL by itself. IF NOT EXISTS lets a migration that died half-way be run
-- again.
--
-- What is looked up is bytes, not text: every collation that MySQL and MariaDB share takes some different addresses for
-- one, at least those that differ in trailing spaces, and an ASCII column fails when it is compared with other letters.
-- 1,024 bytes hold the canonical form of any address of 254 bytes, and are well under the 3,072 that an index takes.
CREATE TABLE IF NOT EXISTS users (
    id              VARBINARY(36)                                           NOT NULL,
    email           VARCHAR(1024) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    canonical_email VARBINARY(1024)                                         NOT NULL,
    full_name       VARCHAR(200) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin  NOT NULL,
    create_time     DATETIME(6)                                             NOT NULL,
    update_time     DATETIME(6)                                             NOT NULL,
    version         BIGINT                                                  NOT NULL,
    PRIMARY KEY (id),
    UNIQUE KEY users_canonical_email (canonical_email)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS credentials (
    user_id       VARBINARY(36)                                      NOT NULL,
    password_hash VARCHAR(512) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    PRIMARY KEY (user_id),
    CONSTRAINT credentials_user FOREIGN KEY (user_id) REFERENCES users (id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- +goose Down
DROP TABLE IF EXISTS credentials;
DROP TABLE IF EXISTS users;
