-- What the Slurm engine remembers. Executed once, by the owner; the application only reads and writes rows.

CREATE TABLE slurm_cluster (
    cluster         text PRIMARY KEY,
    asked_at        timestamptz NOT NULL,  -- every run that the accounting knew to have ended by then is in slurm_run
    far_at          timestamptz NOT NULL   -- when it was last asked about the days before, too
);

CREATE TABLE slurm_job (
    job             uuid NOT NULL,
    attempt         integer NOT NULL CHECK (attempt > 0),
    cluster         text NOT NULL,
    digest          text NOT NULL,         -- SHA-256 of everything that was asked
    spec            jsonb NOT NULL,
    submitted_at    timestamptz NOT NULL DEFAULT now(),
    open            boolean NOT NULL DEFAULT true,   -- some task of it hasn't ended
    PRIMARY KEY (job, attempt)
);
CREATE INDEX slurm_job_open ON slurm_job (cluster, job) WHERE open;

CREATE TABLE slurm_send (                  -- each time that sbatch was called, written before the call
    job             uuid NOT NULL,
    attempt         integer NOT NULL,
    send            integer NOT NULL CHECK (send > 0),
    slurm_id        bigint,                -- null: nobody knows whether it arrived
    submit          bigint,                -- Slurm's own second of it, where it was seen
    sent_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (job, attempt, send),
    FOREIGN KEY (job, attempt) REFERENCES slurm_job
);
CREATE INDEX slurm_send_id ON slurm_send (slurm_id, sent_at);   -- not unique: a controller gives out ids again

CREATE TABLE slurm_run (                   -- each ended run, in the order in which they were found or found changed
    cluster         text NOT NULL,
    run             text NOT NULL,         -- cluster/DBIndex/Submit, and the task where it never started
    seq             bigint NOT NULL CHECK (seq > 0),
    job             uuid NOT NULL,
    task            integer NOT NULL CHECK (task >= 0),
    attempt         integer NOT NULL,
    restart         integer NOT NULL CHECK (restart >= 0),
    bare            boolean NOT NULL,
    slurm_id        bigint NOT NULL,
    outcome         text NOT NULL,
    said            text NOT NULL,         -- Slurm's own word for it, empty where it has none
    account         text NOT NULL,
    budget          text NOT NULL,
    posix_user      text NOT NULL,
    machine         text NOT NULL,
    gpu_type        text NOT NULL,
    gpus            integer NOT NULL CHECK (gpus >= 0),
    declared        boolean NOT NULL,
    submitted_at    timestamptz NOT NULL,
    started_at      timestamptz,
    ended_at        timestamptz NOT NULL,
    gpu_seconds     bigint NOT NULL CHECK (gpu_seconds >= 0),
    counted_seconds bigint NOT NULL CHECK (counted_seconds >= 0),  -- as Slurm counts them against the budget
    exit_code       integer,
    reason          text NOT NULL DEFAULT '',
    goes_on         boolean NOT NULL,
    marked_at       timestamptz,           -- its end by the marks of its wrapper, where Slurm's is much later
    PRIMARY KEY (cluster, run),
    UNIQUE (cluster, seq),
    UNIQUE (job, task, attempt, restart)
);
CREATE INDEX slurm_run_budget ON slurm_run (cluster, budget);
CREATE INDEX slurm_run_id ON slurm_run (cluster, slurm_id);
