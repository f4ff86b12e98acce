-- The queue and the slots of the local engine. Executed once, by the owner; the application only reads and writes rows.

CREATE TABLE engine_machine (              -- one row per machine, kept by its dispatcher
    machine         text PRIMARY KEY,
    pid             integer NOT NULL,
    started_at      timestamptz NOT NULL,
    beat_at         timestamptz NOT NULL,
    sandbox         boolean NOT NULL,
    sandbox_reason  text NOT NULL DEFAULT '',
    memory_limit    text NOT NULL,         -- systemd (a cgroup), or watch (the shim looks and kills)
    root            boolean NOT NULL,
    drained         text NOT NULL DEFAULT ''   -- why nothing starts here; an operator's word, not the dispatcher's
);

CREATE TABLE engine_budget (               -- an absent budget is open
    machine         text NOT NULL,
    budget          text NOT NULL,
    account         text NOT NULL,
    open            boolean NOT NULL,
    PRIMARY KEY (machine, budget)
);

CREATE TABLE engine_maintenance (          -- when nothing runs here: no run starts whose limit reaches into it
    machine         text NOT NULL,
    key             text NOT NULL,
    starts_at       timestamptz NOT NULL,
    ends_at         timestamptz NOT NULL,
    reason          text NOT NULL,
    partition       text NOT NULL,         -- empty: all of the machine
    PRIMARY KEY (machine, key),
    CHECK (starts_at < ends_at)
);

CREATE TABLE engine_job (
    job             uuid NOT NULL,
    attempt         integer NOT NULL CHECK (attempt > 0),
    machine         text NOT NULL,
    digest          text NOT NULL,         -- SHA-256 of everything that was asked
    account         text NOT NULL,
    budget          text NOT NULL,
    spec            jsonb NOT NULL,
    submitted_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (job, attempt)
);

CREATE TABLE engine_file (
    job             uuid NOT NULL,
    attempt         integer NOT NULL,
    path            text NOT NULL,
    content         bytea,
    source          text,
    PRIMARY KEY (job, attempt, path),
    FOREIGN KEY (job, attempt) REFERENCES engine_job ON DELETE CASCADE,
    CHECK (num_nonnulls(content, source) = 1)
);

CREATE TABLE engine_run (
    run             uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    job             uuid NOT NULL,
    attempt         integer NOT NULL,
    task            integer NOT NULL CHECK (task >= 0),
    machine         text NOT NULL,
    budget          text NOT NULL,
    gpu_type        text NOT NULL,
    gpus            integer NOT NULL CHECK (gpus > 0),
    parallel        integer NOT NULL DEFAULT 0,
    limit_s         integer NOT NULL CHECK (limit_s > 0),
    priority        integer NOT NULL DEFAULT 0,
    state           text NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'starting', 'running', 'ended')),
    slots           integer[] NOT NULL DEFAULT '{}',
    declared        boolean NOT NULL DEFAULT false,
    submitted_at    timestamptz NOT NULL DEFAULT now(),
    claimed_at      timestamptz,
    started_at      timestamptz,
    seen_at         timestamptz,
    cancel_at       timestamptz,
    ended_at        timestamptz,
    ended_seq       bigint,                -- in the order of commits, see engine.END
    outcome         text CHECK (outcome IN ('completed', 'failed', 'out_of_memory', 'timed_out', 'cancelled', 'lost')),
    exit_code       integer,
    reason          text NOT NULL DEFAULT '',
    peak_memory_mb  integer,
    log_truncated   boolean NOT NULL DEFAULT false,
    UNIQUE (job, attempt, task),
    UNIQUE (machine, ended_seq),
    FOREIGN KEY (job, attempt) REFERENCES engine_job,
    CHECK ((state = 'ended') = (outcome IS NOT NULL)),
    CHECK ((state = 'ended') = (ended_at IS NOT NULL AND ended_seq IS NOT NULL))
);
CREATE INDEX engine_run_queue ON engine_run (machine, gpu_type, priority DESC, submitted_at, job, task)
    WHERE state = 'queued';
CREATE INDEX engine_run_live ON engine_run (machine, job) WHERE state IN ('starting', 'running');

CREATE TABLE engine_slot (                 -- one row per GPU, or per declared slot
    machine         text NOT NULL,
    gpu_type        text NOT NULL,
    gpu             integer NOT NULL CHECK (gpu >= 0),
    declared        boolean NOT NULL,      -- true: only said to exist; runs on it see no GPU
    minor           integer,               -- of /dev/nvidia<minor>
    device          text NOT NULL DEFAULT '',  -- the UUID that the driver gave
    run             uuid REFERENCES engine_run,
    PRIMARY KEY (machine, gpu_type, gpu),
    CHECK (declared = (device = '')),
    CHECK (declared = (minor IS NULL))
);
CREATE TABLE engine_sample (               -- what the real GPUs of a run did, a bounded number of rows for each
    run             uuid NOT NULL REFERENCES engine_run,
    at              timestamptz NOT NULL,
    gpu             integer NOT NULL,
    utilization     real CHECK (utilization BETWEEN 0 AND 100),  -- mean, percent
    memory_mb       integer NOT NULL CHECK (memory_mb >= 0),     -- the most
    memory_total_mb integer NOT NULL CHECK (memory_total_mb >= 0),
    power_w         real CHECK (power_w >= 0),                   -- mean
    PRIMARY KEY (run, at, gpu)
);
CREATE INDEX engine_slot_run ON engine_slot (run) WHERE run IS NOT NULL;
