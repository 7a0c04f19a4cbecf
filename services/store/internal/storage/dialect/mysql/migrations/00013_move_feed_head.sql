-- +goose Up
-- The sequence of the last change in the feed. It was a row of guards before. A store of the version before gives no
-- change a sequence without that row, so that no sequence can be given twice.
CREATE TABLE IF NOT EXISTS feed_head (
    id       TINYINT NOT NULL,
    sequence BIGINT  NOT NULL,
    PRIMARY KEY (id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
INSERT IGNORE INTO feed_head (id, sequence) VALUES (1, 0);
UPDATE feed_head SET sequence =
    GREATEST(sequence, (SELECT COALESCE(MAX(changes), 0) FROM guards WHERE name = 'feed')) WHERE id = 1;
DELETE FROM guards WHERE name = 'feed';
-- What a store of the version before has added between the last two statements.
UPDATE feed_head SET sequence =
    GREATEST(sequence, (SELECT COALESCE(MAX(sequence), 0) FROM feed)) WHERE id = 1;

-- +goose Down
INSERT IGNORE INTO guards (name, changes) SELECT 'feed', sequence FROM feed_head WHERE id = 1;
DROP TABLE IF EXISTS feed_head;
