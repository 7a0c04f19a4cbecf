-- +goose Up
-- Failures of one kind, account and network within an hour are one event, whose failure_key they share. It is NULL for
-- every other event, and for those that a store of the version before writes meanwhile. repeats counts those after the
-- first, and last_time is of the last of these.
--
-- ALTER TABLE has no IF NOT EXISTS in MySQL: one statement adds all, or none if a migration that died has added them.
SET @alter_events = IF(
    (SELECT COUNT(*) FROM information_schema.columns
     WHERE table_schema = DATABASE() AND table_name = 'audit_events' AND column_name = 'failure_key') = 0,
    'ALTER TABLE audit_events
        ADD COLUMN failure_key VARBINARY(32) NULL,
        ADD COLUMN repeats     BIGINT        NOT NULL DEFAULT 0,
        ADD COLUMN last_time   DATETIME(6)   NULL,
        ADD UNIQUE KEY audit_events_failure_key (failure_key)',
    'DO 0');
PREPARE alter_events FROM @alter_events;
EXECUTE alter_events;
DEALLOCATE PREPARE alter_events;

-- +goose Down
ALTER TABLE audit_events
    DROP KEY audit_events_failure_key,
    DROP COLUMN last_time,
    DROP COLUMN repeats,
    DROP COLUMN failure_key;
