-- One text for SQLite and PostgreSQL.

-- +goose Up
-- What a job of the machine type may have in its containers and its ephemeral vault together, in bytes; 0 is what the server gives to
-- every job. A job keeps what it was submitted with.
ALTER TABLE machines ADD COLUMN scratch BIGINT NOT NULL DEFAULT 0 CHECK (scratch >= 0);
ALTER TABLE jobs ADD COLUMN scratch BIGINT NOT NULL DEFAULT 0 CHECK (scratch >= 0);
