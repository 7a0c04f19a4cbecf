-- +goose Up
-- Changes of users and sessions, each written in the transaction that makes it. The ids are in no order that anybody may
-- rely on: that of a transaction which is committed late is low.
CREATE TABLE IF NOT EXISTS changes (
    id          BIGINT        NOT NULL AUTO_INCREMENT,
    user_id     VARBINARY(36) NOT NULL,
    session_id  VARBINARY(36) NOT NULL,
    version     BIGINT        NOT NULL,
    ended       BOOLEAN       NOT NULL,
    create_time DATETIME(6)   NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    PRIMARY KEY (id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- The same, once each has its place: sequences become visible in their order and without holes. The last one that was
-- given is in guards.
CREATE TABLE IF NOT EXISTS feed (
    sequence      BIGINT        NOT NULL,
    user_id       VARBINARY(36) NOT NULL,
    session_id    VARBINARY(36) NOT NULL,
    version       BIGINT        NOT NULL,
    ended         BOOLEAN       NOT NULL,
    create_time   DATETIME(6)   NOT NULL,
    sequence_time DATETIME(6)   NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    PRIMARY KEY (sequence),
    KEY feed_sequence_time (sequence_time)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
INSERT IGNORE INTO guards (name, changes) VALUES ('feed', 0);

-- What tells the life of the database from the one before it was restored to an earlier point.
CREATE TABLE IF NOT EXISTS epochs (
    name  VARBINARY(32) NOT NULL,
    epoch VARBINARY(64) NOT NULL,
    PRIMARY KEY (name)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
INSERT IGNORE INTO epochs (name, epoch) VALUES ('feed', UUID());

-- +goose Down
DROP TABLE IF EXISTS epochs;
DELETE FROM guards WHERE name = 'feed';
DROP TABLE IF EXISTS feed;
DROP TABLE IF EXISTS changes;
