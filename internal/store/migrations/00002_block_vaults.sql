-- +goose Up
-- Vaults of the kinds block and block-array: path is what they are made of. size is in bytes.
CREATE TABLE vaults_new (
    owner          TEXT    NOT NULL REFERENCES users (name),
    name           TEXT    NOT NULL CHECK (name <> ''),
    kind           TEXT    NOT NULL CHECK (kind IN ('ephemeral', 'file', 'object', 'block', 'block-array')),
    path           TEXT    NOT NULL,
    is_default     BOOLEAN NOT NULL DEFAULT FALSE,
    team           TEXT    NOT NULL DEFAULT '',
    team_read_only BOOLEAN NOT NULL DEFAULT FALSE,
    bucket         TEXT    NOT NULL DEFAULT '',
    access_key     TEXT    NOT NULL DEFAULT '',
    secret_key     TEXT    NOT NULL DEFAULT '',
    size           BIGINT  NOT NULL DEFAULT 0,
    images         BIGINT  NOT NULL DEFAULT 0,
    encrypted      BOOLEAN NOT NULL DEFAULT FALSE,
    PRIMARY KEY (owner, name),
    CONSTRAINT path_of_a_kind CHECK ((kind IN ('file', 'block', 'block-array')) = (path <> '')),
    CONSTRAINT bucket_of_a_kind CHECK ((kind = 'object') = (bucket <> '')),
    CONSTRAINT size_of_a_kind CHECK ((kind IN ('block', 'block-array')) = (size > 0) AND (size > 0) = (images > 0) AND size >= 0 AND images >= 0),
    CONSTRAINT encrypted_of_a_kind CHECK (size > 0 OR NOT encrypted)
);
INSERT INTO vaults_new (owner, name, kind, path, is_default, team, team_read_only, bucket, access_key, secret_key)
    SELECT owner, name, kind, path, is_default, team, team_read_only, bucket, access_key, secret_key FROM vaults;
DROP TABLE vaults;
ALTER TABLE vaults_new RENAME TO vaults;
CREATE UNIQUE INDEX vaults_by_default ON vaults (owner) WHERE is_default;
CREATE INDEX vaults_by_team ON vaults (team) WHERE team <> '';

-- The passwords of encrypted vaults, for jobs that have not started, sealed by a key that is not in the database.
CREATE TABLE vault_passwords (
    number BIGINT PRIMARY KEY REFERENCES jobs (number),
    sealed TEXT NOT NULL CHECK (sealed <> '')
);
