-- One text for SQLite and PostgreSQL. Times are microseconds UTC, 0 = has not happened. JSON is TEXT.

-- +goose Up
-- The team is no foreign key, because teams refer to users already; see Store.ChangeUser.
CREATE TABLE users (
    name       TEXT PRIMARY KEY,
    email      TEXT    NOT NULL,
    admin      BOOLEAN NOT NULL,
    disabled   BOOLEAN NOT NULL,
    billing    BOOLEAN NOT NULL,
    team       TEXT    NOT NULL DEFAULT '',
    team_admin BOOLEAN NOT NULL DEFAULT FALSE,
    CONSTRAINT team_admin_of_a_team CHECK (team <> '' OR NOT team_admin)
);
CREATE INDEX users_by_team ON users (team, name) WHERE team <> '';

CREATE TABLE teams (
    name  TEXT PRIMARY KEY CHECK (name <> ''),
    payer TEXT NOT NULL REFERENCES users (name)
);

-- Only hashes: the keys themselves are nowhere. The token of a job is a key with its number, and is deleted with its end.
CREATE TABLE api_keys (
    hash       TEXT PRIMARY KEY,
    id         TEXT    NOT NULL UNIQUE CHECK (id <> ''),
    user_name  TEXT    NOT NULL REFERENCES users (name),
    label      TEXT    NOT NULL,
    read_only  BOOLEAN NOT NULL,
    created_at BIGINT  NOT NULL,
    expires_at BIGINT  NOT NULL CHECK (expires_at >= 0),
    job        BIGINT  NOT NULL DEFAULT 0 CHECK (job >= 0)
);
CREATE INDEX api_keys_by_user ON api_keys (user_name, created_at, id);
CREATE UNIQUE INDEX api_keys_by_job ON api_keys (job) WHERE job > 0;

-- What an administrator or a user has set for a user's jobs.
CREATE TABLE variables (
    user_name TEXT NOT NULL REFERENCES users (name),
    key       TEXT NOT NULL CHECK (key <> ''),
    value     TEXT NOT NULL CHECK (value <> ''),
    PRIMARY KEY (user_name, key)
);

-- The team is no foreign key, and empty when there is no such team, see Store.RemoveTeam. The AppDef comes last: it can be large, and
-- listings read what is before it.
CREATE TABLE applications (
    id         TEXT PRIMARY KEY CHECK (id <> ''),
    owner      TEXT    NOT NULL REFERENCES users (name),
    team       TEXT    NOT NULL,
    public     BOOLEAN NOT NULL,
    certified  BOOLEAN NOT NULL,
    image      TEXT    NOT NULL CHECK (image <> ''),
    price      DOUBLE PRECISION NOT NULL,
    created_at BIGINT  NOT NULL,
    updated_at BIGINT  NOT NULL,
    commands   TEXT    NOT NULL,
    appdef_version BIGINT NOT NULL,
    appdef     TEXT    NOT NULL
);
CREATE INDEX applications_by_owner ON applications (owner);
CREATE INDEX applications_by_team ON applications (team);

-- The application is empty until there is one; then it is there, see Store.SetQueue.
CREATE TABLE queues (
    name        TEXT PRIMARY KEY CHECK (name <> ''),
    application TEXT   NOT NULL,
    machine     TEXT   NOT NULL,
    size        BIGINT NOT NULL CHECK (size > 0)
);
CREATE INDEX queues_by_application ON queues (application);
CREATE INDEX queues_by_machine ON queues (machine);

-- The team is no foreign key, and empty when there is no such team, see Store.RemoveTeam. bucket is JSON, empty for other kinds than
-- object; credentials are read by nobody but who connects to it. is_default is that of jobs
-- that name none.
CREATE TABLE vaults (
    owner          TEXT    NOT NULL REFERENCES users (name),
    name           TEXT    NOT NULL CHECK (name <> ''),
    kind           TEXT    NOT NULL CHECK (kind IN ('ephemeral', 'file', 'object')),
    path           TEXT    NOT NULL,
    is_default     BOOLEAN NOT NULL DEFAULT FALSE,
    team           TEXT    NOT NULL DEFAULT '',
    team_read_only BOOLEAN NOT NULL DEFAULT FALSE,
    bucket         TEXT    NOT NULL DEFAULT '',
    access_key     TEXT    NOT NULL DEFAULT '',
    secret_key     TEXT    NOT NULL DEFAULT '',
    PRIMARY KEY (owner, name),
    CHECK ((kind = 'file') = (path <> '')),
    CHECK ((kind = 'object') = (bucket <> ''))
);
CREATE UNIQUE INDEX vaults_by_default ON vaults (owner) WHERE is_default;
CREATE INDEX vaults_by_team ON vaults (team) WHERE team <> '';

