-- +goose Up
CREATE TABLE IF NOT EXISTS sessions (
    id          VARBINARY(36) NOT NULL,
    user_id     VARBINARY(36) NOT NULL,
    create_time DATETIME(6)   NOT NULL,
    PRIMARY KEY (id),
    KEY sessions_user_id (user_id),
    CONSTRAINT sessions_user FOREIGN KEY (user_id) REFERENCES users (id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- +goose Down
DROP TABLE IF EXISTS sessions;
