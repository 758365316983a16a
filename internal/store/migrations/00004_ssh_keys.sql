-- One text for SQLite and PostgreSQL.

-- +goose Up
-- Public keys with which users get into their jobs by ssh.
CREATE TABLE ssh_keys (
    user_name   TEXT   NOT NULL REFERENCES users (name),
    fingerprint TEXT   NOT NULL CHECK (fingerprint <> ''),
    line        TEXT   NOT NULL CHECK (line <> ''),
    comment     TEXT   NOT NULL,
    added_at    BIGINT NOT NULL,
    PRIMARY KEY (user_name, fingerprint)
);