CREATE TABLE machines (
    name        TEXT PRIMARY KEY,
    description TEXT NOT NULL,
    cores       BIGINT NOT NULL CHECK (cores > 0),
    ram         BIGINT NOT NULL CHECK (ram > 0),
    gpus        BIGINT NOT NULL CHECK (gpus >= 0),
    scale_min   BIGINT NOT NULL CHECK (scale_min > 0),
    scale_max   BIGINT NOT NULL CHECK (scale_max >= scale_min),
    grace       BIGINT NOT NULL CHECK (grace >= 0),
    personal    BOOLEAN NOT NULL,
    price       DOUBLE PRECISION NOT NULL,
    position    BIGINT NOT NULL
);

-- Owner, team and payer are no foreign keys: the history outlives an account. Durations are microseconds. vault is name@owner of the
-- vault that the job asked for, empty for an ephemeral one.
-- SQLite builds a table for every IN of a CHECK on every insert; comparisons are three times as fast.
CREATE TABLE jobs (
    number        BIGINT PRIMARY KEY CHECK (number > 0),
    name          TEXT   NOT NULL UNIQUE,
    version       BIGINT NOT NULL CHECK (version > 0),
    owner         TEXT   NOT NULL CHECK (owner <> ''),
    team          TEXT   NOT NULL,
    payer         TEXT   NOT NULL CHECK (payer <> ''),
    state         TEXT   NOT NULL CHECK (state = 'queued' OR state = 'starting' OR state = 'running' OR state = 'stopping' OR state = 'staging-out' OR state = 'completed' OR state = 'failed' OR state = 'terminated' OR state = 'canceled'),
    wait          TEXT   NOT NULL DEFAULT '' CHECK (wait = '' OR wait = 'resources' OR wait = 'vault' OR wait = 'image' OR wait = 'staging-in' OR wait = 'staging-out' OR wait = 'stopping'),
    wait_detail   TEXT   NOT NULL DEFAULT '',
    wish          TEXT   NOT NULL DEFAULT '' CHECK (wish = '' OR wish = 'stop' OR wish = 'terminate'),
    wish_by       TEXT   NOT NULL DEFAULT '',
    application   TEXT   NOT NULL,
    command       TEXT   NOT NULL,
    label         TEXT   NOT NULL,
    submission    TEXT   NOT NULL,
    image         TEXT   NOT NULL,
    machine       TEXT   NOT NULL,
    vault         TEXT   NOT NULL DEFAULT '',
    grace         BIGINT NOT NULL CHECK (grace >= 0),
    need_cores    BIGINT NOT NULL CHECK (need_cores >= 0),
    need_ram      BIGINT NOT NULL CHECK (need_ram >= 0),
    need_gpus     BIGINT NOT NULL CHECK (need_gpus >= 0),
    need_slots    BIGINT NOT NULL CHECK (need_slots >= 0),
    attempt       TEXT   NOT NULL DEFAULT '',
    hosts         TEXT   NOT NULL DEFAULT '',
    submitted_at  BIGINT NOT NULL,
    placed_at     BIGINT NOT NULL DEFAULT 0 CHECK (placed_at >= 0),
    started_at    BIGINT NOT NULL DEFAULT 0 CHECK (started_at >= 0),
    ended_at      BIGINT NOT NULL DEFAULT 0 CHECK (ended_at >= 0),
    suspended_at  BIGINT NOT NULL DEFAULT 0 CHECK (suspended_at >= 0),
    suspended_for BIGINT NOT NULL DEFAULT 0 CHECK (suspended_for >= 0),
    end_reason    TEXT   NOT NULL DEFAULT '' CHECK (end_reason = '' OR end_reason = 'exited' OR end_reason = 'signaled' OR end_reason = 'out-of-memory' OR end_reason = 'shutdown' OR end_reason = 'terminated' OR end_reason = 'walltime' OR end_reason = 'node-failed' OR end_reason = 'not-saved' OR end_reason = 'lost' OR end_reason = 'refused' OR end_reason = 'canceled'),
    exit_code     BIGINT NOT NULL DEFAULT 0,
    exit_signal   BIGINT NOT NULL DEFAULT 0 CHECK (exit_signal >= 0),
    end_by        TEXT   NOT NULL DEFAULT '',
    end_detail    TEXT   NOT NULL DEFAULT '',
    CONSTRAINT ended_when_final CHECK ((state = 'completed' OR state = 'failed' OR state = 'terminated' OR state = 'canceled') = (ended_at > 0)),
    CONSTRAINT end_reason_when_known CHECK ((end_reason <> '') = (ended_at > 0 OR state = 'staging-out')),
    CONSTRAINT attempt_when_placed CHECK ((attempt <> '') = (placed_at > 0)),
    CONSTRAINT placed_unless_queued CHECK (state = 'canceled' OR (state = 'queued') = (placed_at = 0)),
    CONSTRAINT started_after_placed CHECK (started_at = 0 OR placed_at > 0),
    CONSTRAINT started_when_running CHECK (state <> 'running' OR started_at > 0),
    CONSTRAINT no_wait_when_final CHECK (wait = '' OR ended_at = 0),
    CONSTRAINT suspended_with_container CHECK (suspended_at = 0 OR state = 'running' OR state = 'stopping')
);

