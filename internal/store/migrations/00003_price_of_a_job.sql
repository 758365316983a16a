-- +goose Up
-- What the machine type of the job cost for each node and hour when the job was submitted.
ALTER TABLE jobs ADD COLUMN price DOUBLE PRECISION NOT NULL DEFAULT 0 CHECK (price >= 0);
