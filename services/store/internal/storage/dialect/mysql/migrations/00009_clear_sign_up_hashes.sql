-- +goose Up
-- A repeated sign-up is compared with the account's present password: nothing reads these hashes any more. The column
-- stays for the stores of before this migration that still serve, which write it.
UPDATE sign_up_requests SET password_hash = '' WHERE password_hash <> '';

-- +goose Down
-- What was cleared does not come back: such a request id is refused until its day is over.
UPDATE sign_up_requests SET password_hash = '' WHERE password_hash <> '';
