-- +goose Up
-- The sequence of the last change in the feed. It was a row of guards before. A store of the version before gives no
-- change a sequence without that row, so that no sequence can be given twice.
CREATE TABLE feed_head (
    id       INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    sequence INTEGER NOT NULL
);
INSERT INTO feed_head (id, sequence) SELECT 1, changes FROM guards WHERE name = 'feed';
DELETE FROM guards WHERE name = 'feed';

-- +goose Down
INSERT INTO guards (name, changes) SELECT 'feed', sequence FROM feed_head WHERE id = 1;
DROP TABLE feed_head;
