-- +goose Up
-- Failures of one kind, account and network within an hour are one event, whose failure_key they share. It is NULL for
-- every other event, and for those that a store of the version before writes meanwhile. repeats counts those after the
-- first, and last_time is of the last of these.
ALTER TABLE audit_events ADD COLUMN failure_key BLOB NULL;
ALTER TABLE audit_events ADD COLUMN repeats INTEGER NOT NULL DEFAULT 0;
ALTER TABLE audit_events ADD COLUMN last_time TIMESTAMP NULL CHECK (typeof(last_time) IN ('integer', 'null'));
CREATE UNIQUE INDEX audit_events_failure_key ON audit_events (failure_key);

-- Of an event only the counter of its repeats grows, and the time of the last one.
DROP TRIGGER audit_events_are_not_changed;
-- +goose StatementBegin
CREATE TRIGGER audit_events_are_not_changed BEFORE UPDATE ON audit_events
WHEN OLD.failure_key IS NULL OR NEW.failure_key IS NOT OLD.failure_key
    OR NEW.repeats <= OLD.repeats OR NEW.last_time IS NULL OR NEW.last_time < OLD.last_time
    OR NEW.id <> OLD.id OR NEW.event_time <> OLD.event_time OR NEW.kind <> OLD.kind OR NEW.reason <> OLD.reason
    OR NEW.actor <> OLD.actor OR NEW.user_id <> OLD.user_id OR NEW.session_id <> OLD.session_id
    OR NEW.client_address <> OLD.client_address OR NEW.user_agent <> OLD.user_agent
    OR NEW.request_id <> OLD.request_id OR NEW.details <> OLD.details
BEGIN
    SELECT RAISE(ABORT, 'audit events are never changed');
END;
-- +goose StatementEnd

-- +goose Down
DROP TRIGGER audit_events_are_not_changed;
DROP INDEX audit_events_failure_key;
ALTER TABLE audit_events DROP COLUMN last_time;
ALTER TABLE audit_events DROP COLUMN repeats;
ALTER TABLE audit_events DROP COLUMN failure_key;
-- +goose StatementBegin
CREATE TRIGGER audit_events_are_not_changed BEFORE UPDATE ON audit_events
BEGIN
    SELECT RAISE(ABORT, 'audit events are never changed');
END;
-- +goose StatementEnd