-- Listings walk these in the order of numbers, one state at a time, and stop at their limit; see Store.Jobs.
CREATE INDEX jobs_by_state ON jobs (state, number);
CREATE INDEX jobs_by_owner ON jobs (owner, state, number);
CREATE INDEX jobs_by_team ON jobs (team, state, number) WHERE team <> '';
CREATE INDEX jobs_by_vault ON jobs (vault, state) WHERE vault <> '';
CREATE INDEX jobs_by_label ON jobs (label, state, number) WHERE label <> '';

-- The log: what happened to jobs, and what somebody did that concerns no job, which has number 0 and no state. id grows in the order
-- of the commits. seq is the version that the job has after the event, and the id where there is no job. actor is who did it, empty
-- for what happened by itself.
CREATE TABLE events (
    id     BIGINT NOT NULL CHECK (id > 0),
    number BIGINT NOT NULL CHECK (number >= 0),
    seq    BIGINT NOT NULL,
    kind   TEXT   NOT NULL,
    at     BIGINT NOT NULL,
    actor  TEXT   NOT NULL,
    state  TEXT   NOT NULL,
    data   TEXT   NOT NULL,
    PRIMARY KEY (number, seq),
    CONSTRAINT state_of_a_job CHECK ((number > 0) = (state <> '')),
    CONSTRAINT act_has_an_actor CHECK (number > 0 OR actor <> '' AND seq = id)
);
CREATE UNIQUE INDEX events_by_id ON events (id);
CREATE INDEX events_by_actor ON events (actor, id) WHERE actor <> '';

-- Deleted with the end of the job.
CREATE TABLE pull_secrets (
    number BIGINT PRIMARY KEY REFERENCES jobs (number),
    secret TEXT NOT NULL
);

-- What the job of an application runs, with its secrets. Deleted with the end of the job.
CREATE TABLE runs (
    number BIGINT PRIMARY KEY REFERENCES jobs (number),
    run    TEXT NOT NULL
);

-- Data of ended jobs that could not be copied back to their vaults. It lies on the server until it is saved or dropped, which is the
-- wish; detail says what is missing, or why it could not be saved again.
CREATE TABLE kept_data (
    number BIGINT PRIMARY KEY REFERENCES jobs (number),
    owner  TEXT NOT NULL,
    wish   TEXT NOT NULL CHECK (wish IN ('', 'save', 'drop')),
    detail TEXT NOT NULL
);
CREATE INDEX kept_data_by_owner ON kept_data (owner, number);
-- The outputs of jobs that have ended, whose files are beside the database.
CREATE TABLE outputs (
    number     BIGINT PRIMARY KEY REFERENCES jobs (number),
    ended_at   BIGINT NOT NULL,
    form       TEXT   NOT NULL CHECK (form = 'plain' OR form = 'compressed' OR form = 'deleted'),
    size       BIGINT NOT NULL CHECK (size >= 0),
    changed_at BIGINT NOT NULL
);
CREATE INDEX outputs_by_age ON outputs (form, ended_at, number);

CREATE TABLE idempotency_keys (
    owner      TEXT   NOT NULL,
    key        TEXT   NOT NULL,
    hash       TEXT   NOT NULL,
    number     BIGINT NOT NULL REFERENCES jobs (number),
    created_at BIGINT NOT NULL,
    PRIMARY KEY (owner, key)
);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);

-- One row: the last job number and the last id of the log given out, and how many jobs are in each state.
CREATE TABLE totals (
    number     BIGINT NOT NULL,
    event      BIGINT NOT NULL,
    queued     BIGINT NOT NULL CHECK (queued >= 0),
    starting   BIGINT NOT NULL CHECK (starting >= 0),
    running    BIGINT NOT NULL CHECK (running >= 0),
    stopping   BIGINT NOT NULL CHECK (stopping >= 0),
    staging_out BIGINT NOT NULL CHECK (staging_out >= 0),
    completed  BIGINT NOT NULL CHECK (completed >= 0),
    failed     BIGINT NOT NULL CHECK (failed >= 0),
    terminated BIGINT NOT NULL CHECK (terminated >= 0),
    canceled   BIGINT NOT NULL CHECK (canceled >= 0)
);
INSERT INTO totals VALUES (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
